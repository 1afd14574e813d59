"""The pack in PostgreSQL gives DuckDB's values; what is not known to mean the same is refused."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.system.postgres import running_postgres

from fieldfare.client.typologies.checking import AS_OF, probe_extract, probe_records
from fieldfare.client.typologies.dialects import Dialect, PushedQueries, statements, translated
from fieldfare.client.typologies.features import feature_table
from fieldfare.client.typologies.pack import own_pack
from fieldfare.client.typologies.pushed import refuse_repeated
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT unit, median(amount) AS X FROM entry GROUP BY unit", "Median"),
        ("SELECT unit, my_function(amount) AS X FROM entry", "Anonymous"),
        ("SELECT e.unit FROM entry AS e ASOF JOIN entry AS f ON e.unit = f.unit AND e.age >= f.age",
         "an ASOF join"),
        ("SELECT unit, now() AS X FROM entry", "Anonymous"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dialect", Dialect)
def test_what_is_not_known_to_mean_the_same_is_refused(
    query: str, found: str, dialect: Dialect
) -> None:
    with pytest.raises(UsageError, match=f"in {dialect.value}, found {found}"):
        translated(query, dialect, {}, "X01")


@pytest.mark.parametrize(
    "table",
    ["fieldfare_customers", "customers", "core.customers", "pg_catalog.pg_authid", "core.entry",
     "Entry"],
)  # fmt: skip
@pytest.mark.parametrize("dialect", Dialect)
def test_only_what_the_ledger_makes_is_read(table: str, dialect: Dialect) -> None:
    within = f"SELECT unit, 1 AS X FROM {table}"
    name = table.rpartition(".")[2]
    for query in (
        within,
        f"WITH own AS (SELECT unit FROM entry) SELECT unit FROM own WHERE unit IN ({within})",
        f"WITH {name} AS ({within}) SELECT unit, X FROM {name}",
    ):
        with pytest.raises(UsageError, match=rf"X01: expected tables that .*, found {table}"):
            translated(query, dialect, {}, "X01")


def test_a_constant_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"X01: expected constants .*, found most"):
        translated("SELECT unit, $most AS X FROM entry", Dialect.SPARK, {"least": 1}, "X01")


def test_groups_divisions_and_constants_are_written_out() -> None:
    query = "SELECT unit, age // 7 AS week, sum(amount) / $most AS X FROM entry GROUP BY ALL"
    found = " ".join(translated(query, Dialect.POSTGRES, {"most": 300}, "X01").split())
    assert "GROUP BY unit, CAST(FLOOR(" in found
    assert "CAST(SUM(amount) AS DOUBLE PRECISION) / NULLIF(" in found
    assert "300" in found
    assert "//" not in found


def test_what_is_lacking_is_nothing_and_its_indicators_are_not_computed() -> None:
    asked = PushedQueries(own_pack(), Dialect.SPARK, AS_OF, "core", ["transactions.mcc"])
    *before, last = statements(asked)
    assert "CAST(NULL AS STRING) AS mcc" in "".join(before)
    assert "FROM core.transactions" in "".join(before)
    assert "CAST(NULL AS DOUBLE) AS `R07`" in last
    assert statements(asked) == (*before, last)


def test_sql_is_written_for_a_bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pack.sql"
    call = ["typologies", "run", "--as-of", "2026-03-31", "--only", "R01", "--out", str(out)]
    assert run([*call, "--sql", "spark"]) == 0
    assert out.read_text().rstrip().endswith("ORDER BY unit;")
    assert run([*call, "--sql", "oracle"]) == 2
    assert "expected spark or postgres, found oracle" in capsys.readouterr().err
    assert run([*call, "--sql", "spark", "--schema", "a; DROP"]) == 2
    assert run([*call, "--sql", "spark", "--parts", "2"]) == 2
    assert run([*call[:-2], "--schema", "core"]) == 2
    assert "expected FOLDER and --out, or --sql" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("units", "many"), [(["a", "b", "b", "b"], 2), (["a", None], 1), (["a", None, None], 2)]
)
def test_a_customer_has_one_row(units: list[str | None], many: int) -> None:
    with pytest.raises(UsageError, match=f"one row for each customer, found {many} too many"):
        refuse_repeated(pa.chunked_array([units], pa.string()))
    refuse_repeated(pa.chunked_array([["a", "b"], ["c"]], pa.string()))


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_postgresql_gives_the_values_of_duckdb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, out = tmp_path / "uri", tmp_path / "features.parquet"
    records = probe_records(3)
    with running_postgres() as server:
        uri.write_text(server.uri)
        uri.chmod(0o600)
        server.ingest(records)
        call = ["typologies", "run", "--sql", "postgres", "--as-of", AS_OF.isoformat(),
                "--uri-file", str(uri), "--out", str(out)]  # fmt: skip
        assert run(call) == 0, capsys.readouterr().err
        expected = feature_table(probe_extract(records), own_pack()).table
        found = pq.read_table(out)
        assert found.schema.equals(expected.schema, check_metadata=True)
        assert found.equals(expected)
        assert any(any(found.column(one.id).to_pylist()) for one in own_pack().indicators)
        server.execute("DROP TABLE accounts")
        assert run(call) == 2
        assert "no such table (SQLSTATE 42P01)" in capsys.readouterr().err
        assert server.value("SELECT count(*) FROM pg_tables WHERE tablename = 'entry'") == 0
