"""Curves against scikit-learn, the interval against a slow oracle, thinning by its own promise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm
from sklearn.metrics import precision_recall_curve, roc_curve

from fieldfare.simulations.report.curves import (
    Curve,
    ModelScores,
    auroc_interval,
    average_precision_interval,
    both_classes,
    calibration,
    precision_interval,
    precision_recall,
    recall_interval,
    roc,
    thin,
)


def scores_of(seed: int, *, units: int = 300, ties: bool = False, gain: float = 1.0) -> ModelScores:
    random = np.random.default_rng(seed)
    labels = (np.random.default_rng(0).random(units) < 0.2).astype(np.uint8)
    probabilities = 1 / (1 + np.exp(-random.normal(size=units) - gain * labels))
    probabilities = probabilities.round(1) if ties else probabilities
    return ModelScores(name="m", labels=labels, probabilities=probabilities)


@pytest.mark.parametrize("ties", [False, True])
def test_roc_is_scikit_learns(ties: bool) -> None:
    scores = scores_of(1, ties=ties)
    x, y, _ = roc_curve(scores.labels, scores.probabilities, drop_intermediate=False)
    curve = roc(scores)
    np.testing.assert_allclose(curve.x, x)
    np.testing.assert_allclose(curve.y, y)


@pytest.mark.parametrize("ties", [False, True])
def test_precision_recall_is_scikit_learns(ties: bool) -> None:
    scores = scores_of(2, ties=ties)
    precision, recall, _ = precision_recall_curve(scores.labels, scores.probabilities)
    curve = precision_recall(scores)
    # scikit-learn starts at precision 1 by convention; the curve starts with what was measured.
    np.testing.assert_allclose(curve.x[1:], recall[-2::-1])
    np.testing.assert_allclose(curve.y[1:], precision[-2::-1])
    assert curve.y[0] == curve.y[1]


@pytest.mark.parametrize(("labels", "expected"), [([0, 0], False), ([1, 1], False), ([0, 1], True)])
def test_a_curve_needs_both_classes(labels: list[int], expected: bool) -> None:
    given_labels = np.array(labels, np.uint8)
    assert (
        both_classes(ModelScores(name="m", labels=given_labels, probabilities=np.zeros(2)))
        is expected
    )


def distance_to(kept: Curve, x: float, y: float) -> float:
    """Distance of a point to a polyline, segment by segment."""
    start, end = np.stack(kept, 1)[:-1], np.stack(kept, 1)[1:]
    along, point = end - start, np.array([x, y])
    length = (along**2).sum(1)
    length[length == 0] = 1
    t = np.clip(((point - start) * along).sum(1) / length, 0, 1)
    return float(np.min(np.hypot(*(start + t[:, None] * along - point).T)))


@given(
    steps=arrays.arrays(np.float64, st.integers(2, 120), elements=st.floats(0, 1)),
    heights=st.randoms(use_true_random=False),
)
def test_thinning_loses_nothing_that_can_be_seen(steps: Any, heights: Any) -> None:
    x = np.cumsum(steps) / max(1.0, steps.sum())
    y = np.array([heights.random() for _ in x])
    curve = thin(Curve(x, y), tolerance=0.01)
    assert max(distance_to(curve, *point) for point in zip(x, y, strict=True)) <= 0.01 + 1e-9
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (x[0], y[0], x[-1], y[-1])


def test_forty_thousand_rows_become_at_most_four_hundred_points_of_the_same_area() -> None:
    scores = scores_of(3, units=40_000)
    for curve in (roc(scores), precision_recall(scores)):
        kept = thin(curve)
        assert kept.x.size <= 400 < curve.x.size
        areas = [float(np.trapezoid(c.y, c.x)) for c in (kept, curve)]
        assert areas[0] == pytest.approx(areas[1], abs=1e-3)


def test_thinning_keeps_a_lone_spike() -> None:
    x = np.linspace(0, 1, 5001)
    y = np.zeros(5001)
    y[1234] = 0.7
    assert 0.7 in thin(Curve(x, y), limit=10).y


def test_calibration_bins_hold_equally_many_units() -> None:
    scores = scores_of(4, units=1000)
    curve = calibration(scores)
    assert curve.x.size == 10
    assert np.all(np.diff(curve.x) > 0)
    assert curve.x.mean() == pytest.approx(scores.probabilities.mean())
    assert curve.y.mean() == pytest.approx(scores.labels.mean())


# -- intervals at the ends --------------------------------------------------------------------


def ranked(positives: int, negatives: int, gap: float, seed: int = 0) -> ModelScores:
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(gap, 1, positives), random.normal(0, 1, negatives)])
    labels = (np.arange(positives + negatives) < positives).astype(np.uint8)
    return ModelScores(name="m", labels=labels, probabilities=norm.cdf(values))


def test_a_model_that_ranks_all_right_may_be_less_than_perfect() -> None:
    few, many = (auroc_interval([ranked(m, 10 * m, 9.0)]) for m in (10, 1000))
    assert few is not None
    assert many is not None
    assert (few.value, few.high) == (1.0, 1.0)
    assert few.low < 0.95 < many.low < 1
    turned = ranked(10, 100, -9.0)
    worst = auroc_interval([turned])
    assert worst is not None
    assert (worst.value, worst.low) == (0.0, 0.0)
    assert worst.high == pytest.approx(1 - few.low)


def test_an_average_precision_of_one_has_an_interval() -> None:
    found = average_precision_interval([ranked(10, 100, 9.0)], 1.0)
    assert found is not None
    assert found.high == pytest.approx(1)
    assert found.low == pytest.approx(10 / (10 + 1.959964**2))


def test_an_average_precision_just_below_one_has_an_interval_without_an_overflow() -> None:
    with np.errstate(over="raise"):
        found = average_precision_interval([ranked(10, 100, 9.0)], 1 - 1e-9)
    assert found is not None
    assert 0 <= found.low < found.value <= found.high == pytest.approx(1)


def test_a_model_of_no_difference_is_a_guess_for_certain() -> None:
    same = replace(ranked(10, 100, 0.0), probabilities=np.full(110, 0.5))
    assert auroc_interval([same]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("positives", "negatives", "auroc"), [(10, 100, 0.98), (50, 500, 0.999)])
def test_near_the_end_intervals_hold_the_truth(
    positives: int, negatives: int, auroc: float
) -> None:
    """DeLong's alone held it in 72 and 64 of 100."""
    gap = float(np.sqrt(2) * norm.ppf(auroc))
    found = [auroc_interval([ranked(positives, negatives, gap, seed)]) for seed in range(300)]
    held = [one is not None and one.low <= auroc <= one.high for one in found]
    assert sum(held) >= 280


@pytest.mark.parametrize("value", [-9.0, 9.0])
def test_intervals_of_shares_hold_the_share_at_both_ends(value: float) -> None:
    """Where none or all were found, the end is the share itself, to the last bit."""
    for positives in range(2, 40):
        for found in (
            recall_interval([ranked(positives, 100, value)], positives / (100 + positives)),
            precision_interval([ranked(positives, 100, value)], positives / (100 + positives)),
        ):
            assert found is not None
            assert found.low <= found.value <= found.high
