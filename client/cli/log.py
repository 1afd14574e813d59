"""`fieldfare institution log ...`: recompute the log, sign its head, hand it to a collector."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption, PassphraseFileOption, content_of
from fieldfare.client.home.keys import former_identities, load_identity, public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.journal import heads
from fieldfare.client.journal.journal import read, verify
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase


@app.command("institution.log.verify")
def log_verify(
    home: Annotated[
        Path, typer.Option(envvar="FIELDFARE_HOME", help="The institution's folder.")
    ] = Path("institution"),
    head: Annotated[
        Path | None,
        typer.Option(help="Heads that were signed before, a line each.", show_default=False),
    ] = None,
) -> None:
    """Recompute the whole log and name the first misfit, also with what was signed before."""
    opened = Home(home)
    if head is None:
        signed, count = [], verify(opened.log_folder).sequence
    else:
        keys = (public_identity(opened), *former_identities(opened))
        content = content_of(head, heads.LARGEST_FILE)
        signed = heads.read_heads(content, load_settings(opened).id, keys)
        count = heads.compare(opened.log_folder, signed).sequence
    told = f"{count} entries, 1 to {count}" if count else "no entries"
    fits = f"; {len(signed)} signed heads fit" if head else ""
    typer.echo(f"log verified: {told}{fits}")


@app.command("institution.log.head")
def log_head(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    """Recompute the log and print its size, last hash and time as one line, signed.

    Keep it where this machine cannot change it: `log verify --head` then finds a rewritten log.
    """
    opened = Home.open(home)
    signer = IdentitySigner(load_identity(opened, read_passphrase(passphrase_file)))
    end = verify(opened.log_folder)
    signed = heads.sign_head(end, load_settings(opened).id, signer, utc_now())
    typer.echo(signed.decode())


@app.command("institution.log.export")
def log_export(
    home: HomeOption = DEFAULT_HOME,
    since: Annotated[
        int, typer.Option(min=0, help="The last entry that the collector has; 0: none.")
    ] = 0,
) -> None:
    """Print every entry after a number as a line of JSON, for a collector (SIEM)."""
    for entry in read(Home.open(home).log_folder, since=since):
        typer.echo(entry.line.decode())
