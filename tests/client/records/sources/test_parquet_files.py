"""Parquet and Arrow, value by value: what nobody can read leaves out its row and no other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.sources.engine import UnreadLines
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import open_source, table_at
from fieldfare.client.records.sources.sql import id_of, number_of, quoted, text_of, time_of
from fieldfare.shared.errors import RecordsError

ROWS = 50
DAY = datetime(2020, 1, 1, 1, 2, 3)  # noqa: DTZ001 -- as files hold it
TIMES = [DAY + timedelta(n) for n in range(ROWS)]
TYPES: dict[str, Any] = {
    "whole": pa.array(range(ROWS)),
    "unsigned": pa.array([2**63 + n for n in range(ROWS)], pa.uint64()),
    "double": pa.array([n / 3 if n % 7 else None for n in range(ROWS)]),
    "float": pa.array([n / 3 for n in range(ROWS)], pa.float32()),
    "truth": pa.array([n % 2 == 0 for n in range(ROWS)]),
    "date": pa.array([date(2020, 1, 1) + timedelta(n) for n in range(ROWS)]),
    "decimal": pa.array([Decimal(n) / 8 for n in range(ROWS)], pa.decimal128(12, 3)),
    "level": pa.array([f"l{n % 3}" for n in range(ROWS)]).dictionary_encode(),
    "large": pa.array([f"q{n}" for n in range(ROWS)], pa.large_string()),
    "span": pa.array(range(ROWS), pa.duration("s")),
    "time": pa.array(range(ROWS), pa.time32("s")),
    "nothing": pa.nulls(ROWS),
    **{
        f"at_{unit}_{zone}": pa.array(TIMES, pa.timestamp(unit, zone))
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "Europe/Berlin")
    },
}


def written(path: Path, table: Any) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=13)
    else:
        pf.write_feather(table, str(path), compression="uncompressed")
    return path


def with_text(odd: int | None) -> Any:
    """Every type beside a column of texts, of which one may be no UTF-8."""
    texts = [b"br\xe4nch" if n == odd else f"é{n}".encode() for n in range(ROWS)]
    return pa.table({"text": pa.array(texts, pa.binary()).view(pa.string()), **TYPES})


def read(path: Path) -> tuple[list[str], list[UnreadLines]]:
    """Everything that is computed of each row, as a text, bit for bit."""
    unread: list[UnreadLines] = []
    with open_source(path) as source:
        forms: list[Callable[..., str]] = [text_of, id_of, partial(number_of, missing=())]
        asked = [
            f"{form(name, kind)} AS {quoted(f'{name} {place}')}"
            for name, kind in source.columns.items()
            for place, form in enumerate(forms)
        ]
        batches = source.batches(asked, unread=unread)
        return [repr(row) for batch in batches for row in batch.to_pylist()], unread


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("odd", [0, 27, ROWS - 1])
def test_a_text_that_is_none_leaves_out_its_row_alone(
    tmp_path: Path, suffix: str, odd: int
) -> None:
    """And what other rows hold is read as it was, of every type, by whichever library."""
    rows, unread = read(written(tmp_path / f"a{suffix}", with_text(None)))
    assert (len(rows), unread[0].count) == (ROWS, 0)
    found, unread = read(written(tmp_path / f"b{suffix}", with_text(odd)))
    assert found == rows[:odd] + rows[odd + 1 :]
    assert unread == [UnreadLines(1, (odd + 1,), rows=True)]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("odd", [b'{"a": "\xff"}', b'{"a"', b""])
def test_a_value_that_is_no_json_leaves_out_its_row_alone(
    tmp_path: Path, suffix: str, odd: bytes
) -> None:
    """The engine ended at it with an error of Python's that no load expects."""

    def table(values: list[bytes | None]) -> Any:
        stored = pa.array(values, pa.binary()).view(pa.string())
        column = pa.ExtensionArray.from_storage(pa.json_(), stored)
        return pa.table({"c": column, "x": range(len(values))})

    fine = [b'"1.5"', None, b'{"a": 1}', b"7"]
    rows, unread = read(written(tmp_path / f"a{suffix}", table([*fine[:2], b"0", *fine[2:]])))
    assert (len(rows), unread[0].count) == (5, 0)
    found, unread = read(written(tmp_path / f"b{suffix}", table([*fine[:2], odd, *fine[2:]])))
    assert found == rows[:2] + rows[3:]
    assert unread == [UnreadLines(1, (3,), rows=True)]


