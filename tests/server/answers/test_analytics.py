"""Answers against the truth: coverage of intervals, declared noise, what is held back."""

from typing import Any, Final

import numpy as np
import pytest
from tests.support.rows import partly
from tests.support.runs.asking import EVERY_KIND, asking, made_up, sums_of

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.answers.analytics import noise_on_sum, read_answers, read_sum, table
from fieldfare.server.answers.answer import Answer
from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.true_answers import answers_beside_truth

RUNS: Final = 2000
NAMES: Final = ("bank-a", "bank-b", "bank-c")
FINE: Final = 512  # bins for quantiles: their intervals are widened to whole bins, which shows less


def asked(*kinds: str) -> Study:
    """Questions of some kinds, with every cell of a unit counted, so that nothing is cut."""
    chosen = [
        question
        | ({"cells": 12} if question["kind"] == "trend" else {})
        | ({"bins": FINE} if question["kind"] == "quantiles" else {})
        | ({"buckets": 32} if question["kind"] == "heavy_hitters" else {})
        for question in EVERY_KIND
        if question["kind"] in kinds
    ]
    return asking(*chosen, privacy={"epsilon": 4.0})


def institutions(study: Study, count: int = 700) -> dict[str, StudySums]:
    return {
        name: sums_of(study, made_up(count, institution=name, seed=seed))
        for seed, name in enumerate(NAMES)
    }


def exact(study: Study, sums: dict[str, StudySums]) -> np.ndarray:
    assert study.questions is not None
    total = sum(part.answers(study.questions) for part in sums.values())
    return np.ldexp(np.asarray(total, dtype=np.float64), -20)


def draws(study: Study, runs: int) -> tuple[list[tuple[Answer, ...]], list[dict[str, Any]]]:
    """Answers under fresh noise of the size that three institutions add, and the truth."""
    sums, plan = institutions(study), plan_for(study)
    total = exact(study, sums)
    noise = noise_on_sum(plan.query, institutions=3, collusion_tolerance=1)
    random = np.random.default_rng(0)
    assert study.questions is not None
    layout = layout_for(study.questions, study.asked_columns)
    found = [
        read_sum(study.questions, layout, total + random.normal(0, noise, len(total)), noise,
                 institutions=3)
        for _ in range(runs)
    ]  # fmt: skip
    return found, answers_beside_truth(study, found[0], sums)


LONG: Final = {"heavy_hitters", "contingency", "correlation", "covariance", "trend", "group_by"}
KINDS: Final = tuple(dict.fromkeys(str(question["kind"]) for question in EVERY_KIND))


@pytest.mark.parametrize("kind", partly(KINDS, LONG))
def test_intervals_cover_the_truth_as_often_as_they_say(kind: str) -> None:
    """Over 2,000 runs, for every answer of the kind; cells that are hardly ever shown left out."""
    found, truths = draws(asked(kind), RUNS)
    for index, truth in enumerate(truths):
        cells = zip(*(answers[index].cells for answers in found), strict=True)
        true = truth["true"] if isinstance(truth["true"], list) else [truth["true"]]
        inside: list[bool] = []
        for value, row in zip(true, cells, strict=True):
            shown = [cell for cell in row if cell.low is not None]
            if len(shown) > 0.98 * RUNS:
                inside += [(cell.low or 0.0) <= value <= (cell.high or 0.0) for cell in shown]
        assert len(inside) > 0.98 * RUNS
        assert 0.93 <= np.mean(inside) <= 0.97, truth["name"]


@pytest.mark.parametrize("kind", ["count", "sum", "mean", "variance", "ratio"])
def test_noise_on_a_number_is_what_the_answer_says(kind: str) -> None:
    found, _ = draws(asked(kind), RUNS)
    for index in range(len(found[0])):
        values = [a[index].cells[0].value for a in found]
        spread = float(np.std([v for v in values if v is not None]))
        sigma = float(np.mean([a[index].sigma for a in found]))
        assert spread == pytest.approx(sigma, rel=0.08)
        for wrong in (2 / 3, 3 / 2):
            assert spread != pytest.approx(sigma * wrong, rel=0.08)


def test_error_bars_know_that_everybody_added_a_share() -> None:
    plan = plan_for(asked("count"))
    wider = noise_on_sum(plan.query, institutions=3, collusion_tolerance=1)
    assert wider == pytest.approx(plan.query.sigma * np.sqrt(3 / 2))


def test_small_cells_are_held_back_and_counted() -> None:
    study = asking({"name": "h", "kind": "histogram", "column": "amount", "bins": 16})
    found, _ = draws(study, 1)
    (answer,) = found[0]
    held = [cell for cell in answer.cells if cell.value is None]
    assert answer.suppressed == len(held) > 0
    shown = [cell.value for cell in answer.cells if cell.value is not None]
    assert all(value >= 0 for value in shown)


def test_a_table_for_data_frames_has_a_row_for_each_cell() -> None:
    found, _ = draws(asking(), 1)
    rows = table(found[0])
    assert rows.num_rows == sum(len(answer.cells) for answer in found[0])
    names = {str(question["name"]) for question in EVERY_KIND}
    assert set(rows.column("question").to_pylist()) == names
    held = rows.filter(rows.column("suppressed"))
    assert held.num_rows == held.column("value").null_count > 0


def test_costs_of_questions_add_up_to_the_release() -> None:
    study = asking()
    plan = plan_for(study)
    assert study.questions is not None
    answers = read_answers(plan, study.questions, exact(study, institutions(study)), institutions=3)
    assert sum(answer.mu2 for answer in answers) == pytest.approx(plan.query.mu2)


def test_another_sum_or_another_group_is_not_read() -> None:
    study = asking()
    plan = plan_for(study)
    assert study.questions is not None
    with pytest.raises(UsageError, match="a sum of"):
        read_answers(plan, study.questions, np.zeros(3), institutions=3)
    other = asking({"name": "n", "kind": "count"}).questions
    assert other is not None
    with pytest.raises(StudyError):
        read_answers(plan, other, np.zeros(1), institutions=3)
