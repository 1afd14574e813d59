"""Accounts of a console on the terminal."""

from collections.abc import Callable

import typer

from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.invitations import link_lines
from fieldfare.shared.console.place import AccountsPlace
from fieldfare.shared.console.process import PROVIDER
from fieldfare.shared.console.provider import named_subject
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.private_files import os_user
from fieldfare.shared.terminal.screen import console, table


def add_account(place: AccountsPlace, name: str, role: ConsoleRole, address: str, sub: str) -> None:
    """Add an account, and print the link by which its person enrols.

    Args:
        place: whose accounts.
        name: of the new one.
        role: its only one.
        address: that people type.
        sub: the person's number at an identity provider, or nothing.

    Raises:
        UsageError: as `AccountBook.add`.
    """
    subject = named_subject(place.folder / PROVIDER, sub)
    token = place.book.add(name, role, _teller(place, ConsoleAct.ADDED), subject)
    typer.echo("\n".join(link_lines(name, address, token)))


def link_account(place: AccountsPlace, name: str, address: str, sub: str) -> None:
    """Begin an account anew, and print its new link; arguments as of `add_account`.

    Raises:
        UsageError: as `AccountBook.link`.
    """
    subject = named_subject(place.folder / PROVIDER, sub)
    token = place.book.link(name, _teller(place, ConsoleAct.LINKED), subject)
    typer.echo("\n".join(link_lines(name, address, token)))


def close_account(place: AccountsPlace, name: str) -> None:
    """Close an account.

    Raises:
        UsageError: there is no such account.
    """
    place.book.close(name, _teller(place, ConsoleAct.CLOSED))
    typer.echo(f"closed: {name}")


def list_accounts(place: AccountsPlace) -> None:
    """Print a table of the accounts."""
    rows = (
        (one.name, one.role.value, "closed" if one.closed else "yes" if one.enrolled else "no")
        for one in place.book.all()
    )
    console().print(table(("name", "role", "enrolled"), rows))


def _teller(place: AccountsPlace, act: ConsoleAct) -> Callable[[str], None]:
    return lambda name: place.tell(act, os_user(), name)
