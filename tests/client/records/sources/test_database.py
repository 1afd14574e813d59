"""Databases give the rows of a table or a query, each value as its text, and stay as they are."""

import math
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi
import duckdb
import numpy as np
import pytest
from adbc_driver_manager import Error as AdbcError
from tests.support.rows import night

from fieldfare.client.records.sources.databases import Rows, open_duckdb, open_sqlite
from fieldfare.client.records.sources.engine import UnreadLines
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, number_of
from fieldfare.shared.errors import RecordsError

Reader = Callable[..., list[Any]]
MARKER = "MARKED-7781"
SEED = 11


def sqlite(path: Path, *statements: str) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def duck(path: Path, *statements: str) -> Path:
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


MAKERS = [
    pytest.param(duck, "r.duckdb", id="duckdb"),
    pytest.param(sqlite, "r.sqlite", id="sqlite"),
]


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_the_only_table_needs_no_name_and_views_and_queries_count(
    tmp_path: Path, make: Callable[..., Path], name: str, read_texts: Reader
) -> None:
    path = make(tmp_path / name, "CREATE TABLE t (a INTEGER, \"b'\"\"\" TEXT)",
                "INSERT INTO t VALUES (1, ' x '), (NULL, NULL)")  # fmt: skip
    rows = [{"a": "1", "b'\"": "x"}, {"a": None, "b'\"": None}]
    assert read_texts(path) == rows
    make(path, "CREATE VIEW v AS SELECT a FROM t WHERE a = 1")
    with pytest.raises(RecordsError, match="expected one table where none is named, found 2"):
        read_texts(path)
    assert read_texts(path, rows=Rows("t")) == rows
    assert read_texts(path, rows=Rows("v")) == [{"a": "1"}]
    query = Rows(query="SELECT a + 1 AS c FROM t WHERE a = 1 -- one row\n")
    assert read_texts(path, rows=Rows(query="SELECT a + 1 AS c FROM t WHERE a = 1;")) == [
        {"c": "2"}
    ]
    assert read_texts(path, rows=query) == [{"c": "2"}]


@pytest.mark.parametrize(("make", "name"), MAKERS)
@pytest.mark.parametrize(
    "rows",
    [
        Rows("nope"),
        *night(Rows("t", "nope"), Rows(query=f"SELECT {MARKER}"), Rows(query="DELETE FROM t")),
        Rows(query="SELECT 1; DELETE FROM t"),
    ],
)
def test_other_tables_and_statements_are_refused(
    tmp_path: Path, make: Callable[..., Path], name: str, rows: Rows, read_texts: Reader
) -> None:
    path = make(tmp_path / name, "CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (7)")
    with pytest.raises(RecordsError, match="expected") as caught:
        read_texts(path, rows=rows)
    assert MARKER not in str(caught.value)
    assert read_texts(path) == [{"a": "7"}]


def test_sqlite_values_are_read_by_themselves(tmp_path: Path, read_texts: Reader) -> None:
    """A thousand integers first do not make a text or a fraction after them an error."""
    path = sqlite(tmp_path / "r.sqlite", "CREATE TABLE t (a)")
    connection = sqlite3.connect(path)
    later = ["x", 1.5, None, b"\xff\x00", 2**62, float("inf"), "é😀", ""]
    values = [*range(20_000), *later]
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    connection.commit()
    connection.close()
    found = [row["a"] for row in read_texts(path)]
    assert found[:20_000] == [str(value) for value in range(20_000)]
    assert found[20_000:] == ["x", "1.5", None, "X'FF00'", str(2**62), "Inf", "é😀", ""]


def test_sqlite_doubles_come_back_bit_for_bit(tmp_path: Path) -> None:
    generator = np.random.default_rng(SEED)
    drawn = struct.unpack("5000d", generator.bytes(40_000))
    edges = [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1 + 0.2]
    values = [value for value in drawn if math.isfinite(value)] + edges
    path = sqlite(tmp_path / "r.sqlite", "CREATE TABLE t (x REAL)")
    connection = sqlite3.connect(path)
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    connection.commit()
    connection.close()
    with open_sqlite(path, ColumnMapping(), Rows()) as source:
        query = number_of("x", source.columns["x"], ())
        found = [x for batch in source.batches([query]) for x in batch.column(0).to_pylist()]
    assert np.array_equal(np.array(found).view(np.int64), np.array(values).view(np.int64))


def test_a_row_of_sqlites_with_text_that_is_no_utf_8_is_left_out(
    tmp_path: Path, read_texts: Reader
) -> None:
    """One row's bytes end no load: that would tell a coordinator what is in the records."""
    path = sqlite(
        tmp_path / "r.sqlite",
        "CREATE TABLE t (a TEXT)",
        "INSERT INTO t VALUES ('é'), (CAST(x'61ff62' AS TEXT)), (NULL), (CAST(x'61fe62' AS TEXT))",
    )
    unread: list[UnreadLines] = []
    with open_sqlite(path, ColumnMapping(), Rows()) as source:
        found = [one for b in source.batches(['"a"'], unread=unread) for one in b[0].to_pylist()]
    assert found == ["é", None]
    assert unread == [UnreadLines(2, (2, 4), rows=True)]
    with pytest.raises(RecordsError, match="that SQLite can read"):  # where nothing may be left out
        read_texts(path)


