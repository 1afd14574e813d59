"""A unix socket that only its owner and one group ever reach, and that only one process serves.

Permissions never depend on the umask: the socket is bound inside a folder that is closed to all
other users, gets its group and mode there, and is then moved to its name in one step. The same step
replaces the file that a dead process left behind. A lock held for as long as the process lives
tells dead from living; it goes with the process, also after a kill.
"""

import errno
import fcntl
import grp
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import UsageError

LONGEST_PATH: Final = 107  # bytes: unix(7), sun_path without its end
OWNER_ONLY: Final = 0o700
FOR_OTHERS: Final = 0o027  # write for the group, anything for everybody else


@dataclass(frozen=True)
class UnixSocket:
    """The place where a service listens, and the users who may connect.

    Attributes:
        path: of the socket.
        group: name of the group that may connect; None for this process's own.
        mode: of the socket.
        directory_mode: the least mode of the directory; an existing one keeps its group
            where none is named here, so two sockets can share it.
    """

    path: Path
    group: str | None = None
    mode: int = 0o660
    directory_mode: int = 0o750


@dataclass
class Claim:
    """A socket's name, held by this process until it ends.

    Attributes:
        binding: where to bind; nobody else can reach it.
    """

    socket: UnixSocket
    binding: Path
    gid: int
    published: bool = False

    def publish(self) -> None:
        """Give the bound socket its group, its mode and then its name, in this order."""
        os.chown(self.binding, -1, self.gid)
        self.binding.chmod(self.socket.mode)
        self.binding.rename(self.socket.path)
        self.published = True


@contextmanager
def claimed(wanted: UnixSocket) -> Iterator[Claim]:
    """Hold a socket's name: nobody else can claim it, and it is gone afterwards.

    Raises:
        UsageError: a path that is too long, a directory that others may write or enter, an
            unknown group or one that this user is not in, a file that is no socket, or a
            living process that serves there.
    """
    held = UnixSocket(wanted.path.absolute(), wanted.group, wanted.mode, wanted.directory_mode)
    path = held.path
    hidden = _hidden(path)
    if not is_short_enough(path):
        raise UsageError(
            f"expected a socket path of at most {LONGEST_PATH} bytes, found more for "
            f"{_longest(path)}: choose a shorter directory"
        )
    gid = _group_id(held.group)
    _prepare_directory(path.parent, held, gid)
    lock = _lock(path)
    try:
        _check_nobody_serves(path)
        claim = Claim(held, _empty_folder(hidden) / "s", gid)
        try:
            yield claim
        finally:
            if claim.published:
                path.unlink(missing_ok=True)
            claim.binding.unlink(missing_ok=True)
            hidden.rmdir()
    finally:
        os.close(lock)  # the file stays: removing it would let two processes lock two files


def is_short_enough(path: Path) -> bool:
    """Whether a socket can be bound in the folder where it begins, and be reached at its path."""
    return len(os.fsencode(_longest(path.absolute()))) <= LONGEST_PATH


def _longest(path: Path) -> Path:
    return max(_hidden(path) / "s", path, key=lambda one: len(os.fsencode(one)))


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name.removesuffix('.sock')}")  # short: the path has a limit


def _group_id(name: str | None) -> int:
    if name is None:
        return os.getegid()
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UsageError(f"expected a group {name!r}, found none: create it first") from None


def _prepare_directory(directory: Path, wanted: UnixSocket, gid: int) -> None:
    try:
        # Closed until it has its group: a mode alone would let the wrong group in.
        directory.mkdir(mode=OWNER_ONLY, exist_ok=True)
        found = directory.stat()
        _check_directory(directory, found)
        if wanted.group is not None and found.st_gid != gid:
            directory.chmod(OWNER_ONLY)
            os.chown(directory, -1, gid)
        directory.chmod(stat.S_IMODE(found.st_mode) | wanted.directory_mode)
    except OSError as error:
        raise UsageError(
            f"expected a directory {directory} that this user can give to the socket's group, "
            f"found: {error.strerror}; make its parent, and make this user a member of the group"
        ) from error


def _check_directory(directory: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & FOR_OTHERS:
        raise UsageError(
            f"expected a directory {directory} of this user, with mode 0750 or less, found mode "
            f"{stat.S_IMODE(found.st_mode):04o} and user id {found.st_uid}; use one of its own"
        )


def _lock(path: Path) -> int:
    name = path.with_name(f"{path.name}.lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(
            f"expected a lock file {name} that this user can open, found: {error.strerror}"
        ) from error
    try:
        os.fchmod(lock, 0o600)  # whatever the umask made of it, so that it opens again
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise _served(path) from None
    return lock


def _served(path: Path) -> UsageError:
    return UsageError(
        f"expected no process that serves at {path}, found one: stop it, or use another path"
    )


def _check_nobody_serves(path: Path) -> None:
    """Refuse a name that something else than a dead process's socket has."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise UsageError(f"expected a socket or nothing at {path}, found another file: move it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return  # a dead process left it
        except OSError:
            raise _served(path) from None  # busy, or another user's: not ours to replace
    raise _served(path)


def _empty_folder(hidden: Path) -> Path:
    """Make the closed folder, without what a process left that was killed in between."""
    hidden.mkdir(mode=OWNER_ONLY, exist_ok=True)
    hidden.chmod(OWNER_ONLY)
    (hidden / "s").unlink(missing_ok=True)
    return hidden


# -- who is at the other end ----------------------------------------------------------------------

_PEER: Final = struct.Struct("3i")  # process, user, group: unix(7), SO_PEERCRED
_PIECE: Final = 64 * 1024


def peer_user(line: socket.socket) -> int:
    """Return the number of the user at the other end, as the kernel noted it when it connected.

    Raises:
        OSError: the connection is gone.
    """
    content = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, user, _ = _PEER.unpack(content)
    return int(user)


def received(line: socket.socket, most: int, ends: float) -> bytes:
    """Return everything that the other end says before it closes its side.

    Args:
        line: a connection.
        most: bytes.
        ends: until when, on the monotonic clock.

    Raises:
        TimeoutError: it said more after that.
        OSError: it said too much, or went away.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        line.settimeout(left)
        try:
            piece = line.recv(_PIECE)
        except ConnectionResetError:  # it was not heard out: what it said before counts
            piece = b""
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > most:
            raise OSError(errno.EMSGSIZE, f"expected at most {most} bytes, found more")
        pieces.append(piece)
