"""`fieldfare coordinator notices test` and `list`."""

import secrets

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.upkeep.notices_process import notices_home
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.watch import notice_screen as screen

EXIT_NOT_SENT = 1


@app.command("coordinator.notices.test")
def try_addresses(home: HomeOption = DEFAULT_HOME) -> None:
    """Send a test to every address of notices.toml, at once; exit status 1 where one fails."""
    place = notices_home(CoordinatorHome.open(home))
    if not screen.try_addresses(place, utc_now(), lambda: secrets.token_hex(16)):
        raise typer.Exit(EXIT_NOT_SENT)


@app.command("coordinator.notices.list")
def list_notices(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the newest notices, and whether each address has them."""
    screen.print_newest(notices_home(CoordinatorHome.open(home)), utc_now(), as_json=as_json)
