"""Features, labels of a day and groups as one file: who gets which label, and what is refused."""

import stat
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.assembling import (
    DECIDED,
    AssembledTable,
    Names,
    UnitFile,
    assemble,
    assembled_lines,
    read_labels,
    read_units,
    write_assembled,
)
from fieldfare.shared.errors import FieldfareError, RecordsError, UsageError
from fieldfare.shared.party.csv_cells import csv_text

DAY = date(2026, 3, 31)
NAMES = Names("customer", "case")
LINKED = pa.field("R20_linked", pa.float64(), metadata={"tag": "linked"})


def text(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def features(tmp_path: Path, **columns: Any) -> UnitFile:
    table = pa.table({"unit": ["a", "b", "c"], "R01": [1.0, 2.0, None], **columns})
    pq.write_table(table, tmp_path / "features.parquet")
    return read_units(tmp_path / "features.parquet", NAMES)


def joined(
    tmp_path: Path, *labels: str, others: str | None = "0", **changes: Any
) -> AssembledTable:
    known = read_labels(text(tmp_path / "labels.csv", *labels), NAMES, DAY)
    beside = changes.pop("beside", [])
    return assemble(features(tmp_path, **changes.pop("columns", {})), known, beside, NAMES,
                    wanted=changes.pop("wanted", None), others=others)  # fmt: skip


def test_a_label_counts_from_the_day_on_which_it_became_known(tmp_path: Path) -> None:
    found = joined(
        tmp_path, "unit,label,known", "a,1,2026-03-31", "b,1,2026-04-01", "z,1,2026-01-01"
    )
    assert found.table.to_pydict() == {
        "customer": ["a", "b", "c"],
        "case": ["1", "0", "0"],
        "R01": [1.0, 2.0, None],
    }
    assert (found.labels.later, found.without_unit, found.unlabelled) == (1, 1, 2)
    said = "\n".join(assembled_lines(found, DAY, "0"))
    assert "3 labels: 1 used, 1 of no unit here" in said
    assert "2 units without a label: counted as 0" in said


def test_ids_that_a_spreadsheet_would_compute_are_joined_as_they_are(tmp_path: Path) -> None:
    """`institution labels` marks them; another file of labels holds what it holds."""
    ids = ["=1+1", "'=1+1", "@SUM(1)"]
    rows = [(one, 1, "cleared", "high", "2026-03-01", "2026-01-01", "alert") for one in ids]
    (tmp_path / "decided.csv").write_text(csv_text(DECIDED, rows))
    found = read_labels(tmp_path / "decided.csv", Names("customer", "label"), DAY)
    assert found.table["unit"].to_pylist() == ids
    own = text(tmp_path / "own.csv", "unit,label,known", "'=1+1,1,2026-03-01")
    assert read_labels(own, NAMES, DAY).table["unit"].to_pylist() == ["'=1+1"]


def test_canonical_labels_fit_as_they_are(tmp_path: Path) -> None:
    form = "subject_id,source,value,confidence,observed_at,effective_from"
    found = joined(tmp_path, form, "b,str_filed,1,0.7,2026-03-01,2026-01-01")
    assert found.table["case"].to_pylist() == ["0", "1", "0"]


def test_the_newest_label_of_a_unit_by_that_day_counts(tmp_path: Path) -> None:
    rows = ("b,0,2026-01-01T10:00:00+00:00", "b,1,2026-02-01T10:00:00+00:00", "b,0,2026-05-01")
    found = joined(tmp_path, "customer_id,case,observed_at", *rows)
    assert found.table.column("case").to_pylist() == ["0", "1", "0"]
    assert (found.labels.superseded, found.labels.later) == (1, 1)


def test_units_without_a_label_are_asked_about_or_left_out(tmp_path: Path) -> None:
    rows = ("unit,label,known", "a,1,2026-01-01")
    with pytest.raises(UsageError, match=r"2 of 3 units have no label .* --others"):
        joined(tmp_path, *rows, others=None)
    found = joined(tmp_path, *rows, others="")
    assert (found.table.column("customer").to_pylist(), found.left_out) == (["a"], 2)


def test_groups_come_beside_and_a_study_keeps_its_columns_alone(tmp_path: Path) -> None:
    groups = text(tmp_path / "groups.csv", "customer_id,age_band,town", "b,60+,x", "a,18-29,y")
    found = joined(
        tmp_path, "unit,label,known", "a,1,2026-01-01", beside=[read_units(groups, NAMES)],
        wanted={"customer", "case", "R01", "age_band"},
    )  # fmt: skip
    assert found.table.column_names == ["customer", "case", "R01", "age_band"]
    assert found.table.column("age_band").to_pylist() == ["18-29", "60+", None]
    assert found.without_row == {str(groups): 1}
    assert f"{groups}: no row for 1 units" in "\n".join(assembled_lines(found, DAY, "0"))


def test_what_a_field_says_of_itself_stays(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("unit", pa.string()), LINKED])
    path = tmp_path / "linked.parquet"
    pq.write_table(pa.table({"unit": ["a"], "R20_linked": [2.0]}, schema=schema), path)
    known = read_labels(text(tmp_path / "l.csv", "unit,label,known", "a,1,2026-01-01"), NAMES, DAY)
    out = tmp_path / "out.parquet"
    found = assemble(read_units(path, NAMES), known, [], NAMES, wanted=None, others=None)
    write_assembled(found.table, out, DAY)
    assert pq.read_schema(out).field("R20_linked").metadata == {b"tag": b"linked"}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="new file"):
        write_assembled(found.table, out, DAY)


