"""What SQLite compiles a view to tells which functions it calls."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from fieldfare.client.records.sqlite_views import failing_parts


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = bytes  # what is no text fails in Python alone
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("CREATE TABLE g (a, n GENERATED ALWAYS AS (abs(a)) VIRTUAL)")
        connection.execute("INSERT INTO t VALUES ('x', 9223372036854775807), (x'ff', 1), (2, NULL)")
        yield connection


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT a, CAST(b AS REAL) AS x FROM t ORDER BY a", ()),
        ("SELECT a, total(b), avg(b), max(b), count(*) FROM t GROUP BY a", ()),
        ("SELECT lower(a) || b, a LIKE 'x%', b / 0, b % 0, b + 1, -b FROM t", ()),
        ("SELECT a, row_number() OVER (PARTITION BY a) FROM t", ()),
        ("SELECT a FROM t UNION SELECT b FROM t", ()),
        ("SELECT abs(b) FROM t", ("abs",)),
        ("SELECT n FROM g", ("abs",)),
        ("SELECT sum(b) FROM t", ("sum",)),
        ("SELECT sum(b) OVER (PARTITION BY a) FROM t", ("sum",)),
        ("SELECT json_extract(a, '$.x') FROM t", ("json_extract",)),
        ("SELECT value FROM t, json_each(a)", ("a table that is computed",)),
        ("SELECT printf('%.*c', 2000000000, 'x')", ("printf",)),
    ],
)
def test_functions_outside_the_list_are_named(
    database: sqlite3.Connection, query: str, found: tuple[str, ...]
) -> None:
    relation = f"({query}\n) AS records"
    assert failing_parts(lambda text: compiled(database, text), relation) == found
    if not found:
        assert database.execute(query).fetchall()


def compiled(database: sqlite3.Connection, text: str) -> list[list[object]]:
    rows = database.execute(text).fetchall()
    return [[one.decode() if isinstance(one, bytes) else one for one in row] for row in rows]


def test_what_is_named_does_fail(database: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError):
        database.execute("SELECT sum(b) FROM t").fetchall()
