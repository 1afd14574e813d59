"""What is inside a backup: a header that names every file with its hash, then their bytes in order.

Inside the encryption: without the key nobody learns whose backup it is, or of when.
"""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fieldfare.shared.canonical import SHOWN, canonical_bytes
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.encrypted_stream import EncryptedReader, EncryptedWriter
from fieldfare.shared.party.home_files import HomeFile, InBackup, kind_of
from fieldfare.shared.system.private_files import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder

FORMAT: Final = 1
LONGEST_HEADER: Final = 64 * 1024 * 1024  # some 200,000 files
BLOCK: Final = 1024 * 1024
_LENGTH_BYTES: Final = 4

_PATH: Final = "[A-Za-z0-9_~./-]{1,1024}"

_MOMENT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00$"

# Whoever has the public half of a recovery key writes headers, and people read them on a screen.
BackupPath = Annotated[str, StringConstraints(pattern=f"^{_PATH}$")]


class BackupPart(BaseModel):
    """A part of the header."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SavedFile(BackupPart):
    """A file: its path below the home, bytes, and their SHA-256."""

    path: BackupPath
    size: int = Field(ge=0)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BackupHeader(BackupPart):
    """Whose home it was, and of when.

    Attributes:
        party: whose: the two have different commands.
        name: the institution's id, or the coordinator's name.
        made: when everything in it stood as it is (ISO 8601, UTC).
        software: the version that wrote it.
        facts: where the party stood, for people and for the check after a restore.
        files: in the order in which their bytes follow.
    """

    format: Literal[1] = FORMAT
    party: Literal["institution", "coordinator"]
    name: Annotated[str, StringConstraints(pattern=SHOWN, min_length=1, max_length=64)]
    made: Annotated[str, StringConstraints(pattern=_MOMENT)]
    software: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+!_-]{1,64}$")]
    facts: dict[str, Annotated[str, StringConstraints(pattern=r"^[!-~]{0,256}$")] | int]
    files: tuple[SavedFile, ...] = Field(strict=False)


def check_path(path: str) -> None:
    """Check that a file's path below a home may stand in a header.

    Raises:
        UsageError: it has another character; no file of Fieldfare's own has.
    """
    if re.fullmatch(_PATH, path) is None:
        raise UsageError(
            f"{path!a}: expected letters, digits and _~./- in the name of a file among those "
            "that a backup takes, found others: move it out of the home, then repeat"
        )


def saved_files(folder: Path, paths: Sequence[str]) -> tuple[SavedFile, ...]:
    """Describe copied files.

    Raises:
        OSError: one cannot be read.
    """
    return tuple(_saved(folder, path) for path in paths)


def stamp_of(time: datetime) -> str:
    """Write a moment as headers keep it."""
    return time.isoformat(timespec="seconds")


def write_archive(out: EncryptedWriter, header: BackupHeader, folder: Path) -> None:
    """Write the header and the files that it names, from a folder where nobody changes them.

    Raises:
        UsageError: a file is not what the header says.
        OSError: the disk refuses it.
    """
    head = canonical_bytes(header)
    out.write(len(head).to_bytes(_LENGTH_BYTES, "big") + head)
    for one in header.files:
        digest, size = hashlib.sha256(), 0
        with (folder / one.path).open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
                out.write(block)
        if (size, digest.hexdigest()) != (one.size, one.sha256):
            raise UsageError(f"{one.path}: expected a file at rest, found it changing: repeat")
    out.finish()


def read_archive(
    stream: EncryptedReader,
    folder: Path,
    table: Sequence[HomeFile],
    check: Callable[[BackupHeader], None],
) -> BackupHeader:
    """Write the files of a backup into a new folder; they count once this has returned.

    Args:
        stream: of the backup.
        folder: an empty one that nobody else uses.
        table: kinds of files that may be in it; a path of another kind is refused.
        check: refuses another party's, before any file is written.

    Raises:
        UsageError: changed, cut off, of a later format, or with a file that no home has.
        OSError: the disk refuses it.
    """
    header = read_header(stream)
    check(header)
    for one in header.files:
        kind = kind_of(one.path, table)
        if ".." in one.path.split("/") or kind is None or kind.backup is not InBackup.COPIED:
            raise UsageError("expected files of a home in the backup, found another: it is refused")
    for one in header.files:
        _write(stream, folder / one.path, one)
    stream.finish()
    return header


def read_header(stream: EncryptedReader) -> BackupHeader:
    """Return the header, with which a backup begins.

    Raises:
        UsageError: changed, cut off, or of a later format.
    """
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    if length > LONGEST_HEADER:
        raise UsageError(f"expected a header of at most {LONGEST_HEADER} bytes, found {length}")
    try:
        return BackupHeader.model_validate_json(stream.read(length))
    except ValidationError:
        raise UsageError(
            f"expected a backup's header of format {FORMAT}, found another: use the newer "
            "Fieldfare that wrote it"
        ) from None


def _write(stream: EncryptedReader, path: Path, saved: SavedFile) -> None:
    _make_private(path.parent)
    digest, left = hashlib.sha256(), saved.size
    with path.open("xb") as file:
        path.chmod(PRIVATE_FILE)
        while left:
            block = stream.read(min(BLOCK, left))
            digest.update(block)
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != saved.sha256:
        raise UsageError(f"{saved.path}: expected the bytes that the header names, found others")
    sync_folder(path.parent)


def _make_private(folder: Path) -> None:
    """Make a folder and those above it; Path.mkdir gives its mode to the innermost alone."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(PRIVATE_FOLDER)


def _saved(folder: Path, path: str) -> SavedFile:
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SavedFile(path=path, size=(folder / path).stat().st_size, sha256=digest)
