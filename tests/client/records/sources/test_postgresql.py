"""A real PostgreSQL is read in one read-only transaction, and its address is never told."""

import math
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.system.postgres import PostgresServer as Server

from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.postgresql import open_postgresql
from fieldfare.client.records.sources.sql import ColumnType, number_of
from fieldfare.shared.errors import RecordsError

Reader = Callable[[Source], list[Any]]
MARKER = "MARKED-7781"
PLAIN = ColumnMapping()
TABLE = """CREATE TABLE "Accounts" (
    id text, small smallint, big bigint, single real, "dou""ble" double precision,
    exact numeric(20, 4), flag boolean, opened date, at timestamptz, kind varchar(9), key uuid,
    image bytea, parts integer[])"""
FIRST = """INSERT INTO "Accounts" VALUES (' a ', 1, 9007199254740993, 0.5, 0.1::float8 + 0.2,
    12345678901234.5678, true, '2025-01-31', '2025-01-31 23:30:00+00', 'x',
    '00000000-0000-0000-0000-000000000001', 'x', ARRAY[1])"""
SECOND = """INSERT INTO "Accounts" (id, "dou""ble", exact, opened)
    VALUES (NULL, 'NaN', 'NaN', 'infinity')"""


@pytest.fixture
def server(postgres: Server) -> Server:
    postgres.execute(
        'DROP TABLE IF EXISTS "Accounts"',
        TABLE,
        FIRST,
        SECOND,
        "DROP SEQUENCE IF EXISTS s",
        "CREATE SEQUENCE s",
        "DROP SCHEMA IF EXISTS core CASCADE",
        "CREATE SCHEMA core",
        "CREATE TABLE core.t AS SELECT i AS x FROM generate_series(1, 300000) i",
    )
    return postgres


def test_types_and_values(server: Server, texts_in: Reader) -> None:
    with open_postgresql(server.uri, PLAIN, Rows("Accounts")) as source:
        kinds = list(source.columns.values())
        first, second = texts_in(source)
    assert kinds == [
        ColumnType.TEXT, ColumnType.NUMBER, ColumnType.NUMBER, ColumnType.FLOAT, ColumnType.FLOAT,
        ColumnType.TEXT, ColumnType.BOOLEAN, ColumnType.DATE, ColumnType.DATE, ColumnType.TEXT,
        ColumnType.TEXT, ColumnType.OPAQUE, ColumnType.OPAQUE,
    ]  # fmt: skip
    assert list(first.values())[:10] == [
        "a", "1", "9007199254740993", "0.5", "0.30000000000000004", "12345678901234.5678", "true",
        "2025-01-31", "2025-01-31 23:30:00+00", "x",
    ]  # fmt: skip
    assert first["key"].endswith("-000000000001")
    assert second["id"] is None
    assert second['dou"ble'] is None
    assert second["opened"] == "infinity"


def test_exact_decimals_are_numbers_and_nan_is_missing(server: Server) -> None:
    with open_postgresql(server.uri, PLAIN, Rows("Accounts")) as source:
        query = number_of("exact", source.columns["exact"], ())
        batches = source.batches([query], ["exact"])
        first, second = [x for batch in batches for x in batch.column(0).to_pylist()]
    assert first == 12345678901234.5678
    assert math.isnan(second)


def test_dates_read_alike_whatever_the_server_prefers(server: Server, texts_in: Reader) -> None:
    server.execute(
        "ALTER ROLE fieldfare SET DateStyle = 'SQL, DMY'",
        "ALTER ROLE fieldfare SET TimeZone = 'Asia/Tokyo'",
    )
    try:
        with open_postgresql(server.uri, PLAIN, Rows("Accounts")) as source:
            first = texts_in(source)[0]
    finally:
        server.execute("ALTER ROLE fieldfare RESET ALL")
    assert (first["opened"], first["at"]) == ("2025-01-31", "2025-01-31 23:30:00+00")


def test_tables_of_a_schema_and_queries(server: Server) -> None:
    query = "SELECT x * 2 AS y FROM core.t WHERE x <= 2 ORDER BY x DESC -- the last two"
    with open_postgresql(server.uri, PLAIN, Rows(query=query)) as source:
        found = [batch.to_pylist() for batch in source.batches(["y"])]
    assert found == [[{"y": 4}, {"y": 2}]]
    with open_postgresql(server.uri, PLAIN, Rows("t", "core")) as source:
        rows = [x for batch in source.batches(["x"]) for x in batch.column(0).to_pylist()]
        assert sorted(rows) == list(range(1, 300_001))
        early = source.batches(["x"])
        next(early)
        early.close()  # type: ignore[attr-defined]
        assert sum(batch.num_rows for batch in source.batches(["x"])) == 300_000


def test_only_the_columns_asked_for_are_sent(server: Server) -> None:
    """A user without a right to the rest of the table can take part with what the study needs."""
    server.execute(
        "CREATE ROLE reader LOGIN PASSWORD 'r'",
        'GRANT SELECT (id, big) ON "Accounts" TO reader',
    )
    uri = f"postgresql://reader:r@127.0.0.1:{server.port}/postgres"
    try:
        with (
            pytest.raises(RecordsError, match="SQLSTATE 42501"),
            open_postgresql(uri, PLAIN, Rows("Accounts")) as source,
        ):
            list(source.batches(["id"]))
        rows = Rows(query='SELECT id, big FROM "Accounts"')
        with open_postgresql(uri, PLAIN, rows) as source:
            assert sum(batch.num_rows for batch in source.batches(["id"], ["id"])) == 2
    finally:
        server.execute("DROP OWNED BY reader", "DROP ROLE reader")


