"""`fieldfare coordinator enrol` and `remove`.

Errors pass through: the root command turns them into exit codes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli_home import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.server.cli_roster import told
from fieldfare.server.control import control_target
from fieldfare.server.enrolment import (
    Change,
    Paper,
    enrolled,
    examine,
    keep,
    member_called,
    members,
    remove,
)
from fieldfare.server.founding import load_signing_key
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.node_registration import settle_nodes
from fieldfare.server.publication import publish, published_roster
from fieldfare.server.superlink import control
from fieldfare.shared.enrolment import node_key_fingerprint
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.identity import fingerprint, matches_fingerprint
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.next_command import at_home
from fieldfare.shared.sealed_files import read_sealed

enrol_app = typer.Typer(add_completion=False)
remove_app = typer.Typer(add_completion=False)


@enrol_app.command("enrol")
def enrol(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Enrolments, or statements on keys, as they were sent."
        ),
    ],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: the fingerprint was compared before.")
    ] = False,
    expected: Annotated[
        str,
        typer.Option(
            "--fingerprint", help="The identity's, as the institution said it.", show_default=False
        ),
    ] = "",
) -> None:
    """Look at what institutions sent, and make each a member under its key."""
    if expected and len(files) > 1:
        raise UsageError(
            f"--fingerprint: expected one file beside it, found {len(files)}: it is that of one "
            "institution"
        )
    opened = CoordinatorHome.open(home)
    taken = 0
    try:
        for file in files:
            _take(opened, examine(opened, read_sealed(file), str(file)), yes=yes, said=expected)
            taken += 1
    finally:
        if taken:  # also those that came before one that is refused
            _settle(opened)


def _take(home: CoordinatorHome, paper: Paper, *, yes: bool, said: str) -> None:
    typer.echo("\n".join(_shown(paper)))
    if paper.change is not Change.NONE:
        _agree(paper, yes=yes, expected=said)
        keep(home, paper)
        typer.echo(_done(paper))


@remove_app.command("remove")
def remove_member(
    institution: Annotated[str, typer.Argument(help="Its id.")],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Take an institution off: a new roster without it, and its node is let in no more."""
    opened = CoordinatorHome.open(home)
    found = member_called(opened, institution)
    key = load_signing_key(opened, read_passphrase(passphrase_file))
    typer.echo(f"{found.institution}  identity   {_spoken(found.identity)}")
    if not yes and not typer.confirm("Remove it? Its node key can never be used here again."):
        typer.echo("nothing was changed")
        raise typer.Exit(EXIT_DECLINED)
    remove(opened, institution)
    typer.echo(f"removed {institution}")
    if published_roster(opened) is None:
        typer.echo("no roster was published yet, so there is none to change")
    elif enrolled(opened):
        typer.echo("\n".join(told(publish(opened, key))))
        typer.echo(f"Send {opened.roster} to every member: until they accept it, they go on with")
        typer.echo("the earlier one, on which it still stands.")
    else:
        typer.echo("Nobody is left to publish a roster for; the last one stands.")
    _settle(opened)


def _agree(paper: Paper, *, yes: bool, expected: str) -> None:
    """Let a person compare; a revocation needs no comparing, its own key signed it."""
    if expected and not matches_fingerprint(expected, bytes.fromhex(paper.identity)):
        raise UsageError(
            f"--fingerprint: expected {_spoken(paper.identity)}, found another: nothing was "
            "changed; ask the institution out of band which is theirs"
        )
    if yes or expected or paper.change is Change.REVOCATION:
        return
    question = "Did you compare the identity's fingerprint with the institution? Take it?"
    if not typer.confirm(question):
        typer.echo("nothing was changed")
        raise typer.Exit(EXIT_DECLINED)


def _settle(home: CoordinatorHome) -> None:
    """Tell the SuperLink whose nodes it may let in; one that does not run is told at its start."""
    try:
        with control(control_target(home)) as open_control:
            settled = settle_nodes(members(home), open_control)
    except RunError:
        typer.echo(
            "The SuperLink does not answer: `fieldfare coordinator start` tells it who is in."
        )
        return
    for name in settled.registered:
        typer.echo(f"the SuperLink lets {name}'s node in")
    if settled.taken_off:
        typer.echo(f"the SuperLink lets {settled.taken_off} former node(s) in no more")
    for name, reason in settled.refused:
        typer.echo(f"the SuperLink does not take {name}'s node: {reason}")
        typer.echo("the institution makes a new one: fieldfare institution keys renew-node")


def _shown(paper: Paper) -> Iterator[str]:
    yield f"{paper.institution}: {paper.change.value}"
    yield f"identity   {_spoken(paper.identity)}"
    yield f"node       {node_key_fingerprint(paper.node)}"
    if paper.contact:
        yield f"contact    {paper.contact}"


def _done(paper: Paper) -> str:
    if paper.change is Change.REVOCATION:
        return at_home(f"{paper.institution} counts no more. Next: fieldfare coordinator roster")
    if paper.change is Change.DETAILS:
        return f"{paper.institution}: kept"
    return at_home(f"{paper.institution}: kept. Next: fieldfare coordinator roster")


def _spoken(key: str) -> str:
    return fingerprint(bytes.fromhex(key))
