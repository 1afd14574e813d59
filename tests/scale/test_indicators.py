"""Indicators out of core under a limit, and the same values where a bank's records lie.

Spark needs the extra [spark] and Debian's default-jre-headless, PostgreSQL its package. Over a
million payments of the invented world PostgreSQL is compared at night (FIELDFARE_SCALE_LONG).
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.benchmarks.scale.payments import AS_OF, make_payments
from tests.client.typologies.test_windows import features, written
from tests.support.system.memory_group import memory_group
from tests.support.system.postgres import running_postgres

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.typologies import checking
from fieldfare.client.typologies.dialects import Dialect, PushedQueries, statements
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import feature_table
from fieldfare.client.typologies.pack import own_pack
from fieldfare.client.typologies.partitions import cut, room_beside
from fieldfare.client.typologies.pushed import run_in_postgresql

pytestmark = pytest.mark.promises

LONG = bool(os.environ.get("FIELDFARE_SCALE_LONG"))
LIMIT = 2048  # MB
PAYMENTS = 100_000
PEOPLE = 8_100  # of a world whose first bank has a million payments in nine months
WORLD_ENDS = date(2025, 9, 30)
HEAP = "6g"  # of Spark: all queries are one plan, and over a million payments 2 GB are too little


@pytest.fixture(scope="module", params=["probe", "payments", *(["world"] if LONG else [])])
def records(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, date]:
    folder = tmp_path_factory.mktemp("records") / "canonical"
    if request.param == "payments":
        make_payments(folder, PAYMENTS, seed=3)
        return folder, AS_OF
    if request.param == "world":
        return first_bank(folder.with_name("world")), WORLD_ENDS
    folder.mkdir()
    for name, rows in checking.probe_records(3).items():
        pq.write_table(rows, folder / f"{name}.parquet")
    return folder, checking.AS_OF


def first_bank(world: Path) -> Path:
    command = [sys.executable, "-m", "fieldfare", "world", "make", "--people", str(PEOPLE),
               "--months", "9", "--out", str(world), "--quiet"]  # fmt: skip
    subprocess.run(command, check=True, timeout=1_200)
    bank = world / "bank-a"
    assert pq.read_metadata(bank / "transactions.parquet").num_rows >= 1_000_000
    return bank


def lacking_in(folder: Path) -> list[str]:
    there = {name: pq.read_schema(folder / f"{name}.parquet").names for name in TABLES}
    return [
        f"{name}.{column}"
        for name, model in TABLES.items()
        for column in model.model_fields
        if column not in there[name]
    ]


def expected(folder: Path, day: date) -> Any:
    with open_extract(folder, day) as extract:
        return feature_table(extract, own_pack()).table


def assert_equal(found: Any, whole: Any) -> None:
    assert found.column_names == whole.column_names
    for name in whole.column_names:
        assert found.column(name).to_pylist() == whole.column(name).to_pylist(), name


@pytest.mark.timeout(3_000 if LONG else 600)
def test_postgresql_gives_the_values_of_duckdb(records: tuple[Path, date]) -> None:
    folder, day = records
    with running_postgres() as server:
        server.ingest({name: pq.read_table(folder / f"{name}.parquet") for name in TABLES})
        asked = PushedQueries(own_pack(), Dialect.POSTGRES, day, lacking=lacking_in(folder))
        assert_equal(run_in_postgresql(asked, server.uri), expected(folder, day))


@contextmanager
def local_spark(folder: Path) -> Iterator[Any]:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder),
        "spark.driver.memory": HEAP,
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    gateway = session.sparkContext._gateway
    try:
        yield session
    finally:
        session.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()  # by which its process ends
        gateway.proc.wait(60)
        SparkContext._gateway = SparkContext._jvm = None  # or the next session asks what has ended


@pytest.mark.timeout(3_000 if LONG else 900)
def test_spark_gives_the_values_of_duckdb(records: tuple[Path, date], tmp_path: Path) -> None:
    folder, day = records
    asked = PushedQueries(own_pack(), Dialect.SPARK, day, lacking=lacking_in(folder))
    *before, last = statements(asked)
    with local_spark(tmp_path) as spark:
        for name in TABLES:
            spark.read.parquet(str(folder / f"{name}.parquet")).createOrReplaceTempView(name)
        for one in before:
            spark.sql(one)
        assert_equal(spark.sql(last).toArrow(), expected(folder, day))


@pytest.mark.timeout(900)
def test_a_run_stays_within_its_memory_and_is_the_same_in_parts(tmp_path: Path) -> None:
    folder = tmp_path / "canonical"
    make_payments(folder, 2_000_000, seed=5)
    command = [sys.executable, "-m", "fieldfare", "typologies", "run", str(folder),
               "--as-of", AS_OF.isoformat(), "--out"]  # fmt: skip
    with memory_group(LIMIT << 20) as group:
        done = group.run([*command, tmp_path / "a", "--memory", "x"], seconds=60)
        assert done.returncode == 2
        small = tmp_path / "small.parquet"
        done = group.run([*command, str(small), "--memory", str(LIMIT)], seconds=600)
        assert (done.returncode, group.killed) == (0, 0), done.stderr
        assert "parts" in done.stdout.splitlines()[0]
    whole = tmp_path / "whole.parquet"
    subprocess.run([*command, str(whole), "--memory", "8192"], check=True, timeout=600)
    assert whole.read_bytes() == small.read_bytes()


@pytest.mark.timeout(300)
def test_the_benchmark_prints_a_line_for_each_size(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.scale.indicators", "--millions", "0.1",
               "--folder", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    (line,) = [json.loads(one) for one in done.stdout.splitlines()]
    assert line["seconds_for_a_million"] > 0
    assert line["peak_mb"] < line["limit_mb"]
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(300)
def test_entries_go_to_their_parts_as_they_come(tmp_path: Path) -> None:
    make_payments(tmp_path / "canonical", 1_000_000, seed=7)
    with room_beside(tmp_path / "f.parquet", 400 << 20, 2) as room:
        (room.folder / "spill").write_bytes(b"")  # so that nothing can be spilled
        parts = cut(tmp_path / "canonical", room, 5, AS_OF)
        assert parts.tables["transactions"].rows == 1_000_000


@pytest.mark.timeout(1_200)
@given(
    ago=st.integers(-5, 200),
    wide=st.integers(5, 40),
    late=st.integers(0, 120),
    parts=st.sampled_from([1, 4]),
)
@settings(max_examples=12 if LONG else 2, deadline=None)
def test_the_whole_pack_gives_a_day_the_same_bytes_from_its_windows(
    ago: int, wide: int, late: int, parts: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("days")
    make_payments(home / "whole", 20_000, seed=late)
    records = {name: pq.read_table(home / "whole" / f"{name}.parquet") for name in TABLES}
    day = pc.divide(
        pc.cast(pc.cast(records["transactions"].column("ts_utc"), "date32"), "int32"), wide
    )
    number = pc.cast(pc.utf8_slice_codeunits(records["transactions"].column("txn_id"), 8), "int32")
    came = pc.if_else(pc.equal(pc.bit_wise_and(number, 15), 0), pc.add(day, late // wide), day)
    cut_up = written(home / "cut", came.combine_chunks(), records)
    as_of = AS_OF - timedelta(ago)
    whole, _ = features(home / "whole", as_of, home / "w.parquet", pack=own_pack())
    found, (read, of) = features(cut_up, as_of, home / "c.parquet", parts, own_pack())
    assert found == whole
    assert read <= of
