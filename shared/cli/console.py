"""`fieldfare console`, and `console account add|link|close|list`: of either party's home."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.cli.parties import HomeOption, party_of, party_table
from fieldfare.shared.console.place import AccountsPlace
from fieldfare.shared.console.process import PartyConsole, address_of, run_console
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.console.terminal import (
    add_account,
    close_account,
    link_account,
    list_accounts,
)
from fieldfare.shared.errors import UsageError

AccountsOption = Annotated[
    Path | None,
    typer.Option(
        "--accounts", help="The console's own folder.", show_default="console/ in the home"
    ),
]
ListenOption = Annotated[
    str,
    typer.Option(
        help="Where it listens: a loopback host:port, or unix:PATH.",
        show_default="127.0.0.1:8700, a coordinator's 127.0.0.1:8710",
    ),
]
AtOption = Annotated[
    str,
    typer.Option(help="The address that people type, if a proxy with TLS stands before it."),
]
NameArgument = Annotated[str, typer.Argument(help="The account's name.")]
SubOption = Annotated[
    str, typer.Option(help="With an identity provider: its number of the person, the claim `sub`.")
]


def _console(home: Path | None, accounts: Path | None) -> tuple[PartyConsole, Path, Path | None]:
    """Return whose console it is, its home, and the console's own folder where one is named."""
    party, path = party_of(home)
    console = party_table(party, PartyConsole)
    named = os.environ.get(console.variable)
    return console, path, accounts or (Path(named) if named else None)


@contextmanager
def _place(home: Path | None, accounts: Path | None) -> Iterator[AccountsPlace]:
    console, path, own = _console(home, accounts)
    with console.place(path, own, False) as place:
        yield place


@app.command("console")
def serve_console(
    home: HomeOption = None,
    accounts: AccountsOption = None,
    listen: ListenOption = "",
    at: AtOption = "",
) -> None:
    """Serve the console for a browser on this machine until this is stopped.

    An institution's shows alerts, how studies and budget stand, and signs who decided; its home may
    be the casework folder of its analysts. A coordinator's shows members, approvals, runs,
    transcripts and what went wrong. It makes no key, writes no ledger and opens no record. On a
    terminal it begins with a link for a person who never enrolled and has no valid link.
    """
    console, path, own = _console(home, accounts)
    room, links = console.room(path, own), sys.stdout.isatty()
    run_console(room, listen or console.listen, at, typer.echo, links=links)


@app.command("console.account.add")
def add(
    name: NameArgument,
    role: Annotated[ConsoleRole, typer.Option(help="What the person may do.")],
    home: HomeOption = None,
    accounts: AccountsOption = None,
    listen: ListenOption = "",
    at: AtOption = "",
    sub: SubOption = "",
) -> None:
    """Add an account, and print the link by which its person enrols, once."""
    console, path, own = _console(home, accounts)
    if role not in console.roles:
        raise UsageError(f"--role: expected {' or '.join(console.roles)} here, found {role}")
    address = "" if sub else address_of(listen or console.listen, at)
    with console.place(path, own, True) as place:
        add_account(place, name, role, address, sub)


@app.command("console.account.link")
def link(
    name: NameArgument,
    home: HomeOption = None,
    accounts: AccountsOption = None,
    listen: ListenOption = "",
    at: AtOption = "",
    sub: SubOption = "",
) -> None:
    """Reset an account with a new link, where a password or a second factor was lost.

    The old password, second factor, sessions and links count no more.
    """
    console, path, own = _console(home, accounts)
    address = "" if sub else address_of(listen or console.listen, at)
    with console.place(path, own, False) as place:
        link_account(place, name, address, sub)


@app.command("console.account.close")
def close(name: NameArgument, home: HomeOption = None, accounts: AccountsOption = None) -> None:
    """Close an account and end its sessions; its earlier acts stay recorded."""
    with _place(home, accounts) as place:
        close_account(place, name)


@app.command("console.account.list")
def listed(home: HomeOption = None, accounts: AccountsOption = None) -> None:
    """List the accounts, their roles, and who has enrolled."""
    with _place(home, accounts) as place:
        list_accounts(place)
