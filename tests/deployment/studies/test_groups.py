"""Alerts counted by group over real processes: priced, released, audited, on everybody's card."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.federations.beds import (
    NAMES,
    STUDY,
    UNITS,
    check_whole,
    delivered,
    running,
    write_records,
)
from tests.support.system.ports import free_ports

from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.demo.testbed import Bed, in_this_process

GROUPS: Final = """
[[evaluation.groups]]
column = "age_band"
levels = ["18-24", "25+"]
"""

pytestmark = pytest.mark.faults  # slow: a whole federation of processes starts


def with_ages(path: Path, *, seed: int) -> Path:
    """Customers of whom some have no age, and some one that the study does not know."""
    table = pq.read_table(write_records(path, seed=seed))
    drawn = np.random.default_rng(seed).integers(0, 4, table.num_rows)
    ages = pa.array(["18-24", "25+", "old", None]).take(pa.array(drawn))
    pq.write_table(table.append_column("age_band", ages), path)
    return path


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    study = tmp_path / "study.toml"
    units = UNITS * len(NAMES)
    study.write_text(STUDY.format(units=units, steps=2, deadline=60, attempts=3) + GROUPS)
    records = {n: with_ages(tmp_path / f"{n}.parquet", seed=s) for s, n in enumerate(NAMES)}
    made = Bed(tmp_path / "bed", records, study, command=in_this_process, ports=free_ports)
    with running(made):
        yield made


def test_groups_are_counted_by_all_and_audited_by_anybody(bed: Bed) -> None:
    run = bed.run(bed.agree())
    report = check_whole(bed, bed.until_ended(run))
    plan = plan_for(bed.loaded_study)
    (grouping,) = report["groups"]["columns"]
    assert [row["name"] for row in grouping["rows"]] == ["18-24", "25+", "other or unknown"]
    cost = max(2 * plan.training.cost, plan.evaluation.cost + plan.fairness.cost)
    assert {one["picomu2"] for one in report["institutions"].values()} == {cost}
    for name in NAMES:
        assert run in delivered(bed, name)
        (card,) = bed.home(name).rglob("card.json")
        groups = ModelCard.from_bytes(card.read_bytes()).groups
        assert groups is not None
        assert groups.model_dump(mode="json") == report["groups"]
    shown = json.loads(bed.institution(NAMES[0], "review", bed.loaded_study.id, "--json"))
    assert {"name": "age_band", "role": "fairness", "allowed": True} in shown["columns"]
