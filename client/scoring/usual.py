"""Usual values at this institution: medians and percentiles of its own units only.

For people who read a reason; stays inside, like everything here.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

MOST_READ: Final = 100_000  # units: percentiles to about 1 % need no more
POINTS: Final = 101


@dataclass(frozen=True, eq=False)
class Usual:
    """Quantiles by feature.

    Attributes:
        medians: float32 (features,), NaN where no unit has a value.
        points: float64 (features, 101), 0 % to 100 %.
    """

    medians: NDArray[np.float32]
    points: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Self:
        """Read float32 (features, units); NaN is missing and counts for nothing."""
        step = max(1, -(-values.shape[1] // MOST_READ))
        points = np.full((len(values), POINTS), np.nan)
        for index, row in enumerate(values):
            known = row[::step]
            known = known[~np.isnan(known)]
            if len(known):
                points[index] = np.quantile(known.astype(np.float64), np.linspace(0, 1, POINTS))
        return cls(points[:, POINTS // 2].astype(np.float32), points)

    def percentile(self, feature: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 (units,): percent of units here below, the middle where many are equal."""
        points = self.points[feature]
        if np.isnan(points[0]):
            return np.full(len(values), np.nan, np.float32)
        low = np.searchsorted(points, values, side="left")
        high = np.searchsorted(points, values, side="right")
        found = np.clip((low + high) / 2, 0, POINTS - 1).astype(np.float32)
        found[np.isnan(values)] = np.nan
        return found
