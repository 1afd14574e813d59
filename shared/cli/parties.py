"""Whose home a command is given: the parties that have homes, and what each does alone."""

import os
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from fieldfare.shared.advice import told
from fieldfare.shared.cli.part import PARTS, HomeParty, Part
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


def usual_home(party: HomeParty) -> Path:
    """Return the folder that is a party's home where a command names none."""
    return Path(os.environ.get(party.variable) or party.name)


def owns(party: HomeParty, path: Path) -> bool:
    """Tell whether a folder is a party's home."""
    return any((path / mark).is_file() for mark in party.marks)


def party_table(party: HomeParty, kind: type[T]) -> T:
    """Import and return what a party does alone of one subject.

    Raises:
        PackageError: a library is not installed here.
    """
    module, _, name = party.tables[kind.__name__].rpartition(".")
    try:
        found: Any = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise told(error, party.name) from None
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
    asked = (
        [(one, usual_home(one)) for one in named]
        if home is None
        else [(p, home) for p in parties()]
    )
    return _the_one(asked)


def service_party() -> HomeParty:
    """Return whose home lies where a service has it.

    Raises:
        UsageError, OSError: as `party_of`.
    """
    return _the_one([(one, one.service_home) for one in parties()])[0]


def _the_one(asked: list[tuple[HomeParty, Path]]) -> tuple[HomeParty, Path]:
    found = [(party, path) for party, path in asked if owns(party, path)]
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
