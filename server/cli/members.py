"""`fieldfare coordinator enrol`, `members`, `remove`, `roster`.

Who is a member, under which keys; what members pin.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import click
import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    DraftOption,
    HomeOption,
    JsonOption,
    PassphraseFileOption,
    RosterKeyOption,
    RosterPassphraseOption,
    SignedOption,
    drafted_lines,
    opened_roster_key,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.members import enrolment
from fieldfare.server.members.node_registration import settle_nodes
from fieldfare.server.members.publication import (
    PublishedRoster,
    draft_roster,
    publish,
    take_roster,
)
from fieldfare.server.members.roster import published_roster
from fieldfare.server.members.standing import EnrolledStanding, membership, spoken_key
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.advice import at_home
from fieldfare.shared.errors import ProtocolError, RunError, UsageError
from fieldfare.shared.protocol.identity import (
    matches_fingerprint,
    node_key_fingerprint,
)
from fieldfare.shared.protocol.signed_files import open_roster, read_roster, read_signed
from fieldfare.shared.system.private_files import create_private


@app.command("coordinator.members")
def list_members(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the enrolled institutions, with their keys and their place on the roster."""
    found = membership(CoordinatorHome.open(home))
    if as_json:
        version = found.roster.version if found.roster else None
        listed = [_as_data(one) for one in found.members]
        data = {"members": listed, "roster": version, "keys_together": bool(found.beside)}
        typer.echo(json.dumps(data, indent=2, sort_keys=True))
        return
    if not found.members:
        typer.echo("no institution is enrolled yet: fieldfare coordinator enrol FILE")
        return
    for one in found.members:
        contact = f"  {one.member.contact}" if one.member.contact else ""
        typer.echo(f"{one.member.institution}  ({one.place}){contact}")
        typer.echo(f"  identity   {one.identity}")
        typer.echo(f"  node       {one.node}")
    if found.behind:
        typer.echo("The roster is behind: fieldfare coordinator roster")
    if found.beside:
        typer.echo(found.beside)


def _as_data(one: EnrolledStanding) -> dict[str, object]:
    return {
        "institution": one.member.institution,
        "identity": one.member.identity,
        "node": one.member.node,
        "contact": one.member.contact,
        "revoked": one.member.revoked,
        "standing": one.place,
    }


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
    """Check the files that institutions sent, and make each a member under its key."""
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
    last_answer: Annotated[
        Path | None,
        typer.Option("--last-answer", help="What it signed when it left.", show_default=False),
    ] = None,
) -> None:
    """Remove an institution: the next roster lacks it, and its node is no longer admitted."""
    opened = CoordinatorHome.open(home)
    found = enrolment.member_called(opened, institution)
    given = (roster_key, roster_passphrase_file, passphrase_file)
    key = None if draft else opened_roster_key(opened, *given)
    typer.echo(f"{found.institution}  identity   {spoken_key(found.identity)}")
    if not yes and not typer.confirm("Remove it? Its node key can never be used here again."):
        typer.echo("nothing was changed")
        raise typer.Exit(EXIT_DECLINED)
    enrolment.remove(opened, institution, read_signed(last_answer) if last_answer else b"")
    typer.echo(f"removed {institution}")
    if published_roster(opened) is None:
        typer.echo("no roster was published yet, so there is none to change")
    elif key is None:
        typer.echo(
            "It stays on the roster until you publish the next one: fieldfare coordinator roster"
        )
    elif enrolment.enrolled(opened):
        typer.echo("\n".join(told(publish(opened, key))))
        typer.echo(f"Send {opened.roster} to every member: until they accept it, they go on with")
        typer.echo("the earlier one, on which it still stands.")
    else:
        typer.echo("No member is left to publish a roster for; the last roster stays valid.")
    _settle(opened)


def _agree(paper: enrolment.Paper, *, yes: bool, expected: str) -> None:
    """Let a person compare; a revocation needs no comparing, its own key signed it."""
    if expected and not matches_fingerprint(expected, bytes.fromhex(paper.identity)):
        raise UsageError(
            f"--fingerprint: expected {spoken_key(paper.identity)}, found another: nothing was "
            "changed; ask the institution, in person or by telephone, which one is theirs"
        )
    if yes or expected or paper.change is enrolment.MembershipChange.REVOCATION:
        return
    question = "Did you compare the identity's fingerprint with the institution? Enrol it?"
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
            "The SuperLink does not answer: `fieldfare coordinator start` gives it the members."
        )
        return
    for name in settled.registered:
        typer.echo(f"the SuperLink lets {name}'s node in")
    if settled.taken_off:
        typer.echo(f"the SuperLink lets {settled.taken_off} former node(s) in no longer")
    for name, reason in settled.refused:
        typer.echo(f"the SuperLink does not take {name}'s node: {reason}")
        typer.echo("the institution makes a new one: fieldfare institution keys rotate node")


