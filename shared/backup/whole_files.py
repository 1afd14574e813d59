"""A backup's file, and the folder that it comes from or goes to: whole, or not there at all.

Whatever ends the work in the middle (a full disk, an interrupt, an error) leaves nothing; what a
kill leaves is removed by the next one.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    folder_lock,
    sync_folder,
)

COPIES: Final = ".backup"  # in the home, while a backup is written


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that appears under its name, mode 0600, once all of it is on the disk.

    Raises:
        UsageError: something is there; nothing is overwritten.
        OSError: the disk says no.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path}: expected a new file, found an existing one: nothing is overwritten; name "
            "another, with its date perhaps"
        )
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, PRIVATE_FILE), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        sync_folder(path.absolute().parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def passing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder, mode 0700, that is gone afterwards.

    Raises:
        UsageError: another command uses it.
        OSError: the disk says no.
    """
    path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    path.chmod(PRIVATE_FOLDER)
    with folder_lock(path) as alone:
        if not alone:
            raise UsageError(
                f"{path}: expected no other backup or restore at work, found one: wait for it"
            )
        try:
            for left in path.iterdir():  # by a kill
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def new_home(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` that takes its name at the end, or is gone.

    Raises:
        UsageError: something is at `path`; a home is never restored over another.
        OSError: the disk says no.
    """
    place = path.absolute()
    if place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise UsageError(
            f"{path}: expected a new or empty folder, found something in it: a backup is never "
            "restored over a home; choose another --home"
        )
    place.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    with passing_folder(place.with_name(f".{place.name}.restoring")) as draft:
        yield draft
        draft.rename(place)  # an empty folder in its place goes
        sync_folder(place.parent)


def make_folders(folders: Sequence[Path]) -> None:
    """Make folders that are not there yet, mode 0700."""
    for folder in folders:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
