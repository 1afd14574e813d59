"""From released moments to coordinates: a centre, and the Cholesky factor of the spread.

Every operation here is elementwise and in a fixed order, each rounded by itself as IEEE 754 says:
no matrix product, no pairwise sum, nothing whose bits depend on how a library was built.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.geometry.geometry import MATRIX_BITS, NORM_BITS, Geometry, Vector
from fieldfare.shared.geometry.unit_vectors import UnitVectors, Whole

STRENGTH: Final = 2.0  # lambda in operator norms of the noise
LEAST_LAMBDA: Final = 2.0**-20
MOST_DOUBLINGS: Final = 128
CENTRE_SHARE: Final = 0.8  # of the mean, where only first moments were released
LEAST_SHARE: Final = 4  # a released count below a quarter of the public one is noise

Matrix = NDArray[np.float64]


def released_count(moments: Vector, units: int) -> int:
    """Return N: the released count, rounded down; a quarter of the public one where it is below.

    Args:
        moments: float64, decoded; the first entry is the count.
        units: the public number of training units.
    """
    return max(1, math.floor(float(moments[0])), units // LEAST_SHARE)


def centred_from(vectors: UnitVectors, moments: Vector, *, units: int) -> Geometry:
    """Return coordinates with another origin only: x - .8 m, where the mean is all that is known.

    Args:
        vectors: of the units.
        moments: float64 (entries,), decoded first moments.
        units: the public number of training units.

    Raises:
        ProtocolError: another number of moments, or moments that are not finite.
    """
    _check(moments, vectors.entries)
    mean = moments[1:] / released_count(moments, units)
    found = Geometry(vectors.bits, _on_grid(mean * CENTRE_SHARE, vectors.bits))
    found.check_reach(vectors)
    return found


def whitened_from(
    vectors: UnitVectors,
    moments: Vector,
    *,
    sigma: float,
    units: int,
    fraction_bits: int,
    strength: float = STRENGTH,
) -> Geometry:
    """Return the coordinates in which the released spread is about the identity.

    A is the inverse of L, L L^T = S + lambda I, S the released covariance; lambda = strength
    times the operator norm of the noise in S, 2 sigma sqrt(D) / N. It doubles until every pivot
    is at least lambda / 2, every entry of A below 2^6, and no unit's squared norm leaves 63 bits.

    Args:
        vectors: of the units.
        moments: float64 (entries (entries + 1) / 2,), decoded second moments.
        sigma: of the noise on that sum.
        units: the public number of training units.
        fraction_bits: f, from public numbers (`fraction_bits_for`).
        strength: k.

    Formal Guarantees:
        A function of a released sum and of public numbers only: post-processing. The same bits
        on every machine whose + - * / sqrt round as IEEE 754 says.

    Edge cases:
        | moments | result |
        |---|---|
        | a count that noise made small or negative | a quarter of the public one |
        | a covariance that noise made indefinite | lambda doubles until it is not |
        | no noise | lambda is 2^-20 at least, and A below 2^6 |

    Raises:
        ProtocolError: another number of moments, moments that are not finite, or such as no
            doubling mends.

    Source: operator norm of a symmetric matrix with independent entries, Tropp 2015, section 4.2;
    Cholesky as in Golub-Van Loan 2013, algorithm 4.2.2.
    """
    entries = vectors.entries
    _check(moments, entries * (entries + 1) // 2)
    count = released_count(moments, units)
    mean = moments[1:entries] / count
    spread = _covariance(moments, entries, count, mean)
    noise = 2.0 * sigma * math.sqrt(entries) / count
    centre, lam = _on_grid(mean, vectors.bits), max(LEAST_LAMBDA, strength * noise)
    for _ in range(MOST_DOUBLINGS):
        matrix = _whole_inverse(spread, lam, fraction_bits)
        if matrix is not None:
            found = Geometry(vectors.bits, centre, fraction_bits, matrix)
            if found.reach(vectors) < 1 << NORM_BITS:
                return found
        lam *= 2.0
    raise ProtocolError("expected moments of some units, found such as no ridge makes a spread of")


def _check(moments: Vector, entries: int) -> None:
    if moments.shape != (entries,) or not np.isfinite(moments).all():
        raise ProtocolError(f"expected {entries} finite moments, found {moments.shape} or others")


def _on_grid(mean: Vector, bits: int) -> Whole:
    return np.rint(np.ldexp(np.clip(mean, -1.0, 1.0), bits)).astype(np.int64)


def _covariance(moments: Vector, entries: int, count: int, mean: Vector) -> Matrix:
    """Return float64 (entries - 1, entries - 1): the lower triangle counts."""
    square = np.zeros((entries, entries))
    square[np.triu_indices(entries)] = moments
    lower = np.ascontiguousarray(square[1:, 1:].T)
    found: Matrix = lower / count - mean[:, None] * mean[None, :]
    return found


def _whole_inverse(spread: Matrix, lam: float, fraction_bits: int) -> Whole | None:
    """Return A on 2^-f; None where a pivot is below lambda / 2 or an entry reaches 2^6."""
    factor = _cholesky(spread, lam)
    if factor is None:
        return None
    inverse = np.ldexp(_lower_inverse(factor), fraction_bits)
    rounded = np.rint(inverse)
    if not (np.abs(rounded) < 1 << (MATRIX_BITS + fraction_bits)).all():
        return None
    return rounded.astype(np.int64)


def _cholesky(spread: Matrix, lam: float) -> Matrix | None:
    """Return L of spread + lam I, column after column; None where a pivot is below lam / 2."""
    left = spread + np.diag(np.full(len(spread), lam))
    for column in range(len(left)):
        pivot = left[column, column]
        if not pivot >= lam / 2.0:
            return None
        left[column:, column] /= np.sqrt(pivot)
        below = left[column + 1 :, column]
        left[column + 1 :, column + 1 :] -= below[:, None] * below[None, :]
    return np.tril(left)


def _lower_inverse(factor: Matrix) -> Matrix:
    """Return the inverse of a lower triangular matrix, row after row."""
    found = np.eye(len(factor))
    for row in range(len(factor)):
        last = row + 1
        found[row, :last] /= factor[row, row]
        found[last:, :last] -= factor[last:, row, None] * found[None, row, :last]
    return found
