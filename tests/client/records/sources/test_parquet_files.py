"""Parquet and Arrow, value by value: what nobody can read leaves out its row and no other."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.sources.engine import UnreadLines
from fieldfare.client.records.sources.source import open_source
from fieldfare.client.records.sources.sql import id_of, number_of, quoted, text_of, time_of

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


def test_a_level_of_a_dictionary_that_is_no_text_leaves_out_its_rows(tmp_path: Path) -> None:
    levels = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1, None, 0]), levels)
    table = pa.table({"level": column, "x": range(6)})
    found: list[tuple[Any, ...]] = []
    with open_source(written(tmp_path / "a.arrow", table)) as source:
        for batch in source.batches(['CAST("level" AS VARCHAR)', "x"], unread=[]):
            found += zip(*(one.to_pylist() for one in batch.columns), strict=True)
    assert found == [("a", 0), ("c", 2), (None, 4), ("a", 5)]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("value", [2**62, -(2**62), 2**63 - 1, -(2**63), 2**55])
def test_a_time_beyond_the_calendar_leaves_out_its_row_at_most(
    tmp_path: Path, suffix: str, unit: str, value: int
) -> None:
    values = pa.array([0] * 5 + [value] + [1] * 5, pa.int64()).cast(pa.timestamp(unit))
    table = pa.table({"t": values, "x": range(11)})
    if (suffix, unit) == (".parquet", "s"):
        pytest.skip("Parquet knows no seconds")
    unread: list[UnreadLines] = []
    with open_source(written(tmp_path / f"a{suffix}", table)) as source:
        kind = source.columns["t"]
        asked = [time_of("t", kind, "iso", ()) + " AS t", text_of("t", kind) + " AS u", "x"]
        batches = list(source.batches(asked, unread=unread))
    found = [one for batch in batches for one in batch.column(2).to_pylist()]
    assert [one for one in found if one != 5] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert sum(one.count for one in unread) == 11 - len(found)
