"""A row that does not fit counts as zero: nobody else's vector changes, and nothing refuses."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import SHARING, examples
from tests.support.records.odd_records import vectors

from fieldfare.client.records import ColumnMapping, LoadedRecords, read_records
from fieldfare.client.records.encoding.problems import Effect
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study.study import Study

MISSING: Final = ["", "NA", "token"]
COLUMNS: Final = ("unit", "amount", "hours", "channel", "label")
# What a coordinator's study or one person's row may bring, on top of what fits.
CELLS: Final = {
    "unit": ["a", "b", "c", "", "token", "1", "01"],
    "amount": ["1", "2.5", "", "inf", "-inf", "nan", "text", "token", "1e999", "9" * 400],
    "hours": ["0", "7", "", "inf", "text"],
    "channel": ["branch", "x", "", "token"],
    "label": ["0", "1", "2", "", "token", "yes", "inf", "nan"],
}


def study(rows: int = 0, positive: str = "> 0", **records: Any) -> Study:
    """A study with a question; with `rows`, of a network that reads so many of a unit."""
    data: dict[str, Any] = {
        "name": "t", "purpose": "p",
        "records": {"unit": "unit", "label": "label", "positive": positive, "units": 100,
                    "prevalence": 0.1, "missing": MISSING, **records},
        "features": [
            {"kind": "numeric", "name": "amount", "lower": 0, "upper": 10},
            {"kind": "categorical", "name": "channel", "levels": ["branch", "online"]},
        ],
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }  # fmt: skip
    if rows:
        return Study.model_validate({**data, "model": {"kind": "mlp", "hidden": [8], "rows": rows}})
    data["columns"] = [{"kind": "numeric", "name": "hours", "lower": 0, "upper": 24}]
    data["queries"] = [{"kind": "mean", "name": "q", "column": "hours"}]
    return Study.model_validate(data)


def read(folder: Path, rows: Sequence[tuple[str, ...]], plan: Study) -> LoadedRecords:
    path = folder / "r.csv"
    path.write_text("\n".join(",".join(row) for row in [COLUMNS, *rows]) + "\n")
    return read_records([path], plan)


cell = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CELLS.items()})
table = st.lists(cell.map(lambda row: tuple(row[name] for name in COLUMNS)), max_size=7)


@pytest.mark.parametrize("rows", [0, 1, 3])
@given(rows_read=table, gone=st.sampled_from(CELLS["unit"]))
@settings(SHARING, max_examples=examples(20, 60))
def test_whatever_stands_in_rows_they_load_and_each_units_vector_is_its_own(
    tmp_path: Path, rows: int, rows_read: list[tuple[str, ...]], gone: str
) -> None:
    """Take all rows of one unit out: every other unit's vector is the same, bit for bit."""
    plan = study(rows)
    whole = vectors(read(tmp_path, rows_read, plan))
    left = vectors(read(tmp_path, [row for row in rows_read if row[0] != gone], plan))
    assert left == {unit: vector for unit, vector in whole.items() if unit != gone}
    assert "" not in whole


FITS: Final = ("a", "1", "7", "branch", "1")


@pytest.mark.parametrize(
    ("rows", "zero", "said"),
    [
        pytest.param([("a", "1", "7", "x", "")], 1, "expected a label, found none", id="no label"),
        pytest.param([("a", "1", "7", "x", "token")], 1, "expected a label", id="a token"),
        pytest.param([("a", "1", "7", "x", "yes")], 1, "positive compares", id="no number"),
        pytest.param([("a", "inf", "7", "x", "1")], 1, "found infinity", id="infinite"),
        pytest.param([("a", "text", "7", "x", "1")], 1, "found other text", id="text"),
        pytest.param([("a", "1", "text", "x", "1")], 1, "found other text", id="a question's"),
        pytest.param([("a", "1", "inf", "x", "1")], 1, "found infinity", id="infinite question's"),
        pytest.param([("", "1", "7", "x", "1")], 1, "expected a unit id", id="no id"),
        pytest.param([FITS, FITS], 2, "expected one row per unit", id="equal rows"),
        pytest.param([FITS, ("a", "2", "0", "x", "0")], 2, "one row per unit", id="twice"),
        pytest.param([FITS, ("a", "2", "0", "x", "")], 2, "one row per unit", id="twice, one bad"),
    ],
)
def test_what_counts_as_zero_and_what_is_said_of_it(
    tmp_path: Path, rows: list[tuple[str, ...]], zero: int, said: str
) -> None:
    other = ("z", "3", "1", "branch", "0")
    records = read(tmp_path, [*rows, other], study())
    assert records.units.tolist() == ["z"]
    assert (records.counts.rows, records.counts.zero) == (len(rows) + 1, zero)
    lines = [found.text for found in records.findings if found.effect is Effect.ZERO]
    assert any(said in line for line in lines)
    assert all("token" not in line.replace("missing token", "") for line in lines)
    assert vectors(records) == vectors(read(tmp_path, [other], study()))


