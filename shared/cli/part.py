"""The commands of one part, and which module of its room holds each."""

from importlib import import_module

import click
import typer
from typer.main import get_command_from_info


class Part(typer.Typer):
    """The one Typer app of a part; a module of its room is imported when its command is typed.

    Each module writes `@app.command("study.check")`: a dot separates the words of a call.

    Attributes:
        modules: the module of each command.
        gathers: the module that gathers evidence from this part's homes; empty: it has none.
    """

    def __init__(self, room: str, *, gathers: str = "", **commands: str) -> None:
        """Offer `commands`: the names that each module of a room holds, in one text."""
        super().__init__(add_completion=False)
        self.gathers = gathers
        self.modules = {
            name: f"{room}.{module}" for module, names in commands.items() for name in names.split()
        }

    def load(self, name: str) -> click.Command:
        """Import the module of a command, and return the command."""
        import_module(self.modules[name])
        return get_command_from_info(
            next(one for one in self.registered_commands if one.name == name),
            pretty_exceptions_short=self.pretty_exceptions_short,
            rich_markup_mode=self.rich_markup_mode,
        )
