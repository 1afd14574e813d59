from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.runs.asking import asking
from tests.support.runs.grouped import grouped_study

from fieldfare.client.records import LoadedRecords, read_records
from fieldfare.client.records.encoding.problems import Effect
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study.asked_columns import asked_columns
from fieldfare.shared.study.question_layout import MISSING_TEXT, packed
from fieldfare.shared.study.study import AllowanceSection

ROWS: Final[dict[str, list[Any]]] = {
    "id": ["a", "b", "c", "d"],
    "flagged": [0, 1, 0, 1],
    "amount": ["12.5", "", "1000", "7"],
    "hours": [1.0, 2.0, 3.0, 4.0],
    "channel": ["online", "fax", "branch", None],
    "month": ["2025-03-31", "2025-01; 2025-03;2025-01", "1999-01", ""],
    "corridor": ["ro-de", None, "bg-at-more", "NA"],
}


def read(folder: Path, rows: dict[str, list[Any]]) -> LoadedRecords:
    table = pa.table(rows)
    pq.write_table(table.slice(0, 2), folder / "first.parquet")
    pq.write_table(table.slice(2), folder / "second.parquet")
    return read_records([folder / "first.parquet", folder / "second.parquet"], asking())


def test_only_what_questions_name_is_kept_in_order_of_names() -> None:
    assert [c.name for c in asked_columns(asking())] == [
        "amount", "channel", "corridor", "hours", "month",
    ]  # fmt: skip
    assert asked_columns(asking({"name": "n", "kind": "count"})) == ()
    allowed = asking({"name": "n", "kind": "count"}).model_copy(
        update={"allowance": AllowanceSection(kinds=("mean",), columns=("hours",))}
    )
    assert [c.name for c in asked_columns(allowed)] == ["hours"]


def test_values_are_read_each_by_itself(tmp_path: Path) -> None:
    asked = read(tmp_path, ROWS).asked
    np.testing.assert_array_equal(asked.numbers["amount"], [12.5, np.nan, 1000.0, 7.0])
    np.testing.assert_array_equal(asked.numbers["hours"], [1, 2, 3, 4])
    assert asked.codes["channel"].tolist() == [1, 3, 0, 4]  # levels, other, missing
    listed = asked.lists["month"]
    pairs = list(zip(listed.owners.tolist(), listed.codes.tolist(), strict=True))
    assert pairs == [(0, 2), (1, 0), (1, 2), (2, 12), (3, 13)]
    expected = [packed("RO-DE", 5), MISSING_TEXT, packed("BG-AT", 5), MISSING_TEXT]
    assert asked.texts["corridor"].tolist() == expected


def test_selecting_units_keeps_each_ones_values(tmp_path: Path) -> None:
    asked = read(tmp_path, ROWS).select(np.array([False, True, False, True])).asked
    assert asked.codes["channel"].tolist() == [3, 4]
    listed = asked.lists["month"]
    pairs = list(zip(listed.owners.tolist(), listed.codes.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 2), (1, 13)]


def test_the_models_own_view_stays_as_it_is(tmp_path: Path) -> None:
    plain = asking({"name": "n", "kind": "count"}, columns=[])
    asked = read(tmp_path, ROWS)
    bare = read_records([tmp_path / "first.parquet", tmp_path / "second.parquet"], plain)
    np.testing.assert_array_equal(asked.data.positions, bare.data.positions)
    np.testing.assert_array_equal(asked.data.labels, bare.data.labels)


def test_numbers_that_are_none_are_settled_at_load(tmp_path: Path) -> None:
    """A row that does not fit a question is in no sum at all, and is told without its value."""
    for changed, said in (
        ({"amount": ["12.5", "", "much", "7"]}, "amount: expected a number"),
        ({"hours": [1.0, 2.0, float("inf"), 4.0]}, "infinity"),
    ):
        whole, found = read(tmp_path, ROWS), read(tmp_path, {**ROWS, **changed})
        zero = [line.text for line in found.findings if line.effect is Effect.ZERO]
        assert zero, found.findings
        assert [said in line and "1 row (1)" in line for line in zero] == [True] * len(zero), zero
        assert "much" not in zero[0]
        kept = whole.select(np.array([True, True, False, True]))
        assert found.units.tolist() == kept.units.tolist()
        assert found.data.positions.tolist() == kept.data.positions.tolist()
        for name, codes in kept.asked.codes.items():
            assert found.asked.codes[name].tolist() == codes.tolist()
        for name, listed in kept.asked.lists.items():
            assert found.asked.lists[name].owners.tolist() == listed.owners.tolist()
            assert found.asked.lists[name].codes.tolist() == listed.codes.tolist()


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    rows = {name: values for name, values in ROWS.items() if name != "corridor"}
    with pytest.raises(RecordsError, match="expected column corridor"):
        read(tmp_path, rows)


GROUPED: Final[dict[str, list[Any]]] = {
    "id": ["a", "b", "c", "d", "e"],
    "reported": [0, 1, 0, 1, 0],
    "amount": [1.0, 2.0, 3.0, 4.0, 5.0],
    "channel": ["online"] * 5,
    "age_band": ["25-64", " 18-24 ", "65+", None, "NA"],
    "segment": ["student", "", "retail", "other", "private"],
}


def test_groups_are_read_after_what_questions_ask_and_clamped_to_public_levels(
    tmp_path: Path,
) -> None:
    study = grouped_study()
    assert [c.name for c in asked_columns(study)] == ["age_band", "segment"]
    pq.write_table(pa.table(GROUPED), tmp_path / "units.parquet")
    codes = read_records([tmp_path / "units.parquet"], study).asked.codes
    # From the number of levels on, it is the rest: another level, then missing.
    assert codes["age_band"].tolist() == [1, 0, 2, 3, 3]
    assert codes["segment"].tolist() == [2, 4, 0, 3, 1]


def test_an_institution_without_units_loads_its_groups_like_any_other(tmp_path: Path) -> None:
    empty = pa.table(GROUPED).slice(0, 0)
    pq.write_table(empty, tmp_path / "units.parquet")
    codes = read_records([tmp_path / "units.parquet"], grouped_study()).asked.codes
    assert [len(codes[name]) for name in ("age_band", "segment")] == [0, 0]


def test_a_group_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table(GROUPED).drop(["segment"]), tmp_path / "units.parquet")
    with pytest.raises(RecordsError, match="expected column segment"):
        read_records([tmp_path / "units.parquet"], grouped_study())


def test_harm_rule_4_questions_cannot_name_a_group() -> None:
    assert "age_band" not in grouped_study().asked_columns
