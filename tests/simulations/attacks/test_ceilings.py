"""How much an attack found: intervals that hold the truth, ceilings that the best test reaches."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from fieldfare.simulations.attacks.ceilings import (
    advantage,
    area,
    best_advantage,
    best_area,
    best_found,
    found_at,
    told,
)

MANY = 200_000


@pytest.mark.parametrize("mu", [0.1, 0.5, 2.0])
def test_the_best_test_between_two_normal_distributions_reaches_the_ceilings(mu: float) -> None:
    random, inside = np.random.default_rng(0), np.arange(MANY) < MANY // 2
    scores = random.normal(size=MANY) + mu * inside - mu / 2
    reached, found = told(scores, inside, mu), found_at(scores, inside, 0.01, mu)
    for one in (*reached, found):
        assert one.ceiling is not None
        assert one.value == pytest.approx(one.ceiling, abs=0.01)


def test_without_protection_nothing_bounds_an_attack_and_with_all_of_it_nothing_is_left() -> None:
    assert (best_area(math.inf), best_advantage(math.inf), best_found(math.inf, 0.01)) == (1, 1, 1)
    assert (best_area(0), best_advantage(0), best_found(0, 0.01)) == pytest.approx((0.5, 0, 0.01))


def test_an_advantage_is_counted_at_a_threshold_that_was_fixed_before() -> None:
    scores = np.array([1.0, 0.0, -1.0, -0.5, 0.5, -2.0])
    inside = np.array([True, True, True, False, False, False])
    found = advantage(scores, inside, 1.0)
    assert found.value == pytest.approx(2 / 3 - 1 / 3)
    assert found.interval is not None
    assert found.interval[0] < 0 < found.value < found.interval[1]


def test_the_interval_of_an_advantage_holds_the_truth() -> None:
    random, inside, held = np.random.default_rng(2), np.arange(400) < 200, 0
    for _ in range(200):
        found = advantage(random.normal(size=400) + inside - 0.5, inside, 1.0).interval
        assert found is not None
        held += found[0] <= 2 * norm.cdf(0.5) - 1 <= found[1]
    assert held >= 190


def test_where_all_are_told_the_interval_has_a_width() -> None:
    inside = np.arange(100) < 50
    assert area(inside.astype(np.float64), inside).interval == pytest.approx((0.94, 1.0))


def test_the_area_is_counted_and_its_interval_holds_chance() -> None:
    scores = np.array([3.0, 1.0, 2.0, 0.0, 2.0])
    inside = np.array([True, False, True, False, False])
    assert area(scores, inside).value == pytest.approx((3 + 2.5) / 6)
    random, held = np.random.default_rng(0), 0
    for _ in range(150):
        interval = area(random.normal(size=300), np.arange(300) < 100).interval
        assert interval is not None
        held += interval[0] <= 0.5 <= interval[1]
    assert 0.88 * 150 < held < 0.995 * 150


@pytest.mark.parametrize(("apart", "rate"), [(0.0, 0.01), (1.0, 0.01), (1.0, 0.001)])
def test_the_interval_of_members_found_knows_that_others_are_a_sample(
    apart: float, rate: float
) -> None:
    random, inside, held, widths = np.random.default_rng(1), np.arange(4000) < 2000, 0, []
    true = norm.sf(norm.isf(rate) - apart)
    for _ in range(100):
        found = found_at(random.normal(size=4000) + apart * inside, inside, rate)
        assert found.interval is not None
        low, high = found.interval
        held += low <= true <= high
        widths.append(high - low)
        assert low <= found.value <= high
    assert held >= 93  # Clopper and Pearson's alone holds it in about half of them
    assert np.median(widths) < 0.12


def test_few_others_bound_no_small_share() -> None:
    inside = np.arange(200) < 100
    found = found_at(inside * 9.0 + np.arange(200) / 1e3, inside, 0.001)
    assert (found.value, found.interval) == (1.0, (0.0, 1.0))
