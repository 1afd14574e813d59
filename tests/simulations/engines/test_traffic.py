"""A point of a sweep by sums has the rows of real custodians, rounds and bytes among them."""

from pathlib import Path
from typing import Any

import pytest
from tests.simulations.engines.conftest import STUDIES, study_of

from fieldfare.shared.study.study import Study
from fieldfare.simulations.sweeps.measuring import PointRows, SharedSplit
from fieldfare.simulations.sweeps.plan import sweep_of
from fieldfare.simulations.sweeps.points import SweepGrid, SweepPoint

SLOW = {"network"}
ENGINES = ("custodians", "sums")


def rows_by(engine: str, study: Study, records: Path, institutions: int = 5) -> PointRows:
    plan = sweep_of("study.toml", [str(records)], engine=engine, beside=())
    point = SweepPoint(2, institutions=institutions)
    return SharedSplit.of(SweepGrid(plan, study, (point,), ("",)), point).rows(point)


def both(study: Study, records: Path, institutions: int = 5) -> list[PointRows]:
    return [rows_by(engine, study, records, institutions) for engine in ENGINES]


# "questions" trains nothing, so no sweep runs it.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=pytest.mark.promises) if one in SLOW else one
        for one in STUDIES
        if one != "questions"
    ],
)
def test_every_kind_of_release_is_counted_alike(name: str, records_file: Path) -> None:
    custodians, sums = both(study_of(name), records_file)
    assert sums == custodians
    assert sums.rounds > 10
    assert min(sums.bytes_down, sums.bytes_up) > 10_000


@pytest.mark.parametrize(
    ("changes", "institutions"),
    [
        ({"aggregation": {"minimum_institutions": 3, "participants": "any"}}, 3),
        (
            {
                "training": {"steps": 11},
                "aggregation": {"minimum_institutions": 5},
                "privacy": {"collusion_tolerance": 3},
            },
            11,
        ),
    ],
)
def test_any_participants_and_longer_names_are_counted_alike(
    changes: dict[str, Any], institutions: int, records_file: Path
) -> None:
    custodians, sums = both(study_of("plain", **changes), records_file, institutions)
    assert sums == custodians


def test_a_sum_out_of_range_is_counted_up_to_its_round(records_file: Path) -> None:
    changes = {"records": {"units": 2, "prevalence": 0.9}, "privacy": {"epsilon": 100.0}}
    custodians, sums = both(study_of("plain", **changes), records_file)
    assert "out of range" in sums.failure
    assert sums == custodians
