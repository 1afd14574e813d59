"""Units as rows of whole numbers: sparse for hashed texts, dense for vectors.

A row x stands for real numbers on multiples of 2^-10 with L2 norm at most 1. Everything that is
computed from rows is a sum of products of whole numbers that float64 carries exactly, so neither
order nor chunks, threads or another machine's libraries change a bit (docs/design.md, "Integers").

Vectors of an institution's own tools as rows of whole numbers, each of length 1 at most.

A public hash of 64-bit integers, whole arrays at a time. It hides nothing and need not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

ROW_BITS: Final = 10  # entries are multiples of 2^-10
ROW_STEPS: Final = 1 << ROW_BITS
CHUNK_ROWS: Final = 1 << 12  # of 1,024 float64 entries: 32 MiB
MAX_COLUMNS: Final = 1 << 16

Entries = NDArray[np.int16]


class UnitRows(Protocol):
    """The rows of some units, in units of 2^-10."""

    @property
    def columns(self) -> int:
        """Length of a row."""
        ...

    def __len__(self) -> int:
        """Count the units."""
        ...

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """Return the rows where `mask` (bool (units,)) holds, in the same order."""
        ...

    def squared_norms(self) -> NDArray[np.int64]:
        """Return int64 (units,): |x|^2 in units of 2^-20, at most 2^20."""
        ...

    def chunks(self) -> Iterator[tuple[slice, Any]]:
        """Yield slices of units, each with a float64 matrix (units, columns) of whole numbers."""
        ...


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class SparseRows:
    """Rows that are mostly zero, in compressed form (CSR).

    Attributes:
        starts: int64 (units + 1,): where each row's entries begin.
        places: uint16 (entries,): the column of each.
        values: int16 (entries,): in units of 2^-10.
        columns: length of a row.
    """

    starts: NDArray[np.int64]
    places: NDArray[np.uint16]
    values: Entries
    columns: int

    @classmethod
    def empty(cls, columns: int) -> "SparseRows":
        """Return no rows."""
        return cls(np.zeros(1, np.int64), np.empty(0, np.uint16), np.empty(0, np.int16), columns)

    def __len__(self) -> int:
        """Count the units."""
        return len(self.starts) - 1

    def select(self, mask: NDArray[np.bool_]) -> "SparseRows":
        """Return the rows where `mask` (bool (units,)) holds, in the same order."""
        lengths = np.diff(self.starts)
        kept = np.repeat(mask, lengths)
        starts = np.concatenate([[0], np.cumsum(lengths[mask])]).astype(np.int64)
        return SparseRows(starts, self.places[kept], self.values[kept], self.columns)

    def squared_norms(self) -> NDArray[np.int64]:
        """Return int64 (units,): |x|^2 in units of 2^-20, at most 2^20."""
        squares = self.values.astype(np.int64) ** 2
        ends = np.concatenate([[0], np.cumsum(squares)])
        norms: NDArray[np.int64] = np.diff(ends[self.starts])
        return norms

    def chunks(self) -> Iterator[tuple[slice, Any]]:
        """Yield slices of units, each with a float64 CSR matrix of whole numbers."""
        from scipy.sparse import csr_array  # noqa: PLC0415 -- most that imports this reads none

        for start in range(0, len(self), CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, len(self))
            first, last = self.starts[start], self.starts[stop]
            parts = (
                self.values[first:last].astype(np.float64),
                self.places[first:last].astype(np.int32),
                self.starts[start : stop + 1] - first,
            )
            yield slice(start, stop), csr_array(parts, shape=(stop - start, self.columns))


@dataclass(frozen=True, eq=False, repr=False)
class DenseRows:
    """Rows of which any entry may count.

    Attributes:
        values: int16 (units, columns), in units of 2^-10.
    """

    values: Entries

    @classmethod
    def empty(cls, columns: int) -> "DenseRows":
        """Return no rows."""
        return cls(np.empty((0, columns), np.int16))

    @property
    def columns(self) -> int:
        """Length of a row."""
        return int(self.values.shape[1])

    def __len__(self) -> int:
        """Count the units."""
        return int(self.values.shape[0])

    def select(self, mask: NDArray[np.bool_]) -> "DenseRows":
        """Return the rows where `mask` (bool (units,)) holds, in the same order."""
        return DenseRows(np.ascontiguousarray(self.values[mask]))

    def squared_norms(self) -> NDArray[np.int64]:
        """Return int64 (units,): |x|^2 in units of 2^-20, at most 2^20."""
        norms = np.empty(len(self), dtype=np.int64)
        for part, chunk in self.chunks():
            norms[part] = (chunk * chunk).sum(axis=1).astype(np.int64)
        return norms

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield slices of units, each with a float64 matrix of whole numbers."""
        for start in range(0, len(self), CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, len(self))
            yield slice(start, stop), self.values[start:stop].astype(np.float64)


def joined(parts: Sequence[UnitRows]) -> UnitRows:
    """Return all rows of `parts`, in order; all are of one kind and length."""
    sparse_parts = [part for part in parts if isinstance(part, SparseRows)]
    if not sparse_parts:
        dense = [part.values for part in parts if isinstance(part, DenseRows)]
        return DenseRows(np.concatenate(dense))
    lengths = np.concatenate([np.diff(part.starts) for part in sparse_parts])
    return SparseRows(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([part.places for part in sparse_parts]),
        np.concatenate([part.values for part in sparse_parts]),
        sparse_parts[0].columns,
    )


# -- vectors --------------------------------------------------------------------------------------

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


# -- splitmix -------------------------------------------------------------------------------------

GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def splitmix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return uint64 (as `values`): splitmix64 of each (Steele, Lea, Flood 2014, figure 15)."""
    mixed = values + np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX[0])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX[1])
    return mixed ^ (mixed >> np.uint64(31))
