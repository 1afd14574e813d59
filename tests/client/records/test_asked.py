from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.asking import KEY, asking

from fieldfare.client.records import Records, read_records
from fieldfare.client.records.asked import asked_columns, unit_order
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.open_texts import MISSING_TEXT, packed
from fieldfare.shared.study import AllowanceSection

ROWS: Final[dict[str, list[Any]]] = {
    "id": ["a", "b", "c", "d"],
    "flagged": [0, 1, 0, 1],
    "amount": ["12.5", "", "1000", "7"],
    "hours": [1.0, 2.0, 3.0, 4.0],
    "channel": ["online", "fax", "branch", None],
    "month": ["2025-03-31", "2025-01; 2025-03;2025-01", "1999-01", ""],
    "corridor": ["ro-de", None, "bg-at-more", "NA"],
}


def read(folder: Path, rows: dict[str, list[Any]]) -> Records:
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
    with pytest.raises(RecordsError, match="amount: a number expected") as caught:
        read(tmp_path, {**ROWS, "amount": ["12.5", "", "much", "7"]})
    assert "much" not in str(caught.value)
    with pytest.raises(RecordsError, match="infinity"):
        read(tmp_path, {**ROWS, "hours": [1.0, 2.0, float("inf"), 4.0]})


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    rows = {name: values for name, values in ROWS.items() if name != "corridor"}
    with pytest.raises(RecordsError, match="column corridor expected"):
        read(tmp_path, rows)


def test_the_order_of_units_is_their_own_and_the_keys() -> None:
    names = [f"unit-{i}" for i in range(200)]
    order = unit_order(names, key=KEY)
    assert len(set(order.tolist())) == 200
    np.testing.assert_array_equal(unit_order(names[50:60], key=KEY), order[50:60])
    assert not np.array_equal(unit_order(names, key=b"another"), order)
