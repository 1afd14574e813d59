"""Knots come no closer than the public step between values, wherever they come from."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.features import NumericFeature, Scale
from fieldfare.shared.features.knots import PLACES, chosen_places, knots_at, value_places


def feature(**changes: Any) -> NumericFeature:
    given: dict[str, Any] = {"name": "visits", "kind": "numeric", "lower": 0, "upper": 12}
    return NumericFeature(**(given | changes))


def asked(**changes: Any) -> NumericFeature:
    return feature(**({"step": 1, "knots_from": "q", "upper": 20} | changes))


def places_of(one: NumericFeature, counts: list[int]) -> tuple[int, ...]:
    values = value_places(one)
    return chosen_places(counts, quantiles=one.quantile_knots, even=one.even_knots, values=values)


def test_a_feature_without_a_step_is_what_it_was() -> None:
    assert "step" not in feature().model_dump(mode="json")
    assert value_places(feature()) is None
    assert feature(step=1).model_dump(mode="json")["step"] == 1


def test_even_knots_stand_at_values_and_meet_in_one() -> None:
    assert feature(step=1).knots == (0, 2, 3, 5, 7, 9, 10, 12)
    assert feature(step=4).knots == (0, 4, 8, 12)
    crowded = feature(scale=Scale.LOG1P, upper=1000, step=1).knots
    assert all(knot == round(knot) for knot in crowded)
    assert len(set(crowded)) == len(crowded)


def test_tenths_are_written_as_people_write_them() -> None:
    assert feature(upper=0.7, step=0.1).knots == (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


@pytest.mark.parametrize("knots", [(0, 0.5, 3), (0, 1, 1.9)])
def test_listed_knots_nearer_than_the_step_are_refused(knots: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="at least step = 1 between two"):
        feature(knots=knots, step=1)
    feature(knots=(0.5, 1.5, 3), step=1)


def test_more_knots_than_values_are_refused() -> None:
    with pytest.raises(ValidationError, match="room for 8 knots within bounds, found 6 values"):
        asked(upper=5)
    assert len(places_of(asked(upper=7), [1] * 64)) == 8


@pytest.mark.parametrize("step", [0, -1])
def test_a_step_is_more_than_nothing(step: float) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        feature(step=step)


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=64),
    st.sampled_from([7, 11, 20, 300, 5000]),
    st.sampled_from(list(Scale)),
)
def test_knots_that_are_asked_for_stand_each_at_a_value_of_its_own(
    counts: list[int], upper: int, scale: Scale
) -> None:
    one = asked(upper=upper, scale=scale)
    places = places_of(one, counts)
    values = value_places(one)
    assert values is not None
    assert len(places) == len(one.knots)
    assert all(a < b for a, b in pairwise(places))
    assert set(places) <= set(values)


def test_one_value_that_all_share_takes_one_knot_and_the_others_spread() -> None:
    one = asked(upper=10)
    crowd = [0] * 64
    crowd[19] = 10**6  # all of them at 3
    shown = knots_at(one, places_of(one, crowd))
    assert any(abs(knot - 3) < 0.01 for knot in shown)
    assert min(b - a for a, b in pairwise(shown)) > 0.99


def test_where_values_are_finer_than_the_grid_every_place_is_one() -> None:
    fine = value_places(asked(upper=1e6, step=0.01))
    assert fine is not None
    assert len(fine) == PLACES + 1
    scaled = value_places(asked(upper=1e6, scale=Scale.LOG1P))
    assert scaled is not None
    assert scaled[:2] == (0, 206)  # ln 2 / ln 1000001 of 4096
    assert np.diff(scaled[-100:]).max() == 1


def test_a_grid_without_room_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(ProtocolError, match="room for the knots"):
        chosen_places([1, 2, 3], quantiles=2, even=2, values=(0, 100, 200))
