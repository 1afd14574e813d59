"""Files and folders that appear whole under a new name, or not at all; folders that pass.

Whatever ends the work in the middle (a full disk, an interrupt, an error) leaves nothing; what a
kill leaves is removed by the next one.
"""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.system.private_files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    WRITE_BY_OTHERS,
    may_change,
    move_to_new,
    sync_folder,
)

_NO_FOLDER: Final = (errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that appears under its name, mode 0600, once all of it is on the disk.

    Raises:
        UsageError: something is there, or came meanwhile; nothing is overwritten. Or another
            command is writing this file.
        OSError: the disk refuses it.
    """
    if path.exists() or path.is_symlink():
        raise _existing(path)
    part = path.with_name(f".{path.name}.part")
    with (
        _named(path, part),
        os.fdopen(_own_draft(part), "wb") as file,
        ExitStack() as undone,
    ):
        undone.callback(part.unlink, missing_ok=True)
        yield file
        file.flush()
        os.fsync(file.fileno())
        try:
            move_to_new(part, path)
        except FileExistsError:
            raise _existing(path) from None
        undone.pop_all()
    sync_folder(path.absolute().parent)


@contextmanager
def _named(path: Path, part: Path) -> Iterator[None]:
    """Name the file that a disk refused to write: a write to an open one does not.

    Nobody knows a file's draft, `part`; a refusal that is about another file keeps its name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(part):
            error.filename = str(path)
        raise


def _existing(path: Path) -> UsageError:
    return UsageError(
        f"{path}: expected a new file, found an existing one: nothing is overwritten; name "
        "another, with its date perhaps"
    )


def _own_draft(part: Path) -> int:
    """Open a draft that nobody else writes, empty; one that a kill left is taken over."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        opened, made = os.open(part, flags | os.O_EXCL, PRIVATE_FILE), True
    except FileExistsError:
        opened, made = os.open(part, flags, PRIVATE_FILE), False
    if not _is_ours(opened, part):
        os.close(opened)
        raise UsageError(
            f"{part}: expected one command that writes this file, found another at work: wait for "
            "it, or choose another name"
        )
    found = os.fstat(opened)
    left = (found.st_uid, found.st_nlink, stat.S_ISREG(found.st_mode)) == (os.geteuid(), 1, True)
    if not made and not left:  # a share may say of what we made that it is another's
        os.close(opened)
        raise UsageError(
            f"{part}: expected nothing, or a draft of your own, found another's file: remove it, "
            "or write into a folder where nobody else may"
        )
    os.fchmod(opened, PRIVATE_FILE)
    os.ftruncate(opened, 0)
    return opened


def _is_ours(opened: int, part: Path) -> bool:
    """Lock a draft; whoever held it may have named or removed it since it was opened."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(opened), part.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False


@contextmanager
def passing_folder(path: Path, fault: type[FieldfareError] = UsageError) -> Iterator[Path]:
    """Give an empty folder, mode 0700, that is gone afterwards.

    The folder above it is this user's alone, or one where nobody takes another's away.

    Args:
        path: a folder that a kill left there is emptied.
        fault: what to raise.

    Raises:
        FieldfareError: as `fault`: another command uses it, or it is another user's.
        OSError: the disk refuses it.
    """
    with _held_folder(path, fault):
        try:
            empty_folder(path)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def lasting_folder(path: Path, fault: type[FieldfareError] = UsageError) -> Iterator[Path]:
    """Give a folder, mode 0700, with what an interrupted use left in it.

    It is gone after one that came to an end, well or not; an interrupt or a kill leaves it.

    Args:
        path: as of `passing_folder`.
        fault: what to raise.

    Raises:
        FieldfareError: as `passing_folder`.
        OSError: the disk refuses it.
    """
    with _held_folder(path, fault), ExitStack() as ended:
        ended.callback(shutil.rmtree, path, ignore_errors=True)
        try:
            yield path
        except (KeyboardInterrupt, SystemExit):
            ended.pop_all()
            raise


@contextmanager
def _held_folder(path: Path, fault: type[FieldfareError]) -> Iterator[None]:
    with suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_FOLDER)
    held = _own_folder(path, fault)
    try:
        if not _is_ours(held, path):
            raise fault(
                f"{path}: expected no other command at work in it, found one: wait for its end"
            )
        os.fchmod(held, PRIVATE_FOLDER)
        yield
    finally:
        os.close(held)


def _own_folder(path: Path, fault: type[FieldfareError]) -> int:
    """Open a folder of this user: whoever else made it could open it again, and read along.

    A share may give what we make to another user; then a file that we make has that owner too.
    """
    with ExitStack() as undone:
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            undone.callback(os.close, held)
            with tempfile.TemporaryFile(dir=f"/proc/self/fd/{held}") as ours:
                own = os.fstat(ours.fileno()).st_uid == os.fstat(held).st_uid
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            own = False
        if not own:
            raise fault(
                f"{path}: expected a folder of this user, found another's, or no folder: take it "
                "away, or write where others may not"
            )
        undone.pop_all()
        return held


def own_folder(path: Path) -> None:
    """Make a folder, mode 0700, or take an existing one that no other user may change.

    Raises:
        UsageError: it is another user's, a link or no folder, or others may write there: they could
            put a folder of theirs in the place of one that is written to.
        OSError: the disk refuses it.
    """
    with suppress(FileExistsError):
        path.mkdir(PRIVATE_FOLDER, parents=True)
    held = _own_folder(path, UsageError)
    try:
        open_to = os.fstat(held).st_mode & WRITE_BY_OTHERS
    finally:
        os.close(held)
    if open_to:
        raise UsageError(
            f"{path}: expected a folder that this user alone may change, found one that others "
            f"may: chmod go-w {path}"
        )


def empty_folder(folder: Path) -> None:
    """Remove all that is in a folder, but follow no link.

    Raises:
        OSError: the disk refuses it.
    """
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


@contextmanager
def new_home(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` that takes its name at the end, or is gone.

    Raises:
        UsageError: something is at `path`; a home is never restored over another. Or this user
            makes no folders beside it, as in /var/lib.
        OSError: the disk refuses it.
    """
    place = path.absolute()
    if place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise UsageError(
            f"{path}: expected a new or empty folder, found something in it: a backup is never "
            "restored over a home; choose another --home"
        )
    place.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if not may_change(place.parent):
        raise UsageError(
            f"{place.parent}: expected a folder in which this user may make the home, found one "
            "where it may not: restore into a folder of its own, and let root move the home to "
            "its place (docs/backup.md)"
        )
    with passing_folder(place.with_name(f".{place.name}.restoring")) as draft:
        yield draft
        draft.rename(place)  # an empty folder in its place goes
        sync_folder(place.parent)
