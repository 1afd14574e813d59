"""The coordinator's console as a process: its place opened, its pages put beside the entrance."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fieldfare.server.console.pages import MENU, TEMPLATES, pages_of
from fieldfare.server.console.place import coordinator_place
from fieldfare.shared.console.process import ConsoleRoom, PartyConsole
from fieldfare.shared.console.rights import ConsoleRole


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


CONSOLE: Final = PartyConsole(
    room=coordinator_room,
    place=lambda home, accounts, make: coordinator_place(home, accounts, os.urandom, make=make),
    roles=(ConsoleRole.OPERATOR, ConsoleRole.EXAMINER),  # nobody works on customers there
    listen="127.0.0.1:8710",  # an institution's, perhaps on this machine too, has 8700
    variable="FIELDFARE_COORDINATOR_CONSOLE",
)
