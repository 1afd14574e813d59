"""The file is private, durable and erasing; every failure of SQLite is a LedgerError."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fieldfare.client.ledger import database as ledger_database
from fieldfare.client.ledger.database import Database
from fieldfare.shared.errors import LedgerError

SECRET = b"a chain key that must not outlive its step" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "units.ledger"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database(path, busy_timeout=0.05) as database:
        database.migrate()
        yield database


def put(database: Database, state: bytes) -> None:
    with database.transaction():
        database.rows("INSERT OR REPLACE INTO runs VALUES ('s', 'r', ?)", state)


def files(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_every_file_is_closed_to_others(database: Database, path: Path) -> None:
    put(database, SECRET)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes) == {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    assert set(modes.values()) == {0o600}


def test_commits_are_flushed_and_deletions_overwritten(database: Database) -> None:
    found = {
        name: database.rows(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "secure_delete", "temp_store")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "temp_store": 2}


def test_a_replaced_state_is_in_no_file_once_the_log_is_erased(
    database: Database, path: Path
) -> None:
    put(database, SECRET)
    put(database, b"the next key")
    assert SECRET[:64] in files(path)  # so the search can find it
    database.erase_log()
    assert SECRET[:64] not in files(path)
    assert b"the next key" in files(path)


def test_without_secure_delete_the_search_would_find_the_old_state(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lax = tuple(
        ("secure_delete", "OFF", 0) if pragma[0] == "secure_delete" else pragma
        for pragma in ledger_database._PRAGMAS
    )
    monkeypatch.setattr(ledger_database, "_PRAGMAS", lax)
    with Database(path, busy_timeout=0.05) as database:
        database.migrate()
        put(database, SECRET * 10)
        put(database, b"the next key")
        database.erase_log()
        assert SECRET[:64] in files(path)


def test_a_setting_that_does_not_hold_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_database, "_PRAGMAS", (("synchronous", "OFF", 2),))
    with pytest.raises(LedgerError, match="expected SQLite to set synchronous to 2"):
        Database(path, busy_timeout=0.05)


def test_an_exception_undoes_the_transaction(database: Database) -> None:
    put(database, b"before")

    def interrupted() -> None:
        with database.transaction():
            database.rows("UPDATE runs SET state = x'00'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert database.rows("SELECT state FROM runs") == [(b"before",)]
    put(database, b"after")  # and the lock was given back


def test_a_reader_elsewhere_delays_the_erasure_and_is_named(database: Database, path: Path) -> None:
    put(database, SECRET)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT state FROM runs").fetchall()
        put(database, b"the next key")
        with pytest.raises(LedgerError, match="another process reading"):
            database.erase_log()
        reader.execute("COMMIT")
    database.erase_log()
    assert SECRET[:64] not in files(path)


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_writer_elsewhere_is_waited_for_and_then_named(
    database: Database, path: Path, lock: str
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(lock)
        with pytest.raises(LedgerError, match="another process holds the ledger"):
            put(database, b"x")
        writer.execute("ROLLBACK")
    put(database, b"x")


def test_a_closed_database_refuses(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(LedgerError, match="closed database"):
        database.rows("SELECT 1")


@pytest.mark.parametrize("mode", [0o400, 0o640, 0o604, 0o200, 0o000])
def test_a_file_that_is_read_only_or_open_to_others_is_refused(path: Path, mode: int) -> None:
    Database(path, busy_timeout=0.05).close()
    path.chmod(mode)
    with pytest.raises(LedgerError, match=f"found mode {mode:04o}"):
        Database(path, busy_timeout=0.05)


def test_a_read_only_directory_is_refused(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(LedgerError, match="found mode 0500"):
            Database(path, busy_timeout=0.05)
    finally:
        path.parent.chmod(0o700)


def test_no_directory_no_ledger(path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file or directory"):
        Database(path / "deeper", busy_timeout=0.05)
    path.mkdir(mode=0o700)
    with pytest.raises(LedgerError, match="something else"):
        Database(path, busy_timeout=0.05)


@pytest.mark.parametrize("content", [b"garbage", os.urandom(8192), b"SQLite format 3\x00" * 300])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="expected to read and write"):
        Database(path, busy_timeout=0.05)
    assert path.read_bytes() == content


def test_damage_that_no_query_meets_is_found_by_the_integrity_check(
    database: Database, path: Path
) -> None:
    put(database, SECRET)
    database.check_integrity()
    with database.transaction():
        database.rows("PRAGMA writable_schema = ON")
        database.rows("DELETE FROM sqlite_schema WHERE name = 'entries_time'")
    database.close()
    with (
        Database(path, busy_timeout=0.05) as reopened,
        pytest.raises(LedgerError, match="undamaged"),
    ):
        reopened.check_integrity()


def test_in_memory_the_same_statements_run_without_a_file() -> None:
    with Database(None, busy_timeout=0.05) as database:
        database.migrate()
        put(database, SECRET)
        assert database.rows("SELECT state FROM runs") == [(SECRET,)]
