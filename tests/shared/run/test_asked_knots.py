"""From answers to knots; what a study says about them, and what it costs."""

from typing import Any

import numpy as np
import pytest
from tests.support.runs.asking import asking

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.replay import asked_knots, initial_state, possible_starts, state_hash
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.shared.study.study import Study

SPREAD: dict[str, Any] = {"name": "spread", "kind": "quantiles", "column": "amount", "bins": 8}
UNITS: dict[str, Any] = {"name": "units", "kind": "count"}
AMOUNT: dict[str, Any] = {
    "name": "amount", "kind": "numeric", "lower": 0, "upper": 100, "knots_from": "spread",
    "quantile_knots": 3, "even_knots": 2,
}  # fmt: skip
HOURS: dict[str, Any] = {"name": "hours", "kind": "numeric", "lower": 1, "upper": 24}


def study_of(*queries: dict[str, Any], steps: int = 3, **amount: Any) -> Study:
    features = [AMOUNT | amount, HOURS]
    return asking(*(queries or (UNITS, SPREAD)), steps=steps, features=features, columns=[])


def answer_of(study: Study, bins: list[float]) -> np.ndarray:
    """A sum in which so many units are in each bin, and many have no amount."""
    assert study.questions is not None
    layout = layout_for(study.questions, study.asked_columns)
    total = np.zeros(layout.entries)
    placed = layout.blocks[layout.reads[1][0]]
    total[placed.part] = np.array([*bins, 5000.0]) * placed.scale
    return total


def test_knots_follow_from_the_answered_sum() -> None:
    study = study_of()
    found = asked_knots(study, answer_of(study, [100, 100, 0, 0, 0, 0, 0, 200]))
    assert found.tolist() == [0, 512, 1024, 3840, 4096]
    nothing = asking(UNITS, steps=3, columns=[])
    assert asked_knots(nothing, np.zeros(1)).tolist() == []


def test_training_starts_on_them_and_a_rehearsal_on_even_ones() -> None:
    study = study_of()
    answer = answer_of(study, [100, 100, 0, 0, 0, 0, 0, 200])
    before, after = initial_state(study), initial_state(study, answer)
    assert before.parameters[-5:].tolist() == [0, 1024, 2048, 3072, 4096]
    assert after.parameters[-5:].tolist() == [0, 512, 1024, 3840, 4096]
    assert after.parameters[:-5].tolist() == before.parameters[:-5].tolist()
    asked = [state_hash(state) for state in possible_starts(study, answer)]
    assert state_hash(after) in asked
    assert state_hash(before) not in asked
    assert state_hash(after) not in [state_hash(state) for state in possible_starts(study)]


def test_questions_come_before_training_and_cost_the_same_epsilon() -> None:
    asked, listed = (
        plan_for(study_of()),
        plan_for(study_of(knots_from=None, quantile_knots=0, even_knots=0)),
    )
    assert (asked.query.first_step, asked.training.first_step) == (0, 1)
    assert asked.evaluation.first_step == 1 + asked.training.steps
    assert (listed.training.first_step, listed.query.first_step) == (0, 4)
    assert asked.query.cost == listed.query.cost > 0
    assert asked.mu2 == pytest.approx(listed.mu2)
    assert asked.epsilon() <= study_of().privacy.epsilon
    assert asked.training.parameter_entries == asked.training.vectors.entries + 5
    assert asked.evaluation.parameter_entries == asked.training.parameter_entries


def test_a_study_says_the_same_after_it_was_written_down() -> None:
    study = study_of()
    again = Study.model_validate_json(study.canonical())
    assert again.id == study.id
    assert again.features[0] == study.features[0]


def test_without_asked_knots_a_study_keeps_its_id() -> None:
    feature = NumericFeature(name="hours", kind="numeric", lower=1, upper=24)
    assert set(feature.model_dump()) == {
        "name", "tag", "kind", "lower", "upper", "scale", "knots", "special",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("queries", "amount", "steps", "reason"),
    [
        ((UNITS, SPREAD), {"knots_from": "spreads"}, 3, "the name of a query of kind quantiles"),
        ((UNITS, SPREAD), {"knots_from": "units"}, 3, "the name of a query of kind quantiles"),
        ((SPREAD | {"column": "hours"},), {}, 3, "over 'amount'"),
        ((SPREAD,), {}, 0, "only where a model is trained"),
        ((SPREAD,), {"knots": [0, 50, 100]}, 3, "expected none beside knots_from"),
        ((SPREAD,), {"quantile_knots": 11}, 3, "at most 12"),
        ((SPREAD,), {"even_knots": 1}, 3, "at least 2"),
        ((SPREAD,), {"knots_from": None}, 3, "only with knots_from"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    queries: tuple[dict[str, Any], ...], amount: dict[str, Any], steps: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        study_of(*queries, steps=steps, **amount)


def test_a_study_file_names_the_key_path() -> None:
    text = """
    name = "x"
    purpose = "x"
    [records]
    label = "y"
    units = 100
    prevalence = 0.1
    [[features]]
    name = "amount"
    kind = "numeric"
    lower = 0
    upper = 1
    knots_from = "nothing"
    [privacy]
    epsilon = 1.0
    delta = 1e-5
    """
    with pytest.raises(StudyError, match=r"features\.0\.knots_from"):
        parse_study(text)
