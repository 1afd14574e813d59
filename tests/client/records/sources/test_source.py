"""Every kind of file gives the same rows, and is left as it was; folders stand for their files."""

import gzip
import hashlib
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from tests.support.rows import night

from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import (
    FileKind,
    folder_files,
    kind_of,
    open_source,
    table_at,
)
from fieldfare.client.records.sources.sql import ColumnType
from fieldfare.shared.errors import RecordsError

Reader = Callable[..., list[Any]]
TABLE = {"unit": ["a", "b"], "x": [1.5, -2.0]}


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def _parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def _file(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def _stream(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def _feather(table: pa.Table, path: Path) -> None:
    pyarrow.feather.write_feather(table, str(path), compression="lz4")


@pytest.mark.parametrize(
    ("name", "write"),
    [("r.parquet", _parquet), ("r.arrow", _file), ("r.feather", _feather), ("r.arrow", _stream)],
)
def test_typed_files_give_what_their_text_would(
    tmp_path: Path, name: str, write: Callable[[pa.Table, Path], None], read_texts: Reader
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


def test_gzip_and_odd_file_names(tmp_path: Path, read_texts: Reader) -> None:
    path = tmp_path / "it's [1] *.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert read_texts(path) == [{"a": "1", "b": "2"}]


def test_missing_and_damaged_files(tmp_path: Path, read_texts: Reader) -> None:
    for name in ("r.parquet", "r.arrow"):
        with pytest.raises(RecordsError, match="found none; check the path"):
            read_texts(tmp_path / name)
        (tmp_path / name).write_bytes(b"PAR1 no such thing")
        with pytest.raises(RecordsError, match=r"readable source|whole Arrow"):
            read_texts(tmp_path / name)
    (tmp_path / "r.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(RecordsError, match="gzip"):
        read_texts(tmp_path / "r.csv.gz")


def test_numbers_from_text_and_from_typed_columns_agree(
    tmp_path: Path, read_numbers: Reader
) -> None:
    write_csv(tmp_path / "r.csv", "x,y\n 1.5 ,\n\t-999.0,\n?,\n,\n1e3,\nnan,\n")
    column = pa.array([1.5, -999.0, None, None, 1000.0, float("nan")])
    pq.write_table(pa.table({"x": column}), tmp_path / "r.parquet")
    expected = [1.5, "missing", "missing", "missing", 1000.0, "missing"]
    for name in ("r.csv", "r.parquet"):
        found = [
            "missing" if x is not None and math.isnan(x) else x
            for x in read_numbers(tmp_path / name)
        ]
        assert found == expected


def test_what_is_no_number_is_null_and_infinity_stays(tmp_path: Path, read_numbers: Reader) -> None:
    path = write_csv(tmp_path / "r.csv", 'x,y\n12 EUR,\n"1,5",\ninf,\nTRUE,\n')
    assert read_numbers(path) == [None, None, float("inf"), 1.0]


def _write(kind: FileKind, path: Path) -> None:
    table = pa.table(TABLE)
    if kind is FileKind.CSV:
        write_csv(path, "unit,x\na,1.5\nb,-2.0\n")
    elif kind is FileKind.PARQUET:
        pq.write_table(table, path)
    elif kind is FileKind.ARROW:
        _file(table, path)
    elif kind is FileKind.DUCKDB:
        with duckdb.connect(path) as connection:
            connection.register("t", table)
            connection.execute("CREATE TABLE records AS SELECT * FROM t")
    else:
        lite = sqlite3.connect(path)
        lite.execute("CREATE TABLE records (unit TEXT, x REAL)")
        lite.executemany("INSERT INTO records VALUES (?, ?)", zip(*TABLE.values(), strict=True))
        lite.commit()
        lite.close()


@pytest.mark.parametrize("kind", FileKind)
@pytest.mark.parametrize("encoding", ["utf-8", *night("utf-16")])
def test_sources_are_only_read(
    tmp_path: Path, kind: FileKind, encoding: str, read_texts: Reader
) -> None:
    """Bytes, time of change and the folder stay, also where nothing there may be written."""
    path = tmp_path / "records"
    _write(kind, path)
    if kind is FileKind.CSV:
        path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    before = (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        rows = read_texts(path, ColumnMapping(encoding=encoding), kind=kind)
        beside = [entry.name for entry in tmp_path.iterdir()]
    finally:
        tmp_path.chmod(0o700)
    assert [(row["unit"], float(row["x"])) for row in rows] == [("a", 1.5), ("b", -2)]
    assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before
    assert beside == ["records"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", FileKind.CSV),
        ("a.csv.gz", FileKind.CSV),
        ("a", FileKind.CSV),
        ("a.PARQUET", FileKind.PARQUET),
        ("a.feather", FileKind.ARROW),
        ("a.ddb", FileKind.DUCKDB),
        ("a.sqlite3", FileKind.SQLITE),
    ],
)
def test_names_say_what_files_are(name: str, kind: FileKind) -> None:
    assert kind_of(Path(name)) is kind


def test_a_db_file_says_itself_what_it_is(tmp_path: Path, read_texts: Reader) -> None:
    for folder, kind in (("one", FileKind.DUCKDB), ("two", FileKind.SQLITE)):
        (tmp_path / folder).mkdir()
        _write(kind, tmp_path / folder / "r.db")
        assert kind_of(tmp_path / folder / "r.db") is kind
        assert len(read_texts(tmp_path / folder / "r.db")) == 2


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.csv.gz", ".hidden", "_SUCCESS"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in folder_files(tmp_path)] == ["a.csv", "b.csv", "c.csv.gz"]
    table = table_at(tmp_path, kind=FileKind.CSV)
    assert table.name == str(tmp_path)
    assert [part.name for part in table.parts] == ["a.csv", "b.csv", "c.csv.gz"]
    assert table_at(tmp_path / "a.csv").parts[0].name == ""


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        ([], None, "expected at least one file"),
        (["a.csv", "b.parquet"], None, "expected files of one kind, found csv and parquet"),
        (["a.csv"], FileKind.PARQUET, "expected files of parquet kind, found csv"),
        (["a.csv", "b/"], None, "expected files alone, or folders such as day=2026-01-31, found b"),
        (["a.duckdb", "b.duckdb"], None, "expected one database file, found 2"),
    ],
)
def test_a_folder_of_other_things_is_refused(
    tmp_path: Path, names: list[str], kind: FileKind | None, message: str
) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
    with pytest.raises(RecordsError, match=message):
        table_at(tmp_path, kind=kind)


def test_rows_choose_among_tables(tmp_path: Path, read_texts: Reader) -> None:
    _write(FileKind.DUCKDB, tmp_path / "r.duckdb")
    rows = Rows(query='SELECT unit, x * 2 AS "double" FROM records WHERE x < 0')
    assert read_texts(tmp_path / "r.duckdb", rows=rows) == [{"unit": "b", "double": "-4.0"}]


@pytest.mark.parametrize("write", [_parquet, *night(_file), _stream])
def test_half_a_file_is_never_taken_for_the_whole(
    tmp_path: Path, write: Callable[[pa.Table, Path], None], read_texts: Reader
) -> None:
    """Wherever it was cut: half an upload would be units that nobody misses."""
    write(pa.table({"x": [f"u{i}" for i in range(20)]}), tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    kind = FileKind.PARQUET if write is _parquet else FileKind.ARROW
    assert len(read_texts(tmp_path / "whole", kind=kind)) == 20
    for end in range(0, len(content), 56):
        (tmp_path / "part").write_bytes(content[:end])
        with pytest.raises(RecordsError):
            read_texts(tmp_path / "part", kind=kind)


def test_a_callers_own_errors_are_not_the_sources(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", "a\n1\n")
    with pytest.raises(OSError, match="mine"), open_source(path):
        raise OSError("mine")


def test_a_column_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    """A damaged schema ended the process: its error is none of the engine's."""
    path = tmp_path / "r.arrow"
    rows = pa.table({"named_so": [1]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)
    path.write_bytes(path.read_bytes().replace(b"named_so", b"named\xff\xfeo"))
    with pytest.raises(RecordsError, match="damaged content"), open_source(path):
        pass


def test_arrow_columns_of_unknown_types_are_named_as_that(tmp_path: Path) -> None:
    _file(pa.table({"h": pa.array([1.5], pa.float16())}), tmp_path / "r.arrow")
    with (
        pytest.raises(RecordsError, match="a column of another type"),
        open_source(tmp_path / "r.arrow"),
    ):
        pass
