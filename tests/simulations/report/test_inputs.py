"""What the report refuses to draw."""

import numpy as np
import pytest

from fieldfare.shared.errors import RunError
from fieldfare.simulations.report.curves import ModelScores


def test_scores_must_fit_their_labels() -> None:
    with pytest.raises(RunError, match="one probability per label"):
        ModelScores(name="m", labels=np.zeros(3, np.uint8), probabilities=np.zeros(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_must_be_finite(bad: float) -> None:
    with pytest.raises(RunError, match="finite"):
        ModelScores(name="m", labels=np.zeros(2, np.uint8), probabilities=np.array([0.5, bad]))
