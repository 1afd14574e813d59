"""Computed columns: read from any kind of file alike, and alike by training, questions, scoring."""

import os
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.encoding.columns import asked_by, told_by
from fieldfare.client.records.load import check_records, read_records
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking_table import Wording
from fieldfare.client.scoring.units import read_units
from fieldfare.shared.errors import RecordsError, StudyError
from fieldfare.shared.features.basis import table_size
from fieldfare.shared.study.study import Study

TIMES = ("opened", "paid")
ALL: dict[str, dict[str, Any]] = {
    "wait": {"formula": "elapsed", "start": "opened", "end": "paid", "unit": "hours"},
    "account_age": {"formula": "age", "since": "opened", "on": "paid"},
    "log_out": {"formula": "log", "of": "out"},
    "turned": {"formula": "ratio", "of": "out", "to": "in"},
    "far": {"formula": "distance", "latitude": "lat", "longitude": "lon",
            "other_latitude": "lat2", "other_longitude": "lon2"},
}  # fmt: skip
SOURCES = {"opened", "paid", "out", "in", "lat", "lon", "lat2", "lon2"}


def study(**changes: Any) -> Study:
    features = [
        {"kind": "numeric", "name": name, "lower": -1e6, "upper": 1e6, "derived": formula}
        for name, formula in ALL.items()
    ]
    data: dict[str, Any] = {
        "name": "t",
        "purpose": "p",
        "records": {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5},
        "features": [{"kind": "numeric", "name": "out", "lower": 0, "upper": 100}, *features],
        "queries": [{"name": "q", "kind": "histogram", "column": "turned", "bins": 4}],
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }
    return Study.model_validate(data | changes)


STUDY = study()
ROWS: dict[str, list[Any]] = {
    "unit": ["a", "b", "c", "d"],
    "label": [1, 0, 0, 0],
    "opened": [datetime(2024, 1, 1), datetime(2024, 2, 29, 23, 59), None, datetime(2024, 5, 2)],  # noqa: DTZ001
    "paid": [datetime(2024, 1, 2, 6), datetime(2024, 3, 1), datetime(2024, 1, 1),  # noqa: DTZ001
             datetime(2024, 5, 1, 12)],  # noqa: DTZ001
    "out": [10.0, 0.0, 2.5, None],
    "in": [4.0, 5.0, 0.0, 3.0],
    "lat": [52.52, 0.0, 95.0, 10.0],
    "lon": [13.405, 0.0, 0.0, 10.0],
    "lat2": [48.8566, 0.0, 0.0, 10.0],
    "lon2": [2.3522, 90.0, 0.0, 10.0],
}  # fmt: skip
NAN = float("nan")
EXPECTED = {
    "wait": [30.0, 1 / 60, NAN, -12.0],
    "account_age": [1.0, 1.0, NAN, NAN],
    "log_out": [2.302585, NAN, 0.9162907, NAN],
    "turned": [2.5, 0.0, NAN, NAN],
    "far": [877.4645, 10007.56, NAN, 0.0],
}


def values(path: Path, plan: Study = STUDY, mapping: ColumnMapping | None = None) -> Any:
    return read_units([table_at(path, mapping)], plan).values[1:]


def parquet(path: Path, rows: dict[str, Any]) -> Path:
    pq.write_table(pa.table(rows), path)
    return path


def csv(path: Path, rows: dict[str, list[Any]], form: str = "%Y-%m-%dT%H:%M:%S") -> Path:
    def text(one: Any) -> str:
        if isinstance(one, datetime):
            return one.strftime(form)
        return "" if one is None else str(one)

    lines = [",".join(map(text, row)) for row in zip(*rows.values(), strict=True)]
    path.write_text("\n".join([",".join(rows), *lines]) + "\n")
    return path


def test_each_formula_over_rows(tmp_path: Path) -> None:
    found = values(parquet(tmp_path / "r.parquet", ROWS))
    for row, (name, expected) in zip(found, EXPECTED.items(), strict=True):
        assert row == pytest.approx(expected, rel=1e-6, nan_ok=True), name


