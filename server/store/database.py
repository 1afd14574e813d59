"""The run store's SQLite file: durable, and every failure is an error.

WAL with synchronous=FULL: a COMMIT that returned survives a power cut, and readers never wait
for a writer (SQLite documentation, "Write-Ahead Logging"). secure_delete overwrites what a
purge deletes; what the file system or the disk keeps of overwritten blocks is beyond SQLite.

The run store's tables, as a list of migrations: append one, never change one.

runs          one row per run: its study, its state and the Flower run that carries it out
progress      where each run stands, for people who watch
leaves        the transcript: an append-only log per run, each leaf with its hash
blobs         masked vectors beside the log, until their deletion date
checkpoints   what the next process of a run starts from, replaced with every step
heads         the log's newest signed head, and each institution's newest co-signature
statuses      what each institution last did in a run
metrics       what a run released of its model's quality
approvals     what each institution last said to a study
last_replies  the newest signed reply of each institution, over all runs
undelivered   finished runs that an institution has yet to receive
"""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final

from fieldfare.shared.errors import RunError

_APPEND_ONLY: Final = """
CREATE TRIGGER leaves_{event} BEFORE {event} ON leaves
BEGIN SELECT RAISE(ABORT, 'a transcript is append-only'); END
"""

_FIRST: Final = (
    """
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    flower_run INTEGER,
    created INTEGER NOT NULL,
    ended INTEGER,
    purged INTEGER NOT NULL DEFAULT 0
)
""",
    "CREATE INDEX runs_study ON runs (study, created)",
    """
CREATE TABLE progress (
    run TEXT PRIMARY KEY REFERENCES runs (run),
    step INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    attempt_failures INTEGER NOT NULL,
    seconds REAL NOT NULL,
    spent INTEGER NOT NULL,
    phase TEXT NOT NULL,
    time INTEGER NOT NULL
)
""",
    """
CREATE TABLE leaves (
    run TEXT NOT NULL REFERENCES runs (run),
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    content BLOB NOT NULL,
    UNIQUE (run, position)
)
""",
    *(_APPEND_ONLY.format(event=event) for event in ("UPDATE", "DELETE")),
    """
CREATE TABLE blobs (
    run TEXT NOT NULL REFERENCES runs (run),
    hash TEXT NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (hash, run)
)
""",
    "CREATE INDEX blobs_run ON blobs (run)",
    """
CREATE TABLE checkpoints (run TEXT PRIMARY KEY REFERENCES runs (run), content BLOB NOT NULL)
""",
    # The coordinator's own head stands under the empty name, which no institution can have.
    """
CREATE TABLE heads (
    run TEXT NOT NULL REFERENCES runs (run),
    institution TEXT NOT NULL,
    size INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (run, institution)
)
""",
    """
CREATE TABLE statuses (
    run TEXT NOT NULL REFERENCES runs (run),
    institution TEXT NOT NULL,
    text TEXT NOT NULL,
    time INTEGER NOT NULL,
    UNIQUE (run, institution)
)
""",
    """
CREATE TABLE metrics (run TEXT PRIMARY KEY REFERENCES runs (run), content TEXT NOT NULL)
""",
    """
CREATE TABLE approvals (
    study TEXT NOT NULL,
    institution TEXT NOT NULL,
    text TEXT NOT NULL,
    envelope BLOB NOT NULL,
    time INTEGER NOT NULL,
    UNIQUE (study, institution)
)
""",
    "CREATE TABLE last_replies (institution TEXT PRIMARY KEY, envelope BLOB NOT NULL)",
    """
CREATE TABLE undelivered (
    institution TEXT NOT NULL,
    run TEXT NOT NULL REFERENCES runs (run),
    UNIQUE (institution, run)
)
""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
"""Statements that lead from version n to version n + 1; a file without tables is version 0."""

APPLICATION: Final = 0x46464D52
"""SQLite's `application_id` of a run store ("FFMR"), so that no other database is taken for one."""


# -- store database -------------------------------------------------------------------------------

BUSY_SECONDS: Final = 15.0

_LOG_BYTES: Final = 16 * 1024 * 1024  # what an emptied write-ahead log may keep of the disk
_PRAGMAS: Final = (
    ("synchronous", "FULL", 2),
    ("secure_delete", "ON", 1),
    ("temp_store", "MEMORY", 2),  # no vector spills into a temporary file
    ("journal_size_limit", str(_LOG_BYTES), _LOG_BYTES),
    ("foreign_keys", "ON", 1),
    ("recursive_triggers", "ON", 1),  # INSERT OR REPLACE would delete leaves unnoticed
    ("trusted_schema", "OFF", 0),
)
_FREED_AT_ONCE: Final = 500  # pages; others may write in between
_POLL_SECONDS: Final = 0.005
_PRIMARY_CODE: Final = 0xFF  # extended result codes keep the primary one in the low byte
_DISK: Final = "look at the disk's space, quotas and health, then resume the run"
_RESTORE: Final = "put the newest backup of it in its place"
_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "another process holds it for too long: let that finish, then repeat",
    sqlite3.SQLITE_READONLY: "give this user write access to the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "give this user access to the file and its folder, and the disk room",
    sqlite3.SQLITE_FULL: "free some space on the disk, then resume the run",
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_NOTADB: _RESTORE,
}


