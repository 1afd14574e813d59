"""The drafting rule for numeric features, on shapes that a bank's columns have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldfare.client.drafting.choice import (
    FEW_VALUES,
    MOST_KNOTS,
    MOST_SPECIAL,
    WEAK_KNOTS,
    draft_numeric,
    even_numeric,
    thin_knots,
)
from fieldfare.shared.features.features import NumericFeature, Scale

RANDOM = np.random.default_rng(11)
NORMAL = RANDOM.normal(50, 10, 20_000)
SKEWED = RANDOM.lognormal(5, 1.5, 20_000)


def draft(values: np.ndarray, units: int | None = None) -> NumericFeature:
    return draft_numeric("x", np.asarray(values, dtype=np.float64), units or len(values))


def test_few_values_are_knots_each() -> None:
    feature = draft(RANDOM.choice([0, 1, 2, 5, 9.5], 1000))
    assert feature.knots == (0, 1, 2, 5, 9.5)
    assert (feature.lower, feature.upper, feature.special) == (0, 9.5, ())
    assert draft(np.arange(FEW_VALUES).repeat(9)).knots == tuple(range(FEW_VALUES))


@pytest.mark.parametrize("values", [NORMAL, SKEWED, -SKEWED, np.arange(10.0), np.arange(5.0)])
def test_a_weak_signal_gets_four_knots_that_reach_as_far(values: np.ndarray) -> None:
    many, few = draft(values), draft_numeric("x", values, len(values), WEAK_KNOTS)
    assert len(few.knots) == WEAK_KNOTS < len(many.knots)
    assert (few.knots[0], few.knots[-1]) == (many.knots[0], many.knots[-1])
    assert (few.lower, few.upper, few.scale) == (many.lower, many.upper, many.scale)


def test_knots_of_bounds_alone_are_thinned_between_them() -> None:
    many = even_numeric("x", 1, 1000, Scale.LOG1P)
    few = thin_knots(many)
    assert isinstance(few, NumericFeature)
    assert len(few.knots) == WEAK_KNOTS < len(many.knots)
    assert (few.knots[0], few.knots[-1], few.scale) == (1, 1000, Scale.LOG1P)
    assert thin_knots(few) == few


def test_half_at_quantiles_and_half_over_the_range() -> None:
    feature = draft(NORMAL)
    assert feature.scale is Scale.LINEAR
    assert len(feature.knots) == MOST_KNOTS
    even = np.linspace(feature.knots[0], feature.knots[-1], MOST_KNOTS // 2)
    quantiles = np.quantile(NORMAL, [0.2, 0.4, 0.6, 0.8])
    expected = np.sort(np.concatenate([even, quantiles]))
    assert np.allclose(feature.knots, expected, atol=0.01 * np.ptp(NORMAL))


def test_a_skewed_feature_is_on_a_logarithmic_scale() -> None:
    feature = draft(SKEWED)
    assert feature.scale is Scale.LOG1P
    even = np.linspace(np.log1p(feature.lower), np.log1p(feature.upper), MOST_KNOTS // 2)
    on_scale = np.log1p(feature.knots)
    assert all(np.abs(on_scale - place).min() < 0.01 for place in even)


def test_negative_values_keep_the_linear_scale() -> None:
    assert draft(-SKEWED).scale is Scale.LINEAR
    assert draft(np.append(SKEWED, -0.5)).scale is Scale.LINEAR


def test_one_wild_value_makes_no_knot_useless_on_a_linear_scale() -> None:
    """The last even knot stays within reach of the outer percents; bounds hold everything."""
    signed = np.append(RANDOM.normal(0, 1, 5000), 1e6)
    feature = draft(signed)
    assert feature.upper >= 1e6
    assert feature.knots[-1] < 10


def test_one_wild_value_moves_a_positive_feature_to_the_logarithmic_scale() -> None:
    assert draft(np.append(RANDOM.uniform(1, 9, 5000), 1e6)).scale is Scale.LOG1P
    assert draft(RANDOM.uniform(1, 9, 5000)).scale is Scale.LINEAR


def test_values_that_a_fifth_of_the_units_share_are_special() -> None:
    values = np.where(RANDOM.random(20_000) < 0.7, 0.0, SKEWED)
    feature = draft(values)
    assert feature.special == (0,)
    inner = np.quantile(SKEWED, [0.2, 0.8])  # quantiles over the rest
    assert any(abs(knot / inner[0] - 1) < 0.1 for knot in feature.knots)
    assert feature.lower > 0


def test_the_share_counts_units_without_a_value() -> None:
    values = np.concatenate([np.zeros(300), SKEWED[:700]])
    assert draft(values).special == (0,)
    assert draft(values, units=2000).special == ()


def test_at_most_four_values_are_special() -> None:
    common = np.repeat(np.arange(4.0), 2400)
    feature = draft(np.concatenate([common, RANDOM.uniform(5, 9, 400)]))
    assert feature.special == (0, 1, 2, 3)
    assert len(feature.special) <= MOST_SPECIAL


def test_few_values_beside_the_special_ones_are_knots_each() -> None:
    values = np.concatenate([np.zeros(900), np.ones(900), np.arange(2, 11).repeat(5)])
    feature = draft(values)
    assert feature.special == (0, 1)
    assert feature.knots == tuple(range(2, 11))


def test_whole_numbers_have_whole_knots_and_no_twins() -> None:
    feature = draft(RANDOM.poisson(6, 20_000))
    assert all(knot == int(knot) for knot in feature.knots)
    assert len(feature.knots) <= MOST_KNOTS


def test_bounds_are_rounded_outward() -> None:
    feature = draft(np.linspace(1.2345, 98.765, 1000))
    assert (feature.lower, feature.upper) == (1, 99)
    years = draft(np.arange(1998, 2025).repeat(20))
    assert (years.lower, years.upper) == (1998, 2024)


def test_large_numbers_with_a_small_range() -> None:
    feature = draft(1_700_000_000 + RANDOM.random(5000))
    assert feature.lower < feature.upper
    assert len(feature.knots) >= 6


def test_close_values_share_a_knot_and_nothing_but_close_values_is_no_feature() -> None:
    close = np.nextafter(5.0, 6.0)
    assert draft(np.array([1.0, 5.0, close])).knots == (1, 5)
    for far in ([5.0, close], [0.0, 2.3e-308], [-1.7e308, 1.7e308]):
        with pytest.raises(ValueError, match="no two knots"):
            draft(np.array(far))


values = arrays(
    np.float64,
    st.integers(2, 60),
    elements=st.one_of(
        st.floats(-1e12, 1e12, allow_subnormal=False),
        st.integers(-5, 5).map(float),
        st.sampled_from([0.1, 0.2, 0.3, 1e-9, 1e9]),
    ),
)


@given(values.filter(lambda x: len(np.unique(x)) > 1))
@settings(max_examples=300, deadline=None)
def test_every_draft_is_a_valid_feature(sample: np.ndarray) -> None:
    try:
        feature = draft(sample)  # NumericFeature checks order, bounds and numbers itself
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017 -- and none of NumericFeature's
        assert np.ptp(sample) <= np.abs(sample).max() * 2**-39 + 1e-300
        return
    assert len(feature.knots) <= max(MOST_KNOTS, FEW_VALUES)
    assert len(feature.special) <= MOST_SPECIAL
    rest = sample[~np.isin(sample, feature.special)]
    assert (rest >= feature.lower).all()
    assert (rest <= feature.upper).all()


@pytest.mark.parametrize("parts", [2, 4, 10, 20])
def test_knots_are_no_closer_than_two_values_of_a_coarse_column(parts: int) -> None:
    """A third of the range falls between two of twelve values, and a quantile on one of them."""
    shares = np.ones(12)
    shares[[3, 4, 7, 8]] = 1.3
    values = np.random.default_rng(0).choice(12, 9000, p=shares / shares.sum()) / parts
    assert min(np.diff(draft(values).knots)) > 0.999 / parts
