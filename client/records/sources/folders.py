"""A folder of record files: which they are, in which order, and whether they stay as they are.

Folders below are partitions, as Spark, Hive and Arrow write them: `day=2026-01-31/part-0.parquet`.
What a folder's name says is a column of each row in it, a text. No link is followed: what is read
is what the folder holds, and the order is that of names, however the disk lists them.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from fieldfare.client.records.sources.engine import Feed, Source
from fieldfare.client.records.sources.sql import ColumnType, literal, quoted
from fieldfare.shared.errors import RecordsError

PASSED_OVER: Final = (".", "_")  # what other programs leave in folders of data: .crc, _SUCCESS
_PATTERN: Final = frozenset("*?[")
DEEPEST: Final = 8  # folders in each other
NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"  # as Hive writes a partition without a value
_CHANGED: Final = (
    "expected files that stay as they are while they are read, found another form of it; read "
    "again when the writer is done"
)

Identity = tuple[int, ...]
_SIZE: Final = 2  # its place in an identity
Keys = Mapping[str, str | None]


@dataclass(frozen=True)
class FolderFile:
    """A file of a folder.

    Attributes:
        path: of the file.
        name: below the folder, for messages.
        keys: what the folders between them say, by column; None: no value.
        identity: of the file when it was listed.
    """

    path: Path
    name: str
    keys: Keys = field(default_factory=dict)
    identity: Identity = ()

    @property
    def size(self) -> int:
        """Bytes, when it was listed."""
        return self.identity[_SIZE] if self.identity else 0


def files_below(folder: Path) -> tuple[FolderFile, ...]:
    """Return a folder's files, those of its partitions too, in the order of their names.

    Names that begin with `.` or `_` are passed over.

    Raises:
        RecordsError: no file, a link, a name that is no text, a folder that is no partition, or
            files at several depths: a file that is left out by mistake would be units that nobody
            misses.
    """
    found = tuple(_below(folder, folder, {}))
    if not found:
        raise RecordsError(f"{folder}: expected at least one file, found none; check the path")
    first = found[0]
    for one in found:
        if list(one.keys) != list(first.keys):
            raise RecordsError(
                f"{folder}: expected every file in folders {_named(first)}, as {first.name} is, "
                f"found {one.name}; move it there, or into a folder of its own"
            )
    return found


def _named(file: FolderFile) -> str:
    return "/".join(f"{key}=..." for key in file.keys) or "of none"


def _below(folder: Path, top: Path, keys: Keys) -> Iterator[FolderFile]:
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise RecordsError(
            f"{folder}: expected a folder that can be read, found: {error.strerror}"
        ) from None
    for entry in entries:
        if entry.name.startswith(PASSED_OVER):
            continue
        path = folder / entry.name
        name = str(path.relative_to(top))
        if not _is_text(name):
            raise RecordsError(
                f"{top}: expected names that are text in UTF-8, found {name!a}; rename it"
            )
        if entry.is_symlink():
            raise RecordsError(
                f"{top}: expected files of its own, found a link, {name}; put the file itself there"
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path, top, _with_key(top, name, entry.name, keys))
        elif entry.is_file(follow_symlinks=False):
            yield FolderFile(path, name, keys, identity(path))
        else:
            raise RecordsError(f"{top}: expected files alone, found {name}; move it elsewhere")


def _is_text(name: str) -> bool:
    """Tell whether a name is text; the system gives any bytes as one, and the engine takes none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_key(top: Path, name: str, last: str, keys: Keys) -> Keys:
    key, equals, value = last.partition("=")
    key = unquote(key)
    if not (equals and key) or len(keys) >= DEEPEST:
        raise RecordsError(
            f"{top}: expected files alone, or folders such as day=2026-01-31, found {name}; move "
            "it elsewhere"
        )
    if key.casefold() in map(str.casefold, keys):
        raise RecordsError(f"{top}: expected each partition's column once, found {key} twice")
    return {**keys, key: None if value == NO_VALUE else unquote(value)}


def looks_like_pattern(path: Path) -> bool:
    """Tell whether the engine takes a path for a pattern, where other files fit it."""
    return not _PATTERN.isdisjoint(str(path))


def refuse_pattern(path: Path) -> None:
    """Refuse a file that the engine cannot be asked for without others.

    Raises:
        RecordsError: another file fits its name.
    """
    fits = glob(str(path)) if looks_like_pattern(path) else []  # noqa: PTH207 -- a whole path
    if set(fits) - {str(path)}:
        raise RecordsError(
            f"{path}: expected a name that matches no other file when read as a pattern (*, ?, [), "
            "found one that does; rename it"
        )


# -- files that stay as they are ------------------------------------------------------------------


def identity(path: Path) -> Identity:
    """Return what changes when a file is written to or another one takes its place."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextmanager
def unchanged(paths: Sequence[Path]) -> Iterator[None]:
    """Read files in the block, which are the same before and after.

    Raises:
        RecordsError: one of them changed, whatever else was found wrong with it meanwhile.
    """
    before = [identity(path) for path in paths]
    try:
        yield
    except RecordsError:
        _check_same(paths, before)
        raise
    _check_same(paths, before)


def _check_same(paths: Sequence[Path], before: Sequence[Identity]) -> None:
    for path, then in zip(paths, before, strict=True):
        if identity(path) != then:
            raise RecordsError(f"{path}: {_CHANGED}")


def check_unchanged(folder: Path, files: Sequence[FolderFile]) -> None:
    """Check that a folder still has the files that it had when it was listed.

    Raises:
        RecordsError: it has others; names the first one.
    """
    now = {one.name: one.identity for one in files_below(folder)}
    then = {one.name: one.identity for one in files}
    for name in sorted(now.keys() | then.keys()):
        if now.get(name) != then.get(name):
            raise RecordsError(f"{folder / name}: {_CHANGED}")


# -- columns that folders say ---------------------------------------------------------------------


def with_keys(source: Source, keys: Keys) -> Source:
    """Return a source whose rows have the columns of its partition as well.

    Raises:
        RecordsError: the file has such a column itself.
    """
    if not keys:
        return source
    refuse_own(source.name, source.columns, keys)
    said = ", ".join(
        f"{'CAST(NULL AS VARCHAR)' if value is None else literal(value)} AS {quoted(key)}"
        for key, value in keys.items()
    )

    def added(feed: Callable[[Sequence[str]], Feed]) -> Callable[[Sequence[str]], Feed]:
        """Return a feed whose rows say of which partition they are, too."""

        def begun(needed: Sequence[str]) -> Feed:
            own = feed([name for name in needed if name not in keys])
            return replace(own, relation=f"(SELECT *, {said} FROM {own.relation})")

        return begun

    return replace(
        source,
        columns={**source.columns, **dict.fromkeys(keys, ColumnType.TEXT)},
        feed=added(source.feed),
        lenient=None if source.lenient is None else added(source.lenient),
    )


def refuse_own(name: str, columns: Mapping[str, ColumnType], keys: Keys) -> None:
    """Refuse files that have a column which their folder's name says, too.

    Raises:
        RecordsError: they do.
    """
    own = {column.casefold() for column in columns}
    for key in keys:
        if key.casefold() in own:
            raise RecordsError(
                f"{name}: expected column {key} in the names of folders alone, found it in the "
                "file too; leave it out of one"
            )
