"""The ledger's SQLite file: durable, erasing, and honest about every failure.

WAL with synchronous=FULL: a COMMIT that returned survives a power cut (SQLite documentation,
"Write-Ahead Logging"). secure_delete overwrites what is replaced, and a truncating checkpoint
after each replacement empties the log, so that neither file keeps an old key. SQLite cannot erase
copies of overwritten blocks that the file system or the disk keeps: use an encrypted disk.

The ledger's tables, as a list of migrations: append one, never change one.

entries     one row per debit or statement, hash-chained, append-only
replies     the signed reply and the masked vector that left for each debit
statements  a person's statements: a restored copy accepted, the population split
runs        opaque state of each run (its chain keys), replaced at every release, then destroyed
ledger      whose units these are, and when the ledger began
"""

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from fieldfare.shared.errors import LedgerError

_APPEND_ONLY: Final = """
CREATE TRIGGER {table}_{event} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END
"""

_FIRST: Final = (
    """
CREATE TABLE ledger (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    population TEXT NOT NULL,
    created INTEGER NOT NULL
)
""",
    # `type` and `epoch` leave room for other events in the same chain (a new epoch, a split of
    # the population); such rows get their own table, and debit columns stay as they are.
    """
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    time INTEGER NOT NULL,
    study TEXT NOT NULL,
    run TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    cost INTEGER NOT NULL CHECK (type <> 'debit' OR cost > 0),
    vector TEXT NOT NULL,
    cumulative INTEGER NOT NULL,
    study_total INTEGER NOT NULL,
    head TEXT NOT NULL
)
""",
    "CREATE UNIQUE INDEX entries_request ON entries (request) WHERE type = 'debit'",
    """
CREATE UNIQUE INDEX entries_place ON entries (study, run, step, attempt) WHERE type = 'debit'
""",
    "CREATE INDEX entries_study ON entries (study, sequence)",
    "CREATE INDEX entries_time ON entries (time, sequence)",
    """
CREATE TABLE replies (
    sequence INTEGER PRIMARY KEY REFERENCES entries (sequence),
    reply_sha256 TEXT NOT NULL,
    reply BLOB NOT NULL,
    vector BLOB NOT NULL
)
""",
    """
CREATE TABLE runs (
    study TEXT NOT NULL,
    run TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (study, run)
)
""",
    *(
        _APPEND_ONLY.format(table=table, event=event)
        for table in ("entries", "replies", "ledger")
        for event in ("UPDATE", "DELETE")
    ),
    # INSERT OR REPLACE deletes without a DELETE trigger unless recursive_triggers is on.
    """
CREATE TRIGGER entries_INSERT BEFORE INSERT ON entries
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
    OR EXISTS (SELECT 1 FROM entries WHERE type = 'debit' AND request = NEW.request)
    OR EXISTS (
        SELECT 1 FROM entries WHERE type = 'debit' AND study = NEW.study AND run = NEW.run
            AND step = NEW.step AND attempt = NEW.attempt
    )
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
""",
    """
CREATE TRIGGER replies_INSERT BEFORE INSERT ON replies
WHEN EXISTS (SELECT 1 FROM replies WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'replies are append-only'); END
""",
)

