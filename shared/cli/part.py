"""The commands of a part, and which module of its room holds each."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click
import typer
from typer.core import TyperArgument, TyperCommand
from typer.main import get_command_from_info
from typer.utils import get_params_from_function

PARTS: Final = "fieldfare.parts"  # the group of entry points


@dataclass(frozen=True, kw_only=True)
class HomeParty:
    """One of the parties that have a home, as their shared commands know it.

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
