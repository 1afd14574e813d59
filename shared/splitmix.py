"""A public hash of 64-bit integers, whole arrays at a time. It hides nothing and need not."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def splitmix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return uint64 (as `values`): splitmix64 of each (Steele, Lea, Flood 2014, figure 15)."""
    mixed = values + np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX[0])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX[1])
    return mixed ^ (mixed >> np.uint64(31))
