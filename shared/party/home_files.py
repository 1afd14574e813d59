"""Every file of a home: in which format, how far it grows, what becomes of it in a backup."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.file_form import Form

# What SQLite lays beside a database, and drafts that a crash leaves: a part of no format.
PASSING: Final = ("*-wal", "*-shm", "*-journal", "*.new")


class InBackup(Enum):
    """What becomes of a file in a backup; the value is the word of the documents."""

    COPIED = "copied"
    MADE_ANEW = "made anew by a restore"  # a key that opens a door, or what follows from others
    LEFT_OUT = "left out"  # lives as long as a process, or is another's to keep


class Growth(Enum):
    """How far files of a kind grow over the years; the value is the word of docs/watch.md."""

    REPLACED = "replaced"  # each name once; what is new takes the old one's place
    PASSING = "as long as a process"
    LIMITED = "limited"  # by age, by number or by size, as docs/watch.md says of it
    BY_ACT = "with each act"  # of a person: a roster accepted, a key replaced, a run begun
    FOR_GOOD = "for good"  # what proves something later; what a run adds is measured


@dataclass(frozen=True)
class HomeFile:
    """A kind of file.

    Attributes:
        pattern: its path below the home; `*` is any name.
        form: how it is written, and which number says in which format.
        growth: how far such files grow over the years.
        backup: what becomes of it in a backup.
    """

    pattern: str
    form: Form
    growth: Growth
    backup: InBackup = InBackup.COPIED

    @property
    def copied_database(self) -> bool:
        """Tell whether it is a SQLite file that a backup takes: never as bytes."""
        return self.pattern.endswith(".sqlite") and self.backup is InBackup.COPIED

    def fits(self, path: str) -> bool:
        """Tell whether a path below the home, with slashes, is of this kind."""
        own, parts = self.pattern.split("/"), path.split("/")
        if own[-1] == "**":  # everything below
            own, parts = own[:-1], parts[: len(own) - 1]
        return len(own) == len(parts) and all(map(fnmatch.fnmatchcase, parts, own))

    def lies_below(self, path: str) -> bool:
        """Tell whether such files lie in a folder, which is named as `fits` names files."""
        own, parts = self.pattern.split("/")[:-1], path.split("/")
        return len(parts) <= len(own) and all(map(fnmatch.fnmatchcase, parts, own))


def kind_of(path: str, table: Sequence[HomeFile]) -> HomeFile | None:
    """Return the first kind that a path below a home fits; None where it is no file of a home."""
    return next((one for one in table if one.fits(path)), None)


def files_in(home: Path, table: Sequence[HomeFile]) -> Iterator[tuple[str, HomeFile | None]]:
    """Yield every file below a home with its kind, by path; links to folders are not followed.

    Raises:
        UsageError: a folder whose files belong in a backup is a link.
        OSError: a folder cannot be read.
    """
    found = list[str]()

    def unlisted(error: OSError) -> None:
        """Refuse a folder that cannot be listed; one that passes may be gone meanwhile."""
        lost = Path(error.filename)
        passed = isinstance(error, FileNotFoundError) and lost != home
        if not passed or _holds_copied(lost.relative_to(home).as_posix(), table):
            raise error

    for folder, below, names in os.walk(home, onerror=unlisted):
        below[:] = [name for name in below if not name.startswith(".")]  # a backup's own, no home's
        _refuse_links(home, [Path(folder) / name for name in below], table)
        found += [
            (Path(folder) / name).relative_to(home).as_posix()
            for name in names
            if not any(fnmatch.fnmatchcase(name, passing) for passing in PASSING)
        ]
    for path in sorted(found):
        yield path, kind_of(path, table)


def _refuse_links(home: Path, folders: Sequence[Path], table: Sequence[HomeFile]) -> None:
    for folder in folders:
        path = folder.relative_to(home).as_posix()
        if folder.is_symlink() and _holds_copied(path, table):
            raise UsageError(
                f"{folder}: expected a folder, found a link to one, whose files a backup would "
                "lack: mount its disk there instead"
            )


def _holds_copied(path: str, table: Sequence[HomeFile]) -> bool:
    """Tell whether files that a backup takes may lie in a folder or below it."""
    kept = (one for one in table if one.backup is InBackup.COPIED)
    return any(one.lies_below(path) for one in kept)
