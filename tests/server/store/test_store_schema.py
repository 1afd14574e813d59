"""The tables keep their own rules, whoever writes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldfare.server.store.store import APPLICATION, RUN_STORE
from fieldfare.shared.errors import RunError
from fieldfare.shared.sqlite.database import Database

HASH = bytes(32)


@pytest.fixture
def tables() -> Iterator[Database]:
    with Database(RUN_STORE, None, busy_seconds=0.05) as database:
        database.rows(
            "INSERT INTO runs (run, study, state, reason, created) VALUES ('r', 's', 'x', '', 0)"
        )
        database.rows("INSERT INTO leaves VALUES ('r', 0, 'end', ?, ?)", HASH, b"leaf")
        yield database


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
def test_a_log_only_grows(tables: Database, statement: str) -> None:
    with pytest.raises(RunError, match=r"append-only|constraint failed"):
        tables.rows(statement)
    assert tables.rows("SELECT content FROM leaves") == [(b"leaf",)]


@pytest.mark.parametrize(
    "table",
    ["progress", "blobs", "checkpoints", "heads", "statuses", "metrics", "losses", "undelivered"],
)
def test_nothing_belongs_to_an_unknown_run(tables: Database, table: str) -> None:
    columns = tables.rows(f"PRAGMA table_info({table})")
    values = ["unknown" if column[1] == "run" else 1 for column in columns]
    marks = ", ".join("?" * len(values))
    with pytest.raises(RunError, match="FOREIGN KEY"):
        tables.rows(f"INSERT INTO {table} VALUES ({marks})", *values)


def test_the_application_id_spells_the_store() -> None:
    assert APPLICATION.to_bytes(4).decode() == "FFMR"


def test_a_commit_reaches_the_disk_and_a_deletion_leaves_nothing(tmp_path: Path) -> None:
    settings = {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "auto_vacuum": 2,
        "application_id": APPLICATION,
        "user_version": 8,
    }
    with Database(RUN_STORE, tmp_path / "runs.sqlite", busy_seconds=0.05) as database:
        assert {name: database.rows(f"PRAGMA {name}")[0][0] for name in settings} == settings