def test_a_level_of_a_dictionary_that_is_no_text_leaves_out_its_rows(tmp_path: Path) -> None:
    levels = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1, None, 0]), levels)
    table = pa.table({"level": column, "x": range(6)})
    found: list[tuple[Any, ...]] = []
    with open_source(written(tmp_path / "a.arrow", table)) as source:
        for batch in source.batches(['CAST("level" AS VARCHAR)', "x"], unread=[]):
            found += zip(*(one.to_pylist() for one in batch.columns), strict=True)
    assert found == [("a", 0), ("c", 2), (None, 4), ("a", 5)]


@pytest.mark.parametrize(
    ("suffix", "unit"),  # Parquet knows no seconds
    [(".arrow", "s"), *product((".parquet", ".arrow"), ("ms", "us", "ns"))],
)
@pytest.mark.parametrize("value", [2**62, -(2**62), 2**63 - 1, -(2**63), 2**55])
def test_a_time_beyond_the_calendar_leaves_out_its_row_at_most(
    tmp_path: Path, suffix: str, unit: str, value: int
) -> None:
    values = pa.array([0] * 5 + [value] + [1] * 5, pa.int64()).cast(pa.timestamp(unit))
    table = pa.table({"t": values, "x": range(11)})
    unread: list[UnreadLines] = []
    with open_source(written(tmp_path / f"a{suffix}", table)) as source:
        kind = source.columns["t"]
        asked = [time_of("t", kind, "iso", ()) + " AS t", text_of("t", kind) + " AS u", "x"]
        batches = list(source.batches(asked, unread=unread))
    found = [one for batch in batches for one in batch.column(2).to_pylist()]
    assert [one for one in found if one != 5] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert sum(one.count for one in unread) == 11 - len(found)


OLD, LATE = datetime(1, 1, 1), datetime(9999, 12, 31, 1, 2, 3, 456789)  # noqa: DTZ001
ADMITTED: dict[str, Any] = {
    **{f"int{n}": pa.array([-(2 ** (n - 1)), None, 7], f"int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}": pa.array([2**n - 1, None, 7], f"uint{n}") for n in (8, 16, 32, 64)},
    "half": pa.array([1.5, None, 65504.0], pa.float16()),
    "float": pa.array([0.1, float("nan"), 1e20], pa.float32()),
    "double": pa.array([0.1, float("inf"), 1e300]),
    "truth": pa.array([True, None, False]),
    "decimal5": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(5, 2)),
    "decimal38": pa.array([Decimal(10**35) / 4, None, Decimal(-1)], pa.decimal128(38, 2)),
    "text": pa.array(["é", None, " 7.0 "]),
    "large": pa.array(["é", None, ""], pa.large_string()),
    "view": pa.array(["é", None, "x" * 99], pa.string_view()),
    "level": pa.array(["b", None, "a"]).dictionary_encode(),
    "binary": pa.array([b"\xff", None, b"x"]),
    "large_binary": pa.array([b"\xff", None, b"x"], pa.large_binary()),
    "fixed": pa.array([b"\xffab", None, b"xyz"], pa.binary(3)),
    "date32": pa.array([date(1, 1, 1), None, date(9999, 12, 31)], pa.date32()),
    "date64": pa.array([date(1, 1, 1), None, date(9999, 12, 31)], pa.date64()),
    "time_s": pa.array([0, None, 86399], pa.time32("s")),
    "time_ms": pa.array([0, None, 86399999], pa.time32("ms")),
    "time_us": pa.array([0, None, 86399999999], pa.time64("us")),
    **{
        f"at_{unit}_{zone}": pa.array([OLD, None, LATE], pa.timestamp("us")).cast(
            pa.timestamp(unit, zone), safe=False
        )
        for unit in ("s", "ms", "us")
        for zone in (None, "UTC", "Europe/Berlin")
    },
    "at_ns": pa.array([-(2**62) - 1, None, 2**62 + 1], pa.timestamp("ns")),
    "span": pa.array([5, None, -7], pa.duration("ms")),
    "nothing": pa.nulls(3),
    "uuid": pa.array([UUID(int=7).bytes, None, UUID(int=2**127).bytes], pa.uuid()),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None, '"1.5"'])),
    "numbers": pa.array([[1.0, None], None, []]),
    "vector": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
    "times": pa.array([[LATE], None, []], pa.list_(pa.timestamp("ms"))),
    "texts": pa.array([["é"], None, []], pa.large_list(pa.string())),
    "nested": pa.array([{"a": [1, 2]}, None, {"a": []}]),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
}
BY_THE_ENGINE = {
    "huge": "170141183460469231731687303715884105727::HUGEINT",
    "bits": "'101'::BIT",
    "enum": "'a'::ENUM('a', 'b')",
    "json": "'{}'::JSON",
    "uuid": "'00000000-0000-0000-0000-000000000007'::UUID",
    "endless": "'infinity'::TIMESTAMP",
    "endless_date": "'-infinity'::DATE",
    "zoned": "TIMESTAMPTZ '2024-01-01 10:00:00+02'",
    "seconds": "'9999-12-31 01:02:03'::TIMESTAMP_S",
    "time": "TIME '10:00:00.5'",
}


