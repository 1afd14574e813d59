"""What NGOs and the hotline are asked: consented cases and contacts by region and month."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.simulations.world.studies import growth, write_help_records


def test_only_who_consented_takes_part_and_nothing_else_is_written(
    written: Written, tmp_path: Path
) -> None:
    write_help_records(written.folder, tmp_path / "r.parquet")
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.column_names == ["institution", "unit", "region", "month", "label"]
    names = {"ngo-g": "cases", "ngo-h": "cases", "hotline-i": "signals"}
    assert set(table["institution"].to_pylist()) == set(names)
    consented = 0
    for ngo in ("ngo-g", "ngo-h"):
        cases = written.read(f"{ngo}/cases").filter(pc.field("consent_research"))
        consented += cases.num_rows
        rows = table.filter(pc.field("institution") == ngo)
        assert rows["unit"].to_pylist() == cases["case_id"].to_pylist()
    assert pc.sum(table["label"]).as_py() == consented
    assert set(table["month"].to_pylist()) == {"2025-01", "2025-02"}


CELLS = [[region, month] for region in ("region-1", "region-2") for month in ("2025-01", "2025-03")]


def test_growth_is_from_the_first_month_to_the_last_in_the_region_that_grew_most() -> None:
    answer = {
        "cells": [*CELLS, ["other", "2025-01"]],
        "value": [50.0, 60.0, 40.0, 75.0, 12.0],
        "interval": [[45, 55], [52, 68], [33, 47], [69, 81], [8, 16]],
    }
    assert growth(answer) == {
        "region": "region-2",
        "first": "2025-01",
        "last": "2025-03",
        "before": 40.0,
        "after": 75.0,
        "margin": 7.0,
    }


@pytest.mark.parametrize("value", [[None] * 4, [1.0, None, 1.0, None]])
def test_nothing_is_said_where_an_end_was_held_back(value: list[float | None]) -> None:
    interval = [None if one is None else [0, 2] for one in value]
    assert growth({"cells": CELLS, "value": value, "interval": interval}) is None
