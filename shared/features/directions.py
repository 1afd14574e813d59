"""Curves that a study says only rise, or only fall: parameters moved to the nearest such ones.

Pool adjacent violators (Barlow et al. 1972, section 1.2) with + - * / and comparisons, in the order
of the knots: the same bits on any machine. Slots of special values and of missing ones stay.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.features import Feature, NumericFeature

Vector = NDArray[np.float64]


def direct_curves(
    features: Sequence[Feature], parameters: Vector, means: NDArray[np.int64] | None = None
) -> Vector:
    """Return float64 (as given): every curve that has a direction at its nearest in that direction.

    Args:
        features: of a study; without directions parameters stay what they are.
        parameters: float64 (at least the slots and the bias,).
        means: int64 (slots,), released, by which slots weigh, 1 at least; None: they weigh alike.
    """
    found, start = parameters.copy(), 1
    weights = np.ones(len(found)) if means is None else np.maximum(np.append(1, means), 1)
    for feature in features:
        if isinstance(feature, NumericFeature) and feature.direction is not None:
            sign = 1.0 if feature.direction == "rising" else -1.0
            for first in range(start, start + feature.slots, len(feature.curve_names)):
                curve = slice(first, first + len(feature.knots))
                found[curve] = sign * rising(sign * found[curve], weights[curve])
        start += feature.slots
    return found


def rising(values: Vector, weights: NDArray[np.float64] | NDArray[np.int64]) -> Vector:
    """Return float64 (as given): the nearest in weighted squares, none below the one before it."""
    pooled: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, heavy, length = value, float(weight), 1
        while pooled and pooled[-1][0] > mean:
            before, more, count = pooled.pop()
            mean, heavy = (before * more + mean * heavy) / (more + heavy), more + heavy
            length += count
        pooled.append((mean, heavy, length))
    return np.repeat([mean for mean, _, _ in pooled], [length for _, _, length in pooled])
