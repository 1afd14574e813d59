import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.features import MAX_KNOTS, CategoricalFeature, NumericFeature
from fieldfare.shared.features.knots import (
    LEAST_APART,
    PLACES,
    asked_features,
    chosen_places,
    even_places,
    knots_at,
    places_in,
)

LISTED = NumericFeature(name="hours", kind="numeric", lower=0, upper=24)
ASKED = NumericFeature(
    name="amount", kind="numeric", lower=0, upper=100, knots_from="spread", quantile_knots=3,
    even_knots=2,
)  # fmt: skip
CHANNEL = CategoricalFeature(name="channel", kind="categorical", levels=("branch",))


def test_even_places_reach_from_end_to_end() -> None:
    assert even_places(2) == (0, PLACES)
    assert even_places(5) == (0, 1024, 2048, 3072, 4096)
    assert even_places(4) == (0, 1365, 2731, 4096)


def test_quantiles_of_a_known_histogram_stand_where_they_are() -> None:
    """A quarter of the units in each of the first two of eight bins, half in the last."""
    counts = [100, 100, 0, 0, 0, 0, 0, 200]
    assert chosen_places(counts, quantiles=3, even=2) == (0, 512, 1024, 3072 + 768, 4096)
    inside = chosen_places([0, 300, 0, 0], quantiles=2, even=2)
    assert inside == (0, 1024 + 341, 1024 + 683, 4096)


@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=1024),
    st.integers(1, MAX_KNOTS - 2),
    st.integers(2, 6),
)
def test_any_histogram_gives_rising_knots_that_lie_apart(
    counts: list[int], quantiles: int, even: int
) -> None:
    places = chosen_places(counts, quantiles=quantiles, even=even)
    assert len(places) == quantiles + even
    assert (places[0], places[-1]) == (0, PLACES)
    assert min(b - a for a, b in pairwise(places)) >= LEAST_APART
    assert set(even_places(even)) <= set(places)
    assert places == chosen_places(counts, quantiles=quantiles, even=even)
    # The unit does not matter: the same histogram in other grid steps.
    assert places == chosen_places([7 * c for c in counts], quantiles=quantiles, even=even)


@pytest.mark.parametrize("counts", [[0] * 8, [-5] * 8, [0, -3, 2, -9, 0, 0, 0, -1]])
def test_nobody_or_nothing_but_noise_leaves_no_gap_wide(counts: list[int]) -> None:
    places = chosen_places(counts, quantiles=3, even=2)
    gaps = [b - a for a, b in pairwise(places)]
    assert max(gaps) <= 2 * min(gaps)


def test_one_value_that_all_share_takes_one_knot() -> None:
    places = chosen_places([0, 0, 0, 10**9, *[0] * 1020], quantiles=4, even=2)
    near = [place for place in places if 3 * 4 - LEAST_APART < place < 4 * 4 + LEAST_APART]
    assert len(near) <= 1
    assert len(places) == 6


def test_the_quantiles_are_those_of_numpy_to_a_bin() -> None:
    values = np.random.default_rng(1).beta(2, 5, 100_000)
    counts, _ = np.histogram(values, bins=64, range=(0, 1))
    places = set(chosen_places(counts.tolist(), quantiles=3, even=2)) - {0, PLACES}
    expected = np.quantile(values, [0.25, 0.5, 0.75]) * PLACES
    assert np.abs(np.sort(list(places)) - expected).max() < PLACES / 64


def test_knots_are_read_out_of_parameters() -> None:
    numbers = np.array([0.0, 512, 1024, 3840, 4096])
    assert asked_features([LISTED, ASKED, CHANNEL]) == (ASKED,)
    assert places_in([LISTED, ASKED, CHANNEL], numbers) == ((0, 512, 1024, 3840, 4096),)
    assert places_in([LISTED], np.zeros(0)) == ()


@pytest.mark.parametrize(
    "numbers",
    [
        [0, 512, 1024, 3840],
        [0, 512, 1024, 3840, 4096, 4096],
        [0, 512.5, 1024, 3840, 4096],
        [0, 1024, 512, 3840, 4096],
        [0, 512, 512, 3840, 4096],
        [-1, 512, 1024, 3840, 4096],
        [0, 512, 1024, 3840, 4097],
        [0, 512, math.nan, 3840, 4096],
        [0, 512, 1024, 3840, math.inf],
    ],
)
def test_other_knots_are_refused(numbers: list[float]) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        places_in([ASKED], np.array(numbers, dtype=np.float64))


def test_knots_are_shown_as_values_of_the_feature() -> None:
    assert knots_at(ASKED, (0, 512, 1024, 3840, 4096)) == (0, 12.5, 25, 93.75, 100)
    skewed = NumericFeature(
        name="sum",
        kind="numeric",
        lower=0,
        upper=99,
        scale="log1p",
        knots_from="spread",
    )
    shown = knots_at(skewed, (0, 2048, 4096))
    assert shown == pytest.approx((0, 9, 99))
    narrow = NumericFeature(
        name="narrow", kind="numeric", lower=1e6, upper=1e6 + 1, knots_from="spread"
    )
    assert all(a < b for a, b in pairwise(knots_at(narrow, even_places(8))))
