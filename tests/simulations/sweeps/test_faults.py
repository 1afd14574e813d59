"""Institutions that leave and answers that are late: on a simulated clock, by a seed alone."""

import time
from typing import Any

from tests.simulations.conftest import SimulationFolder
from tests.simulations.sweeps.conftest import MakePlan

from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.metrics import METRICS
from fieldfare.simulations.sweeps.faults import Faults, questions_of_training
from fieldfare.simulations.sweeps.points import SweepGrid
from fieldfare.simulations.sweeps.running import sweep


def shared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["held"] in {"all", None}]


def test_late_answers_cost_rounds_and_bytes_and_change_no_model(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    work.write_study(aggregation={"deadline_seconds": "3600.0"})
    begun = time.monotonic()
    plan = make_plan(stragglers=(0.0, 0.3), beside=())
    calm, late = shared(sweep(SweepGrid.of(plan), work.folder / "sweep").to_pylist())
    assert time.monotonic() - begun < 300  # an hour is waited for, on a clock that costs nothing
    assert [calm[name] for name in METRICS] == [late[name] for name in METRICS]
    assert (calm["failed_attempts"], late["failed_attempts"]) == (0, 0)
    assert late["rounds"] > calm["rounds"]
    assert late["bytes_down"] > calm["bytes_down"]
    assert late["bytes_up"] == calm["bytes_up"]  # a lost question has no answer


def test_whoever_leaves_is_missing_from_then_on(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    # A member that leaves between the two questions of a step costs the others a release.
    work.write_study(aggregation={"participants": '"any"'}, privacy={"spare_releases": "6"})
    plan = make_plan(dropouts=(0.0, 0.3), institutions=(9,), beside=())
    calm, left = shared(sweep(SweepGrid.of(plan), work.folder / "any").to_pylist())
    assert (calm["participants"], calm["failed_attempts"]) == (9, 0)
    assert 3 <= left["participants"] < 9
    assert left["failed_attempts"] > 0
    assert left["finished"]


def test_where_a_study_fixes_who_takes_part_a_run_ends_and_its_row_says_why(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    plan = make_plan(dropouts=(0.0, 0.9), beside=("alone",))
    rows = sweep(SweepGrid.of(plan), work.folder / "fixed").to_pylist()
    [failed] = [row for row in rows if not row["finished"]]
    assert "expected every institution, as the study fixes them" in failed["failure"]
    assert (failed["learner"], failed["auroc"], failed["participants"]) == (None, None, 0)
    assert all(row["failure"] == "" for row in rows if row["finished"])


def test_as_many_leave_as_the_axis_says_and_before_training_ends(work: SimulationFolder) -> None:
    """A chance before every question let more leave: there are more of them than of training."""
    plan, nodes = plan_for(load_study(work.study_file)), range(101, 110)
    last = questions_of_training(plan)
    assert last == 2 * (1 + 6)  # a rehearsal and six steps, two messages each
    left = list[int]()
    for seed in range(400):
        leaves = Faults.of(0.3, 0.0, nodes=nodes, plan=plan, seed=seed).leaves
        assert set(leaves) <= set(nodes)
        assert all(0 <= moment < last for moment in leaves.values())
        left.append(len(leaves))
    assert set(left) == {2, 3}  # 2.7 of nine
    assert 2.6 < sum(left) / len(left) < 2.8


def test_everybody_who_is_to_leave_leaves_and_nobody_else(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    work.write_study(aggregation={"participants": '"any"'}, privacy={"spare_releases": "6"})
    plan = make_plan(dropouts=(0.25,), institutions=(8,), seeds=(0, 1, 2), beside=())
    rows = shared(sweep(SweepGrid.of(plan), work.folder / "any").to_pylist())
    assert [row["participants"] for row in rows] == [6, 6, 6]
