"""A closed list says what no value can make fail; what it clears is run over odd values."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from fieldfare.client.records.duckdb_views import failing_parts
from fieldfare.client.records.sources.engine import connect

TABLES = (
    "CREATE TABLE t (a VARCHAR, e VARCHAR, b INTEGER, c DOUBLE, d DATE)",
    "INSERT INTO t VALUES ('n/a', '9e999', 2147483647, 'inf', 'infinity')",
    "INSERT INTO t VALUES ('', '-', -2147483648, 'nan', '-infinity')",
    "INSERT INTO t VALUES (NULL, NULL, NULL, NULL, NULL)",
    "INSERT INTO t VALUES ('x', '2026-13-45', 0, 1e308, '5877642-06-25 (BC)')",
    "INSERT INTO t VALUES ('n/a', '%', 1, -1e308, '2026-01-01')",
    "CREATE TABLE g (a VARCHAR, n INTEGER GENERATED ALWAYS AS (CAST(a AS INTEGER)))",
    "CREATE VIEW w AS SELECT a, CAST(a AS INTEGER) AS n FROM t",
    "CREATE VIEW ww AS SELECT n FROM w",
    "CREATE VIEW ok AS SELECT a, try_cast(e AS DOUBLE) AS x FROM t WHERE b > 5.5",
    "CREATE MACRO f(x) AS CAST(x AS INTEGER)",
    "CREATE MACRO lower(x) AS CAST(x AS INTEGER)",
)
CLEARED = (
    "SELECT * FROM t",
    "SELECT * FROM ok",
    "SELECT a, sum(try_cast(e AS DOUBLE)) AS s, count(*) AS n, max(c), avg(c) FROM t GROUP BY a",
    "SELECT CASE WHEN a = 'x' THEN b ELSE 0 END, coalesce(a, 'y'), upper(a), c / 2, c + c FROM t",
    "SELECT TRY(CAST(a AS INTEGER)), a || 'x', a LIKE 'x%', a IN ('x', 'y') FROM t",
    "SELECT b BETWEEN 1 AND 3, b IS NULL, NOT b > 2 FROM t",
    "SELECT x.a, u.b FROM (SELECT a FROM t) AS x LEFT JOIN t AS u ON x.a = u.a ORDER BY 2 LIMIT 9",
    "SELECT try_strptime(e, '%Y-%m-%d'), CAST(d AS VARCHAR), substring(a, 1, 2), d FROM t",
    "SELECT row_number() OVER (PARTITION BY a ORDER BY b) AS n FROM t WHERE d > '2020-01-01'",
    "WITH z AS (SELECT a FROM t) SELECT DISTINCT a FROM z",
)
FAILING = {
    "SELECT CAST(a AS INTEGER) FROM t": "cast",
    "SELECT a::DATE FROM t": "cast",
    "SELECT * FROM ww": "cast",
    "SELECT * FROM g": "a generated column",
    "SELECT f(a) FROM t": "f",
    "SELECT lower(a) FROM t": "lower",
    "SELECT a FROM t WHERE a = 1": "a comparison of different types",
    "SELECT a FROM t WHERE a IN (1, 2)": "a comparison of different types",
    "SELECT coalesce(a, 1) FROM t": "a comparison of different types",
    "SELECT b + 1 FROM t": "+",
    "SELECT sum(b) FROM t": "sum",
    "SELECT strptime(a, '%Y') FROM t": "strptime",
    "SELECT year(a) FROM t": "year",
    "SELECT repeat('x', 2000000000) AS a": "repeat",
    "SELECT error(a) FROM t": "error",
    "SELECT (SELECT a FROM t) AS m": "subquery",
    "SELECT a FROM t UNION ALL SELECT b FROM t": "set operation node",
    "WITH z AS (SELECT CAST(a AS INTEGER) AS q FROM t) SELECT q FROM z": "cast",
    "SELECT * REPLACE (CAST(a AS INTEGER) AS a) FROM t": "cast",
    "SELECT a FROM t JOIN w ON t.a = w.n": "a comparison of different types",
    "SELECT range FROM range(10)": "table function",
    "SELECT unnest([1, 2])": "unnest",
    "PIVOT t ON a USING sum(b)": "what the parser does not know",
}


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with connect() as connection:
        for statement in TABLES:
            connection.execute(statement)
        yield connection


@pytest.mark.parametrize("query", CLEARED)
def test_what_is_cleared_fails_for_no_value(database: Any, query: str) -> None:
    assert failing_parts(database, f"({query}\n) AS records") == ()
    assert len(database.execute(query).fetchall()) > 0


@pytest.mark.parametrize("query", FAILING)
def test_what_may_fail_is_named(database: Any, query: str) -> None:
    assert FAILING[query] in failing_parts(database, f"({query}\n) AS records")


def test_what_is_named_does_fail(database: Any) -> None:
    """The list is none of things that sound dangerous."""
    for query in ("SELECT CAST(a AS INTEGER) FROM t", "SELECT b + 1 FROM t", "SELECT n FROM w"):
        with pytest.raises(duckdb.Error):
            database.execute(query).fetchall()
