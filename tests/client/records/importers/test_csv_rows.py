"""A row that cannot be read is refused with its line, and its value is never shown."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldfare.client.records.importers.csv_rows import (
    CsvFiles,
    Value,
    file_forms,
    flag_value,
    level_value,
    line_of,
    minor_value,
    text_value,
    time_value,
)
from fieldfare.shared.errors import RecordsError

START = "CAST('2017-01-01' AS TIMESTAMP)"


def read(path: Path, value: Value) -> list[object]:
    tables = (rows for file in CsvFiles([path]) for rows in file.rows({"x": value}))
    return [one for rows in tables for one in rows.column("x").to_pylist()]


@pytest.fixture
def one(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "one.csv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("written", "cents"),
    [("1", 100), ("147.8", 14780), ("0.005", 1), ("1e+05", 10_000_000), (" 2.10 ", 210)],
)
def test_amounts_are_whole_cents(one: Callable[[str], Path], written: str, cents: int) -> None:
    assert read(one(f"amount,b\n{written},1\n"), minor_value("amount")) == [cents]


BAD = [
    (minor_value("v"), ["-1", "abc", "", "nan", "inf", "1,5", "1e30", "123456789012345"]),
    (flag_value("v"), ["2e", "maybe", ""]),
    (text_value("v", "account_id"), ["", "a;b", "x" * 65, "data:image/png;base64,AA"]),
    (text_value("v", "currency"), ["US Dollar", "usd"]),
    (level_value("v", {"TRANSFER": "P2P"}, "channel"), ["transfer", "", "OTHER"]),
    (time_value("v"), ["yesterday", "", "2017-13-01"]),
    (time_value("v", START), ["-1", "x", ""]),
]


@pytest.mark.parametrize(("value", "text"), [(v, text) for v, texts in BAD for text in texts])
def test_what_cannot_be_read_is_refused_by_line(
    one: Callable[[str], Path], value: Value, text: str
) -> None:
    path = one(f'id,v\n1,"{text}"\n')
    with pytest.raises(
        RecordsError, match=r"one\.csv, line 2: expected a v that this importer"
    ) as caught:
        read(path, value)
    told = str(caught.value).replace(str(path.parent), "")  # whose numbers are pytest's
    assert len(text) < 3 or text not in told


def test_times_are_written_or_counted_from_a_day(one: Callable[[str], Path]) -> None:
    assert str(read(one("v,b\n2017-01-05T00:00:00Z,1\n"), time_value("v"))[0]) == (
        "2017-01-05 00:00:00"
    )
    path = one("v,b\n25,1\n")
    assert str(read(path, time_value("v", START, "hour"))[0]) == "2017-01-02 01:00:00"
    assert str(read(path, time_value("v", START))[0]) == "2017-01-26 00:00:00"


def test_what_may_be_absent_is_null(one: Callable[[str], Path]) -> None:
    assert read(one("v,b\n,1\n"), text_value("v", "type", needed=False)) == [None]
    with pytest.raises(RecordsError, match="line 2"):
        read(one("v,b\nnot a code,1\n"), text_value("v", "type", needed=False))


def test_a_rows_line_is_found_whatever_is_empty(tmp_path: Path) -> None:
    text = '\na,b\n1,"x"\n\r\n\n2,x\n\n3,"q"\n4,x\n'
    plain, packed = tmp_path / "a.csv", tmp_path / "a.csv.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        assert [line_of(path, row) for row in range(4)] == [3, 6, 8, 9]


def test_a_text_ends_with_its_line(one: Callable[[str], Path]) -> None:
    """An open quote would take the lines after it into a name that nobody looks at."""
    with pytest.raises(RecordsError, match="quotes end, found another form at line 2"):
        read(one('v,b\nx,"y\nz,w\nu,"v"\n'), text_value("v", "type"))


def test_a_late_row_of_a_later_batch_is_found(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("v,b\n" + "1,2\n" * 150_000 + "x,2\n" + "1,2\n" * 10)
    with pytest.raises(RecordsError, match="line 150002"):
        read(path, minor_value("v"))


def test_files_are_told_apart_by_their_headers(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("c,b\n1,2\n")
    paths = [tmp_path / "2.csv", tmp_path / "1.csv"]
    forms = {"one": ("a",), "two": ("c",)}
    assert file_forms(paths, forms) == {"one": [paths[1]], "two": [paths[0]]}
    with pytest.raises(RecordsError, match=r"2\.csv, line 1: expected a header with a"):
        file_forms(paths, {"one": ("a",)})
    with pytest.raises(RecordsError, match="found none"):
        file_forms([tmp_path / "3.csv"], forms)


def test_a_name_that_stands_twice_gets_a_number(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("a,a,b\n1,2,3\n")
    with pytest.raises(RecordsError, match="found one twice"):
        list(CsvFiles([path]))
    (file,) = CsvFiles([path], repeats=True)
    assert file.columns == ("a", "a.1", "b")
