"""`fieldfare coordinator console`, and `console account add|link|close|list`."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.server.console.place import coordinator_place
from fieldfare.server.console.process import coordinator_room
from fieldfare.shared.console.process import address_of, run_console
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.console.terminal import (
    AtOption,
    ListenOption,
    NameArgument,
    SubOption,
    accounts_option,
    add_account,
    close_account,
    link_account,
    list_accounts,
)

LISTEN: Final = "127.0.0.1:8710"  # an institution's console, perhaps on this machine too, has 8700

AccountsOption = Annotated[Path | None, accounts_option("FIELDFARE_COORDINATOR_CONSOLE")]


class WatchRole(StrEnum):
    """The roles that see something at a coordinator: nobody works on customers there."""

    OPERATOR = ConsoleRole.OPERATOR.value
    EXAMINER = ConsoleRole.EXAMINER.value


@app.command("coordinator.console")
def serve_console(
    home: HomeOption = DEFAULT_HOME,
    accounts: AccountsOption = None,
    listen: ListenOption = LISTEN,
    at: AtOption = "",
) -> None:
    """Serve the console for a browser on this machine until this is stopped.

    It shows members, approvals, runs, transcripts and what went wrong. It opens no key and no
    token, and writes nothing but its own accounts and the log of who did what.
    """
    run_console(coordinator_room(home, accounts), listen, at, typer.echo, links=sys.stdout.isatty())


@app.command("coordinator.console.account.add")
def add(
    name: NameArgument,
    role: Annotated[WatchRole, typer.Option(help="What the person may do.")],
    home: HomeOption = DEFAULT_HOME,
    accounts: AccountsOption = None,
    listen: ListenOption = LISTEN,
    at: AtOption = "",
    sub: SubOption = "",
) -> None:
    """Add an account, and print the link by which its person enrols, once."""
    address = "" if sub else address_of(listen, at)
    with coordinator_place(home, accounts, os.urandom, make=True) as place:
        add_account(place, name, ConsoleRole(role.value), address, sub)


@app.command("coordinator.console.account.link")
def link(
    name: NameArgument,
    home: HomeOption = DEFAULT_HOME,
    accounts: AccountsOption = None,
    listen: ListenOption = LISTEN,
    at: AtOption = "",
    sub: SubOption = "",
) -> None:
    """Reset an account with a new link, where a password or a second factor was lost.

    The old password, second factor, sessions and links count no more.
    """
    address = "" if sub else address_of(listen, at)
    with coordinator_place(home, accounts, os.urandom) as place:
        link_account(place, name, address, sub)


@app.command("coordinator.console.account.close")
def close(
    name: NameArgument, home: HomeOption = DEFAULT_HOME, accounts: AccountsOption = None
) -> None:
    """Close an account and end its sessions; its earlier acts stay recorded."""
    with coordinator_place(home, accounts, os.urandom) as place:
        close_account(place, name)


@app.command("coordinator.console.account.list")
def listed(home: HomeOption = DEFAULT_HOME, accounts: AccountsOption = None) -> None:
    """List the accounts, their roles, and who has enrolled."""
    with coordinator_place(home, accounts, os.urandom) as place:
        list_accounts(place)
