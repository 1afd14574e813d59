"""Parts of an interrupted load that were finished: kept on the disk until one ends.

Kept are the columns that a study reads, in the clear, as they came out of a file that has not
changed since: Arrow files, mode 0600, in a folder of this user alone, and only where the settings
say so. A load that ends takes the folder away, whether or not the records loaded; what a kill left
is used, or taken away, by the next one.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fieldfare.shared.canonical import content_bytes
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import PRIVATE_FOLDER
from fieldfare.shared.system.whole_files import lasting_folder, new_file, passing_folder

FORMAT: Final = 1
NAME: Final = "kept-"  # of a study's folder, before its id
LONGEST: Final = timedelta(days=7)  # that parts wait for the load that goes on
_ENGINES: Final = ("duckdb", "pyarrow", "fieldfare")  # what a value is read as may change with them


class KeptParts:
    """Finished parts of one load.

    Attributes:
        used: parts that were read before, and were not read again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Keep parts in a folder of this user alone; None: keep none."""
        self._folder = folder
        self.used = 0

    def batches(
        self,
        identity: Sequence[object],
        asked: Sequence[str],
        read: Callable[[], Iterator[Any]],
        is_whole: Callable[[], bool],
    ) -> Iterator[Any]:
        """Yield the record batches of a part: those that are kept, or as they are read.

        Args:
            identity: of the part's files; empty: nobody can tell whether it is the same again.
            asked: the expressions and columns that are read.
            read: reads them.
            is_whole: afterwards, whether the batches are all that there is to keep.

        Raises:
            UsageError: the disk has no room.
        """
        if self._folder is None or not identity:
            yield from read()
            return
        path = self._folder / f"{_key(identity, asked)}.arrow"
        kept = _kept_in(path)
        if kept is not None:
            self.used += 1
            yield from kept
            return
        with suppress(_NotWholeError), ExitStack() as written:
            with _room_in(self._folder):
                file = written.enter_context(new_file(path))
            yield from _written(file, self._folder, read(), is_whole)
            with _room_in(self._folder):  # the last bytes go to the disk here
                written.close()


def _kept_in(path: Path) -> Sequence[Any] | None:
    """Return a part's batches, mapped; None where there is none, or a damaged one, which goes."""
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as kept:
            batches = [kept.get_batch(index) for index in range(kept.num_record_batches)]
            for batch in batches:
                batch.validate(full=True)
            return batches
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError):  # some damage the engine calls the one, some the other
        with suppress(OSError):
            path.unlink()
        return None


class _NotWholeError(Exception):
    """The batches are not all that a part says."""


@contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    """Refuse the one load that a disk has no room for, by an error that ends no process."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{folder}: expected room for records on its disk, found: {error.strerror}; "
            "make room, or set resume = false under [partitions] in institution.toml"
        ) from None


def _written(
    file: Any, folder: Path, batches: Iterator[Any], is_whole: Callable[[], bool]
) -> Iterator[Any]:
    writer = None
    for batch in batches:
        with _room_in(folder):
            writer = writer or pa.ipc.new_file(file, batch.schema)
            writer.write_batch(batch)
        yield batch
    if writer is None or not is_whole():  # no batch, no schema: there is nothing to keep
        raise _NotWholeError
    with _room_in(folder):
        writer.close()


def _key(identity: Sequence[object], asked: Sequence[str]) -> str:
    engines = [version(name) for name in _ENGINES]
    content = [FORMAT, engines, [list(map(str, identity)), list(asked)]]
    return hashlib.sha256(content_bytes(content)).hexdigest()


@contextmanager
def parts_kept(folder: Path, study: str, now: datetime, *, resume: bool) -> Iterator[KeptParts]:
    """Keep the parts of a load until it ends; without `resume` take away what others left.

    None are kept where another process loads the same study just now, or the folder is another's;
    what such a process uses stays.

    Args:
        folder: 0700, on whose disk parts lie; made where it is absent.
        study: its id.
        now: parts of loads that nobody went on with for a week go.
        resume: keep them.
    """
    for left in folder.glob(f"{NAME}*"):
        with suppress(UsageError, OSError):  # a load under way has it: another process's settings
            since = now - datetime.fromtimestamp(left.lstat().st_mtime, now.tzinfo)
            if not resume or since > LONGEST:
                with passing_folder(left):
                    pass
    with ExitStack() as ended:
        kept = None
        if resume:
            with suppress(UsageError, OSError):
                folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
                kept = ended.enter_context(lasting_folder(folder / f"{NAME}{study}"))
        yield KeptParts(kept)
