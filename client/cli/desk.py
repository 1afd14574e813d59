"""`fieldfare institution desk`: what answers a console, beside custodian and node."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
    identity_secret,
)
from fieldfare.client.desk.deciders import open_deciders
from fieldfare.client.desk.process import serve_home
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.open import open_journal
from fieldfare.client.journal.entries import Event
from fieldfare.shared.console.credentials import factor_text, factor_uri
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import os_user

NameArgument = Annotated[str, typer.Argument(help="As the account at the console is called.")]


@app.command("institution.desk")
def desk(home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None) -> None:
    """Answer what the console asks of ledger and log until this is stopped; `start` does it too.

    It also takes over what persons signed in the casework folder, every few seconds.
    """
    keep_out_of_dumps()
    secret = identity_secret(Home(home.absolute()), passphrase_file)
    serve_home(home, secret, typer.echo)


@app.command("institution.desk.person.add")
def add(name: NameArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Let a person decide on studies in a browser, with a second factor that is shown once.

    It is another one than that of the log-in, which the console's process holds. Whoever is there
    already gets a new one. It counts where institution.toml says `decides = true` under [console].
    """
    opened = Home.open(home)
    with open_deciders(opened.desk, utc_now) as book:
        factor = book.add(name, os.urandom, _teller(opened, "decider added", name))
    settings = load_settings(opened)
    typer.echo(f"{name} types this into an authenticator (six digits, 30 s), here and now:")
    typer.echo(f"  {factor_text(factor)}")
    typer.echo(f"  {factor_uri(factor, name, f'desk of {settings.id}')}")
    if not settings.console.decides:
        typer.echo(f"It counts once {opened.settings} has:\n  [console]\n  decides = true")


@app.command("institution.desk.person.remove")
def remove(name: NameArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Let a person decide in a browser no more; what was decided stands."""
    opened = Home.open(home)
    with open_deciders(opened.desk, utc_now) as book:
        book.remove(name, _teller(opened, "decider removed", name))
    typer.echo(f"removed: {name}")


@app.command("institution.desk.person.list")
def listed(home: HomeOption = DEFAULT_HOME) -> None:
    """List who may decide on studies in a browser."""
    opened = Home.open(home)
    with open_deciders(opened.desk, utc_now) as book:
        names = book.names()
    allowed = load_settings(opened).console.decides
    typer.echo("\n".join(names) or "nobody")
    if names and not allowed:
        typer.echo("console.decides is false in institution.toml: nobody may, for now")


def _teller(home: Home, kind: str, name: str) -> Callable[[], None]:
    def tell() -> None:
        with open_journal(home, utc_now) as journal:
            journal.append(Event.CONSOLE, os_user(), kind=kind, user=name)

    return tell