def test_all_kinds_of_files_give_the_same_bits(tmp_path: Path) -> None:
    plain = values(parquet(tmp_path / "r.parquet", ROWS))
    texts = values(csv(tmp_path / "r.csv", ROWS))
    form = "%d.%m.%Y %H:%M"
    dates = ColumnMapping(dates=dict.fromkeys(TIMES, form))
    written = values(csv(tmp_path / "w.csv", ROWS, form), mapping=dates)
    named = {"Geöffnet" if name == "opened" else name: rows for name, rows in ROWS.items()}
    mapping = ColumnMapping(columns={"opened": "Geöffnet"})
    renamed = values(parquet(tmp_path / "n.parquet", named), mapping=mapping)
    zone = timezone(timedelta(hours=2))
    abroad = ROWS | {
        name: [one and one.replace(tzinfo=zone) + timedelta(hours=2) for one in ROWS[name]]
        for name in TIMES
    }
    zoned = values(parquet(tmp_path / "z.parquet", abroad))
    said = values(csv(tmp_path / "s.csv", abroad, "%Y-%m-%d %H:%M:%S%z"))
    for other in (texts, written, renamed, zoned, said):
        assert other.tobytes() == plain.tobytes()


def test_the_machines_zone_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = csv(tmp_path / "r.csv", ROWS)
    before = values(path)
    monkeypatch.setitem(os.environ, "TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert values(path).tobytes() == before.tobytes()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_training_questions_and_scoring_agree(tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", ROWS)
    scored, trained = read_units([table_at(path)], STUDY), read_records([path], STUDY)
    assert (scored.positions == trained.data.positions).all()
    asked = trained.asked.numbers["turned"]
    assert asked.astype(np.float32).tobytes() == scored.values[4].tobytes()
    assert trained.counts.missing["far"] == 1
    assert trained.counts.zero == 0
    assert check_records([table_at(path)], STUDY, today=date(2026, 1, 1)).loads


def test_batches_and_order_change_nothing(tmp_path: Path) -> None:
    many = {name: rows * 3000 for name, rows in ROWS.items()}
    many["unit"] = [f"u{index}" for index in range(len(many["unit"]))]
    long, turned = parquet(tmp_path / "m.parquet", many), tmp_path / "t.parquet"
    pq.write_table(pa.table({name: rows[::-1] for name, rows in many.items()}), turned)
    found, back = values(long), values(turned)
    assert found.tobytes() == np.ascontiguousarray(back[:, ::-1]).tobytes()
    few = values(parquet(tmp_path / "f.parquet", ROWS))
    assert found[:, -4:].tobytes() == few.tobytes()


@pytest.mark.parametrize("missing", ["2024-01-01", "2024-01-01 00:00:00", "2024-01-01T00:00:00"])
def test_missing_tokens_are_times_too(tmp_path: Path, missing: str) -> None:
    records = {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5,
               "missing": ["", missing]}  # fmt: skip
    for path in (parquet(tmp_path / "r.parquet", ROWS), csv(tmp_path / "r.csv", ROWS)):
        found = values(path, study(records=records))
        assert np.isnan(found[0]).tolist() == [True, False, True, False]


def test_what_is_no_time_counts_as_zero_and_refuses_nothing(tmp_path: Path) -> None:
    rows = ROWS | {
        "opened": ["soon", "2024-01-01", "infinity", "2024-13-01"],
        "lat": [1, "x", 1, 1],
    }
    loaded = read_records([csv(tmp_path / "r.csv", rows)], STUDY)
    assert (len(loaded), loaded.counts.zero) == (0, 4)
    said = "\n".join(found.text for found in loaded.findings)
    assert "wait (from opened, paid): expected a number, found other text in 3 rows" in said
    assert "soon" not in said


@pytest.mark.parametrize(
    ("name", "column", "refusal"),
    [
        ("opened", pa.array([1, 2, 3, 4]), "opened of dates, found numbers"),
        ("paid", pa.array([True] * 4), "paid of dates, found numbers"),
        ("in", pa.array([date(2024, 1, 1)] * 4), "in of numbers, found dates"),
        ("lat2", pa.array([b"x"] * 4), "lat2 of numbers, found binary or nested values"),
    ],
)
def test_a_column_of_another_type_is_refused_by_its_type_alone(
    tmp_path: Path, name: str, column: Any, refusal: str
) -> None:
    path = parquet(tmp_path / "r.parquet", ROWS | {name: column})
    with pytest.raises(RecordsError, match=f"expected column {refusal}"):
        read_records([path], STUDY)


def test_dates_of_which_no_row_has_one_are_missing_whatever_type_a_program_gave_them(
    tmp_path: Path,
) -> None:
    nothing = [None] * 4
    empty = parquet(tmp_path / "n.parquet", ROWS | {"opened": pa.array(nothing, pa.date32())})
    for name, column in (
        ("floats", pa.array([float("nan")] * 4)),
        ("none", pa.array(nothing, pa.float64())),
        ("text", pa.array(nothing, pa.string())),
    ):
        found = parquet(tmp_path / f"{name}.parquet", ROWS | {"opened": column})
        assert values(found).tobytes() == values(empty).tobytes(), name
        loaded = read_records([found], STUDY)
        assert (len(loaded), loaded.counts.zero) == (4, 0), name