def test_the_transaction_is_read_only_and_sees_one_state(server: Server) -> None:
    states = "current_setting('transaction_read_only') || current_setting('transaction_isolation')"
    with open_postgresql(server.uri, PLAIN, Rows(query=f"SELECT {states} AS s")) as source:
        assert [b.to_pylist() for b in source.batches(["s"])] == [[{"s": "onrepeatable read"}]]
    with open_postgresql(server.uri, PLAIN, Rows("t", "core")) as source:
        server.execute("DELETE FROM core.t")  # another program writes on meanwhile
        assert sum(batch.num_rows for batch in source.batches(["x"])) == 300_000


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nextval('s') AS x",
        "SELECT set_config('transaction_read_only', 'off', false) AS x, nextval('s') AS y",
        "DELETE FROM core.t RETURNING x",
        "SELECT 1 AS x; DELETE FROM core.t",
        "SELECT 1 AS x) AS r; DELETE FROM core.t; SELECT * FROM (SELECT 1 AS x",
        "SELECT 1 AS x) AS r; COMMIT; SELECT nextval('s') FROM (SELECT 1 AS x",
    ],
)
def test_nothing_can_be_written(server: Server, query: str) -> None:
    with (
        pytest.raises(RecordsError, match=r"SQLSTATE|broke off"),
        open_postgresql(server.uri, PLAIN, Rows(query=query)) as source,
    ):
        list(source.batches([f'"{name}"' for name in source.columns]))
    assert server.value("SELECT count(*) FROM core.t") == 300_000
    assert server.value("SELECT is_called FROM s") is False


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Rows("nope"), "no such table"),
        (Rows("accounts"), "no such table"),
        (Rows("t", "nope"), "no such"),
        (Rows(query=f"SELECT {MARKER}"), "no such column"),
        (Rows(query=f"SELEC '{MARKER}'"), "a mistake in the query"),
        (Rows(query=f"SELECT '{MARKER}'::int AS x"), "a value that the query cannot work with"),
        (Rows(query="SELECT 1 AS x, 2 AS x"), "found one twice"),
        (Rows(), "expected a table or a query"),
    ],
)
def test_what_the_server_refuses_is_told_without_its_words(
    server: Server, rows: Rows, message: str
) -> None:
    with (
        pytest.raises(RecordsError, match=message) as caught,
        open_postgresql(server.uri, PLAIN, rows) as source,
    ):
        list(source.batches(["1"]))
    assert MARKER not in "".join(traceback.format_exception(caught.value))


def test_an_error_amid_the_rows_ends_the_load(server: Server) -> None:
    query = "SELECT 1 / (250000 - x) AS y FROM core.t ORDER BY x"
    with (
        pytest.raises(RecordsError, match="broke off"),
        open_postgresql(server.uri, PLAIN, Rows(query=query)) as source,
    ):
        list(source.batches(["y"]))


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://fieldfare:{password}x@127.0.0.1:{port}/postgres",
        "postgresql://MARKED-7781:{password}@127.0.0.1:{port}/postgres",
        "postgresql://fieldfare:{password}@127.0.0.1:{port}/MARKED-7781",
        "postgresql://u:MARKED-7781@127.0.0.1:1/x",
        "host=/nowhere/MARKED-7781 password=MARKED-7781",
        "no address MARKED-7781",
    ],
)
def test_an_address_is_never_told(
    server: Server, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    address = uri.format(password=server.password, port=server.port)
    with (
        pytest.raises(RecordsError, match="expected a connection, found none") as caught,
        open_postgresql(address, PLAIN, Rows("t")),
    ):
        pass
    told = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert MARKER not in told
    assert server.password not in told


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        (
            "postgresql://fieldfare:{password}x@127.0.0.1:{port}/postgres",
            "refused user or password",
        ),
        ("postgresql://fieldfare:{password}@127.0.0.1:{port}/none", "has no such user or database"),
        ("postgresql://u:p@127.0.0.1:1/x", "no server answers at that host and port"),
        ("postgresql://u:p@nowhere.invalid/x", "no host of that name was found"),
        ("host=/nowhere password=p", "no server answers at that host and port"),
    ],
)
def test_what_is_wrong_with_a_connection_is_told_apart(server: Server, uri: str, why: str) -> None:
    address = uri.format(password=server.password, port=server.port)
    with (
        pytest.raises(RecordsError, match=why),
        open_postgresql(address, PLAIN, Rows("t")),
    ):
        pass


def test_a_socket_and_keyword_form_of_an_address(server: Server) -> None:
    uri = f"host={server.folder} port={server.port} user=fieldfare dbname=postgres"
    uri += f" password={server.password}"
    with open_postgresql(uri, PLAIN, Rows("t", "core")) as source:
        assert list(source.columns) == ["x"]
    with open_postgresql(f"{server.uri}?connect_timeout=3", PLAIN, Rows("t", "core")) as source:
        assert source.name == "postgresql table t"
