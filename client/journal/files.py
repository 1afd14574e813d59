"""The files of an institution's log: names, lock, and writes that are on disk when they return.

    log.jsonl               the newest entries
    log-000001.jsonl ...    older ones, never written again
    head.json               where the log begins and ends: see `Head`
    torn-*.jsonl            incomplete lines that a crash left, moved aside
    lock                    held while one process writes

Files are 0600. Every function raises OSError; the journal turns it into a LedgerError.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fieldfare.client.journal.entries import MAX_LINE
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.system.private_files import PRIVATE_FILE, sync_folder

ACTIVE: Final = "log.jsonl"
HEAD: Final = "head.json"
LOCK: Final = "lock"
WINDOW: Final = 3 * MAX_LINE  # an end of this size holds at least the last two lines whole

_CLOSED: Final = re.compile(r"log-(\d{6,})\.jsonl")
_COMMON: Final = os.O_CLOEXEC | os.O_NOFOLLOW  # a link would lead the log to another place
_POLL_SECONDS: Final = 0.001


def closed_name(number: int) -> str:
    """Return the name of the file that was closed as number `number`, from 1."""
    return f"log-{number:06d}.jsonl"


def closed_numbers(folder: Path) -> list[int]:
    """Return the numbers of the closed files, in order."""
    found = (_CLOSED.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


@contextmanager
def locked(folder: Path, *, busy_timeout: float, shared: bool = False) -> Iterator[None]:
    """Hold the log's lock: alone, or `shared` with other readers.

    The file is opened each time, because flock(2) locks belong to an open file: threads and
    forked processes would share one that stays open. A reader creates nothing.

    Raises:
        LedgerError: others held it for `busy_timeout` seconds.
    """
    if shared and not (folder / LOCK).exists():
        yield  # a copy of a log, which no process writes
        return
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    lock = os.open(folder / LOCK, flags | _COMMON, PRIVATE_FILE)
    try:
        _wait(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, busy_timeout)
        yield
    finally:
        os.close(lock)


def _wait(lock: int, kind: int, busy_timeout: float) -> None:
    deadline = time.monotonic() + busy_timeout
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            raise LedgerError(
                f"expected the log's lock within {busy_timeout:g} s, found another process "
                "holding it: let it finish, then repeat"
            )
        time.sleep(_POLL_SECONDS)


def move(old: Path, new: Path) -> None:
    """Rename, and put the name on disk."""
    old.replace(new)
    sync_folder(new.parent)


def append_line(path: Path, line: bytes) -> int:
    """Add a line to `path`, all of it or nothing; return the size before.

    Raises:
        OSError: the disk is full, read-only or failing; what was written is cut off again as
            far as the disk allows. `move_aside` removes the rest of it later.
    """
    created = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _COMMON, PRIVATE_FILE)
    try:
        size = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, line)
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if created:
        sync_folder(path.parent)
    return size


def cut(path: Path, size: int) -> None:
    """Cut `path` back to `size` bytes."""
    descriptor = os.open(path, os.O_WRONLY | _COMMON)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def overwrite(path: Path, content: bytes) -> None:
    """Put `content` in the place of as many bytes of an existing file.

    One write of one sector that allocates nothing: a killed process leaves all of it or none,
    and so does a power cut. It reaches the disk when the system gets to it.
    """
    descriptor = os.open(path, os.O_WRONLY | _COMMON)
    try:
        if os.pwrite(descriptor, content, 0) != len(content):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int:
    """Return the size of `path` in bytes, 0 where there is none."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def last_bytes(path: Path) -> tuple[list[bytes], bytes]:
    """Return the last lines of `path`, two or all of them whole, and what follows the last one.

    Lines come without their newline; before the last two there may be part of a line. A
    missing file has no lines.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _COMMON)
    except FileNotFoundError:
        return [], b""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - WINDOW))
        content = file.read()
    *lines, rest = content.split(b"\n")
    return lines, rest


def first_line(path: Path) -> bytes:
    """Return the first line of `path` without its newline."""
    with path.open("rb") as file:
        return file.readline(MAX_LINE).removesuffix(b"\n")


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
