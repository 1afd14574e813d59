"""A network's inputs: hat weights of units as dense numbers, in chunks of one shape.

Every chunk has the same shape; places without a unit are padding. Then the same instructions
compute every unit, and a unit's numbers depend on no other unit.

Buckets of units: which floating-point sums are rounded together, by a hash of each unit's id.

A sum of floating-point numbers depends on its order, so removing one unit could move every later
digit. Units are therefore summed in buckets of at most 128, each rounded to whole steps of the
grid; a unit can disturb only its own bucket (docs/design.md, "Sums of modules").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import WEIGHT_STEPS, Basis, EncodedUnits, Positions
from fieldfare.shared.models.network_facts import CAPACITY, slot_count

HASH_BITS: Final = 64


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


# -- unit inputs ----------------------------------------------------------------------------------

CHUNK_ROWS: Final = 1 << 12
EFFECT_BITS: Final = 20  # of what a slot adds, on cards and in pictures
ALIGNED: Final = 16  # numbers: a whole vector register of any processor


@dataclass(frozen=True)
class Inputs:
    """How units are laid out for a network.

    Attributes:
        basis: of the study's features.
        rows: R, places for rows of a unit.
        double: compute in float64 also where a unit has one row.
    """

    basis: Basis
    rows: int
    double: bool = False

    @property
    def count(self) -> int:
        """How many numbers a row has: every slot of every feature."""
        return slot_count(self.basis)

    @property
    def width(self) -> int:
        """The same with a constant 1 behind them, and zeros up to whole registers."""
        return -(-(self.count + 1) // ALIGNED) * ALIGNED

    @property
    def units(self) -> int:
        """Places for units in a chunk."""
        return max(CAPACITY, CHUNK_ROWS // self.rows // CAPACITY * CAPACITY)

    @property
    def dtype(self) -> torch.dtype:
        """Of all sums: several rows of a unit may cancel, which float32 does not bear."""
        return torch.float32 if self.rows == 1 and not self.double else torch.float64

    def filled(self, positions: Positions) -> NDArray[np.int16]:
        """Return int16 (rows, width), in units of 2^-8."""
        found = np.zeros((positions.shape[1], self.width), dtype=np.int16)
        parts = zip(self.basis.slices(), self.basis.folds, positions, strict=True)
        for part, fold, column in parts:
            found[:, part.start - 1 : part.stop - 1] = fold.astype(np.int16).take(column, axis=0)
        found[:, self.count] = WEIGHT_STEPS
        return found

    def lengths(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (rows,), squared norms of rows with their constant 1."""
        found = np.ones(positions.shape[1])
        for norm, column in zip(self.basis.norms, positions, strict=True):
            found += norm.take(column) / WEIGHT_STEPS**2
        return found


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class Chunk:
    """Units of one or more buckets, and padding.

    Attributes:
        inputs: (units, rows, width); zeros where no row is.
        weights: (units, rows): one by the number of a unit's rows; zero where no row is.
        labels: (units,), 0 or 1.
        places: int64 (some,): which units the first places hold.
        lengths: (units * rows,), squared norms of inputs, the constant 1 included.
        buckets: slices of places.
    """

    inputs: Tensor
    weights: Tensor
    labels: Tensor
    places: NDArray[np.int64]
    lengths: Tensor
    buckets: tuple[slice, ...]


