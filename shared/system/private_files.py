"""Files that only their owner may read or change: made, replaced, read.

A file is created with its mode, never tightened afterwards, and is on the disk when the
call returns. What is read is checked through the open file, so that it cannot be swapped
between the check and the reading.

The user at the keyboard, as the operating system knows it.
"""

import ctypes
import errno
import fcntl
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from fieldfare.shared.errors import FieldfareError, KeysError, UsageError

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
OTHERS: Final = 0o077  # any right of the group or of everybody else
WRITE_BY_OTHERS: Final = 0o022
MAX_PRIVATE_BYTES: Final = 64 * 1024
PKCS11: Final = "pkcs11:"  # begins a file that names a key in a token, RFC 7512
LOCK_PAUSE: Final = 0.05  # seconds
ROOT: Final = 0
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2  # renameat2(2)
_RENAME_NOREPLACE: Final = 1


def keep_from_writing_by_others() -> None:
    """Let others change nothing that this process makes from here on, whatever the umask was."""
    os.umask(os.umask(OTHERS) | WRITE_BY_OTHERS)


def create_private_folder(path: Path) -> None:
    """Make a folder, mode 0700, or take an empty one.

    Raises:
        UsageError: something is there already; nothing is ever overwritten.
        OSError: the disk or a folder above refuses it.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True)
    except FileExistsError:
        if not path.is_dir() or any(path.iterdir()):
            raise UsageError(
                f"{path}: expected a new or empty folder, found files in it: nothing is "
                "overwritten; choose another --home, or move the files away"
            ) from None
    path.chmod(PRIVATE_FOLDER)


def may_change(folder: Path) -> bool:
    """Tell whether this user may make and delete files in a folder, as its mode says."""
    return os.access(folder, os.W_OK | os.X_OK)


def create_private(path: Path, content: bytes) -> None:
    """Write a new file, mode 0600, and bring it to the disk; a full disk leaves none.

    Raises:
        UsageError: the path exists; nothing is ever overwritten.
        OSError: the disk or the folder refuses it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, PRIVATE_FILE)
    except FileExistsError:
        raise UsageError(
            f"{path}: expected a new file, found an existing one: nothing is overwritten; move it "
            "away first"
        ) from None
    with ExitStack() as undone:
        undone.callback(path.unlink, missing_ok=True)  # half of it would pass for the whole
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, PRIVATE_FILE)  # an odd umask may have taken our own rights too
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        undone.pop_all()
    sync_folder(path.parent)


def replace_private(path: Path, content: bytes) -> None:
    """Put a file, mode 0600, in another's place: after a crash it is the old or the new one.

    Raises:
        OSError: the disk or the folder refuses it.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # left behind by a crash, never in use
    create_private(fresh, content)
    fresh.replace(path)
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths of one file system change places, in one step that no crash cuts in two.

    False where the file system, or the C library, knows no such step (renameat2(2)).

    Raises:
        OSError: the disk or a folder refuses it.
    """
    return _renamed(one, other, _RENAME_EXCHANGE)


def move_to_new(one: Path, other: Path) -> None:
    """Give a file or folder a name that nothing has, in one step: never over another.

    Where the file system knows no such step, what is there is looked for just before.

    Raises:
        FileExistsError: something has that name.
        OSError: the disk or a folder refuses it.
    """
    if _renamed(one, other, _RENAME_NOREPLACE):
        return
    if os.path.lexists(other):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(other))
    one.rename(other)


def _renamed(one: Path, other: Path, how: int) -> bool:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), how) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
        return False
    raise OSError(number, os.strerror(number), str(other))


def unnamed_file(folder: Path, size: int = 0) -> BinaryIO:
    """Open a file on a folder's disk that no path leads to, mode 0600; it is gone once closed.

    Args:
        folder: made where it is absent, mode 0700.
        size: bytes that it gets room for at once: a mapped file on a full disk kills who writes.

    Raises:
        UsageError: the folder is not this user's alone, or its disk has no room.
    """
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_FOLDER)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_mode & OTHERS:
            raise UsageError(f"{folder}: expected a folder of this user alone: chmod 700 it")
        file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 -- the caller's
        if size:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise UsageError(
            f"{folder}: expected room for records on its disk, found: {error.strerror or error}"
        ) from None
    return file


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path, wait: float = 0.0) -> Iterator[bool]:
    """Lock a folder against other processes that do the same; gives whether that worked.

    Args:
        folder: there already.
        wait: seconds to wait for another process.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(max(round(wait / LOCK_PAUSE), 0)):
            if _locked(descriptor):
                break
            time.sleep(LOCK_PAUSE)
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_regular(path: Path) -> BinaryIO:
    """Open a file that a person named, for its bytes.

    A pipe would wait for somebody who writes, and a device never ends.

    Raises:
        OSError: not readable, or something else than a file; the reason is in `strerror`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "a pipe or a device; save it first", str(path))


