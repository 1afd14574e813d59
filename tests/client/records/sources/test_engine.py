"""The engine reads what it was given and nothing else, in order, and quotes no row."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.sources.checked_batches import CheckedBatches
from fieldfare.client.records.sources.engine import (
    BATCH_ROWS,
    Feed,
    Source,
    connect,
    described,
    different,
    unreadable,
)
from fieldfare.client.records.sources.source import open_source
from fieldfare.client.records.sources.sql import ColumnType, number_of
from fieldfare.shared.errors import RecordsError

MARKER = "MARKED-7781"


def test_rows_come_in_order_and_in_batches(tmp_path: Path) -> None:
    rows = 2 * BATCH_ROWS + 7
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"x": range(rows)}), path, row_group_size=50_000)
    with open_source(path) as source:
        batches = list(source.batches(["x"]))
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    found = [value for batch in batches for value in batch.column(0).to_pylist()]
    assert found == list(range(rows))


def test_only_the_given_file_can_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    (tmp_path / "r.csv").write_text("a\n1\n")
    with open_source(tmp_path / "r.csv") as source:
        connection = source.feed(()).connection
        for query in (
            f"SELECT * FROM read_csv('{secret}')",
            "SELECT * FROM read_csv('https://example.org/x.csv')",
            "INSTALL httpfs",
            f"ATTACH '{tmp_path / 'new.duckdb'}'",
            "SET enable_external_access = true",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(query)


def source(feed: Feed) -> Source:
    return Source("r", {"x": ColumnType.NUMBER}, lambda _: feed)


def test_a_feed_is_finished_whatever_happens() -> None:
    finished = []

    def finish() -> None:
        finished.append(1)

    with connect() as connection:
        list(source(Feed(connection, "range(3) t(x)", finish)).batches(["x"]))
        with pytest.raises(RecordsError, match="that this engine has"):
            list(source(Feed(connection, "no_such_table", finish)).batches(["x"]))
        assert len(finished) >= 2
        finished.clear()
        batches = source(Feed(connection, "range(300000) t(x)", finish)).batches(["x"])
        next(batches)
        assert not finished
        batches.close()  # type: ignore[attr-defined]
        assert finished


def test_what_the_feed_knows_is_said_before_what_the_engine_saw() -> None:
    problem = RecordsError("the reason")
    with connect() as connection:
        for relation in ("range(3) t(x)", "no_such_table"):
            with pytest.raises(RecordsError, match="the reason"):
                list(source(Feed(connection, relation, lambda: problem)).batches(["x"]))


def test_only_the_needed_columns_are_asked_for() -> None:
    asked: list[tuple[str, ...]] = []
    with connect() as connection:

        def feed(columns: Any) -> Feed:
            asked.append(tuple(columns))
            return Feed(connection, "(SELECT 1 AS x, 2 AS y)")

        both = {"x": ColumnType.NUMBER, "y": ColumnType.NUMBER}
        list(Source("r", both, feed).batches(["x"], ["x", "x"]))
        list(Source("r", both, feed).batches(["x"]))
    assert asked == [("x",), ("x", "y")]


def test_columns_and_their_types() -> None:
    with connect() as connection:
        found = described(connection, "(SELECT 1 AS a, DATE '2025-01-01' AS d, 'x' AS t)")
    assert found == {"a": ColumnType.NUMBER, "d": ColumnType.DATE, "t": ColumnType.TEXT}


def test_equal_names_are_refused_without_naming_them() -> None:
    different("r", ["a", "b"])
    with pytest.raises(RecordsError, match="found one twice") as caught:
        different("r", [MARKER, MARKER.lower()])
    assert MARKER not in str(caught.value)


def wide_csv(path: Path, columns: int, rows: int) -> Path:
    """Numbers in texts, a column of words every tenth, one value missing a row."""
    lines = [",".join(f"c{i}" for i in range(columns))]
    for row in range(rows):
        values = [
            f"w{(row + i) % 7}" if i % 10 == 3 else f"{row + i / 8:.3f}" for i in range(columns)
        ]
        values[row % columns] = ""
        lines.append(",".join(values))
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.promises
def test_a_thousand_columns_are_read_as_few_are(tmp_path: Path) -> None:
    """Sixty columns of numbers in texts filled the engine's memory: "damaged content"."""
    path = wide_csv(tmp_path / "r.csv", 1000, 300)
    with open_source(path) as source:
        queries = [number_of(name, kind, ("",)) for name, kind in source.columns.items()]
        few = pa.Table.from_batches(source.batches([f"{query} AS c" for query in queries[7:8]]))
        batches = list(source.batches(queries))
    assert sum(batch.num_rows for batch in batches) == 300
    assert {len(batch.columns) for batch in batches} == {1000}
    found = np.concatenate([batch.column(7).to_numpy() for batch in batches])
    assert np.array_equal(found, few.column(0).to_numpy(), equal_nan=True)
    assert batches[0].column(3).null_count == 299  # words are no numbers, nothing is missing