def test_a_row_takes_its_unit_with_it_where_a_unit_has_several(tmp_path: Path) -> None:
    rows = [FITS, ("b", "2", "7", "x", "0"), ("a", "inf", "7", "x", "0"), ("a", "3", "7", "x", "0")]
    records = read(tmp_path, rows, study(3))
    assert records.units.tolist() == ["b"]
    assert (records.counts.rows, records.counts.zero, records.counts.beyond) == (4, 3, 0)
    lines = [found.text for found in records.findings if found.effect is Effect.ZERO]
    assert "found infinity in 1 row (3)" in lines[0]
    assert (
        "found other rows of the same unit that do not, which leaves out 2 rows (1, 4)" in lines[1]
    )


@pytest.mark.parametrize("tokens", [MISSING, ["", "a"], ["", "z", "a", "1"]])
def test_missing_tokens_that_are_ids_or_labels_refuse_nothing(
    tmp_path: Path, tokens: list[str]
) -> None:
    """D1: the label is the id, and one id is among the study's own tokens."""
    plan = study(positive="nobody", label="unit", missing=tokens)
    records = read(tmp_path, [FITS, ("b", "2", "7", "x", "0")], plan)
    assert records.units.tolist() == [unit for unit in "ab" if unit not in tokens]


def test_typed_columns_hold_the_same_surprises(tmp_path: Path) -> None:
    """Parquet with NULL, infinities, and whole numbers as labels."""
    columns: dict[str, Any] = {
        "unit": ["a", None, "c", "d"],
        "amount": [1.0, 2.0, float("inf"), None],
        "hours": [1, 2, 3, None],
        "channel": ["branch", None, "x", "online"],
        "label": [1, 0, 1, 0],
    }
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    records = read_records([tmp_path / "r.parquet"], study())
    assert records.units.tolist() == ["a", "d"]  # NULL in a number's column is missing
    assert records.data.labels.tolist() == [1, 0]


# -- lines of a file that are no rows ----------------------------------------------------------

BEFORE: Final = ["a,1,7,branch,1", "b,2,7,x,0"]
AFTER: Final = ['c,3,"7",branch,1', "d,4,0,x,0"]
HEADER: Final = ",".join(COLUMNS)
LINES: Final = {
    "too few fields": b"e,1,7",
    "too many fields": b"e,1,7,branch,1,9",
    "bytes that are no text": b"e,1,7,b\xe4r,1",
    "text behind a quote": b'e,1,7,"b"r,1',
    "longer than any row": b"e,1,7," + b"x" * 2_100_000 + b",1",
    "a lone carriage return": b"e,1,7,b\rr,1",
    "lines that end otherwise": b"\r",
}


