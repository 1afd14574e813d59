"""A log from before it was rows: files of lines, verified once more, read, and put away.

    log-000001.jsonl ...    older entries
    log.jsonl               the newest ones
    head.json               where the log ends
    lock                    held while one process wrote

Reading changes nothing. The files go into `old/`, read-only, once their entries are rows on disk; a
crash at any point leaves the files, or the rows and what is left to put away.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fieldfare.client.journal.entries import (
    GENESIS,
    MAX_LINE,
    JournalEntry,
    Mark,
    next_mark,
    parse_entry,
)
from fieldfare.shared.canonical import TYPE_SEPARATOR, bytes_hash, chained_hash
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.system.private_files import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder

OLD: Final = "old"

_ACTIVE: Final = "log.jsonl"
_HEAD: Final = "head.json"
_LOCK: Final = "lock"
_HEAD_TYPE: Final = b"fieldfare.journal.head.v1"
_READ_ONLY: Final = 0o400


def are_in(folder: Path) -> bool:
    """Say whether an old log is there, whole or in part put away."""
    return any((folder / name).exists() for name in (_ACTIVE, _HEAD)) or bool(_closed(folder))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the old log's lock: a process of an earlier version may still write."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def remembered_end(folder: Path) -> Mark:
    """Return the last entry that the head remembers.

    Raises:
        LedgerError: there is no head, or a changed one, or earlier entries were deleted.
    """
    try:
        found = json.loads((folder / _HEAD).read_bytes())
        digest = found.pop("hash")
        end = Mark(sequence=found["end"], hash=found["end_hash"])
        whole = digest == chained_hash(_HEAD_TYPE + TYPE_SEPARATOR, found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole or found["start"] != GENESIS.sequence:
        raise LedgerError(
            f"{_HEAD}: expected the head of a log from its first entry on in {folder}, found none "
            "or a changed one: bring the newest copy of the log back, or move the folder away as "
            "evidence to begin a new log"
        )
    return end


class OldLog:
    """The lines of an old log, verified while they are read.

    Attributes:
        incomplete: sha256 of bytes at the end that are no entry: a crash cut them short. Empty
            where there are none, and before all entries were read.
    """

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self._folder = folder
        self.incomplete = ""

    def entries(self) -> Iterator[JournalEntry]:
        """Yield every entry, oldest first.

        Raises:
            LedgerError: the first line that does not fit, or the end was removed.
            OSError: a file cannot be read.
        """
        known, end = remembered_end(self._folder), GENESIS
        for name in [*_closed(self._folder), _ACTIVE]:
            for number, line in enumerate(self._lines(name), start=1):
                try:
                    entry = self._entry(end, line, known)
                except LedgerError as error:
                    place = f"{name} line {number} (entry {end.sequence + 1})"
                    raise LedgerError(f"{place}: {error}") from None
                if entry is None:
                    break
                yield entry
                end = entry.mark
        if end.sequence < known.sequence:
            raise LedgerError(
                f"entry {end.sequence + 1}: expected entries up to {known.sequence}, found none "
                f"after {end.sequence}: the end of the log was removed"
            )

    def _entry(self, end: Mark, line: bytes, known: Mark) -> JournalEntry | None:
        """Return the next entry; None at bytes after the end that no `append` returned."""
        try:
            entry = parse_entry(line.removesuffix(b"\n") if line.endswith(b"\n") else b"")
        except LedgerError:
            if end.sequence < known.sequence:
                raise
            self.incomplete = bytes_hash(line)
            return None
        next_mark(end, entry)
        if entry.sequence == known.sequence and entry.mark != known:
            raise LedgerError(
                f"expected the hash {known.hash} that {_HEAD} remembers, found {entry.hash}"
            )
        return entry

    def _lines(self, name: str) -> Iterator[bytes]:
        try:
            file = (self._folder / name).open("rb")
        except FileNotFoundError:
            return
        with file:
            while line := file.readline(MAX_LINE + 1):
                yield line


def put_away(folder: Path) -> None:
    """Move the files into `old/`, read-only, the head as the last one.

    Raises:
        OSError: the disk or the folder refuses it; what is left is moved at the next start.
    """
    old = folder / OLD
    old.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    torn = sorted(path.name for path in folder.glob("torn-*"))
    for name in (*torn, *_closed(folder), _ACTIVE, _LOCK, _HEAD):
        path = folder / name
        if path.exists():
            path.chmod(_READ_ONLY)
            path.replace(old / name)
    sync_folder(old)
    sync_folder(folder)


def _closed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("log-*.jsonl"))
