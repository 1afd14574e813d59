"""The tables keep their own rules, whoever writes them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from fieldfare.server.store.database import APPLICATION, MIGRATIONS

HASH = bytes(32)


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA recursive_triggers = ON")
        for migration in MIGRATIONS:
            for statement in migration:
                connection.execute(statement)
        connection.execute(
            "INSERT INTO runs (run, study, state, reason, created) VALUES ('r', 's', 'x', '', 0)"
        )
        connection.execute("INSERT INTO leaves VALUES ('r', 0, 'end', ?, ?)", (HASH, b"leaf"))
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET content = x'00'",
        "DELETE FROM leaves",
        "INSERT OR REPLACE INTO leaves VALUES ('r', 0, 'end', zeroblob(32), x'00')",
        "INSERT INTO leaves VALUES ('r', 0, 'end', zeroblob(32), x'00')",
        "INSERT INTO leaves VALUES ('r', 1, 'end', zeroblob(31), x'00')",
        "INSERT INTO leaves VALUES ('unknown', 0, 'end', zeroblob(32), x'00')",
        "DELETE FROM runs",
    ],
)
def test_a_log_only_grows(tables: sqlite3.Connection, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        tables.execute(statement)
    assert tables.execute("SELECT content FROM leaves").fetchall() == [(b"leaf",)]


@pytest.mark.parametrize(
    "table", ["progress", "blobs", "checkpoints", "heads", "statuses", "metrics", "undelivered"]
)
def test_nothing_belongs_to_an_unknown_run(tables: sqlite3.Connection, table: str) -> None:
    columns = tables.execute(f"PRAGMA table_info({table})").fetchall()
    values = ["unknown" if column[1] == "run" else 1 for column in columns]
    marks = ", ".join("?" * len(values))
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        tables.execute(f"INSERT INTO {table} VALUES ({marks})", values)


def test_the_application_id_spells_the_store() -> None:
    assert APPLICATION.to_bytes(4).decode() == "FFMR"
