"""The report's inputs besides results.json and feature shapes: hold-out scores."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fieldfare.shared.errors import RunError


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """One model's scores on the pooled hold-out.

    `labels` is (n,) uint8, 0 or 1; `probabilities` is (n,) float64 in [0, 1],
    in the same order of units for every model of a run.

    Raises:
        RunError: the two differ in length, or a probability is not finite.
    """

    name: str
    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what no curve can be drawn from."""
        if self.labels.shape != self.probabilities.shape or self.labels.ndim != 1:
            raise RunError(
                f"scores of {self.name!r}: expected one probability per label, found shapes "
                f"{self.labels.shape} and {self.probabilities.shape}; pass the same hold-out"
            )
        if not bool(np.isfinite(self.probabilities).all()):
            raise RunError(
                f"scores of {self.name!r}: expected finite probabilities, found NaN or infinity; "
                "the model has diverged, lower its learning rate"
            )
