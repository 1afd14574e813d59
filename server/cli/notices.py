"""`fieldfare coordinator notices test` and `list`."""

import json
import secrets

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.notices.process import notices_home
from fieldfare.shared.notices import screen
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.screen import console

EXIT_NOT_SENT = 1


@app.command("coordinator.notices.test")
def try_addresses(home: HomeOption = DEFAULT_HOME) -> None:
    """Send a test to every address of notices.toml, at once; exit status 1 where one fails."""
    place, failed = notices_home(CoordinatorHome.open(home)), False
    for line, sent in screen.tried(place, utc_now(), lambda: secrets.token_hex(16)):
        typer.echo(line)
        failed |= not sent
    if failed:
        raise typer.Exit(EXIT_NOT_SENT)


@app.command("coordinator.notices.list")
def list_notices(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the newest notices, and whether each address has them."""
    found = screen.newest(notices_home(CoordinatorHome.open(home)))
    if as_json:
        typer.echo(json.dumps(screen.posted_json(found), indent=2))
    elif found:
        console().print(screen.posted_table(found, utc_now()))
    else:
        typer.echo("no notice yet")
