"""`fieldfare coordinator sign`: the roster key, on a machine without the coordinator's folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from pydantic import ValidationError

from fieldfare.server.cli import app
from fieldfare.server.cli.options import (
    EXIT_DECLINED,
    RosterKeyOption,
    RosterPassphraseOption,
    roster_secret,
)
from fieldfare.server.home.roster_key import HeldRosterKey, open_roster_key
from fieldfare.server.members.publication import drafted, sign_draft
from fieldfare.server.members.standing import spoken_key
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.messages import NoSigner
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import offer_roster, read_signed
from fieldfare.shared.study.toml import problem_lines
from fieldfare.shared.system.private_files import create_private


class CoordinatorKeys(NamedTuple):
    """A coordinator's public keys, hex: of what is online, and of rosters."""

    online: str
    roster: str


@app.command("coordinator.sign")
def sign(
    out: Annotated[Path, typer.Option(help="The file to write, and to carry back.")],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="DRAFT", help="As --draft wrote it; none: a roster of --member."),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=KEY", help="Without DRAFT: an institution and its identity.pub; repeat it."
        ),
    ] = None,
    coordinator: Annotated[
        str,
        typer.Option(metavar="KEY", help="Of --member: the online key, as in signing.pub."),
    ] = "",
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Of --member: higher than every one before.", show_default="1"),
    ] = None,
    multiplicity: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Of --member: institutions that may know the same person.",
            show_default="1",
        ),
    ] = None,
    roster_key: RosterKeyOption = None,
    roster_passphrase_file: RosterPassphraseOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: the draft was checked before.")
    ] = False,
) -> None:
    """Sign a roster or an invitation with the roster key; needs no folder, no network.

    Shows what changed since the roster that this key signed last.
    """
    if roster_key is None:
        raise UsageError("--roster-key: expected the roster key's file, found none")
    held = open_roster_key(roster_key, roster_secret(roster_key, roster_passphrase_file))
    if file is None and member and coordinator:
        keys = CoordinatorKeys(coordinator.strip().lower(), held.public)
        content, name = _draft(held, member, keys, version or 1, multiplicity or 1), "--member"
    elif file is None or member or coordinator or version or multiplicity:
        raise UsageError("expected DRAFT alone, or --member and --coordinator, found others")
    else:
        content, name = read_signed(file), str(file)
    found = drafted(content, name, held.public)
    if isinstance(found, Roster):
        typer.echo("\n".join(_changes(found, held)))
        question = "Did you compare each new fingerprint with its institution? Sign it?"
    else:
        typer.echo(f"an invitation to {found.hub} at {found.address}, bundle {found.bundle}")
        question = "Is that the coordinator's address? Sign it?"
    if not yes and not typer.confirm(question):
        typer.echo("nothing was signed")
        raise typer.Exit(EXIT_DECLINED)
    create_private(out, sign_draft(content, name, held))
    typer.echo(f"wrote {out}, signed: carry it to the coordinator (--signed)")


def _draft(
    held: HeldRosterKey,
    members: Sequence[str],
    keys: CoordinatorKeys,
    version: int,
    multiplicity: int,
) -> bytes:
    """Return the draft of a roster that follows the one that the key signed last."""
    made = roster_of(parse_members(members), keys=keys, version=version, multiplicity=multiplicity)
    last = held.signed_last()
    if last is not None and version == last.version + 1:
        made = made.model_copy(update={"previous": last.hash})
    return offer_roster(made, NoSigner())


def _changes(roster: Roster, held: HeldRosterKey) -> Iterator[str]:
    last = held.signed_last()
    since = f"this key signed version {last.version} last" if last else "the first one of this key"
    yield f"roster version {roster.version} ({since}), M = {roster.multiplicity}"
    changed = "  CHANGED" if last and last.coordinator != roster.coordinator else ""
    yield f"  online key  {spoken_key(roster.coordinator)}{changed}"
    before = {one.id: one.key for one in last.members} if last else {}
    for one in roster.members:
        state = "" if before.get(one.id) == one.key else "  new"
        state = "  KEY CHANGED" if state and one.id in before else state
        yield f"  {one.id}  {spoken_key(one.key)}{state}"
    for name in sorted(before.keys() - set(roster.ids)):
        yield f"  {name}  no longer a member"


def parse_members(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Parse `ID=KEY` texts; a key has no equals sign, so the last one separates.

    Raises:
        UsageError: a text of another form.
    """
    pairs = []
    for text in texts:
        name, separator, key = text.rpartition("=")
        if not separator or not name:
            raise UsageError("--member: expected ID=KEY, with the 64 hex digits of identity.pub")
        pairs.append((name, key.strip().lower()))
    return pairs


def roster_of(
    members: Sequence[tuple[str, str]], *, keys: CoordinatorKeys, version: int, multiplicity: int
) -> Roster:
    """Build a roster of members with keys, sorted by id.

    Raises:
        UsageError: a key that is no Ed25519 key in hex, an id or a key that appears twice.
    """
    try:
        listed = tuple(Member(id=name, key=key) for name, key in sorted(members))
        if any(not one.key for one in listed):
            raise UsageError("--member: expected a key for each institution, found an empty one")
        return Roster(
            version=version,
            multiplicity=multiplicity,
            coordinator=keys.online,
            members=listed,
            roster_key=keys.roster,
        )
    except ValidationError as error:
        raise UsageError("\n".join(f"--member: {line}" for line in problem_lines(error))) from None