def test_floats_are_no_dates(tmp_path: Path) -> None:
    rows = ROWS | {"opened": pa.array([1.5, 20240101.0, 1e300, float("inf")])}
    loaded = read_records([parquet(tmp_path / "r.parquet", rows)], STUDY)
    assert (len(loaded), loaded.counts.zero) == (0, 4)


def test_an_absent_source_is_named_and_a_mapping_of_the_computed_name_is_a_mistake(
    tmp_path: Path,
) -> None:
    rows = {name: column for name, column in ROWS.items() if name != "lon2"}
    path = parquet(tmp_path / "r.parquet", rows)
    with pytest.raises(RecordsError, match="expected column lon2, found none"):
        read_records([path], STUDY)
    with pytest.raises(RecordsError, match="lon2"):
        values(path)
    with pytest.raises(StudyError, match=r"columns\.far: expected a column of the study"):
        read_records([path], STUDY, mapping=ColumnMapping(columns={"far": "x"}))


def test_a_study_asks_for_sources_and_not_for_what_it_computes() -> None:
    assert asked_by(STUDY) == {"unit", "label", *SOURCES}
    assert told_by(STUDY) == sorted(SOURCES)


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_tags_of_the_file_hold_for_every_source(tmp_path: Path, source: str) -> None:
    """Linked in the file, or not covered where the study leaves banks out: refused."""
    table = pa.table(ROWS)
    place = table.schema.get_field_index(source)
    linked = table.schema.field(place).with_metadata({"tag": "linked"})
    path = tmp_path / "r.parquet"
    pq.write_table(table.cast(table.schema.set(place, linked)), path)
    with pytest.raises(RecordsError, match=f"column {source} of the unit's own records"):
        read_records([path], STUDY)
    records = {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5,
               "left_out_banks": ["AAAAAAAA"]}  # fmt: skip
    pq.write_table(table, path)
    with pytest.raises(RecordsError, match=f"column {source} without payments"):
        read_records([path], study(records=records))


def by_level(**changes: Any) -> Study:
    curves = {"by": "type", "levels": ["a", "b"]}
    number = {"kind": "numeric", "name": "out", "lower": 0, "upper": 100, **curves}
    ratio = {**number, "name": "turned", "derived": ALL["turned"]}
    return study(features=[number, ratio], **changes)


def test_a_level_beside_a_number_chooses_its_curve(tmp_path: Path) -> None:
    rows = ROWS | {"type": ["a", "b", "c", None]}
    mapping = ColumnMapping(columns={"type": "Typ"})
    renamed = {"Typ" if name == "type" else name: column for name, column in rows.items()}
    for path, mapped in (
        (parquet(tmp_path / "r.parquet", rows), None),
        (csv(tmp_path / "r.csv", rows), None),
        (parquet(tmp_path / "n.parquet", renamed), mapping),
    ):
        plan = by_level()
        trained = read_records([path], plan, mapping=mapped)
        scored = read_units([table_at(path, mapped)], plan)
        assert (trained.data.positions == scored.positions).all()
        sizes = [table_size(feature) // 4 for feature in plan.features]
        for row, size in zip(scored.positions, sizes, strict=True):
            assert (row // size).tolist() == [0, 1, 2, 3]
        assert scored.values[0].tolist()[:3] == [10.0, 0.0, 2.5]
        assert scored.values[1].tolist()[:2] == [2.5, 0.0]
        assert trained.counts.other == {"out": 1, "turned": 1}
        assert trained.asked.numbers["turned"].tolist()[:2] == [2.5, 0.0]
    levels = Wording.of(plan.features, {}).levels[0]
    assert [levels[size - 1 :: size].tolist() for size in sizes[:1]] == [["missing"] * 4]
    assert sum(one is not None for one in levels) == 4
    assert asked_by(plan) == {"unit", "label", "out", "in", "type"}


def test_a_level_column_is_bound_by_its_tag_and_has_to_be_there(tmp_path: Path) -> None:
    table = pa.table(ROWS | {"type": ["a", "b", "c", None]})
    place = table.schema.get_field_index("type")
    linked = table.schema.field(place).with_metadata({"tag": "linked"})
    path = tmp_path / "r.parquet"
    pq.write_table(table.cast(table.schema.set(place, linked)), path)
    with pytest.raises(RecordsError, match="column type of the unit's own records"):
        read_records([path], by_level())
    with pytest.raises(RecordsError, match="expected column type, found none"):
        read_records([parquet(tmp_path / "n.parquet", ROWS)], by_level())
