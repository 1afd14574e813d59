"""Where groups are counted: the cells that one unit adds to, and the sum over all units.

For each grouping of the study a unit marks one cell out of level x label x alert or not, with
the weight W. With G groupings its vector has norm sqrt(G) W <= 1 = C.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.features import GroupColumn

WEIGHT_BITS: Final = 20  # grid of the vector: gamma = 2^-20 of C = 1
CELLS: Final = 4  # of one level: label 0 or 1, alert or not

Counts = NDArray[np.float64]


def group_entries(groups: Sequence[GroupColumn]) -> int:
    """Return the length of a unit's vector."""
    return sum(CELLS * len(group.names) for group in groups)


def group_weight(groups: Sequence[GroupColumn]) -> int:
    """Return W in grid steps: the addition of a unit to one cell of every grouping.

    Formal Guarantees:
        G * W^2 <= 4^WEIGHT_BITS in whole numbers, so a unit's vector has norm at most C = 1.
    """
    return math.isqrt(4**WEIGHT_BITS // max(1, len(groups)))


def group_scale(groups: Sequence[GroupColumn]) -> float:
    """Return W in the vector's own unit: divide a sum or a sigma by it to get units."""
    return math.ldexp(group_weight(groups), -WEIGHT_BITS)


def group_parts(groups: Sequence[GroupColumn]) -> tuple[slice, ...]:
    """Return where each grouping's cells are: by level, then label, then alert or not."""
    parts, start = [], 0
    for group in groups:
        stop = start + CELLS * len(group.names)
        parts.append(slice(start, stop))
        start = stop
    return tuple(parts)


def count_groups(
    groups: Sequence[GroupColumn],
    codes: Mapping[str, NDArray[np.int32]],
    labels: NDArray[np.uint8],
    alerts: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Count units by group, label and alert or not, in units of 2^-20.

    Args:
        groups: of the study.
        codes: int32 (units,) by column: the level's index; from the number of levels on: the rest.
        labels: uint8 (units,), 0 or 1.
        alerts: bool (units,).

    Returns:
        int64 (entries,).

    Formal Guarantees:
        Each unit adds W to exactly one cell of each of G groupings, whatever it holds, and
        nothing else depends on it: adding or removing it moves the sum by sqrt(G) W <= C = 1.

    Edge cases:
        | unit | what it adds |
        |---|---|
        | a level that the study does not declare, or none | W to the rest |
        | no units at all | zeros |
    """
    weight, cell = group_weight(groups), 2 * labels.astype(np.int64) + alerts
    counted = []
    for group in groups:
        levels = np.clip(codes[group.column].astype(np.int64), 0, len(group.levels))
        cells = CELLS * len(group.names)
        counted.append(np.bincount(CELLS * levels + cell, minlength=cells).astype(np.int64))
    if not counted:
        return np.zeros(0, dtype=np.int64)
    return np.concatenate(counted) * weight
