"""`fieldfare coordinator enrol`, `members`, `remove`: who is a member, under which keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    JsonOption,
    PassphraseFileOption,
    RosterKeyOption,
    RosterPassphraseOption,
    opened_roster_key,
)
from fieldfare.server.cli.roster import told
from fieldfare.server.home.initial_setup import signing_public
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.roster_key import together
from fieldfare.server.members import enrolment
from fieldfare.server.members.node_registration import settle_nodes
from fieldfare.server.members.publication import publish, published_roster
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.advice import at_home
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.protocol.identity import (
    fingerprint,
    matches_fingerprint,
    node_key_fingerprint,
)
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import read_signed


@app.command("coordinator.members")
def list_members(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the enrolled institutions, with their keys and their place on the roster."""
    opened = CoordinatorHome.open(home)
    roster, found = published_roster(opened), enrolment.members(opened)
    if as_json:
        listed = [_as_data(member, roster) for member in found]
        version = roster.version if roster else None
        data = {"members": listed, "roster": version, "keys_together": bool(together(opened))}
        typer.echo(json.dumps(data, indent=2, sort_keys=True))
        return
    if not found:
        typer.echo("no institution is enrolled yet: fieldfare coordinator enrol FILE")
        return
    for member in found:
        contact = f"  {member.contact}" if member.contact else ""
        typer.echo(f"{member.institution}  ({_place(member, roster)}){contact}")
        typer.echo(f"  identity   {_spoken(member.identity)}")
        typer.echo(f"  node       {node_key_fingerprint(member.node)}")
    if _is_behind(opened, found, roster):
        typer.echo("The roster is behind: fieldfare coordinator roster")
    if lies := together(opened):
        typer.echo(lies)


def _place(member: enrolment.EnrolledMember, roster: Roster | None) -> str:
    """Say how a member stands on the roster, in a few words."""
    listed = {one.id: one.key for one in roster.members} if roster else {}
    on_it = listed.get(member.institution)
    if member.revoked:
        return "identity taken back, STILL ON THE ROSTER" if on_it else "identity taken back"
    if on_it is None:
        return "not on the roster yet"
    return "on the roster" if on_it == member.identity else "on the roster under its former key"


def _is_behind(
    home: CoordinatorHome, found: tuple[enrolment.EnrolledMember, ...], roster: Roster | None
) -> bool:
    wanted = {one.institution: one.identity for one in found if not one.revoked}
    if not wanted or roster is None:
        return bool(wanted)
    listed = {one.id: one.key for one in roster.members}
    return wanted != listed or roster.coordinator != signing_public(home)


def _as_data(member: enrolment.EnrolledMember, roster: Roster | None) -> dict[str, object]:
    return {
        "institution": member.institution,
        "identity": member.identity,
        "node": member.node,
        "contact": member.contact,
        "revoked": member.revoked,
        "standing": _place(member, roster),
    }


def _spoken(key: str) -> str:
    return fingerprint(bytes.fromhex(key))


@app.command("coordinator.enrol")
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
    """Check the papers that institutions sent, and make each a member under its key."""
    if expected and len(files) > 1:
        raise UsageError(
            f"--fingerprint: expected one file beside it, found {len(files)}: it is that of one "
            "institution"
        )
    opened = CoordinatorHome.open(home)
    taken = 0
    try:
        for file in files:
            _take(
                opened,
                enrolment.examine(opened, read_signed(file), str(file)),
                yes=yes,
                said=expected,
            )
            taken += 1
    finally:
        if taken:  # also those that came before one that is refused
            _settle(opened)


def _take(home: CoordinatorHome, paper: enrolment.Paper, *, yes: bool, said: str) -> None:
    typer.echo("\n".join(_shown(paper)))
    if paper.change is not enrolment.MembershipChange.NONE:
        _agree(paper, yes=yes, expected=said)
        enrolment.keep(home, paper)
        typer.echo(_done(paper))


@app.command("coordinator.remove")
def remove_member(
    institution: Annotated[str, typer.Argument(help="Its id.")],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    passphrase_file: PassphraseFileOption = None,
    roster_key: RosterKeyOption = None,
    roster_passphrase_file: RosterPassphraseOption = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="The roster key is elsewhere: publish afterwards.")
    ] = False,
) -> None:
    """Take an institution off: a new roster without it, and its node is let in no more."""
    opened = CoordinatorHome.open(home)
    found = enrolment.member_called(opened, institution)
    given = (roster_key, roster_passphrase_file, passphrase_file)
    key = None if draft else opened_roster_key(opened, *given)
    typer.echo(f"{found.institution}  identity   {_spoken(found.identity)}")
    if not yes and not typer.confirm("Remove it? Its node key can never be used here again."):
        typer.echo("nothing was changed")
        raise typer.Exit(EXIT_DECLINED)
    enrolment.remove(opened, institution)
    typer.echo(f"removed {institution}")
    if published_roster(opened) is None:
        typer.echo("no roster was published yet, so there is none to change")
    elif key is None:
        typer.echo("It stands on the roster until the next one: fieldfare coordinator roster")
    elif enrolment.enrolled(opened):
        typer.echo("\n".join(told(publish(opened, key))))
        typer.echo(f"Send {opened.roster} to every member: until they accept it, they go on with")
        typer.echo("the earlier one, on which it still stands.")
    else:
        typer.echo("No member is left to publish a roster for; the last one stands.")
    _settle(opened)


def _agree(paper: enrolment.Paper, *, yes: bool, expected: str) -> None:
    """Let a person compare; a revocation needs no comparing, its own key signed it."""
    if expected and not matches_fingerprint(expected, bytes.fromhex(paper.identity)):
        raise UsageError(
            f"--fingerprint: expected {_spoken(paper.identity)}, found another: nothing was "
            "changed; ask the institution out of band which is theirs"
        )
    if yes or expected or paper.change is enrolment.MembershipChange.REVOCATION:
        return
    question = "Did you compare the identity's fingerprint with the institution? Take it?"
    if not typer.confirm(question):
        typer.echo("nothing was changed")
        raise typer.Exit(EXIT_DECLINED)


def _settle(home: CoordinatorHome) -> None:
    """Tell the SuperLink whose nodes it may let in; one that does not run is told at its start."""
    try:
        with control(control_target(home)) as open_control:
            settled = settle_nodes(enrolment.members(home), open_control)
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


def _shown(paper: enrolment.Paper) -> Iterator[str]:
    yield f"{paper.institution}: {paper.change.value}"
    yield f"identity   {_spoken(paper.identity)}"
    yield f"node       {node_key_fingerprint(paper.node)}"
    if paper.contact:
        yield f"contact    {paper.contact}"


def _done(paper: enrolment.Paper) -> str:
    if paper.change is enrolment.MembershipChange.REVOCATION:
        return at_home(f"{paper.institution} counts no more. Next: fieldfare coordinator roster")
    if paper.change is enrolment.MembershipChange.DETAILS:
        return f"{paper.institution}: kept"
    return at_home(f"{paper.institution}: kept. Next: fieldfare coordinator roster")