def test_ids_are_texts_whatever_their_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"unit": [7, 8], "R01": [1.0, 2.0]}), tmp_path / "numbers.parquet")
    known = read_labels(text(tmp_path / "l.csv", "unit,label,known", "7,1,2026-01-01"), NAMES, DAY)
    units = read_units(tmp_path / "numbers.parquet", NAMES)
    found = assemble(units, known, [], NAMES, wanted=None, others="0")
    assert found.table.column("case").to_pylist() == ["1", "0"]


REFUSED: list[tuple[list[str], dict[str, Any], str]] = [
    (["unit,label,known", "a,1,2026-01-01", "a,0,2026-01-01"], {}, r"twice in 1 rows \(row 2\)"),
    (["unit,label,known", "a,1,soon"], {}, r"a day such as 2026-03-31 .*\(row 1"),
    (["unit,label,known", "a,,2026-01-01"], {}, r"a label in column label.*row 1"),
    (["unit,label,known", ",1,2026-01-01"], {}, r"a unit in column unit"),
    (["unit,label", "a,1"], {}, "expected a column known or observed_at.*--known-always"),
    (["unit,lable,known", "a,1,2026-01-01"], {}, "did you mean lable.*--label-column"),
    (["kunit,label,known", "a,1,2026-01-01"], {}, "did you mean kunit.*--unit-column"),
    (["unit,label,known", "a,1,2026-01-01"], {"wanted": {"R01", "R_01"}}, "R_01; did you mean R01"),
    (["unit,label,known", "a,1,2026-01-01"], {"columns": {"case": ["s", "s", "s"]}}, "column case"),
]


@pytest.mark.parametrize(("rows", "changes", "said"), REFUSED)
def test_what_does_not_fit_is_refused_by_rows_and_names(
    tmp_path: Path, rows: list[str], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(FieldfareError, match=said):
        joined(tmp_path, *rows, **changes)


def test_a_unit_twice_and_a_unit_without_id_are_refused(tmp_path: Path) -> None:
    for rows, said in (
        (("unit,R01", "a,1", "a,2"), "1 further rows"),
        (("unit,R01", "a,1", ",2"), "row 2"),
    ):
        with pytest.raises(RecordsError, match=said):
            read_units(text(tmp_path / "twice.csv", *rows), NAMES)


def test_a_column_in_two_files_is_refused(tmp_path: Path) -> None:
    again = read_units(text(tmp_path / "again.csv", "unit,R01", "a,1"), NAMES)
    with pytest.raises(RecordsError, match="expected column R01 in one file"):
        joined(tmp_path, "unit,label,known", "a,1,2026-01-01", beside=[again])
