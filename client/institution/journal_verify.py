"""Recompute an institution's log from its files; this module writes nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.client.institution import journal_files as files
from fieldfare.client.institution.journal_chain import (
    Head,
    Mark,
    follow,
    parse_entry,
    parse_head,
)
from fieldfare.client.institution.journal_terms import MAX_LINE
from fieldfare.shared.errors import LedgerError

BUSY_TIMEOUT: Final = 5.0  # seconds
_ATTEMPTS: Final = 5  # a running log may delete its oldest files while they are read


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What holds: every entry from `first` to `last`, in so many files.

    `first` is above 1 where the rule for old files deleted some, and above `last` in a log
    without entries. `incomplete` is the size in bytes of a line that a crash cut short; the
    next start of the log moves it aside.
    """

    first: int
    last: int
    files: int
    incomplete: int = 0


@dataclass(frozen=True)
class _Snapshot:
    head: Head
    closed: list[int]
    active: list[bytes] | None
    incomplete: int


def verify(folder: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Verified:
    """Recompute the whole log in `folder` and compare it with its head.

    A log that is being written may be verified; appending waits only while the newest file
    is read.

    Edge cases:
        | what was done | what is named |
        |---|---|
        | a byte changed, a line removed, added or swapped | file, line, entry |
        | a middle file removed | its name |
        | the end removed | the entry that the head remembers |
        | the head changed or removed | the head |
        | the last line cut short before it was acknowledged | nothing: `incomplete` |
        | oldest files deleted by rule | nothing: `first` |
        | everything replaced, head included | nothing: compare with signed replies |

    Raises:
        LedgerError: the first thing that does not fit, or a file that cannot be read.
    """
    for _ in range(_ATTEMPTS):
        snapshot = _snapshot(folder, busy_timeout)
        try:
            return _verify(folder, snapshot)
        except LedgerError:
            if _snapshot(folder, busy_timeout).head.start == snapshot.head.start:
                raise
    raise LedgerError(f"{folder}: expected a log at rest, found one that lost files each time")


def _snapshot(folder: Path, busy_timeout: float) -> _Snapshot:
    try:
        with files.locked(folder, busy_timeout=busy_timeout, shared=True):
            head = _head(folder)
            closed = [n for n in files.closed_numbers(folder) if n >= head.file]
            active = folder / files.ACTIVE
            content = active.read_bytes() if active.exists() else None
    except OSError as error:
        raise LedgerError(_unreadable(error, folder)) from error
    if content is None:
        return _Snapshot(head, closed, None, 0)
    *lines, rest = content.split(b"\n")
    return _Snapshot(head, closed, lines, len(rest))


def _head(folder: Path) -> Head:
    path = folder / files.HEAD
    if not path.exists():
        raise LedgerError(f"{files.HEAD}: expected the head of a log in {folder}, found none")
    try:
        return parse_head(path.read_bytes())
    except LedgerError as error:
        raise LedgerError(f"{files.HEAD}: {error}") from None


def _verify(folder: Path, snapshot: _Snapshot) -> Verified:
    head, end = snapshot.head, snapshot.head.start
    for number, expected in zip(
        snapshot.closed, range(head.file, head.file + len(snapshot.closed)), strict=True
    ):
        if number != expected:
            raise LedgerError(f"{files.closed_name(expected)}: expected this file, found none")
        name = files.closed_name(number)
        end = _check_lines(name, _lines(folder / name), end, head)
    if snapshot.active is not None:
        end = _check_lines(files.ACTIVE, snapshot.active, end, head)
    _check_end(end, head)
    return Verified(
        first=head.start.sequence + 1,
        last=end.sequence,
        files=len(snapshot.closed) + (snapshot.active is not None),
        incomplete=snapshot.incomplete,
    )


def _lines(path: Path) -> Iterator[bytes]:
    """Read a closed file line by line; it was never cut, so it ends with a newline."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                # A line without its newline stays without it: `parse_entry` then says so.
                yield line[:-1] if line.endswith(b"\n") else line + b"\xff"
    except OSError as error:
        raise LedgerError(_unreadable(error, path)) from error


def _check_lines(name: str, lines: Iterable[bytes], end: Mark, head: Head) -> Mark:
    for number, line in enumerate(lines, start=1):
        try:
            end = _next(end, line, head)
        except LedgerError as error:
            raise LedgerError(f"{name} line {number} (entry {end.sequence + 1}): {error}") from None
    return end


def _next(end: Mark, line: bytes, head: Head) -> Mark:
    found = follow(end, parse_entry(line))
    if found.sequence == head.end.sequence and found != head.end:
        raise LedgerError(
            f"expected the hash {head.end.hash} that {files.HEAD} remembers, found {found.hash}"
        )
    return found


def _check_end(end: Mark, head: Head) -> None:
    if end.sequence < head.end.sequence:
        raise LedgerError(
            f"entry {end.sequence + 1}: expected entries up to {head.end.sequence}, found none "
            f"after {end.sequence}: the end of the log was removed"
        )


def _unreadable(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: expected a readable log, found: {error.strerror or error}"