@pytest.mark.promises
def test_wide_rows_come_in_order(tmp_path: Path) -> None:
    path = wide_csv(tmp_path / "r.csv", 70, 70_000)
    with open_source(path) as source:
        queries = [number_of(name, kind, ("",)) for name, kind in source.columns.items()]
        found = np.concatenate([b.column(69).to_numpy() for b in source.batches(queries)])
    expected = np.round(np.arange(70_000) + 69 / 8, 3)
    expected[69::70] = np.nan
    assert np.array_equal(found, expected, equal_nan=True)


ENGINE = {
    "memory": (duckdb.OutOfMemoryException(MARKER), "512MB, found rows that need more"),
    "late memory": (OSError(f"Out of Memory Error: {MARKER}"), "write it as Parquet"),
    "type": (duckdb.NotImplementedException(MARKER), "another type; convert"),
    "missing column": (duckdb.BinderException(MARKER), "found one missing"),
    "extension": (duckdb.CatalogException(MARKER), "make a table of it"),
    "conversion": (duckdb.ConversionException(MARKER), "found others; correct"),
    "the engine's own": (duckdb.InternalException(MARKER), "another encoding than declared"),
    "rights": (PermissionError(13, MARKER), "permission is denied"),
    "damaged": (duckdb.InvalidInputException(f"No magic bytes {MARKER}"), "damaged content"),
}


@pytest.mark.parametrize(("error", "said"), ENGINE.values(), ids=ENGINE)
def test_errors_are_told_apart_each_with_its_remedy(error: Exception, said: str) -> None:
    text = str(unreadable("r", error))
    assert said in text
    assert MARKER not in text


def test_what_a_file_is_wrong_about_is_said(tmp_path: Path) -> None:
    for content, said in (
        (b"a,b\n1,2\n3\n", "found another number at line 3"),
        (b'a,b\n1,"2\n3,4\n', "quote inside a field twice"),
        (b"a,b\n" + b"1,2\n" * 5000 + b"1,\xff\n", "found other bytes at line 5002"),
        (b"a,b\n1," + b"x" * 3_000_000 + b"\n", "1,990,000 bytes"),
    ):
        path = tmp_path / "r.csv"
        path.write_bytes(content)
        with open_source(path) as source, pytest.raises(RecordsError, match=said):
            list(source.batches(['"a"', '"b"']))


def test_an_engines_message_is_never_passed_on() -> None:
    for error in (
        duckdb.InvalidInputException(f"CSV Error on Line: 7 {MARKER}"),
        OSError(f"CSV Error on Line: 7\nOriginal Line: {MARKER}"),
        duckdb.NotImplementedException(MARKER),
        pa.ArrowInvalid(MARKER),
    ):
        assert MARKER not in str(unreadable("r", error))


def _invalid_text() -> Any:
    data = pa.py_buffer(b"a\xffb")
    offsets = pa.py_buffer(b"".join(i.to_bytes(4, "little") for i in (0, 3)))
    column = pa.Array.from_buffers(pa.string(), 1, [None, offsets, data])
    return pa.record_batch([column], names=["x"])


def _texts(connection: Any, checked: CheckedBatches) -> Source:
    feed = Feed(connection, "t", lambda: checked.problem)
    return Source("r", {"x": ColumnType.TEXT}, lambda _: feed)


def test_damaged_batches_end_a_stream_with_a_problem() -> None:
    sound = pa.record_batch([pa.array(["a"])], names=["x"])

    def batches(last: Any) -> Iterator[Any]:
        yield sound
        if isinstance(last, Exception):
            raise last
        yield last

    for last in (_invalid_text(), OSError(MARKER)):
        reader = pa.RecordBatchReader.from_batches(sound.schema, batches(last))
        checked = CheckedBatches(reader, (OSError,), "damaged")
        with connect() as connection:
            connection.register("t", checked.reader())
            rows = _texts(connection, checked).batches(["x"])
            with pytest.raises(RecordsError, match="damaged"):
                list(rows)


class Closable:
    """A database's stream, which may not be read once it is closed."""

    def __init__(self) -> None:
        self.batch = pa.record_batch({"a": [1, 2]})
        self.schema = self.batch.schema
        self.closed = False
        self.read_closed = False

    def close(self) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for _ in range(10_000):
            self.read_closed |= self.closed
            yield self.batch


def test_a_stream_is_not_closed_under_a_thread_that_reads_it() -> None:
    for _ in range(50):
        stream = Closable()
        checked = CheckedBatches(stream, (), "damaged")
        reading = threading.Thread(target=list, args=(checked.reader(),))
        reading.start()
        checked.end(stream.close)
        reading.join()
        checked.end(stream.close)

        assert stream.closed
        assert not stream.read_closed
        assert checked.problem is None


def test_nothing_tells_how_long_reading_takes() -> None:
    with connect() as connection:
        (shown,) = connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
        assert not shown
