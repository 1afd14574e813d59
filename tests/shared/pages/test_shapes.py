"""Shapes are the parameters themselves, slot by slot."""

import numpy as np
import pytest
from tests.support.homes.institutions import home_study

from fieldfare.shared.errors import RunError
from fieldfare.shared.pages.charts import Shape, plain_shape, shapes_of

STUDY = home_study(
    features=[
        {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
        {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
    ]
)


def test_shapes_are_the_parameters() -> None:
    parameters = np.random.default_rng(0).normal(size=10)
    amount, channel = shapes_of(STUDY, parameters)
    assert (amount.feature, amount.kind, amount.scale) == ("amount", "numeric", "linear")
    assert amount.x == [0, 2, 5, 10]
    assert amount.contribution == parameters[1:5].tolist()
    assert amount.slots == {"missing": parameters[5]}
    assert (channel.feature, channel.kind) == ("channel", "categorical")
    assert channel.x == ["branch", "online"]
    assert channel.contribution == parameters[6:8].tolist()
    assert channel.slots == {"other": parameters[8], "missing": parameters[9]}


def test_a_shape_needs_one_contribution_per_knot() -> None:
    with pytest.raises(RunError, match="2 for 3"):
        Shape(feature="f", kind="numeric", x=[0.0, 1.0, 2.0], contribution=[0.1, 0.2])


def test_names_can_be_made_harmless() -> None:
    hostile = "a\x1b[2J\u202e"
    shape = Shape(
        feature=hostile, kind="categorical", x=[hostile], contribution=[0.5], slots={hostile: 1.0}
    )
    harmless = plain_shape(shape)
    assert (harmless.feature, harmless.x) == ("a\ufffd[2J\ufffd", ["a\ufffd[2J\ufffd"])
    assert (harmless.contribution, harmless.slots) == ([0.5], {"a\ufffd[2J\ufffd": 1.0})
