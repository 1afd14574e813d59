"""The root command. Parts register their commands by an entry point each; this is the only exit.

A part's entry point is in the group `fieldfare.parts`. Another package adds a command by one in
the group `fieldfare.commands`, which has the command's name, with a dot for a subcommand, and leads
to a Typer app. Commands are loaded only when they are asked for. Lists and completion load none:
their texts are in `commands.toml`, in order of work.
"""

import errno
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

import click
import typer
from click.shell_completion import CompletionItem
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from fieldfare.shared.advice import meant, told
from fieldfare.shared.cli.part import PARTS, Part
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.study.allowed_packages import VARIABLE, permit
from fieldfare.shared.system.private_files import keep_from_writing_by_others
from fieldfare.shared.terminal.streams import make_streams_plain, plain_streams

GROUP: Final = "fieldfare.commands"
_ACCESS: Final = "access for this user", "have its owner give it, or name another place"
_ROOM: Final = "room on its disk", "make some, and repeat the command"
_OF_DISK: Final = {
    errno.ENOENT: ("it, in a folder that is there", "correct the path, or make its folder"),
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: ("a place that may be written", "name another"),
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EISDIR: ("a file", "name one"),
    errno.ENOTDIR: ("folders above it", "correct the path"),
    errno.ENAMETOOLONG: ("a shorter name", "name another place"),
}
EXIT_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it
SECTIONS: Final = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text(encoding="utf-8")
)  # heading -> command -> what it does, in order of work
SUMMARIES: Final = {name: said for section in SECTIONS.values() for name, said in section.items()}
OTHERS: Final = "Others"
# The extra whose libraries a command needs, by the first of these words in its call.
ROLES: Final = {
    "attack": "demo",
    "coordinator": "coordinator",
    "demo": "demo",
    "federation": "demo",
    "institution": "institution",
    "join": "demo",  # of a study: it simulates
    "model": "demo",
    "query": "coordinator",
    "simulate": "demo",
    "sweep": "demo",
    "world": "demo",
}


@cache
def commands() -> dict[str, Callable[[], click.Command]]:
    """Return each command's loader by name; no other package replaces a command of ours."""
    parts: list[Part] = [point.load() for point in entry_points(group=PARTS)]
    own = {name: partial(part.load, name) for part in parts for name in part.modules}
    others = {point.name: partial(_added, point) for point in entry_points(group=GROUP)}
    return {**others, **own}


def _added(point: EntryPoint) -> click.Command:
    return get_command(point.load())