def read_at_most(path: Path, limit: int, fault: type[FieldfareError] = UsageError) -> bytes:
    """Read a file from outside, of at most `limit` bytes.

    Raises:
        FieldfareError: as `fault`: not readable, no regular file, or too large.
    """
    try:
        with open_regular(path) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise fault(f"{path}: expected a readable file, found: {error.strerror}") from None
    if len(content) > limit:
        raise fault(f"{path}: expected at most {limit} bytes, found more")
    return content


def read_private(path: Path) -> bytes:
    """Read a file with a secret, of at most 64 KiB, that only its owner can read.

    A pipe is taken as it is: a shell or a service manager may hand a secret over in one.

    Raises:
        KeysError: no such file, not readable, no file, too large, of another user, or open to
            group or others; says what to do.
    """
    return _read(path, check_private)


def read_public(path: Path) -> bytes:
    """Read a file of at most 64 KiB that anybody may read, such as a public key.

    Raises:
        KeysError: no such file, not readable, or too large.
    """
    return _read(path, lambda _path, _found: None)


def _read(path: Path, check: Callable[[Path, os.stat_result], None]) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            check(path, os.fstat(descriptor))
            content = file.read(MAX_PRIVATE_BYTES + 1)
    except OSError as error:
        raise KeysError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if len(content) > MAX_PRIVATE_BYTES:
        raise KeysError(f"{path}: expected at most {MAX_PRIVATE_BYTES} bytes, found more")
    return content


def check_private(path: Path, found: os.stat_result) -> None:
    """Check that only its owner can read an open file; a pipe is taken as it is.

    Raises:
        KeysError: no file, of another user, or open to group or others; says what to do.
    """
    if stat.S_ISFIFO(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise KeysError(f"{path}: expected a file, found something else; check the path")
    reader = os.geteuid()
    if found.st_uid not in {reader, ROOT}:
        raise KeysError(
            f"{path}: expected a file of the user who runs this (uid {reader}), found one of uid "
            f"{found.st_uid}: run as that user, or change the owner"
        )
    exposed = exposed_mode(found.st_mode, owner=found.st_uid, group=found.st_gid, reader=reader)
    if exposed:
        raise KeysError(
            f"{path}: expected mode 0600, found {stat.S_IMODE(found.st_mode):04o}, so others may "
            f"have read it: replace it if they may, then chmod 600 {path}"
        )


def exposed_mode(mode: int, *, owner: int, group: int, reader: int) -> int:
    """Return the permission bits by which another user could reach a file; 0 is well kept.

    A service manager hands a credential to an unprivileged user as root's file, readable by
    root's group: only root belongs to that group, so reading by it exposes nothing.
    """
    lent = owner == ROOT and group == ROOT and reader != ROOT
    return mode & (OTHERS & ~stat.S_IRGRP if lent else OTHERS)


def path_problems(path: Path, forbidden: int, mode: int) -> Iterator[str]:
    """Yield the problems of a path's owner or mode; a missing path has none.

    Args:
        path: a file or a folder.
        forbidden: permission bits that it may not have.
        mode: which mode it should have, for the remedy.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"{path}: expected a path that this user can reach, found: {error.strerror}"
        return
    user = os.geteuid()
    if found.st_uid not in {user, ROOT}:
        yield (
            f"{path}: expected owner uid {user}, found uid {found.st_uid}: run this as the user "
            "who owns it"
        )
    elif stat.S_IMODE(found.st_mode) & forbidden:
        yield (
            f"{path}: expected mode {mode:04o}, found {stat.S_IMODE(found.st_mode):04o}: chmod "
            f"{mode:o} {path}"
        )


# -- os user --------------------------------------------------------------------------------------


def os_user() -> str:
    """Return the name of the process's real user; its number where it has no name.

    From the user id, not from the environment, where anybody may write any name.
    """
    return user_name(os.getuid())


def user_name(uid: int) -> str:
    """Return the name of a user id; `uid N` where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user id without an entry, as containers have
        return f"uid {uid}"
