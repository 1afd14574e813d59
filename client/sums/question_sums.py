"""The raw sum of a group of questions over one institution's units.

It stays inside: only the door may ask for it. A unit's entries are whole grid steps of at most
the block's weight, in at most `cells` cells, so that its whole vector has norm at most C = 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits, ListColumn
from fieldfare.shared.features.rows import splitmix
from fieldfare.shared.study.question_columns import Asked, Columns, InstitutionColumn, LabelColumn
from fieldfare.shared.study.question_layout import (
    MISSING_TEXT,
    Axis,
    Block,
    Layout,
    Measure,
    PlacedBlock,
    Sketch,
    buckets,
    signs,
)
from fieldfare.shared.study.questions import Condition


@dataclass(frozen=True, eq=False)
class _Marks:
    """Which unit marks which cell."""

    units: NDArray[np.int64]
    cells: NDArray[np.int64]


def question_sum(layout: Layout, columns: Columns, asked: AskedUnits) -> NDArray[np.int64]:
    """Return int64 (entries,): a group's raw sum, in units of gamma.

    Formal Guarantees:
        A unit adds at most `block.marked` entries of magnitude at most the block's weight, so
        adding or removing it moves the sum by at most C = 1 in L2 (`query_blocks.layout_for`),
        and changes nothing that another unit adds.

    Edge cases:
        | unit | what it adds |
        |---|---|
        | more levels than `cells` | `cells` of them, by a keyed hash of its id |
        | a value that a number needs is missing | nothing to that block |
        | a number beyond its bounds | as the nearer bound |
        | a level that is not declared, or none | one in `other` or `missing` |
    """
    total = np.zeros(layout.entries, dtype=np.int64)
    for placed in layout.blocks:
        total[placed.part] = _block_sum(placed, columns, asked)
    return total


def _block_sum(placed: PlacedBlock, columns: Columns, asked: AskedUnits) -> NDArray[np.int64]:
    block = placed.block
    chosen = chosen_units(block, columns, asked)
    if block.sketch is not None:
        return _sketch_sum(block.sketch, placed.weight, asked, chosen)
    marks = _marks(block, columns, asked, chosen)
    cells = int(np.prod(block.shape, dtype=np.int64))
    sums = np.zeros((cells, block.width), dtype=np.int64)
    for index, measure in enumerate(block.measures):
        if not measure:
            sums[:, index] = np.bincount(marks.cells, minlength=cells) * placed.weight
            continue
        steps = _steps(measure, placed.weight, asked)[marks.units]
        # Below 2^53 for 2^32 units of 2^20 steps: float64 holds every partial sum exactly.
        added = np.bincount(marks.cells, weights=steps, minlength=cells)
        sums[:, index] = added.astype(np.int64)
    return sums.ravel()


def _steps(measure: Measure, weight: int, asked: AskedUnits) -> NDArray[np.float64]:
    """Return float64 (units,): whole steps, cut towards zero, never beyond the weight."""
    product = np.full(len(asked), float(weight))
    for factor in measure:
        values = np.clip(asked.values.numbers[factor.column], factor.lower, factor.upper)
        product = product * np.clip((values - factor.centre) / factor.half, -1.0, 1.0)
    steps: NDArray[np.float64] = np.clip(np.trunc(np.nan_to_num(product)), -weight, weight)
    return steps


def chosen_units(block: Block, columns: Columns, asked: AskedUnits) -> NDArray[np.bool_]:
    """Return bool (units,): who meets every condition and has every number that is needed."""
    chosen = np.ones(len(asked), dtype=np.bool_)
    for factor in block.factors:
        chosen &= ~np.isnan(asked.values.numbers[factor.column])
    for condition in block.where:
        chosen &= _meets(condition, columns[condition.column], asked)
    return chosen


def _meets(condition: Condition, column: Asked, asked: AskedUnits) -> NDArray[np.bool_]:
    if not condition.levels:
        values = asked.values.numbers[column.name]
        low = -np.inf if condition.lower is None else condition.lower
        high = np.inf if condition.upper is None else condition.upper
        return (values >= low) & (values < high)
    levels: tuple[str, ...] = getattr(column, "levels", ())
    wanted = [levels.index(level) for level in condition.levels]
    if column.name in asked.values.lists:
        listed = asked.values.lists[column.name]
        found = np.zeros(len(asked), dtype=np.bool_)
        found[listed.owners[np.isin(listed.codes, wanted)]] = True
        return found
    codes = asked.labels if isinstance(column, LabelColumn) else asked.values.codes[column.name]
    return np.isin(codes, wanted)


def _marks(block: Block, columns: Columns, asked: AskedUnits, chosen: NDArray[np.bool_]) -> _Marks:
    """Return the cells of every chosen unit, at most `block.cells` of each."""
    units = np.flatnonzero(chosen)
    cells = np.zeros(len(units), dtype=np.int64)
    several: tuple[Axis, int] | None = None
    stride = 1
    for axis in reversed(block.axes):
        if axis.several:
            several = (axis, stride)
        else:
            cells += stride * _codes(axis, columns, asked)[units]
        stride *= len(axis.labels)
    if several is None:
        return _Marks(units, cells)
    axis, step = several
    listed = asked.values.lists[axis.column].select(chosen)
    marked = cells[listed.owners] + step * listed.codes
    kept = _at_most(block.cells, listed, marked, asked.order[units])
    return _Marks(units[listed.owners[kept]], marked[kept])


def _at_most(
    most: int, listed: ListColumn, cells: NDArray[np.int64], order: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the rows to keep: `most` of each unit, by a keyed hash of the unit and the cell."""
    place = splitmix(order[listed.owners] ^ splitmix(cells.astype(np.uint64)))
    rows = np.lexsort((place, listed.owners))
    owners = listed.owners[rows]
    first = np.searchsorted(owners, owners, side="left")
    return np.sort(rows[np.arange(len(rows)) - first < most])


def _codes(axis: Axis, columns: Columns, asked: AskedUnits) -> NDArray[np.int64]:
    """Return int64 (units,): each unit's cell along an axis of one value a unit."""
    column = columns[axis.column]
    if isinstance(column, InstitutionColumn):
        return np.full(len(asked), column.code_of(asked.institution), dtype=np.int64)
    if isinstance(column, LabelColumn):
        return asked.labels.astype(np.int64)
    if axis.column in asked.values.numbers:
        values = asked.values.numbers[axis.column]
        clipped = np.clip(values, axis.lower, axis.upper)
        bins = np.searchsorted(np.array(axis.inner), clipped, side="right")
        missing = len(axis.labels) - 1
        return np.where(np.isnan(values), missing, bins).astype(np.int64)
    return asked.values.codes[axis.column].astype(np.int64)


def _sketch_sum(
    sketch: Sketch, weight: int, asked: AskedUnits, chosen: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Add each unit's bits to one bucket of every row."""
    texts = asked.values.texts[sketch.column][chosen]
    found, counts = np.unique(texts[texts != np.uint64(MISSING_TEXT)], return_counts=True)
    sums = np.zeros((sketch.rows, sketch.buckets, sketch.bits), dtype=np.int64)
    added = signs(sketch, found) * counts[:, None]
    for row, places in enumerate(buckets(sketch, found)):
        np.add.at(sums[row], places, added)
    return (sums * weight).ravel()
