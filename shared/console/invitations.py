"""What a terminal says of the link by which a person enrols, once."""

from collections.abc import Callable, Iterator
from typing import Final

from fieldfare.shared.console.accounts import LINK_LIVES, AccountBook
from fieldfare.shared.console.log_in import ENROL

_HOUR: Final = 3600


def link_lines(name: str, address: str, token: str) -> Iterator[str]:
    """Yield what is said of a new link; without a token the person needs none.

    Args:
        name: of the account.
        address: of the console, as people type it.
        token: of the link.
    """
    if not token:
        yield f"{name} comes in by the identity provider"
        return
    hours = int(LINK_LIVES.total_seconds()) // _HOUR
    yield f"{name} enrols here, once, within {hours} hours:"
    yield f"{address}{ENROL}?link={token}"
    yield "The first person to open it sets password and second factor: hand it over safely."


def new_links(book: AccountBook, address: str, tell: Callable[[str], None]) -> Iterator[str]:
    """Make links for those who wait for one, and yield what is said of them.

    That is who has never enrolled and has no link that counts: nobody was given one, or its day is
    over. For the terminal of the owner of the console's folder, who may make links anyway.

    Args:
        book: the accounts.
        address: of the console, as people type it.
        tell: writes into the log whose account it is.
    """
    for one in book.uninvited():
        yield from link_lines(one.name, address, book.link(one.name, tell))