def by_both(path: Path) -> tuple[list[str], list[str]]:
    """The same rows by either reader, in every form."""
    with open_source(path) as source:
        asked = []
        for name, kind in source.columns.items():
            forms: list[Callable[..., str]] = [text_of, id_of, partial(number_of, missing=())]
            made = [form(name, kind) for form in forms] if kind.is_plain else []
            whole = [] if kind.is_plain else [quoted(name)]
            asked += [*made, *whole, f"CAST({quoted(name)} AS VARCHAR)"]
        asked = [f"{one} AS c{place}" for place, one in enumerate(asked)]
        assert source.by_value is not None
        other = replace(source, feed=source.by_value, by_value=None)
        engine, library = (
            [repr(row) for batch in one.batches(asked) for row in batch.to_pylist()]
            for one in (source, other)
        )
        return engine, library


@pytest.mark.parametrize("name", ADMITTED)
def test_both_readers_give_the_same_of_every_type_that_is_read(tmp_path: Path, name: str) -> None:
    engine, library = by_both(written(tmp_path / "a.parquet", pa.table({"c": ADMITTED[name]})))
    assert library == engine
    assert len(engine) == 3


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_time_of_twelve_bytes_is_of_its_own_century(tmp_path: Path, zone: str | None) -> None:
    """In nanoseconds the last day of 9999 was one of 1816."""
    times = pa.array([OLD, None, LATE], pa.timestamp("us", zone))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"c": times}), path, use_deprecated_int96_timestamps=True)
    engine, library = by_both(path)
    assert library == engine
    assert "9999-12-31 01:02:03.456789" in library[2]


@pytest.mark.parametrize("name", BY_THE_ENGINE)
def test_both_readers_give_the_same_of_what_the_engine_wrote(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(f"SELECT {BY_THE_ENGINE[name]} AS c").write_parquet(str(path))
    engine, library = by_both(path)
    assert library == engine
    assert len(engine) == 1


@pytest.mark.parametrize("made", ["INTERVAL 3 MONTH", "TIMETZ '10:00:00+02'", "256", "bool8"])
def test_a_type_that_readers_take_for_different_ones_is_refused_by_name(
    tmp_path: Path, made: str
) -> None:
    """A text of one row decided which reader read the others."""
    path, fine = tmp_path / "a.parquet", pa.array([1])
    if made == "256":
        odd = pa.array([Decimal("1.50")], pa.decimal256(50, 2))
        pq.write_table(pa.table({"fine": fine, "odd": odd}), path)
    elif made == "bool8":
        odd = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8()))
        pq.write_table(pa.table({"fine": fine, "odd": odd}), path)
    else:
        duckdb.sql(f"SELECT 1 AS fine, {made} AS odd").write_parquet(str(path))
    with pytest.raises(RecordsError, match="interpret differently: odd; write"), open_source(path):
        pass


def test_files_that_store_a_time_in_other_ways_are_no_run(tmp_path: Path) -> None:
    """The first of a run would decide how the others are read."""
    table = pa.table({"c": pa.array([LATE], pa.timestamp("us"))})
    for name, old in (("a", False), ("b", True), ("c", True)):
        pq.write_table(table, tmp_path / f"{name}.parquet", use_deprecated_int96_timestamps=old)
    runs = table_at(tmp_path, ColumnMapping()).runs()
    assert [len(run.pieces) for run in runs] == [0, 2]
