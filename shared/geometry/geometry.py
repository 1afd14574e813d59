"""Coordinates in which a model learns: z = A (x - m), on whole numbers.

m lies on the grid of x (multiples of 2^-bits) and A, lower triangular, on multiples of 2^-f. Both
are public before any unit is clipped, so any m and A are as private as any other, also crafted
ones: a unit's norm is taken in these coordinates. Everybody who has the same released moments has
the same m and A, bit for bit: + - * / sqrt, each rounded by itself, in a fixed order, and no
library of linear algebra.
"""

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.basis import WEIGHT_BITS
from fieldfare.shared.geometry.unit_vectors import UnitVectors, Whole
from fieldfare.shared.models.clipping import RESIDUAL_BITS

MAGIC: Final = b"fieldfare.geometry/1\x00"
HEADER: Final = struct.Struct("<BBBI")  # bits, f, whether A is there, entries without the bias
MOST_BITS: Final = 10  # of the grid of x
MOST_FRACTION_BITS: Final = 12  # f of the additive model: sums lie on 2^-40 at the finest
MOST_ENTRIES: Final = 1 << 12  # of a matrix; without one a vector may be as long as any
MATRIX_BITS: Final = 6  # |A_ij| < 2^6
NORM_BITS: Final = 63  # squared norms in units of 2^-2(bits + f) stay below 2^63
SUM_BITS: Final = 61  # 4 N C in units of 2^-(20 + bits + f) stays within 2^61

Vector = NDArray[np.float64]


def fraction_bits_for(vectors: UnitVectors, units: int, clipping_norm: float) -> int:
    """Return f: the finest grid of A on which sums over a public number of units fit 64 bits.

    min(12, 61 - 28 - ceil log2(4 N C)) for the additive model; of rows, whose grid is finer by 2
    bits, 2 less. At C = .25 that is 12 up to 2 million units and 9 at 10 million.

    Args:
        vectors: of the units.
        units: the public number of training units.
        clipping_norm: C.

    Raises:
        ProtocolError: not even f = 0 fits.
    """
    needed = math.ceil(math.log2(max(1.0, 4.0 * units * clipping_norm)))
    found = min(MOST_FRACTION_BITS + WEIGHT_BITS, SUM_BITS - RESIDUAL_BITS - needed) - vectors.bits
    if found < 0:
        raise ProtocolError(f"expected sums below 2^{SUM_BITS}, found {units} units: split them")
    return found


