"""From which score a unit is an alert, and the projection of noisy counts that says so."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize
from tests.support.runs.grouped import grouped_study

from fieldfare.shared.evaluation.score_table import (
    STEPS,
    alert_threshold,
    bin_of,
    inner_edges,
    project,
    thresholds_near,
    with_threshold,
)

Counts = NDArray[np.float64]
noisy_rows = arrays(
    np.float64, st.tuples(st.just(1), st.integers(1, 7)), elements=st.floats(-20, 60)
)


# -- projection -----------------------------------------------------------------------------


def nearest_cumulative(counts: Counts) -> Counts:
    """Slow and general: least squares over non-decreasing cumulative sums in [0, total]."""
    above = np.cumsum(counts[0, ::-1])
    total = max(above[-1], 0.0)
    size = len(above)
    start = np.linspace(0.0, total, size + 1)[1:]
    if size == 1:
        return np.array([total])
    steps = LinearConstraint(np.diff(np.eye(size), axis=0), 0.0, np.inf)
    bounds = [(0.0, total)] * (size - 1) + [(total, total)]
    fit = minimize(
        lambda x: ((x - above) ** 2).sum(),
        start,
        jac=lambda x: 2 * (x - above),
        bounds=bounds,
        constraints=[steps],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    slow: Counts = np.diff(fit.x, prepend=0.0)[::-1]
    return slow


@pytest.mark.parametrize("seed", range(40))
def test_the_projection_is_the_least_squares_solution(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.poisson(random.choice([0.5, 8.0], 9)) + random.normal(0, 4.0, (1, 9))
    slow = nearest_cumulative(counts)
    np.testing.assert_allclose(project(counts)[0], slow, atol=1e-4 * (1 + np.abs(counts).sum()))


@pytest.mark.parametrize("row", list(itertools.product((-2, 0, 1, 3), repeat=3)))
def test_no_whole_numbers_are_nearer(row: tuple[int, ...]) -> None:
    """Brute force over small tables: every non-negative table of the same total is farther."""
    counts = np.array([row], dtype=np.float64)
    total = max(0, sum(row))

    def distance(candidate: Any) -> float:
        above = np.cumsum(np.array(candidate, dtype=np.float64)[::-1])
        wanted = np.cumsum(counts[0, ::-1])
        return float(((above - wanted) ** 2)[:-1].sum())

    ours = distance(project(counts)[0])
    halves = [x / 2 for x in range(2 * total + 1)]
    tables = (t for t in itertools.product(halves, repeat=3) if sum(t) == total)
    assert all(ours <= distance(table) + 1e-9 for table in tables)


@given(noisy_rows)
def test_the_projection_keeps_the_total_and_goes_below_zero_nowhere(counts: Counts) -> None:
    found = project(counts)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(max(counts.sum(), 0.0), abs=1e-9)
    np.testing.assert_allclose(project(found), found, atol=1e-9)  # nothing left to do


@given(noisy_rows.map(np.abs))
def test_counts_that_need_no_projection_are_kept(counts: Counts) -> None:
    np.testing.assert_allclose(project(counts), counts, atol=1e-9)


@given(noisy_rows, noisy_rows)
def test_rows_are_projected_one_by_one(first: Counts, second: Counts) -> None:
    width = min(first.shape[1], second.shape[1])
    both = np.concatenate([first[:, :width], second[:, :width]])
    np.testing.assert_array_equal(project(both)[1:], project(both[1:]))


def test_noise_in_empty_bins_above_does_not_pass_for_mistakes() -> None:
    """What the projection is for: clipping bin by bin would find dozens of units up there."""
    random = np.random.default_rng(0)
    truth = np.concatenate([np.full(8, 500.0), np.zeros(16)])
    noisy = truth + random.normal(0.0, 12.0, (500, 24))
    above = project(noisy)[:, 8:].sum(axis=1)
    clipped = np.maximum(noisy, 0.0)[:, 8:].sum(axis=1)
    assert above.mean() < 25
    assert clipped.mean() > 70


# -- the threshold --------------------------------------------------------------------------


def table_of(scores: Counts, bins: int) -> Counts:
    """A released table without noise: a third of each bin labelled."""
    study = grouped_study(evaluation={"score_bins": bins})
    counts = np.bincount(bin_of(scores, inner_edges(study)), minlength=bins).astype(np.float64)
    return np.concatenate([counts * 2 / 3, counts / 3])


@pytest.mark.parametrize("budget", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("bins", [8, 20, 512])
def test_the_budgets_share_of_units_lies_above(budget: float, bins: int) -> None:
    scores = np.random.default_rng(0).normal(-1.0, 1.2, 50_000)
    study = grouped_study(evaluation={"score_bins": bins, "alert_budget": budget})
    threshold = alert_threshold(study, table_of(scores, bins))
    # Evenly spread units in a bin of 1.75 log-odds would make a third of the alerts, or none.
    assert (scores >= threshold).mean() == pytest.approx(budget, rel=0.06)


def test_a_budget_of_all_but_a_rounding_error_ends_in_the_table() -> None:
    """Sums in two orders differ in their last bits: the budget must be of the one that is cut."""
    study = grouped_study(evaluation={"score_bins": 512, "alert_budget": 1 - 2.0**-53})
    random, lowest = np.random.default_rng(0), inner_edges(study)[0]
    for _ in range(50):
        table = random.uniform(-33, 100, 1024)
        assert alert_threshold(study, table) <= lowest + 1 / STEPS


@pytest.mark.parametrize("shape", ["logistic", "skewed"])
def test_scores_need_not_be_normal(shape: str) -> None:
    random = np.random.default_rng(1)
    scores = random.logistic(-2, 0.7, 50_000)
    if shape == "skewed":
        scores = random.gamma(2.0, 0.8, 50_000) - 4
    study = grouped_study(evaluation={"score_bins": 20, "alert_budget": 0.02})
    threshold = alert_threshold(study, table_of(scores, 20))
    assert (scores >= threshold).mean() == pytest.approx(0.02, rel=0.15)


@given(arrays(np.float64, 40, elements=st.floats(-1e4, 1e6)))
def test_any_table_gives_a_threshold_that_a_request_may_bind(table: Counts) -> None:
    study = grouped_study(evaluation={"score_bins": 20})
    threshold, edges = alert_threshold(study, table), inner_edges(study)
    width = edges[1] - edges[0]
    assert edges[0] - width - 1 / STEPS <= threshold <= edges[-1] + width + 1 / STEPS
    assert threshold * STEPS == round(threshold * STEPS)
    assert threshold in set(thresholds_near(study, table))


def test_where_nobody_is_left_under_the_noise_few_are_above() -> None:
    study = grouped_study(evaluation={"score_bins": 20})
    found = alert_threshold(study, np.full(40, -3.0))
    assert found == pytest.approx(inner_edges(study)[-1], abs=1 / STEPS)


def test_a_larger_budget_never_raises_the_threshold() -> None:
    table = np.random.default_rng(3).normal(20, 15, 40)
    budgets = np.linspace(0.005, 0.9, 60)
    found = [
        alert_threshold(grouped_study(evaluation={"score_bins": 20, "alert_budget": one}), table)
        for one in budgets.tolist()
    ]
    assert all(a >= b for a, b in itertools.pairwise(found))


def test_neighbours_are_what_another_machine_may_have_found() -> None:
    study, table = grouped_study(evaluation={"score_bins": 20}), np.full(40, 30.0)
    found = alert_threshold(study, table)
    assert list(thresholds_near(study, table)) == [found, found + 1 / 1024, found - 1 / 1024]
    moved = table * (1 + 1e-12)
    assert found in set(thresholds_near(study, moved))


def test_a_threshold_is_bound_after_the_model() -> None:
    assert with_threshold(np.array([1.0, 2.0]), -0.5).tolist() == [1.0, 2.0, -0.5]
