"""`fieldfare roster sign`: the coordinator's signature on who may take part, under which keys.

Errors pass through: the root command turns them into exit codes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fieldfare.shared.errors import UsageError
from fieldfare.shared.identity import fingerprint, public_hex
from fieldfare.shared.messages import IdentitySigner
from fieldfare.shared.mistakes import problem_lines
from fieldfare.shared.offers import offer_roster
from fieldfare.shared.roster import Member, Roster
from fieldfare.shared.sign_cli import coordinator_key

roster_sign_app = typer.Typer(add_completion=False)


@roster_sign_app.command("sign")
def roster_sign(
    member: Annotated[
        list[str],
        typer.Option(metavar="ID=KEY", help="An institution and its identity.pub; repeat it."),
    ],
    key: Annotated[Path, typer.Option(help="The coordinator's Ed25519 key, PKCS8 PEM, 0600.")],
    version: Annotated[int, typer.Option(min=1, help="Higher than every one before.")] = 1,
    multiplicity: Annotated[
        int, typer.Option(min=1, max=64, help="Institutions that may know the same person.")
    ] = 1,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="A private file whose one line is its passphrase.", show_default=False),
    ] = None,
) -> None:
    """Sign a roster as the coordinator; the sealed roster goes to stdout."""
    signer = coordinator_key(key, passphrase_file)
    roster = roster_of(
        parse_members(member),
        coordinator=public_hex(signer),
        version=version,
        multiplicity=multiplicity,
    )
    typer.echo(offer_roster(roster, IdentitySigner(signer)))
    typer.echo(f"signed roster {roster.version}, {roster.hash}", err=True)
    for one in roster.members:
        typer.echo(f"  {one.id}  {fingerprint(bytes.fromhex(one.key))}", err=True)


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
    members: Sequence[tuple[str, str]], *, coordinator: str, version: int, multiplicity: int
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
            version=version, multiplicity=multiplicity, coordinator=coordinator, members=listed
        )
    except ValidationError as error:
        raise UsageError("\n".join(f"--member: {line}" for line in problem_lines(error))) from None