# Of a statement's row in `entries`, study and cost say what is carried over as spent; run, step,
# attempt, kind, request and vector are empty.
_STATEMENTS: Final = (
    """
CREATE TABLE statements (
    sequence INTEGER PRIMARY KEY REFERENCES entries (sequence),
    content TEXT NOT NULL
)
""",
    *(_APPEND_ONLY.format(table="statements", event=event) for event in ("UPDATE", "DELETE")),
    """
CREATE TRIGGER statements_INSERT BEFORE INSERT ON statements
WHEN EXISTS (SELECT 1 FROM statements WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END
""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _STATEMENTS)
"""Statements that lead from version n to version n + 1; a ledger without tables is version 0."""

VERSIONS: Final = "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY)"


# -- ledger database ------------------------------------------------------------------------------

_PRAGMAS: Final = (
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),
    ("secure_delete", "ON", 1),
    ("temp_store", "MEMORY", 2),  # no state spills into a temporary file
    ("wal_autocheckpoint", "0", 0),  # `erase_log` does it, and must be the one that does
    ("foreign_keys", "ON", 1),
    ("recursive_triggers", "ON", 1),
    ("trusted_schema", "OFF", 0),
)
_RESTORE: Final = "restore the newest copy of the ledger and its witness"
_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "another process holds the ledger: let it finish, then repeat",
    sqlite3.SQLITE_READONLY: "give this user write access to the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "give this user access to the file and its directory",
    sqlite3.SQLITE_FULL: "free some space on the disk, then repeat the request",
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_NOTADB: _RESTORE,
}
_POLL_SECONDS: Final = 0.001
_PRIMARY_CODE: Final = 0xFF  # extended result codes keep the primary one in the low byte


class Database:
    """One connection to a ledger's tables; every failure is a LedgerError."""

    def __init__(self, path: Path | None, *, busy_timeout: float) -> None:
        """Open `path` (0600, created if absent) or, with None, a database in memory.

        Waits up to `busy_timeout` seconds for other processes.

        Raises:
            LedgerError: locked, read-only, readable by others, damaged or no database.
        """
        self._name = "the ledger in memory" if path is None else str(path)
        self._path = path
        self._busy_timeout = busy_timeout
        if path is not None:
            _prepare_file(path)
        with self._faults():
            self.connection = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=busy_timeout,
                isolation_level=None,  # transactions are explicit: see `transaction`
                check_same_thread=False,  # the ledger's lock lets one thread in at a time
            )
        try:
            self._configure(in_memory=path is None)
        except LedgerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the open database."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; anything later is refused."""
        with self._faults():
            self.connection.close()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement to its end and return its rows.

        Raises:
            LedgerError: every error that SQLite reports.
        """
        with self._faults():
            return self.connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; commit to disk at the end, or leave no trace of an exception.

        Raises:
            LedgerError: locked for longer than the timeout, or the commit failed.
        """
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
            self.rows("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.rows("ROLLBACK")

    def erase_log(self) -> None:
        """Move the write-ahead log into the database and cut it to nothing.

        Raises:
            LedgerError: another process reads or writes for longer than the timeout.
        """
        if not self._patiently(self._truncated_log):
            raise LedgerError(
                f"expected to erase old keys from the log of {self._name}, found another process "
                "reading it; nothing leaves before that: let it finish, then repeat the request"
            )

    def copy_to(self, path: Path) -> None:
        """Write the committed content into a new file (0600) that nobody else uses yet.

        Raises:
            LedgerError: this one is in memory, something is at `path`, or it cannot be written.
        """
        if self._path is None or path.exists():
            raise LedgerError(f"expected a file to copy and nothing at {path}: move that away")
        _prepare_file(path)
        # A second connection reads: SQLite copies nothing while the copying one holds the write
        # lock ("SQLite Backup API"), and the lock is what keeps a debit from falling in between.
        with (
            self._faults(),
            closing(sqlite3.connect(self._path)) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)

    def migrate(self) -> None:
        """Bring the tables to the newest version, all or nothing.

        Raises:
            LedgerError: the ledger was written by a newer Fieldfare.
        """
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction():
            version = self._version()  # again: another process may have been faster
            if version > len(MIGRATIONS):
                raise LedgerError(
                    f"expected {self._name} in schema version {len(MIGRATIONS)} or older, found "
                    f"{version}: use the newer Fieldfare that wrote it"
                )
            self.rows(VERSIONS)
            for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in statements:
                    self.rows(statement)
                self.rows("INSERT INTO migrations VALUES (?)", number)

    def check_integrity(self) -> None:
        """Let SQLite compare every page and index.

        Raises:
            LedgerError: the first problem that it reports.
        """
        found = self.rows("PRAGMA integrity_check(1)")
        if found != [("ok",)]:
            raise LedgerError(f"expected {self._name} undamaged, found {found[0][0]}: {_RESTORE}")

    def _truncated_log(self) -> bool:
        ((busy, _, _),) = self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy

    def _switched_to_wal(self) -> bool:
        with self._faults():
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                    raise
                return False
        return True

    def _patiently(self, attempt: Callable[[], bool]) -> bool:
        """Repeat what SQLite's busy timeout does not wait for: a checkpoint or a change to WAL.

        Documentation of sqlite3_wal_checkpoint_v2: while another process checkpoints, the busy
        handler is not invoked.
        """
        deadline = time.monotonic() + self._busy_timeout
        while not (done := attempt()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return done

    def _version(self) -> int:
        named = self.rows("SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'")
        if named == [(0,)]:
            return 0
        ((version,),) = self.rows("SELECT coalesce(max(version), 0) FROM migrations")
        return int(version)

    def _configure(self, *, in_memory: bool) -> None:
        for name, setting, expected in _PRAGMAS:
            if name != "journal_mode":
                self.rows(f"PRAGMA {name} = {setting}")
            elif in_memory:
                continue
            elif not self._patiently(self._switched_to_wal):
                raise LedgerError(
                    f"expected to open {self._name}, found it locked: another process holds the "
                    "ledger; let it finish, then repeat"
                )
            found = self.rows(f"PRAGMA {name}")
            if found != [(expected,)]:
                raise LedgerError(
                    f"expected SQLite to set {name} to {expected!r} for {self._name}, found "
                    f"{found!r}: put the ledger on a local disk and use a complete SQLite"
                )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
            remedy = _REMEDIES.get(code, "nothing leaves until the ledger can be written")
            raise LedgerError(
                f"expected to read and write {self._name}, found: {error}; {remedy}"
            ) from error
        except UnicodeDecodeError as error:  # SQLite's own message repeats what is damaged
            raise LedgerError(
                f"expected to read and write {self._name}, found damaged text; {_RESTORE}"
            ) from error


def _prepare_file(path: Path) -> None:
    """Create the file for this user alone, or refuse what others can read or nobody can write.

    Mode bits are checked as well as access: they also bind an administrator, who could write.
    """
    try:
        _check_mode(path.parent, os.W_OK | os.X_OK, forbidden=0, needed=stat.S_IWUSR)
        if _created(path):
            return
        _check_mode(path, os.R_OK | os.W_OK, forbidden=0o077, needed=stat.S_IRUSR | stat.S_IWUSR)
        if not path.is_file():
            raise LedgerError(f"expected a ledger file at {path}, found something else there")
    except OSError as error:
        raise LedgerError(
            f"expected a ledger at {path}, found: {error.strerror}; give a path in a directory "
            "that exists and that this user can write"
        ) from error


def _created(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


def _check_mode(path: Path, access: int, *, forbidden: int, needed: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & forbidden or mode & needed != needed or not os.access(path, access):
        raise LedgerError(
            f"expected {path} writable by this user"
            + (" and closed to others (mode 0600)" if forbidden else "")
            + f", found mode {mode:04o}: change its owner or mode"
        )