def _shown(paper: enrolment.Paper) -> Iterator[str]:
    yield f"{paper.institution}: {paper.change.value}"
    yield f"identity   {spoken_key(paper.identity)}"
    yield f"node       {node_key_fingerprint(paper.node)}"
    if paper.contact:
        yield f"contact    {paper.contact}"


def _done(paper: enrolment.Paper) -> str:
    if paper.change is enrolment.MembershipChange.REVOCATION:
        return at_home(f"{paper.institution} counts no more. Next: fieldfare coordinator roster")
    if paper.change is enrolment.MembershipChange.DETAILS:
        return f"{paper.institution}: kept"
    return at_home(f"{paper.institution}: kept. Next: fieldfare coordinator roster")


# -- roster ----------------------------------------------------------------------------------------

MULTIPLICITY: Final = """\
How many of the institutions may know the same person, at most?
  1  no person is a customer or a case of two of them: least noise
  2  a person may be known to two: twice the noise, and the promise holds for them too
It is one constant for all studies. Who is known to more than it says gets less than is
promised: at 1, somebody known to two has epsilon 2.15 where 1 is promised (delta 1e-5).\
"""


@app.command("coordinator.roster")
def roster(
    home: HomeOption = DEFAULT_HOME,
    multiplicity: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Institutions that may know the same person.",
            show_default="as before; asked for at first",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A copy to send.", show_default=False)] = None,
    after: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="After an old backup: the newest roster that any institution has.",
            show_default=False,
        ),
    ] = None,
    draft: DraftOption = None,
    signed: SignedOption = None,
    roster_key: RosterKeyOption = None,
    roster_passphrase_file: RosterPassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Publish the signed roster of members; where nothing changed, the same version again."""
    opened = CoordinatorHome.open(home)
    if out is not None:
        _check_free(opened, out)
    if signed is None and multiplicity is None and not published_roster(opened):
        multiplicity = _asked_multiplicity() if enrolment.members(opened) else None
    if draft is not None:
        create_private(draft, draft_roster(opened, multiplicity=multiplicity, after=after))
        typer.echo("\n".join(drafted_lines(draft, "roster")))
        return
    if signed is not None:
        made = take_roster(opened, read_signed(signed), str(signed))
    else:
        key = opened_roster_key(opened, roster_key, roster_passphrase_file, passphrase_file)
        made = publish(opened, key, multiplicity=multiplicity, after=after)
    if out is not None:
        out.write_bytes(made.content)
    typer.echo("\n".join(told(made)))
    typer.echo(f"Send {out or opened.roster} to every member; each looks at it and pins it with")
    typer.echo("      fieldfare institution roster accept FILE")
    typer.echo("Then members compare keys with each other, not with you: docs/coordinator.md.")
    typer.echo("If one of them runs this coordinator, it is one of the t that studies withstand.")


def _asked_multiplicity() -> int:
    """Ask for the constant that every study rests on; it is never chosen in silence.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "--multiplicity: expected the number of institutions that may know the same person, "
            "found neither it nor a terminal to ask at: 1 where no person is a customer or case of "
            "two of them, 2 where a person may be"
        )
    typer.echo(MULTIPLICITY)
    return typer.prompt("Institutions that may know the same person", type=click.IntRange(1, 64))


def told(made: PublishedRoster) -> Iterator[str]:
    """Yield the published roster, a line for each member."""
    found = made.roster
    state = "published" if made.fresh else "nothing changed since"
    count = len(found.members)
    yield f"{state} version {found.version}, members: {count}, M = {found.multiplicity}"
    for one in found.members:
        yield f"  {one.id}  {spoken_key(one.key)}"


def _check_free(home: CoordinatorHome, out: Path) -> None:
    """Let a new file be written, or an earlier roster of this coordinator be replaced."""
    if not out.exists():
        return
    try:
        open_roster(read_roster(out), roster_public(home))
    except ProtocolError:
        raise UsageError(
            f"{out}: expected a new file or an earlier roster, found something else: nothing is "
            "overwritten"
        ) from None
