"""Who comes first among units of one score: dealt once, the same for every model."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_TIES: Final = 2**19  # of dealing ties; far from seeds of resamples


def highest_first(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return int64 (units,): places of units, highest first, ties as dealt once for all models.

    As they stand they would say who is a case, in a file that lists cases first.
    """
    return np.lexsort((dealt_ties(len(scores)), -scores))


def dealt_ties(units: int) -> NDArray[np.int64]:
    """Return int64 (units,): who comes first among equals, the same at every call."""
    return np.random.default_rng(_TIES).permutation(units)
