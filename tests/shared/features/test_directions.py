"""Curves that only rise or fall: the nearest ones in weighted squares, and nothing else moves."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression
from tests.support.federations.settings import make_study

from fieldfare.shared.features.directions import direct_curves, rising
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.optimizer import TrainingState, averaged_state, next_state
from fieldfare.shared.study.study import Study


def feature(name: str, **said: Any) -> dict[str, Any]:
    knots = {"knots": [0.0, 1.0, 2.0], "lower": 0.0, "upper": 2.0}
    return {"name": name, "kind": "numeric", **knots, **said}


def study_of(*features: dict[str, Any], **sections: Any) -> Study:
    content = make_study().model_dump(mode="json") | {"features": list(features)}
    content["records"]["unit"] = "id"
    return Study.model_validate(content | sections)


@given(st.lists(st.tuples(st.floats(-50, 50), st.integers(1, 256)), min_size=1, max_size=12))
def test_a_rising_curve_is_the_nearest_one(places: list[tuple[float, int]]) -> None:
    values, weights = (np.array(one, dtype=np.float64) for one in zip(*places, strict=True))
    found = rising(values, weights)
    expected = isotonic_regression(values, sample_weight=weights)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (np.diff(found) >= 0).all()


def test_weights_decide_where_a_pool_lies_and_none_is_below_one() -> None:
    falls = feature("one", direction="rising")
    parameters, features = np.array([9.0, 3.0, 0.0, 5.0, -1.0]), study_of(falls).features
    alike = direct_curves(features, parameters)
    weighed = direct_curves(features, parameters, np.array([3, -5, 4, 0]))
    np.testing.assert_array_equal(alike, [9.0, 1.5, 1.5, 5.0, -1.0])
    np.testing.assert_array_equal(weighed, [9.0, 2.25, 2.25, 5.0, -1.0])  # weights of 3 and 1


def test_each_curve_of_a_level_and_no_special_or_missing_slot() -> None:
    by = feature("one", direction="falling", special=[7.0], by="kind", levels=["a"])
    features = study_of(feature("zero"), by).features
    parameters = np.arange(1.0 + 4 + 3 * 5)  # everything rises
    found = direct_curves(features, parameters)
    expected = parameters.copy()
    for start in (5, 10, 15):
        expected[start : start + 3] = parameters[start : start + 3].mean()
    np.testing.assert_array_equal(found, expected)


def test_without_directions_not_a_bit_changes() -> None:
    parameters = np.array([1.0, 3.0, -0.0, 5e-324, -7.0])
    assert (
        direct_curves(study_of(feature("one")).features, parameters).tobytes()
        == parameters.tobytes()
    )


def test_a_feature_without_a_direction_says_nothing_of_it() -> None:
    plain, said = (
        NumericFeature.model_validate(feature("one", **more)).model_dump(mode="json")
        for more in ({}, {"direction": "falling"})
    )
    assert "direction" not in plain
    assert said == plain | {"direction": "falling"}


def test_every_iterate_and_their_average_have_the_direction() -> None:
    study = study_of(feature("one", direction="rising"))
    plan, state = plan_for(study), TrainingState.start(np.zeros(5))
    random = np.random.default_rng(3)
    for _ in range(study.training.steps):
        state = next_state(plan, state, random.normal(0.0, 100.0, 5))
        assert (np.diff(state.parameters[1:4]) >= 0).all()
    assert (np.diff(state.model[1:4]) >= 0).all()
    assert state.parameters[1] != state.parameters[3]


def test_released_means_weigh_the_slots_of_a_step() -> None:
    study = study_of(feature("one", direction="rising"), geometry={"kind": "centred"})
    state, falls = TrainingState.start(np.zeros(5)), np.array([0.0, -40.0, 10.0, 0.0, 0.0])
    plan, means = plan_for(study), np.array([200, 10, 40, 0])
    plain = next_state(plan_for(study_of(feature("one"))), state, falls)
    weighed = next_state(plan, state, falls, Geometry(8, means))
    assert plain.parameters[1] > plain.parameters[2]
    assert weighed.parameters[1] == weighed.parameters[2]
    alike = next_state(plan, state, falls)
    assert weighed.parameters[1] > alike.parameters[1]  # the heavy slot decides


def test_an_average_of_changes_has_the_direction() -> None:
    study = study_of(feature("one", direction="falling"), training={"mode": "local"})
    state = averaged_state(study, TrainingState.start(np.zeros(5)), np.array([0.0, 1, 2, 6, 9]), 1)
    np.testing.assert_array_equal(state.parameters, [0.0, 3.0, 3.0, 3.0, 9.0])


@pytest.mark.parametrize(
    "section", [{"geometry": {"kind": "whitened"}}, {"model": {"kind": "mlp", "hidden": [8]}}]
)
def test_no_direction_where_steps_move_no_curve(section: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"features\.0\.direction: expected none .* 'rising'"):
        study_of(feature("one", direction="rising"), **section)


def test_no_direction_of_a_category() -> None:
    category = {"name": "one", "kind": "categorical", "levels": ["a"], "direction": "rising"}
    with pytest.raises(ValueError, match="direction"):
        study_of(category)
