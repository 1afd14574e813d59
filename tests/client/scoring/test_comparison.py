import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fieldfare.client.scoring.comparison import (
    Quality,
    by_group,
    everybody,
    quality,
    table_rows,
)
from fieldfare.client.scoring.selection import AlertBudget, alerted
from fieldfare.shared.evaluation.groups import Verdict, rate_of


def drawn(units: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=units) < 0.2).astype(np.uint8)
    return random.normal(size=units) + 1.5 * labels, labels


def measured(units: int = 1000) -> Quality:
    return quality(*drawn(units), AlertBudget(share=0.1), np.random.default_rng(3))


def test_figures_are_those_of_the_units_themselves() -> None:
    scores, labels = drawn(1000)
    found = measured()
    assert found.auroc.value == roc_auc_score(labels, scores)
    assert found.average_precision.value == average_precision_score(labels, scores)
    top = np.argsort(-scores)[:100]
    assert found.recall.value == labels[top].sum() / labels.sum()
    assert found.precision.value == labels[top].mean()
    assert found.false_alerts.value == (labels[top] == 0).sum()


def test_intervals_hold_the_figure_and_shrink_with_more_units() -> None:
    wide, narrow = measured(200), measured(2500)
    for one in (wide, narrow):
        assert one.auroc.low <= one.auroc.value <= one.auroc.high
    assert narrow.auroc.high - narrow.auroc.low < 0.5 * (wide.auroc.high - wide.auroc.low)


def test_the_truth_is_inside_most_intervals() -> None:
    scores, labels = drawn(100_000, 99)
    truth = roc_auc_score(labels, scores)
    inside = 0
    for seed in range(5):
        one = quality(*drawn(400, seed), AlertBudget(share=0.1), np.random.default_rng(seed)).auroc
        inside += one.low <= truth <= one.high
    assert inside >= 3


def test_probabilities_are_measured_on_the_half_that_they_were_not_fitted_on() -> None:
    found = measured(2500)
    assert found.expected is not None
    assert found.brier is not None
    assert found.expected < 0.05
    assert measured(100).brier is None  # too few to fit a half


def test_a_model_that_tells_nobody_apart_finds_no_cases_that_are_listed_first() -> None:
    labels = np.repeat(np.array([1, 0], np.uint8), (100, 900))
    found = quality(np.zeros(1000), labels, AlertBudget(share=0.1), np.random.default_rng(3))
    assert found.recall.value < 0.25  # a tenth by chance


def test_equal_scores_are_not_all_alerts() -> None:
    assert alerted(np.zeros(100), AlertBudget(units=7)).sum() == 7


def test_groups_are_compared_by_their_false_positives() -> None:
    scores = np.array([9.0, 8.0, 7.0, 1.0, 0.5, 0.4, 0.3, 0.2])
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 0], np.uint8)
    groups = np.array(["night", "night", "day", "night", "day", "day", "", ""], dtype=object)
    day, night = by_group(scores, labels, groups, AlertBudget(units=3))
    assert (night.name, night.units, night.alerts) == ("night", 3, 2)
    assert (day.units, day.alerts) == (3, 1)
    assert night.alert_rate == rate_of(2, 3)
    assert (night.false_positives, day.false_positives) == (rate_of(1, 2), rate_of(1, 3))
    # of the two of the night one, of the five others one (day, and those without a name)
    assert night.times is not None
    assert night.times.value == 0.5 / (1 / 5)
    assert night.verdict is Verdict.TOO_FEW


@pytest.mark.parametrize(
    ("night", "said"), [(300, Verdict.MORE), (30, Verdict.NO_MORE), (70, Verdict.TOO_FEW)]
)
def test_more_than_twice_the_others_is_said_where_the_interval_says_it(
    night: int, said: Verdict
) -> None:
    names = np.array(["night"] * 2000 + ["day"] * 18_000, dtype=object)
    scores = np.zeros(20_000)
    scores[:night] = 1.0  # of the night, `night` in 2,000; of the day, 300 in 18,000
    scores[2000:2300] = 1.0
    day, found = by_group(scores, np.zeros(20_000, np.uint8), names, AlertBudget(units=300 + night))
    assert found.verdict is said
    assert day.verdict is Verdict.NO_MORE


def test_everybody_is_what_groups_are_compared_with() -> None:
    scores, labels = drawn(1000)
    (alone,) = by_group(scores, labels, np.full(1000, "all", object), AlertBudget(share=0.1))
    overall = everybody(scores, labels, AlertBudget(share=0.1))
    assert (alone.alert_rate, alone.false_positives) == (
        overall.alert_rate,
        overall.false_positives,
    )
    assert alone.times is None  # nobody else is there


def test_rows_are_for_a_screen() -> None:
    ((name, auroc, *_),) = table_rows({"shared": measured(100)})
    assert name == "shared"
    assert "to" in auroc
