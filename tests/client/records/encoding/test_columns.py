"""What a load reads: the study's columns under the file's names, and no others."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records import read_records
from fieldfare.client.records.encoding.columns import Columns, RecordsUse, asked_by
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import open_source
from fieldfare.shared.errors import RecordsError, StudyError
from fieldfare.shared.study.study import Study

PLACE = Place("r.csv")
ONE_ROW = "CREATE TABLE t AS SELECT 'u' AS unit, 1 AS label, 'a' AS c, 0.5 AS \"{name}\""
STUDY = Study.model_validate(
    {
        "name": "t",
        "purpose": "p",
        "records": {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5},
        "features": [
            {"kind": "numeric", "name": "x", "lower": 0, "upper": 1},
            {"kind": "categorical", "name": "c", "levels": ["a"]},
        ],
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }
)


def test_names_go_through_the_mapping() -> None:
    mapping = ColumnMapping(columns={"x": "X1", "bank": "BANK"})
    columns = Columns.of(STUDY, mapping, RecordsUse(institution="bank"))
    assert columns.features == ("X1", "c")
    assert columns.texts == ("label", "unit", "BANK")
    assert (columns.institution, columns.audit) == ("BANK", ())


def test_a_mapping_may_only_name_what_is_asked_for() -> None:
    mapping = ColumnMapping(columns={"bank": "BANK", "y": "Y"})
    with pytest.raises(StudyError) as caught:
        Columns.of(STUDY, mapping)
    assert [line.split(":")[0] for line in caught.value.problems] == ["columns.bank", "columns.y"]


def test_only_needed_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("unit,x,c,label,notes\nu,0.5,a,1,private\n")
    columns = Columns.of(STUDY, ColumnMapping(), RecordsUse(audit=("c",)))
    with open_source(path) as source:
        rows = [row for batch in source.batches(columns.expressions(source)) for row in
                batch.to_pylist()]  # fmt: skip
    assert rows == [{"c0": 0.5, "c1": "a", "c2": "1", "c3": "u", "c4": "a"}]


def test_absent_columns_become_problems(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("unit,x\nu,0.5\n")
    problems = Problems()
    with open_source(path) as source:
        assert not Columns.of(STUDY, ColumnMapping()).all_in(source, PLACE, problems)
    with pytest.raises(RecordsError, match="expected column c, found none among 2 columns"):
        problems.check()
    assert len(problems.lines(Effect.REFUSED)) == 2


def test_the_nearest_name_is_said_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("unit,x,lable,MARKED-7781\nu,0.5,1,b\n")
    problems = Problems()
    with open_source(path) as source:
        Columns.of(STUDY, ColumnMapping()).all_in(source, PLACE, problems)
    said = "\n".join(problems.lines(Effect.REFUSED))
    assert "expected column label, found none among 4 columns; did you mean lable?" in said
    assert "expected column c, found none among 4 columns; map it" in said
    assert "MARKED" not in said
    with pytest.raises(StudyError, match=r"columns.lable: .*; did you mean label\?"):
        Columns.of(STUDY, ColumnMapping(columns={"lable": "y"}))


def test_columns_of_dates_or_bytes_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    table = {"unit": ["u"], "x": [date(2025, 1, 1)], "c": [b"\x89PNG"], "label": [1]}
    pq.write_table(pa.table(table), path)
    problems = Problems()
    with open_source(path) as source:
        assert not Columns.of(STUDY, ColumnMapping()).all_in(source, PLACE, problems)
    assert [line.split(";")[0] for line in problems.lines(Effect.REFUSED)] == [
        "r.csv: expected column x of numbers, found dates",
        "r.csv: expected column c of text or numbers, found binary or nested values",
    ]


def test_dates_are_read_only_by_a_check(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("unit,x,c,label,opened\nu,0.5,a,1,2025-01-31\n")
    mapping = ColumnMapping(dates={"opened": "iso", "closed": "iso"})
    load = Columns.of(STUDY, mapping)
    check = Columns.of(STUDY, mapping, RecordsUse(today=date(2025, 1, 30)))
    problems = Problems()
    with open_source(path) as source:
        assert "opened" not in load.needed(source)
        assert check.needed(source)[-1] == "opened"
        assert check.all_in(source, PLACE, problems)
        rows = [row for b in source.batches(check.expressions(source)) for row in b.to_pylist()]
    assert rows == [{"c0": 0.5, "c1": "a", "c2": "1", "c3": "u", "c4": 1}]
    assert [found.text for found in problems.findings()] == [
        "r.csv: expected column closed of dates, found none; correct it under dates"
    ]


def test_what_a_study_asks_for() -> None:
    assert asked_by(STUDY) == {"x", "c", "label", "unit"}


def written(folder: Path, kind: str, name: str, tag: str = "") -> Path:
    """One row with a column `name`, in a file of a kind; Parquet and Arrow can say its tag."""
    path = folder / f"r.{kind}"
    path.unlink(missing_ok=True)
    metadata = {"tag": tag} if tag else None
    fields = [
        *(pa.field("unit", pa.string()), pa.field("label", pa.int64()), pa.field("c", pa.string())),
        pa.field(name, pa.float64(), metadata=metadata),
    ]
    table = pa.table([["u"], [1], ["a"], [0.5]], schema=pa.schema(fields))
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    elif kind == "csv":
        path.write_text(f'unit,label,c,"{name}"\nu,1,a,0.5\n')
    elif kind == "duckdb":
        with duckdb.connect(str(path)) as database:
            database.execute(ONE_ROW.format(name=name))
    else:
        with closing(sqlite3.connect(path)) as lite, lite:
            lite.execute(ONE_ROW.format(name=name))
    return path


LINKED = [
    ("parquet", "x", "linked"),
    ("arrow", "x", "linked"),
    *((kind, "R20_linked", "") for kind in ("parquet", "arrow", "csv", "duckdb", "sqlite")),
    ("csv", "R20_Linked", ""),
]


@pytest.mark.parametrize(("kind", "name", "tag"), LINKED)
def test_a_linked_column_is_refused_whatever_the_study_says(
    tmp_path: Path, kind: str, name: str, tag: str
) -> None:
    """The study calls it own, or gives it another name: it is a fact of the file."""
    path, mapping = written(tmp_path, kind, name, tag), ColumnMapping(columns={"x": name})
    with pytest.raises(RecordsError, match=f"expected column {name} of the unit's own records"):
        read_records([path], STUDY, mapping=mapping)
    fine = written(tmp_path, kind, "x", "own" if tag else "")
    assert len(read_records([fine], STUDY)) == 1


def test_linked_columns_that_a_study_does_not_name_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("unit,x,c,label,R20_linked\nu,0.5,a,1,7\n")
    assert len(read_records([path], STUDY)) == 1
