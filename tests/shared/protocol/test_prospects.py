"""What is foreseen of a study agrees with what its released table can and cannot say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.runs.written_runs import base

from fieldfare.shared.evaluation.metrics import evaluate
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.shared.protocol.prospects import (
    budget_obstacle,
    cautions,
    moments_line,
    obstacles,
)
from fieldfare.shared.study.file import load_study, parse_study
from fieldfare.shared.study.study import Study

STUDIES = Path(__file__).parents[3] / "studies"


def study(units: int = 40_000, prevalence: float = 0.05, **privacy: Any) -> Study:
    terms = {"epsilon": 1.0, "delta": 1e-5} | privacy
    lines = "\n".join(f"{key} = {value}" for key, value in terms.items())
    return parse_study(f"""
name = "payments"
purpose = "tests"
[records]
unit = "customer"
label = "reported"
units = {units}
prevalence = {prevalence}
[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10
[privacy]
{lines}
""")


def test_a_study_that_can_run_has_nothing_against_it() -> None:
    plan = plan_for(study())
    assert obstacles(plan) == ()
    assert cautions(plan) == ()
    assert budget_obstacle(plan, SideCosts()) == ""


def test_steps_that_no_custodian_takes_again_are_said() -> None:
    wide = {"kind": "text", "column": "message", "buckets": 65_536}
    data = study().model_dump(mode="json") | {"model": wide, "features": []}
    wide_plan = plan_for(Study.model_validate(data | {"aggregation": {"minimum_institutions": 5}}))
    (line,) = cautions(wide_plan)
    assert line.startswith("steps of 65,537 numbers at 5 institutions are more than a request")


def test_a_study_without_a_unit_is_of_no_use() -> None:
    base = study()
    records = base.records.model_copy(update={"unit": None})
    (line,) = obstacles(plan_for(base.model_copy(update={"records": records})))
    assert line.startswith("records.unit: expected the column that names each unit")


@pytest.mark.parametrize(("units", "prevalence"), [(400, 0.05), (400, 0.95), (411, 0.55)])
def test_noise_that_hides_a_class_is_foreseen(units: int, prevalence: float) -> None:
    (line,) = obstacles(plan_for(study(units, prevalence, delta=1e-3)))
    rare = "negatives" if prevalence > 0.5 else "positives"
    assert f"{rare} in the hold-out, so that noise does not hide every metric" in line


def hidden_share(found: Study, participants: int) -> float:
    """How often a released table says nothing, or no more of AUROC than a coin would."""
    plan, generator = plan_for(found), np.random.default_rng(1)
    sigma = plan.evaluation.noise_on_sum(participants, found.privacy.collusion_tolerance)
    positives = found.holdout_units * found.records.prevalence
    bins = np.linspace(0.0, 2.0, found.evaluation.score_bins) / found.evaluation.score_bins
    table = np.concatenate([(found.holdout_units - positives) * bins[::-1], positives * bins])
    hidden = 0
    for _ in range(40):
        noisy = generator.poisson(table) + generator.normal(0.0, sigma, table.shape)
        metrics = evaluate(found, noisy, sigma, generator)
        hidden += metrics is None or metrics["positives"]["low"] == 0.0
    return hidden / 40


@pytest.mark.parametrize(("units", "foreseen"), [(4000, True), (40_000, False)])
def test_what_is_foreseen_is_what_the_table_says(units: int, *, foreseen: bool) -> None:
    found = study(units)
    assert bool(obstacles(plan_for(found), 6)) == foreseen
    assert (hidden_share(found, 6) > 0.5) == foreseen


def test_more_institutions_leave_less_noise() -> None:
    plan = plan_for(study(5_500))
    assert obstacles(plan, 3)
    assert not obstacles(plan, 30)


def test_questions_alone_have_no_metrics_to_hide() -> None:
    assert obstacles(plan_for(load_study(STUDIES / "amlsim-queries.toml"))) == ()


@pytest.mark.parametrize(("delta", "careful"), [(1.25e-5, False), (1.3e-5, True)])
def test_a_delta_above_half_a_unit_in_all_is_warned_of(delta: float, *, careful: bool) -> None:
    found = cautions(plan_for(study(delta=delta)))
    assert bool(found) == careful
    if careful:
        assert "above 1 / (2 x 40,000 units) = 1.25e-05" in found[0]


def test_what_earlier_runs_left_has_to_carry_a_whole_run() -> None:
    plan = plan_for(study())
    limit, run = plan.study_limit, plan.run_costs.total
    left = limit - run
    assert budget_obstacle(plan, SideCosts(all=left)) == ""
    # Sides add up over runs: what one trained, the other need not have evaluated.
    held = limit - plan.run_costs.holdout
    assert budget_obstacle(plan, SideCosts(training=left, holdout=held)) == ""
    assert budget_obstacle(plan, SideCosts(training=left, holdout=held + 1))
    line = budget_obstacle(plan, SideCosts(all=left + 1))
    assert f"a run costs epsilon {plan.epsilon(run / PICOMU2):.3g}" in line
    assert "of this study's 1: institutions will refuse" in line
    assert "left 0 of" in budget_obstacle(plan, SideCosts(all=limit))
    assert "left 0 of" in budget_obstacle(plan, SideCosts(all=2 * limit))


def test_moments_that_do_not_travel_are_said() -> None:
    levels = [f"level {index}" for index in range(500)]
    features = [{"name": "c", "kind": "categorical", "levels": levels}]
    wide = {"features": features, "geometry": {"kind": "whitened"}}
    (said,) = (line for line in cautions(plan_for(base(**wide))) if "moments" in line)
    assert "on the coordinator's word" in said
    assert "any are as private as any other" in said
    narrow = plan_for(base(geometry={"kind": "whitened"}))
    assert not any("moments" in line for line in cautions(narrow))
    assert moments_line(plan_for(base())) == ""
