"""Exact metrics on raw hold-out records, by hand and against scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.simulations.conftest import SimulationFolder

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.simulations.metrics import (
    METRICS,
    Metrics,
    alerts,
    group_rows,
    mean_of,
    measure,
    probabilities,
)

Labels = NDArray[np.uint8]


def labels(*values: int) -> Labels:
    return np.array(values, dtype=np.uint8)


def test_metrics_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.4, 0.3, 0.1])
    found = measure(labels(1, 0, 1, 0, 0), scores, 0.4)
    assert found["auroc"] == pytest.approx(5 / 6)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.36 + 0.09 + 0.01) / 5)
    assert (found["precision_at_budget"], found["recall_at_budget"]) == (0.5, 0.5)


@pytest.mark.parametrize("given", [(), (0,), (1,), (0, 0, 0), (1, 1)])
def test_a_missing_class_makes_every_metric_null(given: tuple[int, ...]) -> None:
    assert measure(labels(*given), np.linspace(0, 1, len(given)), 0.1) == dict.fromkeys(METRICS)


def test_a_budget_reviews_the_highest_scores_and_at_least_one() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.7])
    assert alerts(scores, 0.5).tolist() == [False, True, False, True]
    assert alerts(scores, 0.001).tolist() == [False, True, False, False]
    assert alerts(scores, 0.999).all()
    assert alerts(np.empty(0), 0.5).tolist() == []


def test_ties_are_dealt_alike_whatever_the_labels_are_and_wherever_they_stand() -> None:
    scores = np.full(6, 0.5)
    chosen = alerts(scores, 0.5)
    assert chosen.sum() == 3
    assert chosen.tolist() != [True] * 3 + [False] * 3  # as a file would have it
    for truth in (labels(1, 1, 1, 0, 0, 0), labels(0, 0, 0, 1, 1, 1)):
        found = measure(truth, scores, 0.5)
        assert found["recall_at_budget"] == float(truth[chosen].sum() / 3)


def test_a_mean_is_unweighted_and_leaves_out_what_is_not_there() -> None:
    rows: list[Metrics] = [dict.fromkeys(METRICS, value) for value in (0.2, 0.6, None)]
    assert mean_of(rows) == dict.fromkeys(METRICS, pytest.approx(0.4))
    assert mean_of(rows[2:]) == dict.fromkeys(METRICS)
    assert mean_of([]) == dict.fromkeys(METRICS)


def test_probabilities_are_those_of_the_log_odds_and_stay_finite(work: SimulationFolder) -> None:
    model = model_for(work.write_study())
    data = EncodedUnits(np.zeros((2, 3), dtype=np.uint16), labels(0, 1, 0))
    parameters = model.initial(0.0)
    for bias, expected in ((0.0, 0.5), (2.0, 1 / (1 + np.exp(-2.0))), (1e4, 1.0), (-1e4, 0.0)):
        parameters[0] = bias
        np.testing.assert_allclose(probabilities(model, parameters, data), expected, atol=1e-200)


def test_groups_count_their_own_false_alarms() -> None:
    groups = np.array(["nurse", "student", "nurse", "ring", "student", "ring"], dtype=object)
    truth = labels(0, 0, 0, 1, 0, 1)
    reviewed = np.array([True, False, False, True, False, False])
    rows = {row["name"]: row for row in group_rows(groups, truth, reviewed)}
    assert list(rows) == ["nurse", "ring", "student"]
    assert rows["nurse"] == {
        "name": "nurse",
        "units": 2,
        "positives": 0,
        "alerts": 1,
        "false_positives": 1,
        "false_positive_rate": 0.5,
        "times": None,  # of the others nobody is reviewed
    }
    assert rows["student"]["false_positive_rate"] == 0.0
    assert (rows["ring"]["alerts"], rows["ring"]["false_positives"]) == (1, 0)
    assert rows["ring"]["false_positive_rate"] is None  # nobody in it could be a false alarm


def test_metrics_are_scikit_learns_on_many_units() -> None:
    random = np.random.default_rng(0)
    truth = (random.uniform(size=2000) < 0.1).astype(np.uint8)
    scores = np.clip(random.normal(0.3 + 0.2 * truth, 0.2), 0, 1)
    found = measure(truth, scores, 0.05)
    assert found["auroc"] == roc_auc_score(truth, scores)
    top = np.argsort(-scores, kind="stable")[:100]
    assert found["precision_at_budget"] == truth[top].mean()
    assert found["recall_at_budget"] == truth[top].sum() / truth.sum()
