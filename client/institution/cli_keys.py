"""`fieldfare institution init` and `institution keys ...`.

Errors pass through: the root command turns them into exit codes.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption, PassphraseFileOption
from fieldfare.client.institution.founding import found_institution
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.keys import (
    identity_fingerprint,
    node_fingerprint,
    renew_node_key,
    revoke_identity,
    rotate_identity,
)
from fieldfare.client.institution.settings import load_settings
from fieldfare.client.institution.telling import told_custodian
from fieldfare.shared.identity import fingerprint
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.next_command import at_home
from fieldfare.shared.private_files import create_private

HALF: Final = 39  # characters of eight groups: a fingerprint is two lines

init_app = typer.Typer(add_completion=False)
keys_show_app = typer.Typer(add_completion=False)
keys_rotate_app = typer.Typer(add_completion=False)
keys_renew_node_app = typer.Typer(add_completion=False)
keys_revoke_app = typer.Typer(add_completion=False)


@init_app.command("init")
def init(
    institution: Annotated[str, typer.Option("--id", help="Its id, as on the roster.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
    coordinator_key: Annotated[
        str, typer.Option(help="The coordinator's public key, hex, to pin.", show_default=False)
    ] = "",
) -> None:
    """Make an institution's folder, keys and policy; print fingerprints to compare."""
    passphrase = read_passphrase(passphrase_file)
    made = found_institution(home, institution, passphrase=passphrase, coordinator=coordinator_key)
    protected = "under your passphrase" if passphrase else "readable by this user, no passphrase"
    lines = [
        f"made {made.path} for {institution}",
        f"identity's key is {protected}",
        "",
        *_fingerprint_lines(made),
    ]
    if coordinator_key:
        lines += _told("coordinator", fingerprint(bytes.fromhex(coordinator_key)))
    lines += [
        "",
        "Read these aloud with the coordinator, in person or by telephone, before anything else.",
        f"Keep a backup of {made.path}, the whole folder, as safe as the folder itself.",
        f"Next: fill in {made.settings.name} and {made.policy.name}, then",
        at_home("      fieldfare institution policy check"),
        at_home("      fieldfare institution join INVITATION"),
    ]
    typer.echo("\n".join(lines))


@keys_show_app.command("show")
def show(home: HomeOption = DEFAULT_HOME) -> None:
    """Print the fingerprints of the identity and the node key."""
    typer.echo("\n".join(_fingerprint_lines(Home.open(home))))


@keys_rotate_app.command("rotate")
def rotate(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    """Replace the identity by a new key; both sign the statement that says so."""
    opened = Home.open(home)
    passphrase = read_passphrase(passphrase_file)
    settings = load_settings(opened)
    done = rotate_identity(opened, settings.id, passphrase)
    lines = [
        *_told("old", fingerprint(bytes.fromhex(done.old))),
        *_told("new", fingerprint(bytes.fromhex(done.new))),
        "",
        f"Send {done.statement} to the coordinator and compare the new fingerprint.",
        "Accept the roster that carries the new key, and approve running studies again: until",
        "then this institution takes part in nothing.",
        told_custodian(opened, settings),
    ]
    typer.echo("\n".join(lines))


@keys_renew_node_app.command("renew-node")
def renew_node(home: HomeOption = DEFAULT_HOME) -> None:
    """Replace the node key, where it was stolen or the coordinator took it off."""
    opened = Home.open(home)
    renew_node_key(opened)
    lines = [
        *_told("node", node_fingerprint(opened)),
        "",
        "The coordinator does not know this node yet. Make a new enrolment with",
        at_home("      fieldfare institution join INVITATION"),
        "send it, and restart the node; where it runs as another user, copy the key to its folder.",
    ]
    typer.echo("\n".join(lines))


@keys_revoke_app.command("revoke")
def revoke(
    out: Annotated[Path, typer.Option(help="The file to write the statement to.")],
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Write the statement that takes the identity back; it changes nothing until it is sent."""
    opened = Home.open(home)
    passphrase = read_passphrase(passphrase_file)
    create_private(out, revoke_identity(opened, load_settings(opened).id, passphrase))
    typer.echo(
        f"wrote {out}: whoever holds it can end this identity, and nobody can undo it.\n"
        "Keep it offline, apart from the key; send it to the coordinator if the key is lost "
        "or stolen."
    )


def _fingerprint_lines(home: Home) -> list[str]:
    return [
        *_told("identity", identity_fingerprint(home)),
        *_told("node", node_fingerprint(home)),
    ]


def _told(name: str, groups: str) -> list[str]:
    return [f"{name:<13}{groups[:HALF]}", f"{'':<13}{groups[HALF + 1 :]}"]
