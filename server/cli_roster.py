"""`fieldfare coordinator members` and `roster`: the members, and the roster that they pin.

Errors pass through: the root command turns them into exit codes.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import click
import typer

from fieldfare.server.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    PassphraseFileOption,
)
from fieldfare.server.enrolment import Member, members
from fieldfare.server.founding import load_signing_key, signing_public
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.publication import Published, publish, published_roster
from fieldfare.shared.enrolment import node_key_fingerprint
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.identity import fingerprint
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.offers import open_roster
from fieldfare.shared.roster import Roster
from fieldfare.shared.sealed_files import read_sealed

MULTIPLICITY: Final = """\
How many of the institutions may know the same person, at most?
  1  nobody is a customer or a case of two of them: least noise
  2  somebody may be known to two: twice the noise, and the promise holds for them too
It is one constant for all studies. Who is known to more than it says gets less than is
promised: at 1, somebody known to two has epsilon 2.15 where 1 is promised (delta 1e-5).\
"""

members_app = typer.Typer(add_completion=False)
coordinator_roster_app = typer.Typer(add_completion=False)


@members_app.command("members")
def list_members(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List who is enrolled, under which keys, and who is on the roster."""
    opened = CoordinatorHome.open(home)
    roster, found = published_roster(opened), members(opened)
    if as_json:
        listed = [_as_data(member, roster) for member in found]
        version = roster.version if roster else None
        typer.echo(json.dumps({"members": listed, "roster": version}, indent=2, sort_keys=True))
        return
    if not found:
        typer.echo("nobody is enrolled yet: fieldfare coordinator enrol FILE")
        return
    for member in found:
        contact = f"  {member.contact}" if member.contact else ""
        typer.echo(f"{member.institution}  ({_place(member, roster)}){contact}")
        typer.echo(f"  identity   {_spoken(member.identity)}")
        typer.echo(f"  node       {node_key_fingerprint(member.node)}")
    if _is_behind(found, roster):
        typer.echo("The roster is behind: fieldfare coordinator roster")


@coordinator_roster_app.command("roster")
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
    above: Annotated[
        int,
        typer.Option(
            min=0,
            help="After an old backup: the highest version that any institution has.",
            show_default=False,
        ),
    ] = 0,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Publish who takes part, signed; where nothing changed, the same version again."""
    opened = CoordinatorHome.open(home)
    key = load_signing_key(opened, read_passphrase(passphrase_file))
    if out is not None:
        _check_free(opened, out)
    if multiplicity is None and published_roster(opened) is None and members(opened):
        multiplicity = _asked_multiplicity()
    made = publish(opened, key, multiplicity=multiplicity, above=above)
    if out is not None:
        out.write_bytes(made.content)
    typer.echo("\n".join(told(made)))
    typer.echo(f"Send {out or opened.roster} to every member; each looks at it and pins it with")
    typer.echo("      fieldfare institution roster accept FILE")


def _asked_multiplicity() -> int:
    """Ask for the constant that every study rests on; it is never chosen in silence.

    Raises:
        UsageError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "--multiplicity: expected the number of institutions that may know the same person, "
            "found neither it nor a terminal to ask at: 1 where nobody is a customer or case of "
            "two of them, 2 where somebody may be"
        )
    typer.echo(MULTIPLICITY)
    return typer.prompt("Institutions that may know the same person", type=click.IntRange(1, 64))


def told(made: Published) -> Iterator[str]:
    """Say what was published, a line for each member."""
    found = made.roster
    state = "published" if made.fresh else "nothing changed since"
    count = len(found.members)
    yield f"{state} version {found.version}, members: {count}, M = {found.multiplicity}"
    for one in found.members:
        yield f"  {one.id}  {_spoken(one.key)}"


def _check_free(home: CoordinatorHome, out: Path) -> None:
    """Let a new file be written, or an earlier roster of this coordinator be replaced."""
    if not out.exists():
        return
    try:
        open_roster(read_sealed(out), signing_public(home))
    except ProtocolError:
        raise UsageError(
            f"{out}: expected a new file or an earlier roster, found something else: nothing is "
            "overwritten"
        ) from None


def _place(member: Member, roster: Roster | None) -> str:
    """Say how a member stands on the roster, in a few words."""
    listed = {one.id: one.key for one in roster.members} if roster else {}
    on_it = listed.get(member.institution)
    if member.revoked:
        return "identity taken back, STILL ON THE ROSTER" if on_it else "identity taken back"
    if on_it is None:
        return "not on the roster yet"
    return "on the roster" if on_it == member.identity else "on the roster under its former key"


def _is_behind(found: tuple[Member, ...], roster: Roster | None) -> bool:
    wanted = {one.institution: one.identity for one in found if not one.revoked}
    return bool(wanted) and wanted != {
        one.id: one.key for one in (roster.members if roster else ())
    }


def _as_data(member: Member, roster: Roster | None) -> dict[str, object]:
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
