"""A database of an earlier version, opened, becomes like a new one; a too early one is refused."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.client.alerts.tables import ALERTS
from fieldfare.client.desk.deciders import DECIDERS
from fieldfare.client.journal.journal import JOURNAL
from fieldfare.client.ledger.schema import LEDGER
from fieldfare.server.store.store import RUN_STORE
from fieldfare.shared.console.accounts import ACCOUNTS
from fieldfare.shared.sqlite.database import VERSIONS, Database
from fieldfare.shared.sqlite.kind import DatabaseKind
from fieldfare.shared.sqlite.versions import version_in
from fieldfare.shared.watch.outbox import OUTBOX

KINDS: Final = (ALERTS, DECIDERS, JOURNAL, LEDGER, RUN_STORE, ACCOUNTS, OUTBOX)
STEPS: Final = [
    pytest.param(kind, version, id=f"{kind.name}-{version}")
    for kind in KINDS
    for version in range(kind.first, kind.newest)
]
TOO_EARLY: Final = [
    pytest.param(kind, version, id=f"{kind.name}-{version}")
    for kind in KINDS
    for version in range(kind.first)
]


def shape(path: Path, kind: DatabaseKind) -> dict[str, Any]:
    """Every table's columns, and the names of all else; the texts differ where one was altered."""
    with Database(kind, path, busy_seconds=1) as database:
        named = database.rows("SELECT type, name FROM sqlite_schema ORDER BY type, name")
        tables = [name for of, name in named if of == "table"]
        columns = {name: sorted(database.rows(f"PRAGMA table_info({name})")) for name in tables}
        database.check_integrity()
    return {"named": named, "columns": {key: {c[1:] for c in columns[key]} for key in columns}}


@pytest.mark.parametrize(("kind", "version"), STEPS)
def test_an_earlier_database_becomes_like_a_new_one(
    kind: DatabaseKind, version: int, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    earlier = replace(kind, migrations=kind.migrations[: version - kind.first + 1])
    Database(earlier, old, busy_seconds=1).close()
    assert version_in(old) == version
    assert shape(old, kind) == shape(new, kind)
    assert version_in(old) == kind.newest


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_later_database_is_refused_as_it_is(kind: DatabaseKind, tmp_path: Path) -> None:
    path = tmp_path / "later.sqlite"
    later = replace(kind, migrations=(*kind.migrations, ("CREATE TABLE later (a TEXT) STRICT",)))
    Database(later, path, busy_seconds=1).close()
    before = path.read_bytes()
    newest = kind.newest
    with pytest.raises(
        kind.error, match=f"in schema version {newest} or older, found {newest + 1}"
    ):
        Database(kind, path, busy_seconds=1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("kind", "version"), TOO_EARLY)
def test_a_too_early_database_is_refused_as_it_is(
    kind: DatabaseKind, version: int, tmp_path: Path
) -> None:
    """Version 0: tables of a build that gave them no number."""
    path = tmp_path / "earlier.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE earlier (a TEXT) STRICT")
        if kind.application is not None:
            made.execute(f"PRAGMA application_id = {kind.application}")
            made.execute(f"PRAGMA user_version = {version}")
        elif version:
            made.execute(VERSIONS)
            made.execute("INSERT INTO migrations VALUES (?)", (version,))
        made.commit()
    path.chmod(0o600)
    before = path.read_bytes()
    said = f"version {kind.first} or newer, found {version}: .*commit ca71956f.*nothing was changed"
    with pytest.raises(kind.error, match=said):
        Database(kind, path, busy_seconds=1)
    assert path.read_bytes() == before
