"""The coordinator's console as a process: its place opened, its pages put beside the entrance."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldfare.server.console.pages import MENU, TEMPLATES, pages_of
from fieldfare.server.console.place import coordinator_place
from fieldfare.shared.console.process import ConsoleRoom


@contextmanager
def coordinator_room(home: Path, accounts: Path | None) -> Iterator[ConsoleRoom]:
    """Open a coordinator's console.

    Args:
        home: its folder.
        accounts: the console's own folder.

    Raises:
        UsageError: as `coordinator_place`.
    """
    with coordinator_place(home, accounts, os.urandom) as place:
        yield ConsoleRoom(place, pages_of(place), MENU, TEMPLATES)
