"""Rows stay as they were written, and old ledgers grow into new schemas."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldfare.client.ledger import database as ledger_database
from fieldfare.client.ledger.database import MIGRATIONS, Database
from fieldfare.shared.errors import LedgerError

ENTRY = "'debit', 1, 0, 's', 'r', {step}, 0, 'training', '{request}', 1, 'v', 1, 1, 'h'"


@pytest.fixture
def database() -> Iterator[Database]:
    with Database(None, busy_timeout=0.05) as database:
        fill(database)
        yield database


def fill(database: Database) -> None:
    database.migrate()
    database.rows("INSERT INTO ledger VALUES (1, 'units', 0)")
    for number in (1, 2):
        entry = ENTRY.format(step=number, request=f"request {number}")
        database.rows(f"INSERT INTO entries VALUES ({number}, {entry})")
        database.rows(f"INSERT INTO replies VALUES ({number}, 'h', x'01', x'02')")


@pytest.mark.parametrize("table", ["entries", "replies", "ledger"])
@pytest.mark.parametrize("recursive", ["ON", "OFF"])  # as here, and as in a stranger's tool
def test_rows_cannot_be_changed_or_deleted(database: Database, table: str, recursive: str) -> None:
    database.rows(f"PRAGMA recursive_triggers = {recursive}")
    before = database.rows(f"SELECT * FROM {table}")
    column = database.rows(f"SELECT name FROM pragma_table_info('{table}') LIMIT 1 OFFSET 1")[0][0]
    for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
        with pytest.raises(LedgerError, match="append-only"):
            database.rows(statement)
    assert database.rows(f"SELECT * FROM {table}") == before


@pytest.mark.parametrize(
    ("sequence", "step", "asked"),
    [
        (1, 9, "request 9"),  # in place of an entry
        (4, 9, "request 9"),  # with a gap
        (0, 9, "request 9"),
        (3, 9, "request 1"),  # a request twice
        (3, 1, "request 9"),  # a place twice
    ],
)
@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE"])
def test_entries_are_added_at_the_end_only(
    database: Database, verb: str, sequence: int, step: int, asked: str
) -> None:
    database.rows("PRAGMA recursive_triggers = OFF")
    before = database.rows("SELECT * FROM entries")
    entry = ENTRY.format(step=step, request=asked)
    with pytest.raises(LedgerError, match="append-only"):
        database.rows(f"{verb} INTO entries VALUES ({sequence}, {entry})")
    assert database.rows("SELECT * FROM entries") == before


def test_a_reply_cannot_be_replaced_and_needs_its_entry(database: Database) -> None:
    with pytest.raises(LedgerError, match="append-only"):
        database.rows("INSERT OR REPLACE INTO replies VALUES (1, 'h', x'03', x'04')")
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        database.rows("INSERT INTO replies VALUES (3, 'h', x'03', x'04')")


def test_a_debit_costs_something(database: Database) -> None:
    entry = ENTRY.format(step=3, request="request 3").replace("1, 'v'", "0, 'v'")
    with pytest.raises(LedgerError, match="CHECK"):
        database.rows(f"INSERT INTO entries VALUES (3, {entry})")


def test_other_events_find_room_in_the_same_chain(database: Database) -> None:
    for number in (3, 4):
        database.rows(
            f"INSERT INTO entries VALUES ({number}, 'epoch', {number - 1}, 0, '', '', 0, 0, '', '',"
            " 0, '', 2, 0, 'h')"
        )
    assert database.rows("SELECT count(*) FROM entries") == [(4,)]


def test_statements_stand_beside_their_entries_and_stay(database: Database) -> None:
    database.rows(
        "INSERT INTO entries VALUES (3, 'epoch', 2, 0, '', '', 0, 0, '', '', 0, '', 2, 0, 'h')"
    )
    database.rows("INSERT INTO statements VALUES (3, '{}')")
    for statement in (
        "UPDATE statements SET content = ''",
        "DELETE FROM statements",
        "INSERT OR REPLACE INTO statements VALUES (3, '')",
    ):
        with pytest.raises(LedgerError, match="append-only"):
            database.rows(statement)
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        database.rows("INSERT INTO statements VALUES (4, '{}')")
    assert database.rows("SELECT content FROM statements") == [("{}",)]


def test_an_old_ledger_grows_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newest = tmp_path / "units.ledger", len(MIGRATIONS)
    with Database(path, busy_timeout=0.05) as database:
        fill(database)
        before = database.rows("SELECT * FROM entries")
    grown = (*MIGRATIONS, ("ALTER TABLE entries ADD COLUMN statement TEXT",))
    with monkeypatch.context() as patch:
        patch.setattr(ledger_database, "MIGRATIONS", grown)
        for _ in range(2):  # the second time there is nothing to do
            with Database(path, busy_timeout=0.05) as database:
                database.migrate()
                assert database.rows("SELECT * FROM entries") == [(*row, None) for row in before]
                assert database.rows("SELECT version FROM migrations") == [
                    (number,) for number in range(1, newest + 2)
                ]
    with (
        Database(path, busy_timeout=0.05) as database,
        pytest.raises(LedgerError, match=f"schema version {newest} or older, found {newest + 1}"),
    ):
        database.migrate()


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ("ALTER TABLE entries ADD COLUMN statement TEXT", "ALTER TABLE nowhere ADD COLUMN x")
    with Database(tmp_path / "units.ledger", busy_timeout=0.05) as database:
        fill(database)
        before = database.rows("SELECT sql FROM sqlite_schema")
        versions = database.rows("SELECT version FROM migrations")
        monkeypatch.setattr(ledger_database, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(LedgerError, match="nowhere"):
            database.migrate()
        assert database.rows("SELECT sql FROM sqlite_schema") == before
        assert database.rows("SELECT version FROM migrations") == versions
