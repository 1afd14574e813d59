"""The institution's own log: requests, decisions and releases, in a hash chain on disk.

An entry that `append` returned is on disk, and a small head file beside the log remembers
it, so that a removed end shows. The head is written in place and not flushed each time (a
release waits for each flush): after a power cut it may be behind the lines, and that is fine.

An entry whose `append` failed is cut off again as far as the disk allows: the log may say more than
happened, never less. Whoever cannot write the log must refuse (docs/design.md, "The door": no
release without its traces).

Threads and processes may share a log; each write holds its lock and starts from the files.

Recompute an institution's log from its files; this module writes nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final, Self

from fieldfare.client.journal import files
from fieldfare.client.journal.entries import (
    MAX_LINE,
    Event,
    Head,
    JournalEntry,
    Mark,
    Value,
    find_end,
    follow,
    head_line,
    next_entry,
    parse_entry,
    parse_head,
)
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, replace_private, sync_folder

BUSY_TIMEOUT: Final = 5.0  # seconds
_ATTEMPTS: Final = 5  # a running log may delete its oldest files while they are read


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The verified part: every entry from `first` to `last`, in so many files.

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


# -- journal --------------------------------------------------------------------------------------


MAX_BYTES: Final = 16 * 1024 * 1024
ITSELF: Final = "log"  # the actor of what the log does by itself
_PENDING: Final = ".pending"  # an incomplete line that was moved aside and is not noted yet


class Journal:
    """One institution's log in one folder. It keeps no file open, so forks are safe."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], datetime],
        max_bytes: int,
        keep: int | None,
        busy_timeout: float,
    ) -> None:
        """Use `Journal.open`, which also checks where the log ends."""
        self.folder = folder
        self._clock = clock
        self._max_bytes = max_bytes
        self._keep = keep
        self._busy_timeout = busy_timeout
        self._lock = Lock()  # between threads, so that they need not poll

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Callable[[], datetime],
        max_bytes: int = MAX_BYTES,
        keep: int | None = None,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> Self:
        """Open the log in `folder`, or begin one there.

        Args:
            folder: created with mode 0700 if absent, in an existing one.
            clock: returns the present with a time zone.
            max_bytes: a file is closed before it would grow beyond this size.
            keep: how many closed files stay; None keeps all. Whoever can cause refusals can
                fill files: keep enough, or copy them away.
            busy_timeout: seconds to wait for other processes.

        Raises:
            UsageError: `max_bytes` or `keep` is below 1.
            LedgerError: the end of the log was removed or changed, or it cannot be written.
        """
        if max_bytes < 1 or (keep is not None and keep < 1):
            raise UsageError(
                "expected a file of 1 byte or more and 1 closed file or more to keep, found less"
            )
        journal = cls(
            folder, clock=clock, max_bytes=max_bytes, keep=keep, busy_timeout=busy_timeout
        )
        with _faults(folder):
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            sync_folder(folder.parent)
        with journal._alone():
            journal._begin()
            journal._note(journal._settle())
            journal._delete_old()
        return journal

    def append(self, event: Event, actor: str, **details: Value) -> JournalEntry:
        """Write one entry; it is on disk when this returns.

        Args:
            event: what happened.
            actor: who did it: a user, an institution, the coordinator, a part of the program.
            details: from the closed set of `journal_terms`; never a record's value.

        Raises:
            UsageError: the actor or a detail may not stand in the log.
            LedgerError: nothing was written; the event to be logged must not happen.
        """
        with self._alone():
            head = self._note(self._settle())
            return self._append(head, event, actor, details)[1]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (
            self._lock,
            _faults(self.folder),
            files.locked(self.folder, busy_timeout=self._busy_timeout),
        ):
            yield

    def _begin(self) -> None:
        """Write the first head; it stands before the first line, so no log lacks one."""
        if (self.folder / files.HEAD).exists():
            return
        if (self.folder / files.ACTIVE).exists() or files.closed_numbers(self.folder):
            raise LedgerError(
                f"expected {files.HEAD} beside the log in {self.folder}, found none: bring it "
                "back, or move the folder away to begin a new log"
            )
        self._flush(Head())

    def _flush(self, head: Head) -> None:
        """Replace the head; it is on disk when this returns."""
        replace_private(self.folder / files.HEAD, head_line(head))

    def _remember(self, head: Head, end: Mark) -> Head:
        """Move the head's end; the lines are on disk already."""
        new = replace(head, end=end)
        files.overwrite(self.folder / files.HEAD, head_line(new))
        return new

    def _recall(self) -> Head:
        try:
            return parse_head((self.folder / files.HEAD).read_bytes())
        except LedgerError as error:
            raise LedgerError(f"{self.folder / files.HEAD}: {error}") from None

    # -- what a crash left --------------------------------------------------------------

    def _settle(self) -> Head:
        """Bring head and lines together: a crash may lie between them."""
        head = self._recall()
        active = self.folder / files.ACTIVE
        lines, rest = files.last_bytes(active)
        try:
            end, dropped = find_end(lines, lambda: self._end_of_closed(head), head)
        except LedgerError as error:
            raise LedgerError(
                f"{self.folder}: {error}; bring the newest copy of the log back, or move the "
                "folder away as evidence to begin a new log"
            ) from None
        rest = b"".join(line + b"\n" for line in lines[len(lines) - dropped :]) + rest
        if rest:
            self._move_aside(active, rest, end)
        return head if end == head.end else self._remember(head, end)

    def _end_of_closed(self, head: Head) -> Mark:
        """Return the last entry before the active file."""
        numbers = [n for n in files.closed_numbers(self.folder) if n >= head.file]
        if not numbers:
            return head.start
        lines, _ = files.last_bytes(self.folder / files.closed_name(numbers[-1]))
        return parse_entry(lines[-1] if lines else b"").mark

    def _move_aside(self, active: Path, rest: bytes, end: Mark) -> None:
        name = f"torn-{end.sequence + 1:06d}-{bytes_hash(rest)}.jsonl{_PENDING}"
        replace_private(self.folder / name, rest)
        files.cut(active, files.size_of(active) - len(rest))

    def _note(self, head: Head) -> Head:
        """Log the file that was moved aside; a crash in between logs it twice rather than never."""
        for path in sorted(self.folder.glob(f"torn-*{_PENDING}")):
            digest = path.name.removesuffix(f".jsonl{_PENDING}").rpartition("-")[2]
            details: dict[str, Value] = {"kind": "incomplete line", "fingerprint": digest}
            head, _ = self._append(head, Event.REPAIR, ITSELF, details)
            files.move(path, path.with_suffix(""))
        return head

    # -- writing ------------------------------------------------------------------------

    def _append(
        self, head: Head, event: Event, actor: str, details: dict[str, Value]
    ) -> tuple[Head, JournalEntry]:
        entry = next_entry(head.end, time=self._clock(), event=event, actor=actor, details=details)
        active = self.folder / files.ACTIVE
        size = files.size_of(active)
        if size and size + len(entry.line) > self._max_bytes:
            head = self._rotate(head)
        size = files.append_line(active, entry.line)
        try:
            return self._remember(head, entry.mark), entry
        except OSError:
            if self._recall() == head:  # else the entry stands: the head has it
                files.cut(active, size)
            raise

    def _rotate(self, head: Head) -> Head:
        numbers = files.closed_numbers(self.folder)
        number = max(numbers[-1] + 1 if numbers else 1, head.file)
        files.move(self.folder / files.ACTIVE, self.folder / files.closed_name(number))
        return self._delete_old()

    def _delete_old(self) -> Head:
        """Delete the closed files that need not stay; the head says so before they go."""
        head = self._recall()
        numbers = [n for n in files.closed_numbers(self.folder) if n >= head.file]
        old = [] if self._keep is None else numbers[: -self._keep]
        start = self._start_after(head, old, numbers)
        if start is not None:
            head = Head(start=start, file=old[-1] + 1, end=head.end)
            self._flush(head)
        for number in files.closed_numbers(self.folder):
            if number < head.file:
                (self.folder / files.closed_name(number)).unlink()
        return head

    def _start_after(self, head: Head, old: list[int], numbers: list[int]) -> Mark | None:
        """Return the last entry of the `old` files; None where the next one does not fit.

        A file that does not fit is evidence: it stays, and `verify` names it.
        """
        if not old or numbers != list(range(head.file, head.file + len(numbers))):
            return None
        lines, _ = files.last_bytes(self.folder / files.closed_name(old[-1]))
        after = self.folder / files.closed_name(numbers[len(old)])
        try:
            start = parse_entry(lines[-1] if lines else b"").mark
            follow(start, parse_entry(files.first_line(after)))
        except LedgerError:
            return None
        return start


@contextmanager
def _faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerError(
            f"expected to write the log in {folder}, found: {error.strerror or error}; free some "
            "space or give this user access, then repeat"
        ) from error


__all__ = ["Journal", "Verified", "verify"]
