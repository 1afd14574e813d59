"""The files of a home, copied for a backup and written again from one; alike for every party."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.party.backup_archive import (
    BackupHeader,
    check_path,
    read_archive,
    read_header,
)
from fieldfare.shared.party.encrypted_stream import EncryptedReader
from fieldfare.shared.party.home_files import HomeFile, InBackup, files_in, kind_of
from fieldfare.shared.party.other_versions import refuse_other_versions
from fieldfare.shared.party.recovery_key import RecoveryPrivate, RecoveryPublic
from fieldfare.shared.sqlite.copies import check_database, copy_database

COPIES: Final = ".backup"  # in the home, while a backup is written


@dataclass(frozen=True)
class WrittenBackup:
    """What is in a backup.

    Attributes:
        header: of it.
        strangers: files in the home that are none of its own, which it lacks.
    """

    header: BackupHeader
    strangers: tuple[str, ...]


@dataclass(frozen=True)
class BackupSource:
    """A backup that is to be opened.

    Attributes:
        file: where it is.
        key: the recovery key's private half.
        name: whose it must be; empty: whose it is.
    """

    file: Path
    key: RecoveryPrivate
    name: str = ""

    def party(self) -> str:
        """Return which party's home is in it.

        Raises:
            KeysError, UsageError, OSError: as `unpack`.
        """
        with self.file.open("rb") as content:
            return read_header(EncryptedReader(content, str(self.file), self.key)).party

    def unpack(self, folder: Path, party: str, table: Sequence[HomeFile]) -> BackupHeader:
        """Write the files into an empty folder, and let SQLite check its own.

        Raises:
            KeysError: another recovery key's.
            UsageError: changed, cut off, another party's, of a later version's home, or a database
                is damaged.
            OSError: the disk refuses it.
        """

        def check(header: BackupHeader) -> None:
            """Refuse a backup of another kind or of another party."""
            if header.party != party:
                raise UsageError(
                    f"{self.file}: expected a backup of the kind {party}, found one of the kind "
                    f"{header.party}"
                )
            if self.name not in {"", header.name}:
                raise UsageError(
                    f"{self.file}: expected a backup of {self.name}, found one of {header.name}"
                )

        with self.file.open("rb") as content:
            stream = EncryptedReader(content, str(self.file), self.key)
            header = read_archive(stream, folder, table, check)
        refuse_other_versions(folder, table, self.file)
        check_copies(folder, [saved.path for saved in header.files], table)
        return header


def taken_key(path: Path) -> RecoveryPublic:
    """Return the public half that a home took.

    Raises:
        KeysError: none was taken, or it is damaged.
    """
    if not path.exists():
        raise KeysError(
            f"{path}: expected the public half of a recovery key, found none: make a key on a "
            f"machine that stays offline (fieldfare recovery key FILE), then here: fieldfare "
            "recovery take FILE.pub"
        )
    return RecoveryPublic.read(path)


def new_key(path: Path, content: bytes, name: str) -> RecoveryPublic:
    """Return a public half that may be taken at `path`; `name` begins messages.

    Raises:
        KeysError: none.
        UsageError: another one is there; it is moved away by hand, never replaced unseen.
    """
    key = RecoveryPublic.of(content, name)
    if path.exists():
        raise UsageError(
            f"{path}: expected no recovery key yet, found one: move it away first; backups until "
            "now open with its private half alone"
        )
    return key


def databases_in(home: Path, table: Sequence[HomeFile], first: Sequence[str]) -> list[Path]:
    """Return the databases that a backup takes; those of `first` in that order before the rest."""
    files = files_in(home, table)
    found = [path for path, kind in files if kind and kind.copied_database]
    ordered = [*first, *(path for path in found if path not in first)]
    return [home / path for path in ordered if path in found]


def copy_files(
    home: Path, table: Sequence[HomeFile], copies: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy what a backup takes; return what was copied, and which files belong to no home.

    Writers wait for it; `check_copies` comes when they go on.

    Raises:
        UsageError: a database cannot be copied, or a file has an odd name.
        OSError: the disk refuses it.
    """
    copied, strangers = [], []
    for path, kind in files_in(home, table):
        if kind is None:
            strangers.append(path)
        elif kind.backup is InBackup.COPIED:
            check_path(path)
            target = copies / path
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = copy_database if kind.copied_database else shutil.copyfile
            copy(home / path, target)
            copied.append(path)
    return tuple(copied), tuple(strangers)


def check_copies(folder: Path, copied: Sequence[str], table: Sequence[HomeFile]) -> None:
    """Let SQLite compare every page of the databases among files that were copied.

    Raises:
        UsageError: the first problem.
    """
    for path in copied:
        kind = kind_of(path, table)
        if kind is not None and kind.copied_database:
            check_database(folder / path)
