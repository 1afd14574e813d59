"""What the report refuses to draw."""

import numpy as np
import pytest

from fieldfare.shared.errors import RunError
from fieldfare.simulations.report import ModelScores, Shape


def test_scores_must_fit_their_labels() -> None:
    with pytest.raises(RunError, match="one probability per label"):
        ModelScores(name="m", labels=np.zeros(3, np.uint8), probabilities=np.zeros(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_must_be_finite(bad: float) -> None:
    with pytest.raises(RunError, match="finite"):
        ModelScores(name="m", labels=np.zeros(2, np.uint8), probabilities=np.array([0.5, bad]))


def test_a_shape_needs_one_contribution_per_knot() -> None:
    with pytest.raises(RunError, match="2 for 3"):
        Shape(feature="f", kind="numeric", x=[0.0, 1.0, 2.0], contribution=[0.1, 0.2])
