"""Whose home a command is given: the parties that have homes, and what each does alone."""

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from fieldfare.shared.advice import told
from fieldfare.shared.cli.part import PARTS, Part
from fieldfare.shared.errors import UsageError

T = TypeVar("T")

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The coordinator's or the institution's folder; what it holds says which of the two.",
        show_default="FIELDFARE_COORDINATOR, FIELDFARE_HOME, ./coordinator or ./institution",
    ),
]
# A file, never the passphrase itself: arguments and environments can be read by others.
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        envvar="FIELDFARE_PASSPHRASE_FILE",
        help="A private file whose one line is the key's passphrase, or its token's PIN.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class HomeParty:
    """One of the parties that have a home, as the commands that all of them share know it.

    Attributes:
        name: as backups and messages have it; the folder that is its home where none is named.
        marks: files by one of which its folder is known, complete or not.
        variable: the environment variable that names a home.
        services: of the operating system that it runs as.
        service_home: where its home lies as a service.
        tables: by subject, where what it does alone stands; imported when it is asked for.
    """

    name: str
    marks: tuple[str, ...]
    variable: str
    services: tuple[str, ...]
    service_home: Path
    tables: dict[str, str]

    @property
    def usual(self) -> Path:
        """The folder that is its home where a command names none."""
        return Path(os.environ.get(self.variable) or self.name)

    def owns(self, path: Path) -> bool:
        """Tell whether a folder is its home."""
        return any((path / mark).is_file() for mark in self.marks)

    def table(self, kind: type[T]) -> T:
        """Import and return what it does alone of one subject.

        Raises:
            PackageError: a library is not installed here.
        """
        module, _, name = self.tables[kind.__name__].rpartition(".")
        try:
            found: Any = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise told(error, self.name) from None
        if not isinstance(found, kind):
            raise TypeError(f"{module}.{name}: expected {kind.__name__}")
        return found


@cache
def parties() -> tuple[HomeParty, ...]:
    """Return the parties of all parts."""
    parts = (point.load() for point in entry_points(group=PARTS))
    return tuple(part.party for part in parts if isinstance(part, Part) and part.party)


def party_of(home: Path | None) -> tuple[HomeParty, Path]:
    """Return whose home is meant, and where it is; without a name, what the environment names.

    Raises:
        UsageError: no party's, or of several.
        OSError: the folder cannot be entered.
    """
    named = [one for one in parties() if os.environ.get(one.variable)] or parties()
    asked = [(one, one.usual) for one in named] if home is None else [(p, home) for p in parties()]
    return _the_one(asked)


def service_party() -> HomeParty:
    """Return whose home lies where a service has it.

    Raises:
        UsageError, OSError: as `party_of`.
    """
    return _the_one([(one, one.service_home) for one in parties()])[0]


def _the_one(asked: list[tuple[HomeParty, Path]]) -> tuple[HomeParty, Path]:
    found = [(party, path) for party, path in asked if party.owns(path)]
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(f"{path} ({party.name})" for party, path in found)
        raise UsageError(f"--home: expected one home, found {both}: say which")
    places = " or ".join(dict.fromkeys(str(path) for _, path in asked))
    marks = " or ".join(party.marks[0] for party, _ in asked)
    raise UsageError(
        f"--home: expected a coordinator's folder or an institution's, with {marks}, found none at "
        f"{places}: name it, or make one with `fieldfare coordinator init` or `institution init`"
    )
