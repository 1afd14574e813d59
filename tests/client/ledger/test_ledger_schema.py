"""Rows stay as they were written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fieldfare.client.custodian.recall import ANYWHERE
from fieldfare.client.ledger.schema import LEDGER, open_database
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.sqlite.database import Database

ENTRY = "'debit', 1, 0, 's', 'r', {step}, 0, 'training', '{request}', 1, 'v', 1, 1, 'h', 'all', 1"


@pytest.fixture
def database() -> Iterator[Database]:
    with open_database(None, busy_timeout=0.05) as database:
        fill(database)
        yield database


def fill(database: Database) -> None:
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
            " 0, '', 2, 0, 'h', 'all', 2)"
        )
    assert database.rows("SELECT count(*) FROM entries") == [(4,)]


def test_statements_stand_beside_their_entries_and_stay(database: Database) -> None:
    database.rows(
        "INSERT INTO entries VALUES (3, 'epoch', 2, 0, '', '', 0, 0, '', '', 0, '', 2, 0, 'h',"
        " 'all', 2)"
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


def test_versions_stand_one_a_row(database: Database) -> None:
    found = database.rows("SELECT version FROM migrations")
    assert found == [(number,) for number in range(LEDGER.first, LEDGER.newest + 1)]


def test_of_each_institution_the_newest_reply_of_all_studies_stays(tmp_path: Path) -> None:
    """An earlier version kept one for each study; its witness is believed where it lies."""
    path = tmp_path / "ledger.sqlite"

    def reply(epoch: int, sequence: int) -> bytes:
        return b'{"body":{"epoch":%d,"ledger_sequence":%d}}' % (epoch, sequence)

    rows = [
        ("s", "bank-b", reply(1, 9)),
        ("t", "bank-b", reply(2, 3)),
        ("u", "bank-b", reply(2, 12)),
        ("s", "bank-c", reply(1, 4)),
    ]
    with Database(replace(LEDGER, migrations=LEDGER.migrations[:1]), path, busy_seconds=1) as old:
        for row in rows:
            old.rows("INSERT INTO peers VALUES (?, ?, ?)", *row)
        old.rows(f"INSERT INTO entries VALUES (1, {ENTRY.format(step=3, request='asked')})")
    with open_database(path, busy_timeout=1) as database:
        found = dict(database.rows("SELECT institution, reply FROM peers"))
        (state,) = database.rows("SELECT state FROM runs WHERE run = ':vouched'")
    assert found == {"bank-b": reply(2, 12), "bank-c": reply(1, 4)}
    assert bytes(state[0]) == ANYWHERE
