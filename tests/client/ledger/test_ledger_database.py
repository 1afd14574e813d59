"""No old key stays in any file of the ledger."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fieldfare.client.ledger.schema import LEDGER, erase_log, open_database
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.sqlite.database import Database

SETTINGS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "secure_delete": 1,
    "temp_store": 2,
    "wal_autocheckpoint": 0,
}
SECRET = b"a chain key that must not outlive its step" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "units.ledger"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with open_database(path, busy_timeout=0.05) as database:
        yield database


def put(database: Database, state: bytes) -> None:
    with database.transaction():
        database.rows("INSERT OR REPLACE INTO runs VALUES ('s', 'r', ?)", state)


def files(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_commits_are_flushed_and_deletions_overwritten(database: Database) -> None:
    found = {name: database.rows(f"PRAGMA {name}")[0][0] for name in SETTINGS}
    assert found == SETTINGS


def test_a_replaced_state_is_in_no_file_once_the_log_is_erased(
    database: Database, path: Path
) -> None:
    put(database, SECRET)
    put(database, b"the next key")
    assert SECRET[:64] in files(path)  # so the search can find it
    erase_log(database)
    assert SECRET[:64] not in files(path)
    assert b"the next key" in files(path)


def test_without_secure_delete_the_search_would_find_the_old_state(path: Path) -> None:
    lax = tuple(
        ("secure_delete", "OFF", 0) if pragma[0] == "secure_delete" else pragma
        for pragma in LEDGER.pragmas
    )
    with Database(replace(LEDGER, pragmas=lax), path, busy_seconds=0.05) as database:
        put(database, SECRET * 10)
        put(database, b"the next key")
        erase_log(database)
        assert SECRET[:64] in files(path)


def test_a_reader_elsewhere_delays_the_erasure_and_is_named(database: Database, path: Path) -> None:
    put(database, SECRET)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT state FROM runs").fetchall()
        put(database, b"the next key")
        with pytest.raises(LedgerError, match="another process reading"):
            erase_log(database)
        reader.execute("COMMIT")
    erase_log(database)
    assert SECRET[:64] not in files(path)
