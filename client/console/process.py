"""The institution's console as a process: its place opened, its pages put beside the entrance."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldfare.client.console.pages import menu_of, pages_of
from fieldfare.client.console.place import console_place
from fieldfare.shared.console.process import ConsoleRoom


@contextmanager
def institution_room(home: Path, accounts: Path | None) -> Iterator[ConsoleRoom]:
    """Open an institution's console.

    Args:
        home: a home, or a casework folder.
        accounts: the console's own folder.

    Raises:
        UsageError: as `console_place`.
    """
    with console_place(home, accounts, os.urandom) as place:
        pages = pages_of(place)
        yield ConsoleRoom(place, pages, menu_of(pages), __package__ or "")
