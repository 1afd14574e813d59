"""A PostgreSQL table is read in ranges of pages, side by side, and comes as one state of it."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv
from tests.support.system.postgres import PostgresServer as Server

from fieldfare.client.records import LoadedRecords, read_records
from fieldfare.client.records.load import check_records, read_sources
from fieldfare.client.records.settings import PostgresqlSource
from fieldfare.client.records.sources import postgresql, table_pages
from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.postgresql import open_postgresql
from fieldfare.client.records.sources.table_pages import (
    RANGE_BYTES,
    PageRange,
    SnapshotLostError,
    ranges_of,
)
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study.study import Study

PLAIN = ColumnMapping()
COUNT = 30_000
ENDED = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some twenty ranges where there would be one."""
    monkeypatch.setattr(table_pages, "RANGE_BYTES", 100_000)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    generator = np.random.default_rng(20260630)
    return pa.table(
        {
            "unit": [f"u{index}" for index in range(COUNT)],
            "x": generator.normal(40, 30, COUNT),
            "label": generator.integers(0, 2, COUNT),
        }
    )


@pytest.fixture(scope="module")
def server(postgres: Server, rows: pa.Table) -> Iterator[Server]:
    postgres.ingest({"customers": rows})
    postgres.execute(
        "CREATE VIEW seen AS SELECT * FROM customers",
        "CREATE TABLE whole (unit text, x float8, label bigint) PARTITION BY RANGE (x)",
        "CREATE TABLE low PARTITION OF whole FOR VALUES FROM (MINVALUE) TO (40)",
        "CREATE TABLE high PARTITION OF whole DEFAULT",
        "INSERT INTO whole SELECT * FROM customers",
        "CREATE TABLE none (unit text, x float8, label bigint)",
    )
    yield postgres
    postgres.execute("DROP VIEW seen", "DROP TABLE customers, whole, none")


def study() -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": "unit", "label": "label", "units": COUNT, "prevalence": 0.1},
            "features": [{"kind": "numeric", "name": "x", "lower": 0, "upper": 100}],
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )


def source_of(server: Server, table: str, connections: int) -> Any:
    return open_postgresql(server.uri, PLAIN, Rows(table), connections)


def units_in(source: Source) -> list[str]:
    return [unit for batch in source.batches(["unit"]) for unit in batch.column(0).to_pylist()]


def loaded(server: Server, tmp_path: Path, table: str, connections: int) -> LoadedRecords:
    (tmp_path / "uri").touch(0o600)
    (tmp_path / "uri").write_text(server.uri)
    source = PostgresqlSource(
        kind="postgresql", uri_file="uri", table=table, unit="unit", connections=connections
    )
    return read_sources([source], study(), folder=tmp_path, environment={})


def same(one: LoadedRecords, other: LoadedRecords) -> bool:
    return (
        one.units.tolist() == other.units.tolist()
        and np.array_equal(one.data.positions, other.data.positions)
        and np.array_equal(one.data.labels, other.data.labels)
    )


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30_000)), max_size=30))
def test_ranges_hold_each_page_once_and_little_at_a_time(sizes: list[tuple[int, int]]) -> None:
    """Also where a hundred small partitions stand beside one large one."""
    tables = [(pages, pages * each) for pages, each in sizes]
    ranges = ranges_of(tables)
    assert ranges[0].first == 0
    assert [one.end for one in ranges[:-1]] == [one.first for one in ranges[1:]]
    assert ranges[-1].end is None
    for first, end in ranges:
        until = 300 if end is None else end
        held = sum(each * max(0, min(until, pages) - first) for pages, each in sizes)
        assert held <= table_pages.RANGE_BYTES or until == first + 1
    assert RANGE_BYTES == 16 << 20


def test_small_partitions_beside_a_large_one_are_no_large_range() -> None:
    """All of them lie in the first pages: 8 GB came as one range where 16 MB were meant."""
    small, large = [(12, 12 * 8192)] * 100, (1000, 1000 * 8192)
    first = ranges_of([*small, large])[0]
    assert first.end is not None
    assert 101 * first.end * 8192 <= max(table_pages.RANGE_BYTES, 101 * 8192)


