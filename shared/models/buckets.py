"""Buckets of units: which floating-point sums are rounded together, by a hash of each unit's id.

A sum of floating-point numbers depends on its order, so removing one unit could move every later
digit. Units are therefore summed in buckets of at most 128, each rounded to whole steps of the
grid; a unit can disturb only its own bucket (docs/design.md, "Sums of modules").
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError

CAPACITY: Final = 128  # units of a bucket
HASH_BITS: Final = 64
TOUCHED: Final = 3  # buckets that one unit can change, at most


def buckets_of(order: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Return the units of each bucket: leaves of the tree of hashes, split while too full.

    Args:
        order: uint64 (units,), a hash of each unit's id.

    Returns:
        int64 arrays of places, each of 1 to 128 units; together every unit once.

    Formal Guarantees:
        Adding or removing one unit changes its own leaf, and joins or splits at most that leaf
        and its neighbour: with and without the unit, at most three buckets differ. On the way
        from the root to the leaf a node is split with the unit and not without it only if it
        holds exactly 129 with it; below the first such node all 129 go one way, to the last,
        which parts them into two. All other leaves hold the same units.

    Edge cases:
        | input | result |
        |---|---|
        | no units | no buckets |
        | more than 128 units of one hash | refused when records are loaded: one id, many units |

    Raises:
        RecordsError: more than 128 units have one hash.
    """
    sorting = np.argsort(order, kind="stable")
    ordered = order[sorting]
    found: list[NDArray[np.int64]] = []
    waiting = [(0, len(ordered), HASH_BITS)]
    while waiting:
        start, stop, bits = waiting.pop()
        if stop - start <= CAPACITY:
            if stop > start:
                found.append(sorting[start:stop])
            continue
        if bits == 0:
            raise RecordsError(
                f"expected at most {CAPACITY} units of one hash, found {stop - start}: give units "
                "ids of their own"
            )
        half = 1 << (bits - 1)
        prefix = int(ordered[start]) >> bits << bits
        middle = start + int(np.searchsorted(ordered[start:stop], np.uint64(prefix + half)))
        waiting += [(middle, stop, bits - 1), (start, middle, bits - 1)]
    return found
