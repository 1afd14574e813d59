"""The grid of schedules: what a study says of one, and differences that are paired by seed."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.benchmarks.learning.rounds import DEFAULT, Schedule, fewest, paired, rows_of
from tests.benchmarks.learning.trials import STUDIES

from fieldfare.shared.study.file import load_study


def row(seed: int, schedule: str, steps: int, ap: float) -> dict[str, Any]:
    """Return a run of which AP alone matters."""
    figures = {"auroc": 0.8, "ap": ap, "own": 0.5, "found": 30.0}
    where = {"set": "late", "seed": seed, "epsilon": 1.0, "schedule": schedule, "steps": steps}
    return {**where, **figures}


def test_a_schedule_changes_what_it_says_and_nothing_else() -> None:
    study = load_study(STUDIES / "heart.toml")
    few = Schedule(12, 0.5, 0.25, 1.0, 0.001, 0.125, "whitened").of(study, 4.0)
    training, own = few.training, study.training
    assert (training.steps, training.learning_rate, training.beta1) == (12, 0.5, 0.25)
    assert (training.average_last, training.beta2) == (0.001, 1.0)
    assert (few.privacy.epsilon, few.privacy.clipping_norm) == (4.0, 0.125)
    assert few.geometry is not None
    assert few.geometry.kind == "whitened"
    assert Schedule(coordinates="own").of(study, 1.0).geometry is None
    assert DEFAULT.of(study, 1.0).training == own


def test_differences_are_taken_within_a_seed() -> None:
    rows = [row(0, "default", 100, 0.5), row(1, "default", 100, 0.3)]
    rows += [row(0, "few", 12, 0.49), row(1, "few", 12, 0.27), row(2, "few", 12, 0.9)]
    found = {one["schedule"]: one for one in paired(rows)}["few"]
    assert found["runs"] == 2
    assert found["ap"] == pytest.approx(-0.02)
    assert found["ap error"] == pytest.approx(0.01)


def test_the_fewest_steps_are_those_of_a_schedule_within_bounds() -> None:
    rows = [row(0, "default", 100, 0.5), row(0, "12", 12, 0.48)]
    rows += [row(0, "25", 25, 0.495), row(0, "25 better", 25, 0.5), row(0, "40", 40, 0.6)]
    assert [one["schedule"] for one in fewest(paired(rows))] == ["default", "25 better"]


def test_a_row_that_was_broken_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"set": "heart"}) + '\n{"set": "ad')
    assert rows_of(file) == [{"set": "heart"}]
