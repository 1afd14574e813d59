import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.evaluation.groups import (
    EXACT,
    CountNoise,
    Interval,
    Verdict,
    percents,
    rate_of,
    ratio_of,
    times_verdict,
    verdict,
)

Z = 1.959963984540054


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson 1927 in its usual closed form."""
    share = part / whole
    centre = share + Z**2 / (2 * whole)
    half = Z * math.sqrt(share * (1 - share) / whole + Z**2 / (4 * whole**2))
    scale = 1 + Z**2 / whole
    return (centre - half) / scale, (centre + half) / scale


@given(st.integers(1, 100_000), st.data())
def test_without_noise_an_interval_is_wilsons(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    found = rate_of(part, whole)
    assert found is not None
    assert found.value == part / whole
    low, high = wilson(part, whole)
    assert found.low == pytest.approx(max(low, 0.0), abs=1e-9)
    assert found.high == pytest.approx(min(high, 1.0), abs=1e-9)


@given(
    st.floats(-1e5, 1e7),
    st.floats(-1e5, 1e7),
    st.floats(0, 1e4),
    st.integers(1, 4),
    st.integers(1, 40),
)
def test_an_interval_is_around_its_value_and_within_0_and_1(
    part: float, whole: float, sigma: float, cells: int, rest: int
) -> None:
    found = rate_of(part, whole, CountNoise(sigma, cells, rest))
    if found is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


def covered(sigma_told: float, share: float, units: int) -> float:
    """How often the interval holds the share that units were drawn with, under noise of 20."""
    random, told, inside = np.random.default_rng(5), CountNoise(sigma_told, 1, 1), 0
    for _ in range(2000):
        above = random.binomial(units, share)
        noise = random.normal(0, 20, 2)
        found = rate_of(above + noise[0], units + noise.sum(), told)
        inside += found is None or found.low <= share <= found.high
    return inside / 2000


@pytest.mark.parametrize(("share", "units"), [(0.02, 3000), (0.2, 800), (0.5, 20_000)])
def test_intervals_hold_the_truth_95_times_in_100(share: float, units: int) -> None:
    assert 0.935 <= covered(20, share, units) <= 0.985


def test_intervals_that_leave_noise_out_would_not() -> None:
    assert covered(0, 0.02, 3000) < 0.6


@pytest.mark.parametrize(
    ("part", "whole", "noise"),
    [
        (0, 0, EXACT),
        (5, -3, EXACT),
        (5, 30, CountNoise(20, 1, 1)),
        (1, 100, CountNoise(60, 1, 1)),
    ],
)
def test_what_noise_hides_is_no_rate(part: float, whole: float, noise: CountNoise) -> None:
    assert rate_of(part, whole, noise) is None
    assert percents(rate_of(part, whole, noise)) == "too few to say"


def test_a_part_that_noise_moved_out_is_read_as_none_or_all() -> None:
    noise = CountNoise(10, 1, 1)
    none, everyone = rate_of(-15, 1000, noise), rate_of(1015, 1000, noise)
    assert none is not None
    assert everyone is not None
    assert (none.value, none.low) == (0.0, 0.0)
    assert (everyone.value, everyone.high) == (1.0, 1.0)
    assert none.high > 0.01
    assert everyone.low < 0.99


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (Interval(0.05, 0.041, 0.06), Verdict.MORE),
        (Interval(0.03, 0.020, 0.05), Verdict.TOO_FEW),
        (Interval(0.015, 0.01, 0.019), Verdict.NO_MORE),
        (Interval(0.05, 0.001, 0.2), Verdict.TOO_FEW),
        (None, Verdict.TOO_FEW),
    ],
)
def test_a_verdict_needs_the_whole_interval(rate: Interval | None, said: Verdict) -> None:
    overall = Interval(0.01, 0.0098, 0.0102)
    assert verdict(rate, Interval(overall.value, overall.low, 0.0202)) is said
    assert verdict(rate, None) is Verdict.TOO_FEW


def test_rates_are_written_with_their_interval() -> None:
    assert percents(Interval(0.0213, 0.004, 0.0391)) == "2.13 % (0.4 to 3.91)"
    assert Interval(0.1, 0.0, 0.3).as_dict() == {"value": 0.1, "low": 0.0, "high": 0.3}


def test_a_ratio_is_that_of_the_shares_with_its_interval() -> None:
    found = ratio_of((10, 100), (100, 10_000))
    assert found is not None
    assert found.value == pytest.approx(10)
    assert found.low == pytest.approx(5.68, abs=0.01)  # worked out apart, by hand
    assert found.high == pytest.approx(19.03, abs=0.01)
    assert times_verdict(found) is Verdict.MORE


@pytest.mark.parametrize("counts", [((1, 0), (1, 2)), ((0, 0), (0, 0)), ((1, 2), (0, 9))])
def test_no_ratio_where_it_cannot_be_told(counts: tuple[tuple[int, int], tuple[int, int]]) -> None:
    assert ratio_of(*counts) is None
    assert times_verdict(None) is Verdict.TOO_FEW


def test_the_true_ratio_is_inside_most_intervals() -> None:
    random = np.random.default_rng(1)
    for rate, times in ((0.01, 1.0), (0.01, 3.0), (0.02, 8.0)):
        drawn = (random.binomial(600, rate * times, 2000), random.binomial(20_000, rate, 2000))
        inside = [
            found.low <= times <= found.high
            for one, two in zip(*drawn, strict=True)
            if (found := ratio_of((int(one), 600), (int(two), 20_000)))
        ]
        assert 0.93 < np.mean(inside) < 0.985


def test_nobody_reviewed_is_a_ratio_of_nothing_and_no_more_than_twice_where_many() -> None:
    few, many = ratio_of((0, 20), (100, 10_000)), ratio_of((0, 2000), (100, 10_000))
    assert few is not None
    assert many is not None
    assert few.value == many.value == few.low == 0
    assert (times_verdict(few), times_verdict(many)) == (Verdict.TOO_FEW, Verdict.NO_MORE)
