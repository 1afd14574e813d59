"""The commands of a part, which module of its room holds each, and the party whose homes it has."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import click
import typer
from typer.core import TyperArgument, TyperCommand
from typer.main import get_command_from_info
from typer.utils import get_params_from_function

from fieldfare.shared.advice import told
from fieldfare.shared.errors import UsageError

PARTS: Final = "fieldfare.parts"  # the group of entry points
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


class Part(typer.Typer):
    """The one Typer app of a part; a module of its room is imported when its command is typed.

    Each module writes `@app.command("study.check")`: a dot separates the words of a call.

    Attributes:
        modules: the module of each command.
        imports: the module whose `IMPORTERS` read records of further forms; empty: it has none.
        party: whose homes it has; None: it has none.
    """

    def __init__(
        self, room: str, *, imports: str = "", party: HomeParty | None = None, **commands: str
    ) -> None:
        """Offer `commands`: the names that each module of a room holds, in one text."""
        super().__init__(add_completion=False)
        self.imports, self.party = imports, party
        self.modules = {
            name: f"{room}.{module}" for module, names in commands.items() for name in names.split()
        }

    def load(self, name: str) -> click.Command:
        """Import the module of a command, and return the command."""
        import_module(self.modules[name])
        found = next(one for one in self.registered_commands if one.name == name)
        found.cls = _Command
        command = get_command_from_info(
            found,
            pretty_exceptions_short=self.pretty_exceptions_short,
            rich_markup_mode=self.rich_markup_mode,
        )
        if found.callback:
            _explain_arguments(command, found.callback)
        return command


class _Command(TyperCommand):
    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: typer lists arguments, and click 8.5 would a second time."""


def _explain_arguments(command: click.Command, callback: Callable[..., Any]) -> None:
    """Give arguments their help again, which typer below 0.21 loses under click 8.5."""
    declared = get_params_from_function(callback)
    for one in command.params:
        if isinstance(one, TyperArgument) and one.name and not one.help:
            one.help = getattr(declared[one.name].default, "help", None)


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
