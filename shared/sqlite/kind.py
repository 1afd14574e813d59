"""A kind of SQLite file: its tables, its settings, and the texts of its faults."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from fieldfare.shared.errors import FieldfareError

Pragma = tuple[str, str, str | int | None]
"""A setting, its value, and what SQLite says of it afterwards; None: nothing that is compared."""

WAL: Final[Pragma] = ("journal_mode", "WAL", "wal")
DURABLE: Final[tuple[Pragma, ...]] = (
    ("synchronous", "FULL", 2),
    ("secure_delete", "ON", 1),
    ("temp_store", "MEMORY", 2),  # nothing spills into a temporary file
    ("foreign_keys", "ON", 1),
    ("recursive_triggers", "ON", 1),  # INSERT OR REPLACE would delete rows unnoticed
    ("trusted_schema", "OFF", 0),
)
"""A COMMIT that returned survives a power cut, and what is deleted is overwritten."""


def json_in_an_index() -> tuple[Pragma, ...]:
    """Return the setting under which a file's own index may call json_extract: mostly none.

    SQLite 3.40 (Debian 12) does not count that function among the harmless ones, and refuses the
    index; there the schema of such a file has to be trusted.
    """
    with closing(sqlite3.connect(":memory:")) as trial:
        trial.execute("PRAGMA trusted_schema = OFF")
        trial.execute("CREATE TABLE t (a)")
        try:
            trial.execute("CREATE INDEX i ON t (json_extract(a, '$.b'))")
        except sqlite3.OperationalError:
            return (("trusted_schema", "ON", 1),)
    return ()


_PRIMARY_CODE: Final = 0xFF  # extended result codes keep the primary one in the low byte


@dataclass(frozen=True, kw_only=True)
class DatabaseKind:
    """One kind of file.

    Attributes:
        name: with its article, for messages.
        error: raised at every failure.
        again: what to do once a fault is fixed.
        restore: what to do about a damaged file.
        otherwise: what to do about a fault of which nothing better is known.
        so: what follows from every fault, before the remedy.
        pragmas: set in this order whenever a file is opened.
        first: the oldest version of the tables that is read; a file of an earlier one is refused.
        migrations: statements that lead from an empty file, which is version 0, to `first`, and
            then from each version to the next. Append one, never change one.
        application: SQLite's `application_id`; the version stands in the file's header beside
            it. None: versions stand in a table of their own, one row each.
    """

    name: str
    error: type[FieldfareError]
    again: str
    restore: str
    otherwise: str
    so: str = ""
    pragmas: tuple[Pragma, ...]
    first: int = 1
    migrations: tuple[tuple[str, ...], ...]
    application: int | None = None

    @property
    def newest(self) -> int:
        """The version of the tables that a file has once it is opened."""
        return self.first + len(self.migrations) - 1

    def explained(self, place: str, error: sqlite3.Error) -> FieldfareError:
        """Return the error for a failure at `place`, with its remedy."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and isinstance(error, sqlite3.OperationalError):
            return self.damaged(place)  # Python could not decode a text that SQLite returned
        return self.error(
            f"expected to read and write {place}, found: {error}; {self.so}{self.remedy(code or 0)}"
        )

    def damaged(self, place: str) -> FieldfareError:
        """Return the error for text that is none; SQLite's own message would repeat it."""
        return self.error(f"expected to read {place}, found damaged text: {self.restore}")

    def remedy(self, code: int) -> str:
        """Return the remedy for one of SQLite's result codes."""
        name, again = self.name, self.again
        remedies = {
            sqlite3.SQLITE_BUSY: f"another process holds {name}: let it finish, then {again}",
            sqlite3.SQLITE_READONLY: "give this user write access to the file and its folder",
            sqlite3.SQLITE_CANTOPEN: "give this user access to the file and its folder, and room",
            sqlite3.SQLITE_FULL: f"free some space on the disk, then {again}",
            sqlite3.SQLITE_IOERR: f"look at the disk's space, quotas and health, then {again}",
            sqlite3.SQLITE_CORRUPT: self.restore,
            sqlite3.SQLITE_NOTADB: self.restore,
        }
        return remedies.get(code & _PRIMARY_CODE, self.otherwise)


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection was in the way."""
    return error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY


def append_only(table: str, rule: str) -> tuple[str, ...]:
    """Return triggers that refuse to change or delete rows of `table`, with `rule` as message."""
    return tuple(
        f"""
CREATE TRIGGER {table}_{event} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, '{rule}'); END
"""
        for event in ("UPDATE", "DELETE")
    )
