"""A file that a command wrote for a person: known by its content, and deleted with its hash said.

Nothing else is deleted: a folder, a link, a file of another program, or one that a second name
leads to. What the disk keeps of it, no program knows (docs/retention.md).
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evidence.pack import LARGEST_PACK, check_pack
from fieldfare.shared.party.encrypted_stream import is_backup
from fieldfare.shared.system.private_files import may_change, open_regular, sync_folder
from fieldfare.shared.transcript.file import read_transcript

BY_HAND: Final = "by hand: no study and no run needs it"
_ZIP: Final = b"PK\x03\x04"
_BEGIN: Final = 64


class OwnFileKind(Enum):
    """A kind of file; the value is the word of statements and screens."""

    PACK = "evidence pack"
    TRANSCRIPT = "transcript"
    BACKUP = "backup"


@dataclass(frozen=True)
class OwnFile:
    """A file that may be deleted.

    Attributes:
        path: where it is.
        kind: what it is.
        digest: SHA-256 of its content, hex.
        size: bytes.
        study, run: whose it is, where its content says so.
        place: inode, size and time of the last change, as it was read.
    """

    path: Path
    kind: OwnFileKind
    digest: str
    size: int
    study: str = ""
    run: str = ""
    place: tuple[int, int, int] = (0, 0, 0)


def examined(path: Path) -> OwnFile:
    """Read a file and say what it is.

    Raises:
        UsageError: a link, a folder, a file with two names, or none that a command of ours wrote.
    """
    if path.is_symlink():
        raise UsageError(f"{path}: expected a file, found a link: name the file itself")
    try:
        with open_regular(path) as file:
            place = _place_of(path)  # a change from here on shows when it is deleted
            kind, study, run = _kind(file, path)
            file.seek(0)
            digest = hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if (names := path.lstat().st_nlink) != 1:
        raise UsageError(
            f"{path}: expected a file with one name, found {names}: its content would "
            "stay under the others"
        )
    return OwnFile(path, kind, digest, place[1], study, run, place)


def check_still_there(file: OwnFile) -> None:
    """Check, before anything is said of it, that a file that was examined is there and can go.

    Raises:
        UsageError: another file, or other content, is in its place by now, or its folder is closed.
        OSError: it is gone.
    """
    if _place_of(file.path) != file.place:
        raise UsageError(f"{file.path}: expected the file that was read, found another: repeat")
    if not may_change(file.path.absolute().parent):
        raise UsageError(f"{file.path}: expected a folder that may be written, found another")


def remove(file: OwnFile) -> None:
    """Delete a file that was examined.

    Raises:
        UsageError, OSError: as `check_still_there`, or the folder refuses it.
    """
    check_still_there(file)
    file.path.unlink()
    sync_folder(file.path.absolute().parent)


def _place_of(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _kind(file: BinaryIO, path: Path) -> tuple[OwnFileKind, str, str]:
    begin = file.read(_BEGIN)
    file.seek(0)
    if is_backup(begin):
        return OwnFileKind.BACKUP, "", ""
    if begin.startswith(_ZIP):
        manifest = check_pack(file.read(LARGEST_PACK)).manifest
        if manifest is not None:
            return OwnFileKind.PACK, manifest.study, manifest.run
    if begin.startswith(b"{"):
        try:
            header = read_transcript(file).header
        except ProtocolError:
            pass
        else:
            return OwnFileKind.TRANSCRIPT, header.study, header.run
    raise UsageError(
        f"{path}: expected an evidence pack, a transcript or a backup, found something else: "
        "nothing else is deleted"
    )
