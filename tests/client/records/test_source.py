"""Every kind of file gives the same rows; no other path is opened; no row is quoted."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.source import (
    BATCH_ROWS,
    WHITESPACE,
    ColumnType,
    CsvForm,
    csv_form,
    number_of,
    open_source,
    text_of,
)
from fieldfare.shared.errors import RecordsError

MARKER = "MARKED-7781"


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read_texts(path: Path) -> list[dict[str, Any]]:
    with open_source(path) as source:
        names = [f'{text_of(name, kind)} AS "{name}"' for name, kind in source.columns.items()]
        return [row for batch in source.batches(names) for row in batch.to_pylist()]


def numbers(path: Path, missing: tuple[str, ...] = ("?", "-999")) -> list[float | None]:
    with open_source(path) as source:
        query = number_of("x", source.columns["x"], missing)
        found = source.batches([f"{query} AS x"])
        return [value for batch in found for value in batch.column(0).to_pylist()]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_the_header_line_decides_the_separator(tmp_path: Path, separator: str) -> None:
    path = write_csv(tmp_path / "r.csv", f'"a,b;c"{separator}x y\n1{separator}2 \n')
    assert csv_form(path) == CsvForm(0, separator, ("a,b;c", "x y"))
    assert read_texts(path) == [{"a,b;c": "1", "x y": "2"}]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("a,b\n1,2", [("1", "2")], id="no newline at the end"),
        pytest.param("a,b\r\n1,2\r\n", [("1", "2")], id="windows lines"),
        pytest.param("\ufeffa,b\n1,2\n", [("1", "2")], id="byte order mark"),
        pytest.param("\n \na,b\n1,2\n", [("1", "2")], id="blank lines before the header"),
        pytest.param("a,b\n1,2\n\n\n", [("1", "2")], id="blank lines at the end"),
        pytest.param('a,b\n"x\ny",2\n', [("x\ny", "2")], id="newline in quotes"),
        pytest.param('a,b\n"x ""y""",2\n', [('x "y"', "2")], id="quotes in quotes"),
        pytest.param("a,b\n5'10\",2\n", [("5'10\"", "2")], id="quote inside a field"),
        pytest.param("a,b\n\u00a0 1\t,\n", [("1", None)], id="spaces and an empty field"),
        pytest.param('a,b\n"",2\n', [(None, "2")], id="quoted empty field"),
        pytest.param("a,b\n", [], id="header only"),
        pytest.param("a,b", [], id="header without newline"),
    ],
)
def test_csv_forms(tmp_path: Path, content: str, rows: list[tuple[str, str]]) -> None:
    found = read_texts(write_csv(tmp_path / "r.csv", content))
    assert [tuple(row.values()) for row in found] == rows


def test_columns_without_a_name_get_one(tmp_path: Path) -> None:
    assert csv_form(write_csv(tmp_path / "r.csv", ",b\n1,2\n")).names == ("unnamed_1", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(f"a,b\n1,2\n{MARKER}\n", "line 3", id="too few fields"),
        pytest.param(f"a,b\n1,2\n3,4,{MARKER}\n", "line 3", id="too many fields"),
        pytest.param(f'a,b\n1,"{MARKER}\n3,4\n', "line 2", id="open quote"),
        pytest.param(f"a,b\r\n1,{MARKER}\n3,4\r\n", "line endings", id="mixed line endings"),
        pytest.param(f"{MARKER},{MARKER}\n1,2\n", "found twice", id="same names"),
        pytest.param("", "header row", id="empty file"),
    ],
)
def test_bad_csv_is_refused_without_quoting_it(tmp_path: Path, content: str, message: str) -> None:
    path = write_csv(tmp_path / "r.csv", content)
    with pytest.raises(RecordsError) as caught:
        read_texts(path)
    assert message in str(caught.value)
    assert MARKER not in str(caught.value)
    hidden = caught.value.__suppress_context__ or caught.value.__context__ is None
    assert hidden  # a traceback would quote the row


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_bytes("é,b\n1,2\n".encode("latin-1"))
    (tmp_path / "body.csv").write_bytes(b"a,b\n" + b"1,2\n" * 9000 + "é,2\n".encode("latin-1"))
    for name in ("header.csv", "body.csv"):
        with pytest.raises(RecordsError, match="UTF-8"):
            read_texts(tmp_path / name)


def _parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def _file(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def _stream(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


@pytest.mark.parametrize(
    ("name", "write"),
    [("r.parquet", _parquet), ("r.arrow", _file), ("r.feather", _file), ("r.arrow", _stream)],
)
def test_typed_files_give_what_their_text_would(
    tmp_path: Path, name: str, write: Callable[[pa.Table, Path], None]
) -> None:
    table = pa.table(
        {
            "flag": pa.array([True, None, False]),
            "whole": pa.array([7, None, -999], pa.int16()),
            "real": pa.array([1.5, float("nan"), None]),
            "word": pa.array([" a ", None, "b"]).dictionary_encode(),
        }
    )
    write(table, tmp_path / name)
    with open_source(tmp_path / name) as source:
        kinds = (ColumnType.BOOLEAN, ColumnType.NUMBER, ColumnType.FLOAT, ColumnType.TEXT)
        assert tuple(source.columns.values()) == kinds
    assert read_texts(tmp_path / name) == [
        {"flag": "true", "whole": "7", "real": "1.5", "word": "a"},
        {"flag": None, "whole": None, "real": None, "word": None},
        {"flag": "false", "whole": "-999", "real": None, "word": "b"},
    ]


def test_numbers_from_text_and_from_typed_columns_agree(tmp_path: Path) -> None:
    write_csv(tmp_path / "r.csv", "x,y\n 1.5 ,\n\t-999.0,\n?,\n,\n1e3,\nnan,\n")
    column = pa.array([1.5, -999.0, None, None, 1000.0, float("nan")])
    pq.write_table(pa.table({"x": column}), tmp_path / "r.parquet")
    expected = [1.5, "missing", "missing", "missing", 1000.0, "missing"]
    for name in ("r.csv", "r.parquet"):
        found = ["missing" if x is not None and x != x else x for x in numbers(tmp_path / name)]  # noqa: PLR0124 -- NaN
        assert found == expected


def test_what_is_no_number_is_null_and_infinity_stays(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", 'x,y\n12 EUR,\n"1,5",\ninf,\nTRUE,\n')
    assert numbers(path) == [None, None, float("inf"), 1.0]


def test_gzip_and_odd_file_names(tmp_path: Path) -> None:
    path = tmp_path / "it's [1] *.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert read_texts(path) == [{"a": "1", "b": "2"}]


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
    secret = write_csv(tmp_path / "secret.csv", "a\n1\n")
    with open_source(write_csv(tmp_path / "r.csv", "a\n1\n")) as source:
        connection = source._connection
        for query in (
            f"SELECT * FROM read_csv('{secret}')",
            "SELECT * FROM read_csv('https://example.org/x.csv')",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(query)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    for name in ("r.parquet", "r.arrow"):
        with pytest.raises(RecordsError, match="none found; check the path"):
            read_texts(tmp_path / name)
        (tmp_path / name).write_bytes(b"PAR1 no such thing")
        with pytest.raises(RecordsError, match="readable file expected"):
            read_texts(tmp_path / name)
    (tmp_path / "r.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(RecordsError, match="gzip"):
        read_texts(tmp_path / "r.csv.gz")


def test_whitespace_is_what_python_trims() -> None:
    spaces = "".join(chr(code) for code in range(0x110000) if chr(code).isspace())
    assert spaces == WHITESPACE
