"""The check says what a load would do, and names everything that does not fit."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import SHARING, examples

from fieldfare.client.records import ColumnMapping, read_records
from fieldfare.client.records.encoding.problems import Effect
from fieldfare.client.records.load import RecordsCheck, check_records, report_lines
from fieldfare.client.records.sources.covering import said_of
from fieldfare.client.records.sources.source import table_at
from fieldfare.shared.study.study import Study

TODAY = date(2025, 6, 30)
DATES = ColumnMapping(dates={"opened": "%d.%m.%Y"})
HEADER = "unit,amount,channel,label,opened"


def study(**records: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": "unit", "label": "label", "units": 100, "prevalence": 0.1,
                        **records},
            "features": [
                {"kind": "numeric", "name": "amount", "lower": 0, "upper": 1000},
                {"kind": "categorical", "name": "channel", "levels": ["branch", "online"]},
            ],
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )  # fmt: skip


def csv_file(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def checked(path: Path, plan: Study | None = None) -> RecordsCheck:
    return check_records([table_at(path, DATES)], plan or study(), today=TODAY)


def told(report: RecordsCheck) -> list[tuple[Effect, str, int]]:
    """Effect, column and count of every finding about rows."""
    return [
        (found.effect, found.text.split("column ")[1].split(":")[0], found.count)
        for found in report.findings
        if found.count
    ]


def test_every_kind_of_problem_is_named_with_what_it_does(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path / "r.csv",
        "SECRETa,5,branch,1,01.01.2024",
        "SECRETb,SECRET,online,0,30.06.2025",
        "SECRETa,2000,SECRET,SECRET,01.07.2025",
        ",inf,,,SECRET",
        "SECRETc,-1,NA,0,",
        "SECRETd,?,branch,0,",
    )
    report = checked(path)
    assert told(report) == [
        (Effect.ZERO, "amount", 1),  # no number
        (Effect.ZERO, "amount", 1),  # infinite
        (Effect.ZERO, "label", 1),
        (Effect.ZERO, "unit", 1),  # none
        (Effect.ZERO, "unit", 2),  # twice
        (Effect.CLAMPED, "amount", 2),
        (Effect.MISSING, "amount", 1),
        (Effect.MISSING, "channel", 2),
        (Effect.OTHER, "channel", 1),
        (Effect.NEGATIVE, "label", 1),
        (Effect.NONE, "opened", 1),  # of the future
        (Effect.NONE, "opened", 1),  # no date
    ]
    assert report.loads
    text = "\n".join(report_lines(report))
    assert "SECRET" not in text
    assert (
        "clamped         column amount: expected values from 0 to 1000, found others in 2 rows "
        in (text)
    )
    assert "expected dates up to 2025-06-30, found later ones in 1 row (3)" in text
    assert "would load: 4 of 6 rows count as zero (66.7 %)" in text
    assert "stays here" in text
    records = read_records([path], study())
    assert records.units.tolist() == ["SECRETc", "SECRETd"]
    assert records.findings == tuple(f for f in report.findings if f.effect is not Effect.NONE)


def test_records_that_fit(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "r.csv", "a,5,branch,1,01.01.2024", "b,6,online,0,")
    report = checked(path)
    assert report.loads
    assert report.findings == ()
    assert report_lines(report) == [
        f"t over {path}: 2 rows",
        "  everything fits",
        "would load: 2 rows",
        "rows of one unit: 1 at most, 1 in the median",
        "the promise covers own records, not what the statements of others say of the same person",
        "this was read on this machine and stays here; counts and row numbers are not for others",
    ]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "r.csv", "a,1", header="unit,label")
    report = checked(path)
    assert [(f.effect, f.text.split(": ")[1].split(",")[0]) for f in report.findings][:3] == [
        (Effect.REFUSED, "expected column amount"),
        (Effect.REFUSED, "expected column channel"),
        (Effect.NONE, "expected column opened of dates"),
    ]
    assert "would not load: 2 problems refuse it" in report_lines(report)


def test_what_is_odd_about_the_whole(tmp_path: Path) -> None:
    def noted(*rows: str, **records: Any) -> str:
        report = checked(csv_file(tmp_path / "r.csv", *rows), study(**records))
        assert report.loads
        return "\n".join(f.text for f in report.findings if f.effect is Effect.NONE)

    assert "no row was read" in noted()
    assert "no label is positive" in noted("a,5,branch,0,")
    assert "all labels are positive" in noted("a,5,branch,1,")
    assert "2 rows here, 1 units of all" in noted("a,5,branch,1,", "b,5,branch,0,", units=1)


def test_a_study_without_a_unit_is_for_simulations_alone(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "r.csv", "a,5,branch,1,", "b,5,branch,0,")
    report = checked(path, study(unit=None))
    (refused,) = (f.text for f in report.findings if f.effect is Effect.REFUSED)
    assert refused == (
        "the study names no unit: it can be simulated, and an institution runs it only with a "
        "column of ids in its records.unit"
    )
    assert not report.loads


def test_several_tables_are_named_on_each_line(tmp_path: Path) -> None:
    one = csv_file(tmp_path / "one.csv", "a,5,branch,1,")
    two = csv_file(tmp_path / "two.csv", "a,5000,branch,0,")
    report = check_records([table_at(one), table_at(two)], study(), today=TODAY)
    lines = report_lines(report)
    assert lines[0] == f"t over {one}, {two}: 2 rows"
    assert f"counts as zero  {one}: column unit: expected one row per unit" in lines[1]
    assert f"counts as zero  {two}: column unit: expected one row per unit" in lines[2]
    assert f"clamped         {two}: column amount" in lines[3]
    assert "would load: 2 of 2 rows count as zero (100 %)" in lines


def test_a_source_that_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    report = check_records([table_at(tmp_path / "none.csv")], study(), today=TODAY)
    assert not report.loads
    assert "  refused         expected a file with records, found none" in "\n".join(
        report_lines(report)
    )


cells = st.sampled_from(["", "?", "1", "0", "5", "x", "inf", "-3", "1e9", "branch", "true"])
tables = st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), cells, cells, cells), max_size=5)


@given(tables)
@settings(SHARING, max_examples=examples(25, 60))
def test_a_check_and_a_load_agree(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    path = csv_file(tmp_path / "r.csv", *(",".join((*row, "")) for row in rows))
    report, records = checked(path), read_records([path], study())
    assert report.loads
    assert report.rows == len(records) + report.zero
    assert (report.rows, report.zero) == (records.counts.rows, records.counts.zero)
    counts = dict.fromkeys(Effect, 0)
    for effect, _, count in told(report):
        counts[effect] += count
    assert counts[Effect.CLAMPED] == sum(records.counts.clamped.values())
    assert counts[Effect.MISSING] == sum(records.counts.missing.values())
    assert counts[Effect.OTHER] == sum(records.counts.other.values())


def features_file(path: Path, amount: tuple[str, ...], channel: tuple[str, ...]) -> Path:
    """Write records as `typologies run` and `records assemble` do, with what fields say."""
    fields = [
        pa.field("id", pa.string()),
        pa.field("amount", pa.float64(), metadata=said_of(amount)),
        pa.field("channel", pa.string(), metadata=said_of(channel)),
        pa.field("label", pa.int8()),
    ]
    rows = {"id": [path.stem], "amount": [1.0], "channel": ["branch"], "label": [1]}
    pq.write_table(pa.table(rows, schema=pa.schema(fields)), path)
    return path


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(("A", "B"), ("A", "B"))], "covers the person: payments with customers of A, B are"),
        ([(("A", "B"), ())], "same person, which is in channel"),
        ([(("A",), ("A",)), (("A",), ("A",))], "covers the person"),
        ([(("A",), ("A",)), (("A",), ())], "same person, which is in channel"),
        ([(("A",), ("A",)), ((), ())], "not what the statements of others say of the same person"),
        ([(("A",), ("A",)), (("B",), ("B",))], "not what the statements of others say"),
    ],
)
def test_it_says_what_the_promise_covers_in_all_files_together(
    tmp_path: Path, parts: list[tuple[tuple[str, ...], tuple[str, ...]]], words: str
) -> None:
    named = ColumnMapping(columns={"unit": "id"})
    tables = [
        table_at(features_file(tmp_path / f"u{place}.parquet", *said), named)
        for place, said in enumerate(parts)
    ]
    report = check_records(tables, study(), today=TODAY)
    assert report.loads
    assert words in report.covers


def test_a_study_that_covers_the_person_reads_columns_that_do(tmp_path: Path) -> None:
    plan = study(left_out_banks=["A", "B"])
    named = ColumnMapping(columns={"unit": "id"})
    loads = {}
    for name, banks in {"same": ("A", "B"), "less": ("A",), "none": ()}.items():
        file = features_file(tmp_path / f"{name}.parquet", ("A", "B"), banks)
        loads[name] = check_records([table_at(file, named)], plan, today=TODAY)
    assert loads["same"].loads
    assert not loads["less"].loads
    assert not loads["none"].loads
    (problem,) = (one for one in loads["less"].findings if one.effect is Effect.REFUSED)
    assert "expected column channel without payments with customers of A, B" in problem.text
    assert "--leave-out-customers-of A,B" in problem.text
    csv = csv_file(tmp_path / "r.csv", "u1,1,branch,1,01.01.2025")  # no field says anything
    assert not checked(csv, plan).loads
    assert checked(csv).loads
