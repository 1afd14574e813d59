"""`fieldfare institution desk`: what answers a console, beside custodian and node."""

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.client.desk.process import serve_home
from fieldfare.shared.system.memory import keep_out_of_dumps


@app.command("institution.desk")
def desk(home: HomeOption = DEFAULT_HOME) -> None:
    """Answer what the console asks of ledger and log until this is stopped; `start` does it too.

    It also takes over what persons signed in the casework folder, every few seconds.
    """
    keep_out_of_dumps()
    serve_home(home, typer.echo)
