"""The institution's console as a process: its place opened, its pages put beside the entrance."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fieldfare.client.console.pages import menu_of, pages_of
from fieldfare.client.console.place import ConsolePlace, console_place
from fieldfare.client.desk.place import desk_child
from fieldfare.shared.console.process import ConsoleRoom, PartyConsole
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.processes import kept_running

log = logging.getLogger(__name__)

DESK_SECONDS: Final = 20.0  # for its own desk to listen
DESK_PAUSE: Final = 0.1


@contextmanager
def institution_room(home: Path, accounts: Path | None) -> Iterator[ConsoleRoom]:
    """Open an institution's console.

    Args:
        home: a home, or a casework folder.
        accounts: the console's own folder.

    Raises:
        UsageError: as `console_place`.
    """
    with console_place(home, accounts, os.urandom) as place, _own_desk(place):
        pages = pages_of(place)
        yield ConsoleRoom(place, pages, menu_of(pages), (__package__ or "",))


@contextmanager
def _own_desk(place: ConsolePlace) -> Iterator[None]:
    """Keep a desk beside a console of the home's own user, where no other one answers.

    `fieldfare institution start` runs one too; for one person at one desk, one command is enough.
    """
    if not place.beside_keys or place.desk.runs():
        yield
        return
    with kept_running(desk_child(place.home), lambda _, line: log.warning(line)):
        ends = time.monotonic() + DESK_SECONDS
        while not place.desk.runs() and time.monotonic() < ends:
            time.sleep(DESK_PAUSE)
        yield


CONSOLE: Final = PartyConsole(
    room=institution_room,
    place=lambda home, accounts, make: console_place(home, accounts, os.urandom, make=make),
    roles=tuple(ConsoleRole),
    listen="127.0.0.1:8700",
    variable="FIELDFARE_CONSOLE",
)