class UnitInputs:
    """Units of one institution, laid out once for many steps."""

    def __init__(self, layout: Inputs, data: EncodedUnits) -> None:
        """Lay out.

        Raises:
            RecordsError: units without a hash of their ids, or not as many rows as fit.
        """
        if data.order is None:
            raise RecordsError("expected a hash of each unit's id for buckets, found none")
        self._layout = layout
        buckets = buckets_of(data.order)
        self._chunks = list(_packed([len(bucket) for bucket in buckets], layout.units))
        # In the order of buckets, so that a chunk is one run of rows.
        self._order = np.concatenate([np.empty(0, np.int64), *buckets])
        starts, positions = tables_of(layout, data)
        self._counts = np.diff(starts)[self._order]
        self._ends = np.concatenate([[0], np.cumsum(self._counts)])
        self._labels = data.labels[self._order].astype(np.float64)
        ordered = positions[:, runs(starts[self._order], self._counts)]
        self._filled, self._lengths = layout.filled(ordered), layout.lengths(ordered)

    @cached_property
    def _held(self) -> Tensor:
        """Room for one chunk, made once: memory that is asked for anew costs as much as a sum."""
        layout = self._layout
        return torch.zeros((layout.units * layout.rows, layout.width), dtype=layout.dtype)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all units, bucket by bucket; a chunk's inputs are overwritten by the next one's."""
        start, held = 0, self._held
        for buckets in self._chunks:
            yield self._chunk(start, buckets, held)
            start += sum(buckets)

    def _chunk(self, start: int, buckets: list[int], inputs: Tensor) -> Chunk:
        layout, stop = self._layout, start + sum(buckets)
        counts, read = self._counts[start:stop], slice(self._ends[start], self._ends[stop])
        places = runs(np.arange(len(counts)) * layout.rows, counts)
        shape = (layout.units, layout.rows)
        rows = torch.from_numpy(self._filled[read])
        if layout.rows == 1 and len(places) == len(counts):
            inputs[: len(rows)] = rows
            inputs[len(rows) :] = 0.0
        else:
            inputs.zero_()
            inputs[torch.from_numpy(places)] = rows.to(layout.dtype)
        weights, labels = np.zeros(layout.units * layout.rows), np.zeros(layout.units)
        lengths = np.zeros(layout.units * layout.rows)
        weights[places] = np.repeat(1.0 / np.maximum(counts, 1), counts)
        lengths[places] = self._lengths[read]
        labels[: len(counts)] = self._labels[start:stop]
        ends = np.cumsum([0, *buckets]).tolist()
        return Chunk(
            inputs.mul_(1.0 / WEIGHT_STEPS).reshape(*shape, layout.width),
            torch.from_numpy(weights).to(layout.dtype).reshape(shape),
            torch.from_numpy(labels).to(layout.dtype),
            self._order[start:stop],
            torch.from_numpy(lengths).to(layout.dtype),
            tuple(slice(first, last) for first, last in pairwise(ends)),
        )


def runs(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 (rows,): runs of `counts` places that begin at `starts`, one by one."""
    before = np.cumsum(counts) - counts
    found: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    return found


def tables_of(layout: Inputs, data: EncodedUnits) -> tuple[NDArray[np.int64], Positions]:
    """Return int64 (units + 1,), where each unit's rows begin, and uint16 (features, rows).

    Raises:
        RecordsError: a unit with more rows than the layout has places for.
    """
    if data.tables is None:
        return np.arange(len(data) + 1), data.positions
    most = int(data.tables.counts.max(initial=0))
    if most > layout.rows:
        raise RecordsError(f"expected at most {layout.rows} rows of a unit, found {most}")
    return data.tables.starts, data.tables.positions


def _packed(buckets: list[int], places: int) -> Iterator[list[int]]:
    """Yield sizes of buckets that fit one chunk together."""
    held: list[int] = []
    for bucket in buckets:
        if sum(held) + bucket > places:
            yield held
            held = []
        held.append(bucket)
    if held:
        yield held


def rows_at(
    layout: Inputs, data: EncodedUnits, places: NDArray[np.int64]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return int16 (rows, width) in units of 2^-8, unit by unit, and how many each has."""
    starts, positions = tables_of(layout, data)
    counts = np.diff(starts)[places]
    return layout.filled(positions[:, runs(starts[places], counts)]), counts


def average_row(layout: Inputs, data: EncodedUnits) -> NDArray[np.float64]:
    """Return float64 (width,): the mean of units' mean rows; of nobody only the constant."""
    starts, positions = tables_of(layout, data)
    counts = np.diff(starts)
    weights = np.repeat(1.0 / np.maximum(counts, 1), counts)
    average, units = np.zeros(layout.width), max(int((counts > 0).sum()), 1)
    parts = zip(layout.basis.slices(), layout.basis.folds, positions, strict=True)
    for part, fold, column in parts:
        share = np.bincount(column, weights=weights, minlength=len(fold)) / units
        average[part.start - 1 : part.stop - 1] = share @ fold / WEIGHT_STEPS
    average[layout.count] = 1.0
    return average


def slot_rows(layout: Inputs) -> Tensor:
    """Return float64 (slots + 1, width): a row for each slot alone, and one of nothing."""
    rows = torch.zeros((layout.count + 1, layout.width), dtype=torch.float64)
    rows.fill_diagonal_(1.0)
    rows[:, layout.count] = 1.0
    return rows


def effects(scores: Tensor) -> NDArray[np.float64]:
    """Return float64 (slots,) on multiples of 2^-20: scores of `slot_rows` beside nothing's."""
    values = (scores[:-1] - scores[-1]).numpy()
    found: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(values, EFFECT_BITS)), -EFFECT_BITS)
    return found
