"""Vectors of an institution's own tools as rows of whole numbers, each of length 1 at most."""

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.rows import ROW_BITS, DenseRows

FINE_BITS = 20  # of the largest entry, before a vector is scaled to length 1


def unit_rows(values: NDArray[np.float64]) -> DenseRows:
    """Scale every vector to length 1, on multiples of 2^-10, towards zero.

    Whole numbers from the first rounding on: entries are read to 2^-20 of the largest, the
    length is the whole square root above, and quotients are cut off. So |x|^2 <= 2^20 holds
    exactly, and a row depends on its own vector alone, bit for bit.

    Args:
        values: float64 (units, entries), finite; at most 1,024 entries.

    Edge cases:
        | vector | row |
        |---|---|
        | zeros | zeros: the unit counts, with the bias alone |
        | any positive multiple of another (away from rounding) | the same row |
        | entries below 2^-20 of the largest | count as 0 |
    """
    largest = np.abs(values).max(axis=1, initial=0.0)
    divisor = np.where(largest > 0, largest, 1.0)[:, None]
    steps = np.rint(values / divisor * (1 << FINE_BITS)).astype(np.int64)
    squares = (steps * steps).sum(axis=1)
    lengths = np.floor(np.sqrt(squares.astype(np.float64))).astype(np.int64)
    lengths += lengths * lengths < squares
    entries = (np.abs(steps) << ROW_BITS) // np.maximum(lengths, 1)[:, None]
    return DenseRows((np.sign(steps) * entries).astype(np.int16))
