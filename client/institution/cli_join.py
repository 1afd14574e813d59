"""`fieldfare institution join INVITATION`: compare, pin, and ask for a place on the roster.

Errors pass through: the root command turns them into exit codes.
"""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.building import open_journal
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    EXIT_DECLINED,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.joining import (
    AUTHORITY_FILE,
    ENROLMENT_SUFFIX,
    NODE_FILE,
    check_pinned,
    enrolment_for,
    pin_coordinator,
    read_invitation,
    write_node_files,
)
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.keys import load_identity
from fieldfare.client.institution.settings import load_settings
from fieldfare.shared.clock import utc_now
from fieldfare.shared.enrolment import Invitation
from fieldfare.shared.errors import UsageError
from fieldfare.shared.identity import fingerprint, matches_fingerprint, public_hex
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.next_command import at_home
from fieldfare.shared.os_user import os_user
from fieldfare.shared.private_files import replace_private
from fieldfare.shared.sealed_files import read_sealed

join_app = typer.Typer(add_completion=False)


@join_app.command("join")
def join(
    file: Annotated[
        Path, typer.Argument(metavar="INVITATION", help="The file that the coordinator sent.")
    ],
    home: HomeOption = DEFAULT_HOME,
    contact: Annotated[
        str, typer.Option(help="How the coordinator reaches your people.", show_default=False)
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="The enrolment.", show_default="ID.enrolment in the home"),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: the fingerprint was compared before.")
    ] = False,
    expected: Annotated[
        str,
        typer.Option(
            "--fingerprint", help="The coordinator's, as it was said aloud.", show_default=False
        ),
    ] = "",
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Pin a coordinator after a look at its fingerprint, and write the enrolment to send back."""
    opened = Home.open(home)
    institution = load_settings(opened).id
    content = read_sealed(file)
    invitation = read_invitation(content, str(file))
    pinned = check_pinned(opened, invitation, str(file))
    identity = load_identity(opened, read_passphrase(passphrase_file))
    sealed = enrolment_for(opened, institution, invitation, identity, contact)
    to = _free(out, sealed) if out else opened.path / f"{institution}{ENROLMENT_SUFFIX}"
    typer.echo(f"{invitation.hub} at {invitation.address}")
    typer.echo(f"coordinator  {fingerprint(bytes.fromhex(invitation.coordinator))}")
    _agree(invitation, pinned=pinned, yes=yes, expected=expected)
    if not pinned:
        # Logged first: a key whose pinning is not in the log never counts.
        open_journal(opened, utc_now).append(
            Event.KEY, os_user(), kind="coordinator", fingerprint=invitation.coordinator
        )
        pin_coordinator(opened, invitation)
    write_node_files(opened, invitation)
    replace_private(to, sealed)
    lines = [
        f"pinned; wrote {NODE_FILE} and {AUTHORITY_FILE}"
        if not pinned
        else "pinned already; a node that runs has to start again",
        f"identity     {fingerprint(bytes.fromhex(public_hex(identity)))}",
        "",
        f"Send {to} to the coordinator and read your identity's fingerprint aloud.",
        "Then, with the roster that the coordinator sends:",
        at_home("      fieldfare institution roster accept FILE"),
    ]
    typer.echo("\n".join(lines))


def _free(path: Path, content: bytes) -> Path:
    if path.exists() and (not path.is_file() or path.read_bytes() != content):
        raise UsageError(
            f"{path}: expected a new file, found an existing one: nothing is overwritten"
        )
    return path


def _agree(invitation: Invitation, *, pinned: bool, yes: bool, expected: str) -> None:
    if expected and not matches_fingerprint(expected, bytes.fromhex(invitation.coordinator)):
        raise UsageError(
            "--fingerprint: expected the fingerprint above, found another: nothing was pinned. Ask "
            "the coordinator out of band which is theirs; the file may come from another party"
        )
    if pinned or yes or expected:
        return
    if not typer.confirm("Did you compare this with the coordinator, in person or by telephone?"):
        typer.echo("nothing was pinned")
        raise typer.Exit(EXIT_DECLINED)