@dataclass(frozen=True, eq=False)
class Geometry:
    """A centre and a matrix, both whole numbers.

    Attributes:
        bits: m lies on multiples of 2^-bits, as x does.
        mean: int64 (entries - 1,): m, within +-1.
        fraction_bits: f.
        matrix: int64 (entries - 1, entries - 1): A in units of 2^-f, lower triangular, within
            +-2^6; None: A is the identity, and f is 0.

    Raises:
        ProtocolError: at construction, anything else.
    """

    bits: int
    mean: Whole
    fraction_bits: int = 0
    matrix: Whole | None = None

    def __post_init__(self) -> None:
        """Refuse what no honest run has."""
        _expect(1 <= self.bits <= MOST_BITS, "a grid of 2^-1 to 2^-10")
        _expect(self.mean.dtype == np.int64 and self.mean.ndim == 1, "a centre of whole numbers")
        _expect(bool((np.abs(self.mean) <= 1 << self.bits).all()), "a centre within +-1")
        _expect(0 <= self.fraction_bits <= MOST_FRACTION_BITS, "f of 0 to 12")
        if self.matrix is None:
            _expect(self.fraction_bits == 0, "f = 0 without a matrix")
            return
        entries, limit = len(self.mean), 1 << (MATRIX_BITS + self.fraction_bits)
        _expect(self.matrix.dtype == np.int64, "a matrix of whole numbers")
        _expect(entries <= MOST_ENTRIES, f"at most {MOST_ENTRIES} entries")
        _expect(self.matrix.shape == (entries, entries), "a square matrix of the centre's length")
        _expect(bool((np.abs(self.matrix) < limit).all()), "a matrix within +-2^6")
        _expect(not np.triu(self.matrix, 1).any(), "a lower triangular matrix")

    @property
    def gamma_bits(self) -> int:
        """Sums of gradients in these coordinates lie on multiples of 2^-gamma_bits."""
        return RESIDUAL_BITS + self.bits + self.fraction_bits

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: one geometry has one form."""
        packed = b""
        if self.matrix is not None:
            packed = self.matrix[np.tril_indices(len(self.mean))].astype("<i4").tobytes()
        header = (self.bits, self.fraction_bits, self.matrix is not None, len(self.mean))
        return MAGIC + HEADER.pack(*header) + self.mean.astype("<i2").tobytes() + packed

    @classmethod
    def from_bytes(cls, content: bytes) -> "Geometry":
        """Parse what `to_bytes` wrote.

        Raises:
            ProtocolError: anything else; nothing is allocated that the length does not bear out.
        """
        start = len(MAGIC) + HEADER.size
        _expect(content[: len(MAGIC)] == MAGIC and len(content) >= start, "a geometry's bytes")
        bits, fraction, has_matrix, entries = HEADER.unpack_from(content, len(MAGIC))
        packed = entries * (entries + 1) // 2 if has_matrix else 0
        _expect(has_matrix <= 1, "0 or 1 for whether a matrix is there")
        _expect(len(content) == start + 2 * entries + 4 * packed, "bytes of the stated length")
        mean = np.frombuffer(content, "<i2", entries, start).astype(np.int64)
        if not has_matrix:
            return cls(bits, mean, fraction)
        _expect(entries <= MOST_ENTRIES, f"at most {MOST_ENTRIES} entries")
        matrix = np.zeros((entries, entries), np.int64)
        values = np.frombuffer(content, "<i4", packed, start + 2 * entries)
        matrix[np.tril_indices(entries)] = values
        return cls(bits, mean, fraction, matrix)

    @cached_property
    def hash(self) -> str:
        """Lower-case hex SHA-256 of the bytes: what a request names."""
        return bytes_hash(self.to_bytes())

    @cached_property
    def _scaled(self) -> Vector | None:
        if self.matrix is None:
            return None
        return np.ldexp(self.matrix.astype(np.float64), -self.fraction_bits)

    def plain(self, parameters: Vector) -> Vector:
        """Return float64 (as given): parameters in these coordinates as weights of x.

        Score = b + u . A (x - m) = (b - w . m) + w . x with w = A^T u, row after row of A and
        entry after entry of m, so that every party gets the same bits. What follows the entries
        (knots that were asked for) stays as it is.
        """
        last = 1 + len(self.mean)
        weights = parameters[1:last].copy()
        if self._scaled is not None:
            weights = np.zeros(len(self.mean))
            for count, (row, value) in enumerate(
                zip(self._scaled, parameters[1:last], strict=True), start=1
            ):
                weights[:count] += row[:count] * value
        bias = float(parameters[0])
        for weight, middle in zip(weights.tolist(), self.mean.tolist(), strict=True):
            bias -= weight * math.ldexp(middle, -self.bits)
        return np.concatenate([[bias], weights, parameters[last:]])

    def turned(self, total: Whole) -> Whole:
        """Return int64 (entries,): a sum of residual * x in these coordinates.

        Args:
            total: int64 (entries,): [sum r, sum r x] in units of 2^-(20 + bits).

        Returns:
            [sum r, A (sum r x - m sum r)] in units of 2^-gamma_bits. Exact modulo 2^64: what
            wraps on the way does no harm where the result fits (`fraction_bits_for`).
        """
        centred = total[1:] - self.mean * (total[0] >> self.bits)
        if self.matrix is not None:
            centred = self.matrix @ centred
        return np.concatenate([total[:1] << self.fraction_bits, centred])

    def turned_plain(self, total: Vector) -> Vector:
        """Return float64 (entries,): the same of a sum in its own unit (baselines only)."""
        centred = total[1:] - np.ldexp(self.mean.astype(np.float64), -self.bits) * total[0]
        if self._scaled is not None:
            centred = self._scaled @ centred
        return np.concatenate([total[:1], centred])

    def squared_norms(self, columns: Vector) -> Whole:
        """Return int64 (units,): 1 + |A (x - m)|^2 in units of 2^-2(bits + f), exact.

        Args:
            columns: float64 (entries, units), whole numbers in units of 2^-bits.
        """
        centred = columns[1:] - self.mean[:, None]
        norms = np.full(columns.shape[1], 1 << (2 * (self.bits + self.fraction_bits)), np.int64)
        for rows in _blocks(len(self.mean)):
            part = centred[rows]
            if self.matrix is not None:  # whole numbers below 2^53 in float64: any order is exact
                part = self.matrix[rows, : rows.stop].astype(np.float64) @ centred[: rows.stop]
            whole = part.astype(np.int64)
            norms += (whole * whole).sum(axis=0)
        return norms

    def check_reach(self, vectors: UnitVectors) -> None:
        """Check that no unit's squared norm leaves 63 bits, whatever the unit.

        Raises:
            ProtocolError: another length or grid than these vectors', or norms that may overflow.
        """
        _expect(self.bits == vectors.bits, f"a centre on 2^-{vectors.bits}")
        _expect(len(self.mean) == vectors.entries - 1, f"{vectors.entries - 1} entries")
        _expect(self.reach(vectors) < 1 << NORM_BITS, "squared norms below 2^63")

    def reach(self, vectors: UnitVectors) -> int:
        """Return what no unit's squared norm exceeds, in units of 2^-2(bits + f)."""
        bias = 1 << (2 * (self.bits + self.fraction_bits))
        if self.matrix is None:  # |x - m| <= |x| + |m|, and (a + b)^2 <= 2 a^2 + 2 b^2
            squares = vectors.squared_norm << (2 * self.bits)
            return bias + 2 * (squares + int((self.mean * self.mean).sum()))
        low, high = vectors.range_of(self.matrix)
        middle = self.matrix @ self.mean
        furthest = np.maximum(np.abs(low - middle), np.abs(high - middle))
        return bias + sum(int(one) ** 2 for one in furthest)


def _blocks(entries: int, size: int = 64) -> list[slice]:
    """Return slices of rows: of a lower triangular matrix, each has its own columns only."""
    return [slice(start, min(entries, start + size)) for start in range(0, entries, size)]


def _expect(holds: bool, expected: str) -> None:
    if not holds:
        raise ProtocolError(f"geometry: expected {expected}, found other values: ask who sent them")