def test_sqlite_itself_refuses_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sqlite(tmp_path / "odd ?mode=rw#.sqlite", "CREATE TABLE t (a)")
    connect, opened = adbc_driver_sqlite.dbapi.connect, []

    def watched(uri: str) -> Any:
        opened.append(connect(uri))
        return opened[-1]

    monkeypatch.setattr(adbc_driver_sqlite.dbapi, "connect", watched)
    with (
        open_sqlite(path, ColumnMapping(), Rows()),
        opened[0].cursor() as cursor,
        pytest.raises(AdbcError, match="readonly database"),
    ):
        cursor.execute("INSERT INTO t VALUES (1)")


def test_sqlite_rows_still_in_the_write_ahead_log_are_read(
    tmp_path: Path, read_texts: Reader
) -> None:
    connection = sqlite3.connect(tmp_path / "r.sqlite")
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (5)")
    connection.commit()
    before = (tmp_path / "r.sqlite").read_bytes(), (tmp_path / "r.sqlite-wal").read_bytes()
    assert read_texts(tmp_path / "r.sqlite") == [{"a": "5"}]
    connection.execute("INSERT INTO t VALUES (6)")  # another program writes on meanwhile
    connection.commit()
    assert len(read_texts(tmp_path / "r.sqlite")) == 2
    connection.close()
    assert before[0] != b""


def test_a_duckdb_file_keeps_its_log_and_reads_it(tmp_path: Path, read_texts: Reader) -> None:
    """A file left by a program that was killed: rows in its log count, and nothing is replayed."""
    path = tmp_path / "r.duckdb"
    program = (
        f"import duckdb, os; c = duckdb.connect({str(path)!r}); "
        "c.execute(\"CREATE TABLE t AS SELECT 1 AS a\"); c.execute('CHECKPOINT'); "
        "c.execute('INSERT INTO t VALUES (2)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    log = path.with_name("r.duckdb.wal")
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (path, log)}
    assert read_texts(path) == [{"a": "1"}, {"a": "2"}]
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (path, log)} == before
    assert sorted(os.listdir(tmp_path)) == ["r.duckdb", "r.duckdb.wal"]  # noqa: PTH208 -- names


def test_a_duckdb_file_reaches_no_other_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    path = duck(tmp_path / "r.duckdb", "CREATE TABLE t (a INTEGER)",
                f"CREATE VIEW v AS SELECT * FROM read_csv('{secret}')")  # fmt: skip
    with pytest.raises(RecordsError), open_duckdb(path, ColumnMapping(), Rows("v")):
        pass
    with open_duckdb(path, ColumnMapping(), Rows("t")) as source:
        for statement in (
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE u (a INTEGER)",
            f"COPY t TO '{tmp_path / 'out.csv'}'",
            f"ATTACH '{tmp_path / 'new.duckdb'}'",
        ):
            with pytest.raises(duckdb.Error):
                source.feed(()).connection.execute(statement)


def test_typed_columns_of_duckdb(tmp_path: Path) -> None:
    path = duck(tmp_path / "r.duckdb",
                "CREATE TABLE t (a DOUBLE, b DECIMAL(9,2), c DATE, d BLOB, e BOOLEAN, f UUID)",
                "CREATE SCHEMA s", "CREATE TABLE s.t (z INTEGER)")  # fmt: skip
    with open_duckdb(path, ColumnMapping(), Rows("t", "main")) as source:
        assert list(source.columns.values()) == [
            ColumnType.FLOAT, ColumnType.NUMBER, ColumnType.DATE, ColumnType.OPAQUE,
            ColumnType.BOOLEAN, ColumnType.TEXT,
        ]  # fmt: skip
    with open_duckdb(path, ColumnMapping(), Rows("t", "s")) as source:
        assert list(source.columns) == ["z"]


@pytest.mark.parametrize("opening", [open_duckdb, open_sqlite])
def test_files_that_are_no_databases(tmp_path: Path, opening: Any) -> None:
    (tmp_path / "r").write_text(f"{MARKER} is no database" * 100)
    with pytest.raises(RecordsError) as caught, opening(tmp_path / "r", ColumnMapping(), Rows()):
        pass
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_a_query_that_leaves_its_brackets_writes_nothing(
    tmp_path: Path, make: Callable[..., Path], name: str, read_texts: Reader
) -> None:
    path = make(tmp_path / name, "CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (7)")
    query = "SELECT 1) AS x; DELETE FROM t; SELECT * FROM (SELECT 1"
    with suppress(RecordsError):
        read_texts(path, rows=Rows(query=query))
    assert read_texts(path) == [{"a": "7"}]


def test_a_source_can_be_read_twice_and_left_early(tmp_path: Path) -> None:
    path = sqlite(tmp_path / "r.sqlite", "CREATE TABLE t (a)",
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250000)"
                  " INSERT INTO t SELECT i FROM n")  # fmt: skip
    with open_sqlite(path, ColumnMapping(), Rows()) as source:
        first = source.batches(["CAST(a AS INTEGER)"])
        next(first)
        first.close()  # type: ignore[attr-defined]
        batches = source.batches(["CAST(a AS INTEGER)"])
        found = [x for batch in batches for x in batch.column(0).to_pylist()]
    assert found == list(range(1, 250_001))
