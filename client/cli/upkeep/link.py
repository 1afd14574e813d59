"""`fieldfare institution link`: a node on another machine, under certificates of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.client.home.layout import Home
from fieldfare.client.home.link import (
    check_listens,
    first_node_pair,
    link_days,
    make_link,
    node_files,
)
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.institution import open_journal
from fieldfare.client.journal.entries import Event
from fieldfare.shared.advice import at_home
from fieldfare.shared.system.addresses import split_address
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import create_private_folder, os_user

NODE_LINES = """\
Copy both to the folder `link` beside the node's node.toml, which its user may write, as that
user's and 0600. In node.toml, in place of custodian:
    [custodian]
    host = "{host}"
    port = {port}
    certificate = "link/{pair}"
    key = "link/{pair}"
    authority = "link/{trusted}"
"""


@app.command("institution.link")
def link(
    out: Annotated[
        Path | None,
        typer.Option(help="A new or empty folder for the node's part.", show_default=False),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    replace: Annotated[
        bool, typer.Option("--replace", help="End the former authority: a node was taken over.")
    ] = False,
) -> None:
    """Make the certificate authority of the link to a node elsewhere; --out: the node's part, too.

    That is its first certificate and key, to be carried there. Either renews itself.
    """
    opened = Home.open(home)
    if out is None or replace or not opened.link_authority.exists():
        _make_authority(opened, replace=replace)
    if out is None:
        typer.echo(at_home("next: fieldfare institution link --out DIR"))
    else:
        _write_node_part(opened, out)


def _make_authority(opened: Home, *, replace: bool) -> None:
    names = load_settings(opened).custodian.known_as
    make_link(opened, names, utc_now(), replace=replace)
    _write_down(opened, "link authority replaced" if replace else "link authority made")
    typer.echo(f"the custodian is known as {', '.join(names)}")
    typer.echo(f"authority until {link_days(opened).authority:%Y-%m-%d}; it renews itself")


def _write_node_part(opened: Home, out: Path) -> None:
    settings = load_settings(opened).custodian
    check_listens(opened, settings.known_as)
    pair, trusted = first_node_pair(opened, utc_now())
    create_private_folder(out)
    files = node_files(out, pair, trusted)
    _write_down(opened, "link certificate for the node")
    typer.echo(f"{out}: {files.certificate.name}, {files.authority.name}")
    typer.echo(f"until {valid_until(pair):%Y-%m-%d}; a node that runs renews it itself")
    host, (_, port) = settings.known_as[0], split_address(settings.listen)
    typer.echo(
        NODE_LINES.format(
            host=host, port=port, pair=files.certificate.name, trusted=files.authority.name
        )
    )


def _write_down(home: Home, kind: str) -> None:
    with open_journal(home, utc_now) as journal:
        journal.append(Event.KEY, os_user(), kind=kind, user=os_user())
