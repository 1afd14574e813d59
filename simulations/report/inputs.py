"""What the report is given besides results.json: hold-out scores and feature shapes."""

from dataclasses import dataclass, field
from typing import Literal

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


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One feature's contribution to the score, in log-odds.

    `x` holds the knots (numeric) or the level names (categorical), `contribution`
    one log-odds value for each, `slots` those of special values, missing and other.

    Raises:
        RunError: `x` and `contribution` differ in length.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    x: list[float] | list[str]
    contribution: list[float]
    slots: dict[str, float] = field(default_factory=dict)
    scale: Literal["linear", "log1p"] = "linear"

    def __post_init__(self) -> None:
        """Refuse a curve with points missing."""
        if len(self.x) != len(self.contribution):
            raise RunError(
                f"shape of {self.feature!r}: expected one contribution per knot or level, found "
                f"{len(self.contribution)} for {len(self.x)}; rebuild it from the model"
            )
