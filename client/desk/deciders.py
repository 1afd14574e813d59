"""Who may decide in a browser: a name, and a second factor that the console never held.

The console's own file has the second factors of its log-ins; whoever took its process over has them
too. These are the home's: made on the terminal, shown once, and each code counts once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.shared.console.credentials import FACTOR_BYTES, Entropy, code_step
from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind
from fieldfare.shared.system.home_folder import is_plain_name
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, sync_folder

FILE: Final = "desk.sqlite"
BUSY_SECONDS: Final = 5.0

DECIDERS: Final = DatabaseKind(
    name="the desk's file of deciders",
    error=UsageError,
    again="repeat",
    restore="move it away and add the persons again: `fieldfare institution desk person add NAME`",
    otherwise="look at the disk and at the file's rights",
    pragmas=(WAL, *DURABLE),
    migrations=(
        (
            """
CREATE TABLE decider (
    name TEXT PRIMARY KEY COLLATE NOCASE, factor BLOB NOT NULL, step INTEGER NOT NULL
) STRICT
""",
        ),
    ),
    application=0x46464445,  # "FFDE"
)


class DeciderBook:
    """An open file of deciders."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Use `open_deciders`."""
        self._database, self._rows, self._clock = database, database.rows, clock

    def names(self) -> list[str]:
        """Return who may decide, by name."""
        return [str(row[0]) for row in self._rows("SELECT name FROM decider ORDER BY name")]

    def add(self, name: str, entropy: Entropy, tell: Callable[[], None]) -> bytes:
        """Let a person decide; return the new second factor, which is shown once.

        Who is there already gets another factor; the one before counts no more.

        Args:
            name: as that of the account at the console.
            entropy: returns so many random bytes.
            tell: writes it into the log, before it counts.

        Raises:
            UsageError: no name of an account.
        """
        if not is_plain_name(name):
            raise UsageError(
                "NAME: expected letters, digits, dots, hyphens or underscores, at most 64, found "
                "something else"
            )
        factor = entropy(FACTOR_BYTES)
        with self._database.transaction():
            tell()
            self._rows("REPLACE INTO decider VALUES (?, ?, 0)", name, factor)
        return factor

    def remove(self, name: str, tell: Callable[[], None]) -> None:
        """Let a person decide no more; what was decided stands. `tell` as of `add`.

        Raises:
            UsageError: there is no such person.
        """
        with self._database.transaction():
            if not self._rows("SELECT 1 FROM decider WHERE name = ?", name):
                raise UsageError("NAME: expected a person who may decide, found another name")
            tell()
            self._rows("DELETE FROM decider WHERE name = ?", name)

    def find_name(self, name: str) -> str:
        """Return a decider's name as it was added, in whatever letters; empty: there is none."""
        found = self._rows("SELECT name FROM decider WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def proves(self, name: str, code: str) -> bool:
        """Tell whether a code is that person's of this moment; it counts no more from here on."""
        with self._database.transaction():
            rows = self._rows("SELECT factor, step FROM decider WHERE name = ?", name)
            if not rows:
                return False
            now = self._clock().timestamp()
            step = code_step(bytes(rows[0][0]), code, now, int(rows[0][1]))
            if step is not None:
                self._rows("UPDATE decider SET step = ? WHERE name = ?", step, name)
        return step is not None


@contextmanager
def open_deciders(folder: Path, clock: Callable[[], datetime]) -> Iterator[DeciderBook]:
    """Open the deciders of a home, made where there are none.

    Raises:
        UsageError: the file cannot be written, is locked, damaged, or open to others.
    """
    if not folder.is_dir():
        folder.mkdir(PRIVATE_FOLDER)
        sync_folder(folder.parent)
    with Database(DECIDERS, folder / FILE, busy_seconds=BUSY_SECONDS) as database:
        yield DeciderBook(database, clock)
