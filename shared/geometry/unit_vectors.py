"""Units as whole vectors x: the bias, then what a model multiplies with its weights.

A model whose score is linear in such vectors can learn in other coordinates. Entries are whole
numbers in units of 2^-bits, so that every product of them is exact in float64.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.basis import WEIGHT_BITS, WEIGHT_STEPS, Basis, EncodedUnits
from fieldfare.shared.features.rows import ROW_BITS, ROW_STEPS
from fieldfare.shared.models.additive import AdditiveModel, AdditiveSums
from fieldfare.shared.models.interface import RiskModel, UnitSums
from fieldfare.shared.models.linear import LinearModel, LinearSums, rows_of

CHUNK_ENTRIES: Final = 1 << 21  # of the units that are whole vectors at a time: 16 MiB

Whole = NDArray[np.int64]
Caps = NDArray[np.int32]


class UnitVectors(Protocol):
    """Where vectors of units come from; a closed list of two."""

    @property
    def bits(self) -> int:
        """Entries are multiples of 2^-bits."""
        ...

    @property
    def entries(self) -> int:
        """Length of a vector, the bias included."""
        ...

    @property
    def squared_norm(self) -> int:
        """What |x|^2 never exceeds, the bias included."""
        ...

    def columns(self, data: EncodedUnits) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield slices of units, each with float64 (entries, units): whole numbers."""
        ...

    def range_of(self, matrix: Whole) -> tuple[Whole, Whole]:
        """Return int64 (rows,) twice: no unit's matrix @ x is below the first or above the second.

        Args:
            matrix: int64 (rows, entries - 1), below 2^18 in size; x without the bias.
        """
        ...

    def sums(self, data: EncodedUnits, caps: Caps) -> UnitSums:
        """Return the units, each residual clipped to its cap (int32 (units,), units of 2^-20)."""
        ...


def chunk_units(entries: int) -> int:
    """Return of how many units vectors of that length are made at a time."""
    return max(1, min(1 << 13, CHUNK_ENTRIES // entries))


@dataclass(frozen=True)
class BasisVectors:
    """Units of the additive model: hat weights and levels, in units of 2^-8.

    Each feature adds a part of norm at most 1, whatever its value: hats that add up to 1, one
    special value, one level, or missing; of one curve, where it has a curve by level.

    Attributes:
        basis: with its knots.
    """

    basis: Basis
    bits: ClassVar[int] = WEIGHT_BITS

    @property
    def entries(self) -> int:
        """Length of a vector, the bias included."""
        return self.basis.entries

    @property
    def squared_norm(self) -> int:
        """The bias and each feature's part are of norm 1 at most: their number."""
        return 1 + len(self.basis.features)

    @cached_property
    def _tables(self) -> tuple[NDArray[np.float64], ...]:
        return tuple(np.ascontiguousarray(fold.T, np.float64) for fold in self.basis.folds)

    def columns(self, data: EncodedUnits) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield slices of units, each with float64 (entries, units): whole numbers."""
        step = chunk_units(self.entries)
        for start in range(0, len(data), step):
            chunk = data.positions[:, start : start + step]
            found = np.full((self.entries, chunk.shape[1]), float(WEIGHT_STEPS))
            for table, part, column in zip(self._tables, self.basis.slices(), chunk, strict=True):
                table.take(column.astype(np.intp), axis=1, out=found[part], mode="clip")
            yield slice(start, start + chunk.shape[1]), found

    def range_of(self, matrix: Whole) -> tuple[Whole, Whole]:
        """Return int64 (rows,) twice: each feature's weights add up to 1, so at the best slots."""
        low, high = (np.zeros(len(matrix), np.int64) for _ in range(2))
        for part in self.basis.slices():
            columns = matrix[:, slice(part.start - 1, part.stop - 1)]
            low += columns.min(axis=1)
            high += columns.max(axis=1)
        return low << WEIGHT_BITS, high << WEIGHT_BITS

    def sums(self, data: EncodedUnits, caps: Caps) -> UnitSums:
        """Return the units, each residual clipped to its cap."""
        return AdditiveSums(self.basis, data, caps)


@dataclass(frozen=True)
class RowVectors:
    """Units of the linear model: rows of length 1 at most, in units of 2^-10.

    Attributes:
        row_columns: length of a row.
    """

    row_columns: int
    bits: ClassVar[int] = ROW_BITS

    @property
    def entries(self) -> int:
        """Length of a vector, the bias included."""
        return 1 + self.row_columns

    @property
    def squared_norm(self) -> int:
        """The bias and the row are of norm 1 at most."""
        return 2

    def columns(self, data: EncodedUnits) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield slices of units, each with float64 (entries, units): whole numbers."""
        step = chunk_units(self.entries)
        for part, chunk in rows_of(data, self.row_columns).chunks():
            for first in range(0, chunk.shape[0], step):
                some = chunk[first : first + step]
                dense = some if isinstance(some, np.ndarray) else some.toarray()
                bias = np.full((1, len(dense)), float(ROW_STEPS))
                start = part.start + first
                yield slice(start, start + len(dense)), np.concatenate([bias, dense.T])

    def range_of(self, matrix: Whole) -> tuple[Whole, Whole]:
        """Return int64 (rows,) twice, by Cauchy-Schwarz."""
        squares = (matrix * matrix).sum(axis=1)
        high = np.array([math.isqrt(int(one)) + 1 for one in squares], np.int64) << ROW_BITS
        return -high, high

    def sums(self, data: EncodedUnits, caps: Caps) -> UnitSums:
        """Return the units, each residual clipped to its cap."""
        return LinearSums(rows_of(data, self.row_columns), data.labels, caps)


def unit_vectors(model: RiskModel, parameters: NDArray[np.float64] | None = None) -> UnitVectors:
    """Return the vectors that a model's scores are linear in.

    Args:
        model: additive or linear.
        parameters: that end with knots, where features ask for theirs.

    Raises:
        StudyError: a network: its scores are not linear in anything that is known beforehand.
        ProtocolError: parameters that do not end with knots of these features.
    """
    if isinstance(model, AdditiveModel):
        basis = model.basis
        return BasisVectors(basis if parameters is None else basis.with_knots_in(parameters))
    if isinstance(model, LinearModel):
        return RowVectors(model.columns)
    raise StudyError("expected an additive or linear model for other coordinates, found a network")