def file_with(path: Path, line: bytes) -> Path:
    lines = [HEADER.encode(), *(one.encode() for one in BEFORE), line]
    content = b"\n".join([*lines, *(one.encode() for one in AFTER), b""])
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_row_counts_as_zero_alone(tmp_path: Path, line: str, name: str) -> None:
    path = file_with(tmp_path / name, LINES[line])
    records = read_records([path], study())
    assert records.units.tolist() == ["a", "b", "c", "d"]
    assert records.data.labels.tolist() == [1, 0, 1, 0]
    zero = [found.text for found in records.findings if found.effect is Effect.ZERO]
    ended = line == "lines that end otherwise"  # an empty line
    assert (records.counts.rows, records.counts.zero) == ((4, 0) if ended else (5, 1)), zero
    assert ended or "found 1 line that cannot be read so (4)" in zero[0]


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
def test_such_a_line_far_behind_costs_nobody_elses_row(tmp_path: Path, name: str) -> None:
    """One where an engine's second thread began, after 8 MB, cost it 400 of 1,200 good rows."""
    rows = [f"u{number:05},1,7,{'y' * 10_000},1".encode() for number in range(1200)]
    rows[799] = b"e,1"
    content = b"\n".join([HEADER.encode(), *rows, b""])
    packed = gzip.compress(content, 1) if name.endswith(".gz") else content
    (tmp_path / name).write_bytes(packed)
    records = read_records([tmp_path / name], study())
    assert (len(records), records.counts.zero) == (1199, 1)


@pytest.mark.parametrize(
    "form",
    ['{},"Bob,3,x,1', '{},"Bob""x,3,x,1', '"{},0,3,x,1', '{},0,3,"x,1', '{},0,3,x,"1'],
)
@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
def test_an_open_quote_costs_nobody_elses_row(
    tmp_path: Path, name: str, form: str, *, quoted: bool
) -> None:
    """One such line took 1,801 of 2,000 units out of every sum: all up to the next quote."""
    channel = '"branch"' if quoted else "branch"
    rows = [f"u{number},{number % 7},{number % 5},{channel},{number % 2}" for number in range(2000)]
    found = []
    for lines in (rows, [*rows[:200], form.format("evil"), *rows[200:]]):
        content = "\n".join([HEADER, *lines, ""]).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
        records = read_records([path], study())
        found.append((vectors(records), records.counts.zero))
    assert found[1] == (found[0][0], 1)
    assert found[0][1] == 0
    assert len(found[0][0]) == 2000


def test_a_file_of_nothing_but_such_lines_loads_like_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("\n".join([HEADER, *["x"] * 3000, ""]))
    records = read_records([tmp_path / "r.csv"], study())
    assert len(records) == 0
    (line,) = (found.text for found in records.findings if found.effect is Effect.ZERO)
    assert "found 3000 lines that cannot be read so (2, 3, 4, 5, 6, ...)" in line


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "shift_jis"])
def test_other_encodings_pass_over_such_bytes_too(tmp_path: Path, encoding: str) -> None:
    bad = {"utf-16": "\ud800".encode("utf-16-le", "surrogatepass"), "cp1252": b"\x81"}
    text = f"{HEADER}\na,1,7,\u00a7,1\nb,1,7,@,0\nc,1,7,x,1\n"
    content = text.encode(encoding)
    mark = "@".encode(encoding)[-2 if encoding == "utf-16" else -1 :]
    (tmp_path / "r.csv").write_bytes(content.replace(mark, bad.get(encoding, b"\xfd"), 1))
    mapping = ColumnMapping(encoding=encoding)
    records = read_records([tmp_path / "r.csv"], study(), mapping=mapping)
    assert records.units.tolist() == ["a", "c"]
    assert records.counts.zero == 1


def test_lines_of_two_endings_are_rows_alike_and_a_text_ends_with_its_line(tmp_path: Path) -> None:
    levels = [{"kind": "categorical", "name": "channel", "levels": ["x"]}]
    plan = Study.model_validate(study().model_dump(mode="json") | {"features": levels})
    unix = [HEADER, "a,1,7,x,1", '"b\r\nb",1,7,x,0', '"c\rc",1,7,x,1', "d,1,7,x,0", ""]
    (tmp_path / "r.csv").write_bytes("\n".join(unix).encode())
    (tmp_path / "s.csv").write_bytes(("\n".join(unix[:4]) + "\n" + "\r\n".join(unix[4:])).encode())
    found = [read_records([tmp_path / name], plan).units.tolist() for name in ("r.csv", "s.csv")]
    assert found[0] == found[1] == ["a", 'b"', "d"]


def test_half_of_a_compressed_file_is_no_file(tmp_path: Path) -> None:
    path = file_with(tmp_path / "r.csv.gz", b"")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordsError, match="expected a whole file"):
        read_records([path], study())
