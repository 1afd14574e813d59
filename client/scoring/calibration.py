"""Probabilities out of scores, from the institution's own held-out labels; stays inside.

A model that was clipped and noised ranks well and is no probability (docs/adr/0004). Platt's two
numbers need few labels (Platt 1999, with his targets against overconfidence through scikit-learn's
regularisation); isotonic regression needs many (Niculescu-Mizil and Caruana 2005: about a
thousand units). With too few labels nothing is said.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from fieldfare.shared.evaluation.score_map import ScoreMap

LEAST_OF_A_CLASS: Final = 20  # held-out labels of each class before anything is said
LEAST_FOR_ISOTONIC: Final = 200  # positives
Z95: Final = 1.959963984540054
FINEST: Final = 20  # parts of 1 that are told apart; 100 from `MANY` positives on
MANY: Final = 1000
ROUNDING: Final = 1e-9  # what is at an edge stays there
STEEPEST: Final = 500.0  # exp of more overflows


class Method(StrEnum):
    """How scores become probabilities."""

    NONE = "not calibrated"
    PLATT = "platt"
    ISOTONIC = "isotonic"
    RELEASED = "released"


class Calibration(BaseModel):
    """A monotone map from score to probability.

    Attributes:
        reason: why there is none.
        slope, intercept: of Platt's, fitted here or released.
        scores, probabilities: corners of the isotonic one, increasing.
        units, positives: held-out labels that it rests on; own ones never leave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    reason: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    units: int = 0
    positives: int = 0

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (units,): probabilities, NaN where nothing is calibrated."""
        if self.method is Method.NONE:
            return np.full(len(scores), np.nan)
        if self.method is Method.ISOTONIC:
            return np.interp(scores, self.scores, self.probabilities)
        places = np.clip(self.slope * scores + self.intercept, -STEEPEST, STEEPEST)
        return 1.0 / (1.0 + np.exp(-places))

    def between(self, probability: float) -> tuple[float, float]:
        """Return the interval that a probability stands for: no finer than the labels it rests on.

        The score interval of 95 % (Wilson 1927) of as many units as there were positives, out to
        the next five of a hundred: 77 positives tell 99.9 % from 95 % no more than from 100 %.
        """
        parts = 100 if self.positives >= MANY else FINEST
        shrunk = Z95**2 / max(self.positives, 1)
        middle = (probability + shrunk / 2) / (1 + shrunk)
        spread = probability * (1 - probability) / max(self.positives, 1)
        half = Z95 / (1 + shrunk) * math.sqrt(spread + shrunk / (4 * max(self.positives, 1)))
        low = math.floor(max(0.0, middle - half) * parts + ROUNDING) / parts
        return low, math.ceil(min(1.0, middle + half) * parts - ROUNDING) / parts

    @property
    def words(self) -> str:
        """One line for people."""
        if self.method is Method.NONE:
            return f"not calibrated: {self.reason}"
        if self.method is Method.RELEASED:
            return f"as the federation's hold-outs said, for here: {self.reason}"
        return (
            f"{self.method.value}, on {self.positives} positives among {self.units} held-out units "
            "of this institution"
        )


def calibrate(scores: NDArray[np.float64], labels: NDArray[np.uint8]) -> Calibration:
    """Fit on held-out units.

    Args:
        scores: float64 (units,).
        labels: uint8 (units,), 0 or 1.

    Edge cases:
        | input | result |
        |---|---|
        | fewer than 20 of a class | not calibrated, says why |
        | a model that ranks the wrong way round | not calibrated: a flipped one would mislead |
        | 200 positives or more | isotonic, else Platt |
    """
    positives, units = int(labels.sum()), len(labels)
    if min(positives, units - positives) < LEAST_OF_A_CLASS:
        reason = (
            f"expected {LEAST_OF_A_CLASS} held-out labels of each class, found {positives} "
            f"positive and {units - positives} negative"
        )
        return Calibration(method=Method.NONE, reason=reason, units=units, positives=positives)
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], labels)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        reason = "higher scores are not more often positive here"
        return Calibration(method=Method.NONE, reason=reason, units=units, positives=positives)
    if positives < LEAST_FOR_ISOTONIC:
        return Calibration(
            method=Method.PLATT, slope=slope, intercept=intercept, units=units, positives=positives
        )
    steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, labels)
    return Calibration(
        method=Method.ISOTONIC,
        scores=tuple(steps.X_thresholds_.tolist()),
        probabilities=tuple(steps.y_thresholds_.tolist()),
        units=units,
        positives=positives,
    )


def or_released(own: Calibration, released: ScoreMap | None) -> Calibration:
    """Return what own labels say; where they are too few, what was released of all hold-outs."""
    if own.method is not Method.NONE or released is None:
        return own
    return Calibration(
        method=Method.RELEASED,
        reason=own.reason,
        slope=released.slope,
        intercept=released.intercept,
        units=released.units,
        positives=released.positives,
    )


@dataclass(frozen=True)
class CalibrationError:
    """The difference between probabilities and labels.

    Attributes:
        brier: mean squared difference.
        expected: mean absolute difference over ten bins of equal counts (ECE).
    """

    brier: float
    expected: float


def calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.uint8], bins: int = 10
) -> CalibrationError:
    """Measure on units that nothing was fitted on."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(probabilities[p].mean() - labels[p].mean()) * len(p) for p in parts]
    squares = (probabilities - labels) ** 2
    return CalibrationError(float(squares.mean()), float(sum(gaps) / len(labels)))
