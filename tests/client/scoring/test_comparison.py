import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fieldfare.client.scoring.choosing import Budget
from fieldfare.client.scoring.comparison import Quality, alerted, by_group, quality, table_rows


def drawn(units: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=units) < 0.2).astype(np.uint8)
    return random.normal(size=units) + 1.5 * labels, labels


def measured(units: int = 1000) -> Quality:
    return quality(*drawn(units), Budget(share=0.1), np.random.default_rng(3))


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
        one = quality(*drawn(400, seed), Budget(share=0.1), np.random.default_rng(seed)).auroc
        inside += one.low <= truth <= one.high
    assert inside >= 3


def test_probabilities_are_measured_on_the_half_that_they_were_not_fitted_on() -> None:
    found = measured(2500)
    assert found.expected is not None
    assert found.brier is not None
    assert found.expected < 0.05
    assert measured(100).brier is None  # too few to fit a half


def test_equal_scores_are_not_all_alerts() -> None:
    assert alerted(np.zeros(100), Budget(units=7)).sum() == 7


def test_groups_are_compared_by_their_false_positives() -> None:
    scores = np.array([9.0, 8.0, 7.0, 1.0, 0.5, 0.4, 0.3, 0.2])
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 0], np.uint8)
    groups = np.array(["night", "night", "day", "night", "day", "day", "", ""], dtype=object)
    day, night = by_group(scores, labels, groups, Budget(units=3))
    assert (night.name, night.units, night.alerts, night.false_positives) == ("night", 3, 2, 0.5)
    assert (day.units, day.alerts, day.false_positives) == (3, 1, 1 / 3)
    assert night.ratio == 0.5 / (2 / 7)


def test_rows_are_for_a_screen() -> None:
    ((name, auroc, *_),) = table_rows({"shared": measured(100)})
    assert name == "shared"
    assert "to" in auroc