def test_any_number_of_connections_reads_what_files_of_the_rows_hold(
    server: Server, rows: pa.Table, tmp_path: Path
) -> None:
    """Parquet, CSV, and a table by 1, 4 and 7: the same bytes in the same order."""
    pq.write_table(rows, tmp_path / "r.parquet")
    csv.write_csv(rows, tmp_path / "r.csv")
    whole = read_records([tmp_path / "r.parquet"], study())
    assert same(read_records([tmp_path / "r.csv"], study()), whole)
    for connections in (1, 4, 7):
        assert same(loaded(server, tmp_path, "customers", connections), whole)


@pytest.mark.parametrize("connections", [1, 3])
def test_who_may_read_some_columns_reads_them(server: Server, connections: int) -> None:
    """The server refuses `ctid` to a user who was granted columns and not the table."""
    server.execute("CREATE ROLE few", "GRANT SELECT (unit, x) ON customers TO few")
    uri = f"{server.uri}{'&' if '?' in server.uri else '?'}options=-crole%3Dfew"
    try:
        with open_postgresql(uri, PLAIN, Rows("customers"), connections) as source:
            found = list(source.batches(["unit"], ["unit"]))
            assert sum(batch.num_rows for batch in found) == COUNT
    finally:
        server.execute("REVOKE ALL ON customers FROM few", "DROP ROLE few")


@pytest.mark.parametrize("connections", [1, 3])
def test_partitions_stay_what_they_are_before_a_row_is_read(
    server: Server, connections: int
) -> None:
    """TRUNCATE and CLUSTER ask for no snapshot: they wait for locks, which readers alone held."""
    locked = (
        "SELECT count(DISTINCT c.oid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
        "WHERE c.relname IN ('whole', 'low', 'high')"
    )
    with source_of(server, "whole", connections):
        assert server.value(locked) == 3


def test_the_table_is_cut(server: Server) -> None:
    with source_of(server, "customers", 1) as source:
        assert len(units_in(source)) == COUNT
    with dbapi.connect(server.uri) as database:
        assert len(table_pages.page_ranges(database, '"customers"')[0]) > 7
        assert table_pages.page_ranges(database, '"seen"') == ([], 0)
        assert table_pages.page_ranges(database, '"nobody"') == ([], 0)
        assert table_pages.page_ranges(database, '"none"') == ([PageRange(0, None)], 0)


@pytest.mark.parametrize("table", ["seen", "whole"])
def test_views_and_partitioned_tables_lose_no_row(server: Server, table: str) -> None:
    found = []
    for connections in (1, 4):
        with source_of(server, table, connections) as source:
            found.append(units_in(source))
    assert found[0] == found[1]
    assert sorted(found[0]) == sorted(f"u{index}" for index in range(COUNT))


def test_a_table_without_rows(server: Server) -> None:
    with source_of(server, "none", 4) as source:
        assert units_in(source) == []


@pytest.mark.parametrize("connections", [1, 3])
def test_all_ranges_see_one_state(server: Server, connections: int) -> None:
    """Whatever others commit while ranges are read, and whoever leaves early."""
    with source_of(server, "customers", 1) as source:
        before = units_in(source)
    try:
        with source_of(server, "customers", connections) as source:
            server.execute(
                "UPDATE customers SET unit = 'other' WHERE unit = 'u29999'",
                "DELETE FROM customers WHERE unit = 'u1'",
                "INSERT INTO customers VALUES ('new', 1, 1)",
            )
            early = source.batches(["unit"])
            next(early)
            early.close()
            assert units_in(source) == before
    finally:
        server.execute(
            "UPDATE customers SET unit = 'u29999' WHERE unit = 'other'",
            "DELETE FROM customers WHERE unit = 'new'",
            "INSERT INTO customers VALUES ('u1', 1, 1)",
        )


