"""A party's home: how the folder is made, and looked at when it is opened.

Which files and folders lie in it, each party's own layout says (client/home/layout.py,
server/home/layout.py).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import (
    OTHERS,
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    WRITE_BY_OTHERS,
    create_private_folder,
    path_problems,
)

_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class HomePath:
    """A path of a home, by its name below the folder."""

    def __init__(self, below: str) -> None:
        """Keep the name: parts with slashes between them."""
        self._below = below

    def __get__(self, home: "HomeFolder", owner: "type[HomeFolder]") -> Path:
        """Return where it is in this home."""
        return home.path / self._below


@dataclass(frozen=True)
class HomeFolder(ABC):
    """A party's folder.

    Attributes:
        path: the folder, absolute.
        OF: whose it is, in words.
        INIT: the command that makes one.
    """

    OF: ClassVar[str]
    INIT: ClassVar[str]

    path: Path

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the folder (0700) and those inside it; no files.

        Raises:
            UsageError: something is there already; nothing is ever overwritten.
            OSError: the disk or a folder above refuses it.
        """
        home = cls(path.absolute())
        create_private_folder(home.path)
        home.make_folders()
        return home

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return an existing home after a look at every folder's and file's mode and owner.

        Raises:
            UsageError: no home, an unfinished one, or one that others can reach; names every
                problem, one line each, and what to do.
        """
        home = cls(path.absolute())
        if not home.settings.is_file():
            raise UsageError(
                f"{path}: expected {cls.OF} folder with {home.settings.name}, found none: "
                f"give --home, or make one with `fieldfare {cls.INIT}`"
            )
        problems = list(home._problems())
        if problems:
            raise UsageError("\n".join(problems))
        return home

    def make_folders(self) -> None:
        """Make the folders inside that are not there, each with its mode.

        Raises:
            OSError: the disk refuses it.
        """
        for folder in self.folders:
            folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
            folder.chmod(self.access(folder)[1])

    @property
    @abstractmethod
    def folders(self) -> tuple[Path, ...]:
        """Every folder inside, outer ones first."""

    @property
    @abstractmethod
    def settings(self) -> Path:
        """The file that is written last when a home is made."""

    @property
    @abstractmethod
    def secret(self) -> tuple[Path, ...]:
        """Files and folders that nobody else may read; some may be absent."""

    @property
    @abstractmethod
    def trusted(self) -> tuple[Path, ...]:
        """Files that nobody else may write: they decide this party's behaviour."""

    def access(self, folder: Path) -> tuple[int, int]:
        """Return the rights that no folder may have, and its mode."""
        del folder
        return OTHERS, PRIVATE_FOLDER

    def _problems(self) -> Iterator[str]:
        yield from path_problems(self.path, OTHERS, PRIVATE_FOLDER)
        for folder in self.folders:
            if folder.is_dir():
                yield from path_problems(folder, *self.access(folder))
            else:
                yield f"{folder}: expected a folder, found none: mkdir -m 700 {folder}"
        for path in self.secret:
            yield from path_problems(
                path, OTHERS, PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE
            )
        for path in self.trusted:
            yield from path_problems(path, WRITE_BY_OTHERS, PRIVATE_FILE)


def is_plain_name(text: str) -> bool:
    """Say whether a text can be a file's name that leads nowhere else."""
    return _PLAIN_NAME.fullmatch(text) is not None


def hex32(text: str, name: str) -> str:
    """Return an id of 32 bytes in hex; a name from outside never becomes a path.

    Raises:
        UsageError: something else.
    """
    if not _HEX32.fullmatch(text):
        raise UsageError(
            f"expected {name} of 64 lower-case hexadecimal digits, found something else"
        )
    return text


def run_id(text: str) -> str:
    """Return the id of a run; a name from outside never becomes a path.

    Raises:
        UsageError: something else.
    """
    if not is_plain_name(text):
        raise UsageError(
            "expected a run id of letters, digits, '.', '_' and '-' with no '.' first, found "
            "something else"
        )
    return text
