"""Moments of units as sums that can be released: of x, or of x x^T.

First moments are the sum of x. Second moments are the plain upper triangle of the sum of x x^T,
row by row, whose first row is the first moments: the bias is 1, so their first entry is a count.
Off-diagonal entries stand there once and without a factor sqrt(2), which no grid holds.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.geometry.unit_vectors import UnitVectors
from fieldfare.shared.models.clipping import CLIPPING_BITS
from fieldfare.shared.models.interface import GridVectors

FIRST_BITS: Final = 16  # first moments too use a fine grid (docs/design.md, "Integers")


def first_moment_vectors(vectors: UnitVectors) -> GridVectors:
    """Return the facts of first moments: C = sqrt(F), rounded up to 2^-10, F = max |x|^2.

    Formal Guarantees:
        |x|^2 <= F for every unit, on multiples of 2^-16 exactly: no rounding term.
    """
    return GridVectors(
        entries=vectors.entries,
        clipping_norm=_root_up(vectors.squared_norm, 1),
        gamma_bits=FIRST_BITS,
        rounded_entries=0,
    )


def moment_vectors(vectors: UnitVectors) -> GridVectors:
    """Return the facts of second moments: C = sqrt(F (F + 1) / 2), rounded up to 2^-10.

    Formal Guarantees:
        The upper triangle of x x^T has squared norm (|x|^4 + sum of x_i^4) / 2. Entries of x are
        at most 1 in size, so sum x_i^4 <= |x|^2 <= F and the whole is at most F (F + 1) / 2.
        Products are multiples of 2^-16 (of the additive model; 2^-20 of rows) exactly: no
        rounding term.

    Edge cases:
        | unit | its norm |
        |---|---|
        | every feature on a knot, a special value, a level or missing | reaches it |
        | between knots, or a feature that adds nothing | below it |
    """
    squared_norm = vectors.squared_norm
    return GridVectors(
        entries=vectors.entries * (vectors.entries + 1) // 2,
        clipping_norm=_root_up(squared_norm * (squared_norm + 1), 2),
        gamma_bits=2 * vectors.bits,
        rounded_entries=0,
    )


def _root_up(above: int, below: int) -> float:
    """Return sqrt(above / below), rounded up to a multiple of 2^-10; the division comes out."""
    square = (above << (2 * CLIPPING_BITS)) // below
    root = math.isqrt(square)
    return math.ldexp(root + (root * root < square), -CLIPPING_BITS)


def first_moment_sum(vectors: UnitVectors, data: EncodedUnits) -> NDArray[np.int64]:
    """Return int64 (entries,): the sum of x over units, in units of 2^-16.

    Formal Guarantees:
        Adding or removing one unit moves it by at most C * 2^16 in L2 (`first_moment_vectors`),
        exactly: sums of whole numbers below 2^53, for up to 2^37 units (2^33 rows).

    Edge cases:
        | input | result |
        |---|---|
        | no units | zeros |
        | one class | as any other: labels are not read |
    """
    total = np.zeros(vectors.entries)
    for _, columns in vectors.columns(data):
        total += columns.sum(axis=1)
    return total.astype(np.int64) << (FIRST_BITS - vectors.bits)


def moment_sum(vectors: UnitVectors, data: EncodedUnits) -> NDArray[np.int64]:
    """Return int64 (entries (entries + 1) / 2,): the sum of x x^T, upper triangle, row by row.

    In units of 2^-16 (of rows 2^-20). Seconds at 1,000,000 units of 400 entries.

    Formal Guarantees:
        Adding or removing one unit moves it by at most C in L2 (`moment_vectors`), exactly.
        Every partial sum of products is a whole number below 2^53 (2^37 units; 2^33 rows), so
        chunks, threads, order and the library that multiplies change no bit.

    Edge cases:
        | input | result |
        |---|---|
        | no units | zeros |
        | one class | as any other: labels are not read |

    Source: sums of bounded second moments, Dwork-Talwar-Thakurta-Zhang 2014, section 3.
    """
    entries = vectors.entries
    total = np.zeros((entries, entries))
    for _, columns in vectors.columns(data):
        total += columns @ columns.T
    return total[np.triu_indices(entries)].astype(np.int64)