class _Formatter(click.HelpFormatter):
    """Of commands that explain themselves without rich: typer escapes brackets for it anyway."""

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write terms and what they mean, brackets without their escapes."""
        unescaped = [(term, said.replace("\\[", "[")) for term, said in rows]
        super().write_dl(unescaped, col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _Formatter


class LazyGroup(click.Group):
    """A group whose commands are loaded on use."""

    def __init__(self, prefix: str = "", **settings: Any) -> None:
        """Offer the commands whose names start with `prefix`."""
        super().__init__(**settings)
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names at this level, in order of work."""
        return [name for names in self._sections(ctx).values() for name in names]

    def _sections(self, ctx: click.Context) -> dict[str, list[str]]:
        del ctx
        heads = [n.removeprefix(self._prefix) for n in commands() if n.startswith(self._prefix)]
        found = {head.partition(".")[0] for head in heads}
        sections = {
            heading: [name for one in told if (name := one.removeprefix(self._prefix)) in found
                      and one.startswith(self._prefix)]
            for heading, told in SECTIONS.items()
        }  # fmt: skip
        said = {name for names in sections.values() for name in names}
        sections[OTHERS] = sorted(found - said)
        return {heading: names for heading, names in sections.items() if names}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, or open the next level."""
        if "." in cmd_name:  # a dot separates levels in an entry point's name, not in a call
            return None
        name = self._prefix + cmd_name
        load = commands().get(name)
        if load is not None:
            command = _plain(load(), cmd_name)
            below = any(one.startswith(f"{name}.") for one in commands())
            return _with_commands(command, name) if below else command
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
        """List commands under headings by their descriptions; loads commands without one."""
        sections = self._sections(ctx)
        width = max((len(name) for names in sections.values() for name in names), default=0)
        for heading, names in sections.items():
            with formatter.section(heading if len(sections) > 1 else "Commands"):
                formatter.write_dl([(f"{name:<{width}}", self._said(ctx, name)) for name in names])

    def _said(self, ctx: click.Context, name: str) -> str:
        said = SUMMARIES.get(self._prefix + name)
        if said is None and self._prefix and (command := self.get_command(ctx, name)):
            return command.get_short_help_str(1000)
        return said or ""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands without loading any, so that a key press does not wait; options."""
        names = (name for name in self.list_commands(ctx) if name.startswith(incomplete))
        found = [CompletionItem(n, help=SUMMARIES.get(self._prefix + n)) for n in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def _with_commands(command: click.Command, name: str) -> LazyGroup:
    """Return a command that does its own work where none of those below it is typed."""

    def callback(**values: Any) -> Any:
        below = click.get_current_context().invoked_subcommand
        return command.callback(**values) if command.callback and not below else None

    group = LazyGroup(
        f"{name}.",
        name=command.name,
        params=command.params,
        callback=callback,
        help=command.help,
        invoke_without_command=True,
    )
    group.context_class = command.context_class
    return group


def _plain(command: click.Command, name: str) -> click.Command:
    """Name a command, and let it and what is below explain itself as lists do: without boxes."""
    command.name, command.context_class = name, _Context
    if isinstance(command, TyperCommand | TyperGroup):
        command.rich_markup_mode = None
    if isinstance(command, click.Group):
        for below, one in command.commands.items():
            one.short_help = one.get_short_help_str(1000)  # lists wrap it and cut nothing off
            _plain(one, below)
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
            metavar="NAME==VERSION[:MODULE:CLASS]",
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
    """Run a command and return its exit status; what it writes is plain (`shared/terminal`).

    0 done, 1 failed, 2 bad input, 3 refused by policy or budget, 130 interrupted.
    """
    with plain_streams():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    # Set before flwr is imported: nothing here calls home.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        _check_texts(arguments)
        result = root.main(list(arguments), prog_name="fieldfare", standalone_mode=False)
    except (FieldfareError, ModuleNotFoundError) as error:
        return _failed(error, next((ROLES[word] for word in arguments if word in ROLES), None))
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        _complain_of_call(error)
        return error.exit_code
    except (KeyboardInterrupt, RuntimeError, ValueError) as error:  # click.Abort is one too
        if not _is_stop(error):
            raise
        return _stopped(error)
    except OSError as error:
        _complain(_of_disk(error))
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _check_texts(arguments: Sequence[str]) -> None:
    """Refuse words that are no text here: they could be neither printed, stored nor handed on."""
    for number, word in enumerate(arguments, start=1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"word {number} after fieldfare: expected text in UTF-8, found other bytes: a file "
                "with such a name needs another name first"
            ) from None


def _failed(error: FieldfareError | ModuleNotFoundError, role: str | None) -> int:
    problem = told(error, role) if isinstance(error, ModuleNotFoundError) else error
    if not isinstance(problem, FieldfareError):
        raise problem
    _complain(str(problem))
    return problem.exit_code


def _of_disk(error: OSError) -> str:
    """Return what a disk's no was about, and what to do."""
    expected, remedy = _OF_DISK.get(error.errno or 0, ("a disk that answers", "look at the disk"))
    found = error.strerror or error
    return f"{error.filename or 'file'}: expected {expected}, found: {found}; {remedy}"


def _is_stop(error: BaseException) -> bool:
    """Whether somebody stopped the command: DuckDB and pydantic make errors of an interrupt."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, (KeyboardInterrupt, click.Abort)):
        found = found.__cause__
    return found is not None


def _stopped(error: BaseException) -> int:
    """Say why a command ended before its end: somebody stopped it, or nobody answered it."""
    if isinstance(error.__context__, EOFError):  # of click's own prompt
        _complain(
            "expected an answer to the question above, found the end of the input: answer it in a "
            "terminal, or give the option that does (such as --yes, see --help)"
        )
        return EXIT_BAD_INPUT
    _complain("interrupted; nothing more was released")
    return EXIT_INTERRUPTED


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
    """Run the command line and leave with its status; a defect's traceback is plain too."""
    make_streams_plain()
    keep_from_writing_by_others()
    sys.exit(run(sys.argv[1:]))
