"""One connection to a SQLite file of ours: durable, erasing, and honest about every failure.

WAL with synchronous=FULL: a COMMIT that returned survives a power cut, and readers never wait
for a writer (SQLite documentation, "Write-Ahead Logging"). secure_delete overwrites what is
replaced or deleted. SQLite cannot erase copies of overwritten blocks that the file system or the
disk keeps: use an encrypted disk.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final, Self

from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.sqlite.kind import DatabaseKind, is_busy
from fieldfare.shared.sqlite.versions import OPEN_EARLIER, tables_version
from fieldfare.shared.system.private_files import OTHERS, PRIVATE_FILE

VERSIONS: Final = "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY)"

_FREED_AT_ONCE: Final = 500  # pages; others may write in between
_POLL_SECONDS: Final = 0.001


class Database:
    """One connection to a file's tables; every failure is the error of its kind.

    Threads may share it: one is inside at a time.
    """

    def __init__(
        self,
        kind: DatabaseKind,
        path: Path | None,
        *,
        busy_seconds: float,
        mode: int = PRIVATE_FILE,
        read_only: bool = False,
    ) -> None:
        """Open a file, created where there is none, and bring its tables to the newest version.

        Args:
            kind: of the file.
            path: the file, in a folder that is there; None keeps everything in memory.
            busy_seconds: how long to wait for other processes.
            mode: of a new file, and the most that an existing one may let others do.
            read_only: look at another user's file, as it is.

        Raises:
            FieldfareError: the kind's: locked, read-only, readable by others, damaged, of another
                kind, written by a newer or a too early Fieldfare, or the disk is full.
        """
        self._kind, self._path, self._busy_seconds = kind, path, busy_seconds
        self._name = f"{kind.name} in memory" if path is None else str(path)
        self._lock = RLock()
        if path is not None and not read_only:
            _prepare_file(kind, path, mode)
        with self._faults():
            self._connection = sqlite3.connect(
                ":memory:" if path is None else _address(path, read_only=read_only),
                timeout=busy_seconds,
                isolation_level=None,  # transactions are explicit: see `transaction`
                check_same_thread=False,  # the lock lets one thread in at a time
                uri=True,
            )
        if not read_only:
            self._make_ready()

    def __enter__(self) -> Self:
        """Return the open database."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; anything later is refused."""
        with self._lock, self._faults():
            self._connection.close()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement to its end and return its rows.

        Raises:
            FieldfareError: the kind's: SQLite reports an error.
        """
        with self._lock, self._faults():
            return self._connection.execute(statement, values).fetchall()

    def many(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        """Run one statement for each row of values.

        Raises:
            FieldfareError: the kind's: SQLite reports an error.
        """
        with self._lock, self._faults():
            self._connection.executemany(statement, values)

    def changed(self, statement: str, *values: object) -> int:
        """Run one statement and return how many rows it changed.

        Raises:
            FieldfareError: the kind's: SQLite reports an error.
        """
        with self._lock, self._faults():
            return self._connection.execute(statement, values).rowcount

    def forget_pages(self) -> None:
        """Drop what is kept in memory of the file, so that what is read next is read from it.

        Raises:
            FieldfareError: the kind's: SQLite reports an error.
        """
        self.rows("PRAGMA shrink_memory")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; commit to disk at the end, or leave no trace of an exception.

        Inside another transaction it is a part of that one.

        Raises:
            FieldfareError: the kind's: locked for longer than the timeout, or the commit failed.
        """
        with self._lock:
            with self._faults():  # a closed connection does not even say this
                inside = self._connection.in_transaction
            if inside:
                yield
                return
            try:  # from the first statement on: an interruption may follow it at once
                self.rows("BEGIN IMMEDIATE")
                yield
                self.rows("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self.rows("ROLLBACK")

    def empty_log(self) -> bool:
        """Move the write-ahead log into the database and cut it to nothing.

        False where another process reads or writes for longer than the timeout.

        Raises:
            FieldfareError: the kind's: SQLite reports an error.
        """
        return self._patiently(self._emptied_log)

    def give_back(self) -> None:
        """Return the space of deleted content to the disk, and empty the write-ahead log.

        A reader that is in the way keeps the log; the next call empties it.

        Raises:
            FieldfareError: the kind's: SQLite reports an error.
        """
        with self._lock:
            before, left = 0, self._number("PRAGMA freelist_count")
            while left and left != before:
                with self._faults():  # a script runs to its end; a statement would free one page
                    self._connection.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")
                before, left = left, self._number("PRAGMA freelist_count")
            self._emptied_log()

    def copy_to(self, path: Path) -> None:
        """Write the committed content into a new file (0600) that nobody else uses yet.

        Raises:
            FieldfareError: the kind's: this one is in memory, something is at `path`, or it cannot
                be written.
        """
        if self._path is None or path.exists():
            raise self._kind.error(f"expected a file to copy and nothing at {path}: move that away")
        _prepare_file(self._kind, path, PRIVATE_FILE)
        # A second connection reads: SQLite copies nothing while the copying one holds the write
        # lock ("SQLite Backup API"), and the lock is what keeps others from writing in between.
        with (
            self._faults(),
            closing(sqlite3.connect(self._path)) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)

    def check_integrity(self) -> None:
        """Let SQLite compare every page and index.

        Raises:
            FieldfareError: the kind's, with the first problem.
        """
        found = self.rows("PRAGMA integrity_check(1)")
        if found != [("ok",)]:
            raise self._kind.error(
                f"expected {self._name} undamaged, found {found[0][0]}: {self._kind.restore}"
            )

    def _make_ready(self) -> None:
        try:
            self._version()  # before a setting writes into what a later version made
            for name, setting, expected in self._kind.pragmas:
                if self._path is not None or name != "journal_mode":
                    self._set(name, setting, expected)
            self._migrate()
        except FieldfareError:
            self.close()
            raise

    def _set(self, name: str, setting: str, expected: str | int | None) -> None:
        statement = f"PRAGMA {name} = {setting}"
        if not self._patiently(lambda: self._done_unless_busy(statement)):
            raise self._kind.error(
                f"expected to open {self._name}, found it locked; {self._kind.so}"
                f"{self._kind.remedy(sqlite3.SQLITE_BUSY)}"
            )
        found = self.rows(f"PRAGMA {name}")
        if expected is not None and found != [(expected,)]:
            raise self._kind.error(
                f"expected SQLite to set {name} to {expected!r} for {self._name}, found {found!r}: "
                f"put {self._kind.name} on a local disk and use a complete SQLite"
            )

    def _patiently(self, attempt: Callable[[], bool]) -> bool:
        """Repeat what SQLite's busy timeout does not wait for: a checkpoint or a change to WAL.

        Documentation of sqlite3_wal_checkpoint_v2: while another process checkpoints, the busy
        handler is not invoked.
        """
        deadline = time.monotonic() + self._busy_seconds
        while not (done := attempt()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return done

    def _done_unless_busy(self, statement: str) -> bool:
        with self._faults():
            try:
                self._connection.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                return False
        return True

    def _emptied_log(self) -> bool:
        ((busy, _, _),) = self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy

    def _migrate(self) -> None:
        kind = self._kind
        if self._version() == kind.newest:
            return
        with self.transaction():
            version = self._version()  # again: another process may have been faster
            if kind.application is None:
                self.rows(VERSIONS)
            for number, statements in enumerate(kind.migrations, start=kind.first):
                if number <= version:
                    continue
                for statement in statements:
                    self.rows(statement)
                if kind.application is None:
                    self.rows("INSERT INTO migrations VALUES (?)", number)
            if kind.application is not None:
                self.rows(f"PRAGMA application_id = {kind.application}")
                self.rows(f"PRAGMA user_version = {kind.newest}")

    def _version(self) -> int:
        kind = self._kind
        tables = self._number("SELECT count(*) FROM sqlite_schema")
        if tables and kind.application not in {None, self._number("PRAGMA application_id")}:
            raise kind.error(
                f"expected {kind.name} at {self._name}, found another database: move it away"
            )
        version = tables_version(self._number)
        if version > kind.newest:
            raise kind.error(
                f"expected {self._name} in schema version {kind.newest} or older, found {version}: "
                "use the newer Fieldfare that wrote it"
            )
        if tables and version < kind.first:
            raise kind.error(
                f"expected {self._name} in schema version {kind.first} or newer, found {version}: "
                f"{OPEN_EARLIER}"
            )
        return version

    def _number(self, query: str) -> int:
        ((found,),) = self.rows(query)
        return int(found)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._kind.explained(self._name, error) from error
        except UnicodeDecodeError:  # SQLite's own message repeats what is damaged
            raise self._kind.damaged(self._name) from None


def _address(path: Path, *, read_only: bool) -> str:
    """Return what SQLite opens: a file that is there, so that none is made with other rights."""
    return f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"


def _prepare_file(kind: DatabaseKind, path: Path, mode: int) -> None:
    """Create the file with `mode`, or refuse what others can read or nobody can write.

    Mode bits are checked as well as access: they also bind an administrator, who could write.
    An existing file is looked at without opening it: closing it again would drop the locks that
    another connection of this process holds ("How To Corrupt An SQLite Database File", 2.2).
    """
    try:
        found = stat.S_IMODE(path.parent.stat().st_mode)
        if not found & stat.S_IWUSR or not os.access(path.parent, os.W_OK | os.X_OK):
            raise kind.error(
                f"expected {path.parent} writable by this user, found mode {found:04o}: give this "
                "user write access to it"
            )
        if _created(path, mode):
            return
        if not path.is_file():
            raise kind.error(f"expected a file at {path}, found something else there")
        found = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise kind.error(
            f"expected {kind.name} at {path}, found: {error.strerror}; give a path in a folder "
            "that exists and that this user can write"
        ) from error
    needed = stat.S_IRUSR | stat.S_IWUSR
    if found & OTHERS & ~mode or found & needed != needed or not os.access(path, os.R_OK | os.W_OK):
        raise kind.error(
            f"expected {path} writable by this user and closed to others (mode {mode:04o}), found "
            f"mode {found:04o}: chmod {mode:o} {path} as its owner"
        )


def _created(path: Path, mode: int) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    except FileExistsError:
        return False
    return True