def test_a_lost_connection_repeats_its_range(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every reader is ended while it reads; only who holds the snapshot stays."""
    plain = table_pages._rows
    lost: list[int] = []

    def reading(database: Any, query: str) -> Any:
        if len(lost) < 3:
            with database.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                lost.append(cursor.fetchone()[0])
            server.execute(f"SELECT pg_terminate_backend({lost[-1]})")
        return plain(database, query)

    with source_of(server, "customers", 3) as source:
        monkeypatch.setattr(table_pages, "_rows", reading)
        found = units_in(source)
    assert len(set(lost)) == 3
    assert len(found) == COUNT
    assert len(set(found)) == COUNT


@pytest.mark.parametrize("connections", [1, 3])
def test_a_lost_state_is_never_mixed_with_another_one(
    server: Server, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = table_pages._rows
    asked: list[str] = []

    def reading(database: Any, query: str) -> Any:
        asked.append(query)
        if len(asked) == 3:
            server.execute(ENDED)
        return plain(database, query)

    monkeypatch.setattr(table_pages, "_rows", reading)
    with (
        pytest.raises(SnapshotLostError, match="found it gone"),
        source_of(server, "customers", connections) as source,
    ):
        units_in(source)


def test_a_load_begins_anew_where_the_state_was_lost(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loaded(server, tmp_path, "customers", 1)
    plain = table_pages._rows
    asked: list[str] = []

    def reading(database: Any, query: str) -> Any:
        asked.append(query)
        if len(asked) == 5:
            server.execute(ENDED)
        return plain(database, query)

    monkeypatch.setattr(table_pages, "_rows", reading)
    again = loaded(server, tmp_path, "customers", 2)
    assert same(again, whole)
    assert len(asked) > len(set(asked))


@pytest.mark.parametrize("connections", [1, 2])
def test_a_load_waits_for_a_server_that_restarts(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    """It was refused at once: the server was not there yet when the load would have begun anew."""
    whole = loaded(server, tmp_path, "customers", 1)
    plain, once = table_pages._rows, Lock()
    asked: list[str] = []
    down = False

    def reading(database: Any, query: str) -> Any:
        nonlocal down
        with once:
            asked.append(query)
            if len(asked) == 5:
                server.stop()
                down = True
        return plain(database, query)

    def wait(_: float) -> None:
        nonlocal down
        with once:
            if down:
                server.start()
                down = False

    monkeypatch.setattr(table_pages, "_rows", reading)
    monkeypatch.setattr(postgresql, "sleep", wait)
    assert same(loaded(server, tmp_path, "customers", connections), whole)
    assert not down


def test_a_server_that_never_stays_refuses_the_load(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(database: Any, query: str) -> Any:
        del database, query
        raise SnapshotLostError("expected a state, found it gone")

    monkeypatch.setattr(table_pages, "_rows", reading)
    with pytest.raises(RecordsError, match="found it gone"):
        loaded(server, tmp_path, "customers", 2)


def test_a_missing_column_is_told_and_an_answer_is_not_repeated(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = study().model_copy(update={"name": "o"})
    source = PostgresqlSource(
        kind="postgresql", uri_environment="U", table="customers", unit="unit", connections=2,
        columns={"x": "amount"},
    )  # fmt: skip
    table = source.as_table(source.declared(tmp_path), tmp_path, {"U": server.uri})
    report = check_records([table], other, today=date(2026, 6, 30))
    assert "expected column amount, found none among 3 columns" in report.findings[0].text
    plain = table_pages._rows
    asked: list[str] = []

    def reading(database: Any, query: str) -> Any:
        asked.append(query)
        return plain(database, query.replace("SELECT ", f"SELECT {broken[0]} AS y, "))

    monkeypatch.setattr(table_pages, "_rows", reading)
    broken = [""]
    for broken[0], message in (("unit / 0", "SQLSTATE 42883"), ("1 / (x - x)::int", "broke off")):
        asked.clear()
        with (
            pytest.raises(RecordsError, match=message) as caught,
            source_of(server, "customers", 1) as opened,
        ):
            units_in(opened)
        assert not isinstance(caught.value, SnapshotLostError)
        assert len(asked) <= 2
