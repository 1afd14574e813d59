"""`fieldfare coordinator init`, `renew` and `invitation`.

Errors pass through: the root command turns them into exit codes.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption, PassphraseFileOption
from fieldfare.server.founding import (
    Hub,
    certificate_trouble,
    found_coordinator,
    free_port,
    load_signing_key,
    renew_server,
    signing_public,
)
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.invitation import invite, present_invitation
from fieldfare.server.settings import DEFAULT_LOCAL_PORT
from fieldfare.shared.errors import UsageError
from fieldfare.shared.identity import fingerprint
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.next_command import at_home

coordinator_init_app = typer.Typer(add_completion=False)
renew_app = typer.Typer(add_completion=False)
invitation_app = typer.Typer(add_completion=False)


@coordinator_init_app.command("init")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the hub, for institutions.")],
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where institutions' nodes find it.")
    ],
    home: HomeOption = DEFAULT_HOME,
    bind: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Where it listens for nodes.",
            show_default="every interface, at the address's port",
        ),
    ] = "",
    contact: Annotated[str, typer.Option(help="How to reach its people.", show_default=False)] = "",
    dns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name or address of it; repeat it."),
    ] = None,
    local_port: Annotated[
        int | None,
        typer.Option(
            help="Port on 127.0.0.1 for the commands of this host.",
            show_default=f"{DEFAULT_LOCAL_PORT}, or the next one that is free",
        ),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Make a coordinator's folder, its keys, certificates and invitation."""
    passphrase = read_passphrase(passphrase_file)
    chosen = free_port(DEFAULT_LOCAL_PORT) if local_port is None else local_port
    hub = Hub(name, address, contact, tuple(dns or ()), bind, chosen)
    made = found_coordinator(home, hub, _now(), passphrase=passphrase)
    invite(made, load_signing_key(made, passphrase))
    protected = "under your passphrase" if passphrase else "readable by this user, no passphrase"
    lines = [
        f"made {made.path} for {name}",
        f"signing key is {protected}",
        *_other_port(chosen, given=local_port is not None),
        "",
        _told(made),
        "",
        "Read this aloud to every institution, in person or by telephone: it is how they know you.",
        f"Keep a backup of {made.path} as safe as the folder itself.",
        f"Next: send {made.invitation} to the institutions; they answer with a file each:",
        at_home("      fieldfare coordinator enrol FILE..."),
    ]
    typer.echo("\n".join(lines))


@renew_app.command("renew")
def renew(home: HomeOption = DEFAULT_HOME) -> None:
    """Replace the SuperLink's certificate, for a year; its authority stays, so do institutions."""
    ends = renew_server(CoordinatorHome.open(home), _now())
    typer.echo(f"the SuperLink's certificate is valid until {ends:%Y-%m-%d}")
    typer.echo("stop `fieldfare coordinator start` and start it again to use it")


@invitation_app.command("invitation")
def invitation(
    home: HomeOption = DEFAULT_HOME,
    out: Annotated[
        Path | None,
        typer.Option(help="A copy to send.", show_default=False),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Make the invitation anew, after a change of name, address or version."""
    opened = CoordinatorHome.open(home)
    before = present_invitation(opened) if opened.invitation.exists() else None
    made = invite(opened, load_signing_key(opened, read_passphrase(passphrase_file)))
    if out is not None:
        if out.exists():
            raise UsageError(
                f"{out}: expected a new file, found an existing one: nothing is overwritten"
            )
        shutil.copyfile(opened.invitation, out)
    trouble = certificate_trouble(opened, _now())
    if trouble:
        typer.echo(f"Before you send it: {trouble}")
    typer.echo(f"{out or opened.invitation} invites to {made.hub} at {made.address}")
    typer.echo(_told(opened))
    if before is not None and before.bundle != made.bundle:
        typer.echo(
            f"THE BUNDLE CHANGED from {before.bundle} to {made.bundle}:\n"
            "every institution has to list the new one, with `fieldfare institution join`, before "
            "its node answers runs again"
        )
    elif before is not None and before != made:
        typer.echo("It changed: institutions take the new one with `fieldfare institution join`.")


def _other_port(chosen: int, *, given: bool) -> list[str]:
    if given or chosen == DEFAULT_LOCAL_PORT:
        return []
    said = f"its local_port is {chosen}: something else, another hub perhaps, has"
    return [f"{said} {DEFAULT_LOCAL_PORT}"]


def _told(home: CoordinatorHome) -> str:
    return f"coordinator  {fingerprint(bytes.fromhex(signing_public(home)))}"


def _now() -> datetime:
    return datetime.now(UTC)