class StoreDatabase:
    """One connection to a run store's tables; every failure is a RunError.

    Threads may share it: one is inside at a time.
    """

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open `path` (0600, created if absent) and bring its tables to the newest version.

        Args:
            path: the file; its folder exists.
            busy_seconds: how long to wait for other processes.

        Raises:
            RunError: locked, read-only, readable by others, damaged, no run store, written by
                a newer Fieldfare, or the disk is full.
        """
        self._path = path
        self._busy_seconds = busy_seconds
        self._lock = RLock()
        _prepare_file(path)
        with self._faults():
            self._connection = sqlite3.connect(
                path,
                timeout=busy_seconds,
                isolation_level=None,  # transactions are explicit: see `transaction`
                check_same_thread=False,  # the lock lets one thread in at a time
            )
        try:
            self._configure()
            self._migrate()
        except RunError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; anything later is refused."""
        with self._lock, self._faults():
            self._connection.close()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement to its end and return its rows.

        Raises:
            RunError: SQLite reports an error.
        """
        with self._lock, self._faults():
            return self._connection.execute(statement, values).fetchall()

    def many(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        """Run one statement for each row of values.

        Raises:
            RunError: SQLite reports an error.
        """
        with self._lock, self._faults():
            self._connection.executemany(statement, values)

    def changed(self, statement: str, *values: object) -> int:
        """Run one statement and return how many rows it changed.

        Raises:
            RunError: SQLite reports an error.
        """
        with self._lock, self._faults():
            return self._connection.execute(statement, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; commit to disk at the end, or leave no trace of an exception.

        Inside another transaction it is a part of that one.

        Raises:
            RunError: locked for longer than the timeout, or the commit failed.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self.rows("ROLLBACK")

    def give_back(self) -> None:
        """Return the space of deleted content to the disk, and empty the write-ahead log.

        A reader that is in the way keeps the log; the next call empties it.

        Raises:
            RunError: SQLite reports an error.
        """
        with self._lock:
            before, left = 0, self._free_pages()
            while left and left != before:
                with self._faults():  # a script runs to its end; a statement would free one page
                    self._connection.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")
                before, left = left, self._free_pages()
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def _free_pages(self) -> int:
        ((count,),) = self.rows("PRAGMA freelist_count")
        return int(count)

    def _configure(self) -> None:
        # Only a file without tables takes it, and only before it is switched to WAL.
        self.rows("PRAGMA auto_vacuum = INCREMENTAL")
        self._switch_to_wal()
        for name, setting, expected in _PRAGMAS:
            self.rows(f"PRAGMA {name} = {setting}")
            found = self.rows(f"PRAGMA {name}")
            if found != [(expected,)]:
                raise RunError(
                    f"expected SQLite to set {name} to {expected!r} for {self._path}, found "
                    f"{found!r}: use a complete SQLite"
                )

    def _switch_to_wal(self) -> None:
        """Switch; SQLite's busy timeout does not wait where another process switches too."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            with self._faults():
                try:
                    found = self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                    break
                except sqlite3.OperationalError as error:
                    busy = error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() >= deadline:
                        raise
            time.sleep(_POLL_SECONDS)
        if found != [("wal",)]:
            raise RunError(
                f"expected a write-ahead log for {self._path}, found SQLite in mode {found!r}: "
                "put the coordinator's folder on a local disk"
            )

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction():
            version = self._version()  # again: another process may have been faster
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    self.rows(statement)
            self.rows(f"PRAGMA application_id = {APPLICATION}")
            self.rows(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self) -> int:
        ((version,),) = self.rows("PRAGMA user_version")
        ((application,),) = self.rows("PRAGMA application_id")
        ((tables,),) = self.rows("SELECT count(*) FROM sqlite_schema")
        if tables and application != APPLICATION:
            raise RunError(
                f"expected a run store at {self._path}, found another database: move it away"
            )
        if version > len(MIGRATIONS):
            raise RunError(
                f"expected {self._path} in schema version {len(MIGRATIONS)} or older, found "
                f"{version}: use the newer Fieldfare that wrote it"
            )
        return int(version)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except UnicodeDecodeError:  # SQLite's own message repeats what is damaged
            raise self._damaged() from None

    def _explained(self, error: sqlite3.Error) -> RunError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None and isinstance(error, sqlite3.OperationalError):
            return self._damaged()  # Python could not decode a text that SQLite returned
        remedy = _REMEDIES.get((code or 0) & _PRIMARY_CODE, "resume the run when it can be written")
        return RunError(
            f"expected to read and write {self._path}, found: {error}; "
            f"nothing was written: {remedy}"
        )

    def _damaged(self) -> RunError:
        return RunError(f"expected to read {self._path}, found damaged text: {_RESTORE}")


class Tables:
    """Base of what reads and writes some of the tables."""

    def __init__(self, database: StoreDatabase) -> None:
        """Read and write an open database."""
        self._database = database


def _prepare_file(path: Path) -> None:
    """Create the file for this user alone, or refuse what others can read.

    An existing file is looked at without opening it: closing it again would drop the locks that
    another connection of this process holds ("How To Corrupt An SQLite Database File", 2.2).
    """
    try:
        if _created(path):
            return
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise RunError(
            f"expected a run store at {path}, found: {error.strerror}; give a path in a folder "
            "that exists and that this user can write"
        ) from None
    if mode & 0o077:
        raise RunError(
            f"expected {path} closed to other users (mode 0600), found mode {mode:04o}: "
            f"chmod 600 {path}"
        )


def _created(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True
