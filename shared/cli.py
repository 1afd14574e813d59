"""The root command. Parts register their commands by entry points; this is the only exit.

An entry point in the group `fieldfare.commands` names a command, with a dot for a
subcommand (`study.new`); it is loaded only when it is asked for.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click
import typer
from typer.main import get_command

from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.extras import told
from fieldfare.shared.named_modules import VARIABLE, permit
from fieldfare.shared.nearest import meant

GROUP: Final = "fieldfare.commands"
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it
SUMMARIES: Final = {
    "audit": "Check a run without trusting its coordinator.",
    "coordinator": "Run a hub: its SuperLink, institutions, studies and runs.",
    "coordinator.model": "What a finished run delivers.",
    "coordinator.run": "Start, stop, resume and watch runs of a study.",
    "coordinator.transcript": "What auditors get of a run.",
    "demo": "Five banks, two NGOs and a hotline of an invented world learn together; a report.",
    "federation": "A hub and three banks as processes on this machine, to look at.",
    "institution": "Run an institution: keys, policy, records, studies, budget.",
    "institution.alert": "One alert: the evidence, and what speaks against it.",
    "institution.keys": "Show, replace or take back this institution's keys.",
    "institution.ledger": "What was spent of the privacy budget, and what is left.",
    "institution.log": "The institution's own log of requests and decisions.",
    "institution.model": "One finished model that arrived.",
    "institution.policy": "What this institution allows, whatever it is asked.",
    "institution.records": "Whether the records fit a study.",
    "institution.report": "A drafted report that a person completes.",
    "institution.roster": "Who takes part, under which keys.",
    "institution.study": "Studies that the coordinator sends.",
    "institution.transcript": "What a run leaves behind, seen with your own ledger.",
    "query": "Questions about all records together: plan, ask, read the answers.",
    "records": "Turn raw records into what a study reads.",
    "roster": "Sign who may take part, as the coordinator.",
    "simulate": "Run a study over records on this machine, against its baselines.",
    "study": "Draft, check and sign studies.",
    "typologies": "Published red flags: list, explain, check, compute them.",
    "world": "Make an invented world to learn and test in.",
}


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


class LazyGroup(click.Group):
    """A group whose commands are entry points, loaded on use."""

    def __init__(self, prefix: str = "", **settings: Any) -> None:
        """Offer the entry points whose names start with `prefix`."""
        super().__init__(**settings)
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names at this level, sorted."""
        del ctx
        heads = [n.removeprefix(self._prefix) for n in _points() if n.startswith(self._prefix)]
        return sorted({head.partition(".")[0] for head in heads})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, or open the next level."""
        if "." in cmd_name:  # a dot separates levels in an entry point's name, not in a call
            return None
        name = self._prefix + cmd_name
        point = _points().get(name)
        if point is not None:
            return _named(get_command(point.load()), cmd_name)
        if cmd_name in self.list_commands(ctx):
            return LazyGroup(f"{name}.", name=cmd_name, help=SUMMARIES.get(name))
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of a name that is none, say which one was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(
                error.message.rstrip(".") + meant(args[0], self.list_commands(ctx)), ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands; at the root by their fixed summaries, so that help stays quick."""
        if self._prefix:
            super().format_commands(ctx, formatter)
            return
        rows = [(name, SUMMARIES.get(name, "")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _named(command: click.Command, name: str) -> click.Command:
    command.name = name
    return command


def _allow(package: tuple[str, ...]) -> None:
    permit(package)
    if package:  # a coordinator's runs are processes of their own
        os.environ[VARIABLE] = " ".join(package)


root = LazyGroup(
    name="fieldfare",
    params=[
        click.Option(
            ["--package"],
            multiple=True,
            envvar=VARIABLE,
            metavar="NAME==VERSION",
            help="A package whose torch modules studies may name; institutions: policy.toml.",
        )
    ],
    callback=_allow,
    help="Institutions learn together; only bounded, noised, masked sums leave them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

click.version_option(
    None, "-V", "--version", package_name="fieldfare", message="%(package)s %(version)s"
)(root)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status.

    0 done, 1 failed, 2 bad input, 3 refused by policy or budget, 130 interrupted.
    """
    # Set before flwr is imported: nothing here calls home.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        result = root.main(list(arguments), prog_name="fieldfare", standalone_mode=False)
    except (FieldfareError, ModuleNotFoundError) as error:
        return _failed(error)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        _complain_of_call(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; nothing more was released")
        return EXIT_INTERRUPTED
    except OSError as error:
        _complain(f"{error.filename or 'file'}: {error.strerror or error}")
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _failed(error: FieldfareError | ModuleNotFoundError) -> int:
    problem = told(error) if isinstance(error, ModuleNotFoundError) else error
    if not isinstance(problem, FieldfareError):
        raise problem
    _complain(str(problem))
    return problem.exit_code


def _complain(message: str) -> None:
    for line in message.split("\n"):
        typer.echo(f"fieldfare: {line}", err=True)


def _complain_of_call(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()  # the help itself
        return
    _complain(error.format_message())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        _complain(f"try '{error.ctx.command_path} --help'")


def main() -> None:
    """Run the command line and leave with its status."""
    sys.exit(run(sys.argv[1:]))
