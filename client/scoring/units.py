"""Units to score: positions or rows as the model reads them, and values as people read them.

Unlike records for training, these may lack labels: a customer of today has none yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fieldfare.client.records.encoding.columns import Labels, RecordsUse
from fieldfare.client.records.encoding.encoding import UNLABELLED
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.records.encoding.problems import Effect
from fieldfare.client.records.encoding.units import Grouping
from fieldfare.client.records.load import BUCKETS_KEY
from fieldfare.client.records.reader import Reader
from fieldfare.client.records.sources.source import Table
from fieldfare.client.scoring.readings import COLUMNS, NONE_HOLDS, tiers_of
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.features.basis import EncodedUnits, Positions, UnitTables
from fieldfare.shared.features.rows import UnitRows
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ScorableUnits:
    """Units of one institution.

    Attributes:
        units: Arrow strings (units,), ids.
        positions: uint16 (features, units); of rows uint16 (1, units), 1 where a row is missing
            or says nothing.
        values: float32 (features, units): the numbers as they stand in the records; NaN where
            missing or no number.
        labels: int8 (units,): 1, 0, or -1 where there is none.
        groups: Arrow strings (units,) of each audit column; for comparison only, never a
            model's input (harm rule 4).
        rows: of texts or vectors; None where the model reads features.
        order: uint64 (units,), a hash of each id, where a model sums in buckets.
        tables: where units have several rows; `positions` then has the first row of each, and
            `values` the highest number of any of its rows.
        text: of the unit that was asked about; None where no unit was asked for, or it is not
            there.
        beside: float32 (columns, units), by `readings.COLUMNS`; NaN where the records lack it.
    """

    units: Any
    positions: Positions
    values: NDArray[np.float32]
    labels: NDArray[np.int8]
    groups: Mapping[str, Any] = field(default_factory=dict)
    rows: UnitRows | None = None
    order: NDArray[np.uint64] | None = None
    tables: UnitTables | None = None
    text: str | None = None
    beside: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Count the units."""
        return len(self.labels)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Bool (units,): which have a label."""
        found: NDArray[np.bool_] = self.labels != UNLABELLED
        return found

    def select(self, mask: NDArray[np.bool_]) -> "ScorableUnits":
        """Return the units where `mask` (bool (units,)) holds."""
        if mask.all():
            return self  # a million units are not copied for nothing
        chosen = pa.array(mask)
        return ScorableUnits(
            self.units.filter(chosen),
            np.ascontiguousarray(self.positions[:, mask]),
            np.ascontiguousarray(self.values[:, mask]),
            self.labels[mask],
            {name: column.filter(chosen) for name, column in self.groups.items()},
            None if self.rows is None else self.rows.select(mask),
            None if self.order is None else self.order[mask],
            None if self.tables is None else self.tables.select(mask),
            self.text,
            None if self.beside is None else np.ascontiguousarray(self.beside[:, mask]),
        )

    @property
    def tiers(self) -> NDArray[np.int8]:
        """Int8 (units,), of `readings.tiers_of`: one tier where nothing was read beside."""
        if self.beside is None:
            return np.full(len(self), NONE_HOLDS, np.int8)
        return tiers_of(self.beside)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Those of `readings.COLUMNS` of which nobody has a number."""
        if self.beside is None:
            return COLUMNS
        known: NDArray[np.bool_] = np.asarray(~np.isnan(self.beside).all(axis=1))
        return tuple(name for name, there in zip(COLUMNS, known, strict=True) if not there)

    def encoded(self) -> EncodedUnits:
        """Return the units as a model reads them; no label counts as 0."""
        one_row = self.rows is None and self.tables is None
        positions = self.positions if one_row else self.positions[:0]
        labels = (self.labels == 1).astype(np.uint8)
        return EncodedUnits(positions, labels, self.rows, self.order, self.tables)


def values_before(units: ScorableUnits, before: ScorableUnits) -> NDArray[np.float32]:
    """Return float32 (features, units): the same customers' values at an earlier time.

    NaN where somebody was not there, or the value was missing.
    """
    places = pc.index_in(units.units, value_set=before.units)
    known = places.is_valid().to_numpy(zero_copy_only=False)
    found = np.full(units.values.shape, np.nan, np.float32)
    found[:, known] = before.values[:, places.drop_null().to_numpy(zero_copy_only=False)]
    return found


def read_units(tables: Sequence[Table], study: Study, audit: Sequence[str] = ()) -> ScorableUnits:
    """Read and encode every row under a study.

    Args:
        tables: read in order, as one.
        study: whose features, unit and label are read; the label where there is one.
        audit: columns to compare groups by.

    Raises:
        RecordsError: columns are absent, numbers are none, or a unit is empty or stands twice;
            every problem, one line each, by row number and never a value.
        UsageError: the study names no unit: an alert must be about somebody.
    """
    if study.records.unit is None:
        raise UsageError("expected a study whose records.unit names a column: alerts need ids")
    return read_unnamed(tables, study, audit)


def read_unnamed(tables: Sequence[Table], study: Study, audit: Sequence[str] = ()) -> ScorableUnits:
    """Read and encode every row, for figures alone: where no column names a unit, a number does.

    Args:
        tables: as for `read_units`.
        study: as for `read_units`; without a unit, rows are named from "1" on.
        audit: as for `read_units`.

    Raises:
        RecordsError: as for `read_units`.
    """
    wanted = RecordsUse(Labels.OPTIONAL, audit=tuple(audit), beside=COLUMNS)
    return _Everyone(study, wanted).read_all(tables)


def read_rows(
    tables: Sequence[Table], study: Study, asked: str | None = None, audit: Sequence[str] = ()
) -> ScorableUnits:
    """Read every row under a study of texts or vectors, and no label.

    Args:
        tables: read in order, as one.
        study: whose unit and row are read.
        asked: the unit whose text is kept.
        audit: columns that say who belongs to a group.

    Raises:
        RecordsError: columns are absent, media in one, a unit is empty or stands twice.
        UsageError: the study names no unit, or reads no rows.
    """
    if study.records.unit is None or study.rows is None:
        raise UsageError("expected a study of texts or vectors whose records.unit names a column")
    wanted = RecordsUse(Labels.UNREAD, audit=tuple(audit), text_of=asked)
    return _Everyone(study, wanted).read_all(tables)


class _Everyone(Reader):
    """Reads for scoring: everyone is ranked, or nobody."""

    def read_all(self, tables: Sequence[Table]) -> ScorableUnits:
        """Read all parts of a table."""
        for table in tables:
            self.read(table)
        self.problems.check(Effect.ZERO)
        texts = [pa.chunked_array(parts, pa.string()).combine_chunks() for parts in self._texts]
        if self._study.records.unit is None:
            texts.insert(0, pa.array(np.arange(1, self.rows + 1)).cast(pa.string()))
        units = texts.pop(0)
        network = self._study.model if isinstance(self._study.model, MlpSection) else None
        _check_ids(units, several=network is not None and network.rows > 1)
        positions, values = _joined(self._positions), _joined(self._values)
        rows = None if self._rows is None else self._rows.finish()
        if rows is not None:
            positions = (rows.squared_norms() == 0).astype(np.uint16)[None, :]
            values = np.full(positions.shape, np.nan, np.float32)
        groups = dict(zip(self._wanted.audit, texts, strict=True))
        labels = np.concatenate(self._labels)
        beside = np.concatenate(self._beside, axis=1) if self._wanted.beside else None
        found = ScorableUnits(
            units, positions, values, labels, groups, rows, text=self.text, beside=beside
        )
        return found if network is None else units_of_network(found, network.rows)


def _joined(parts: list[Any]) -> Any:
    whole = np.concatenate(parts, axis=1)
    parts.clear()  # let go before the next ones are joined
    return whole


def _check_ids(units: Any, *, several: bool) -> None:
    empty = pc.sum(pc.equal(units, "")).as_py() or 0
    twice = 0 if several else len(units) - len(units.unique())
    if empty or twice:
        raise RecordsError(
            f"expected one row for a unit, with its id, found {empty} rows without an id and "
            f"{twice} further rows of a unit: complete the records, or leave rows out"
        )


def units_of_network(rows: ScorableUnits, most: int) -> ScorableUnits:
    """Bring rows of a unit together where it may have several, and hash its id.

    A unit is positive where any of its rows is, and unlabelled where none has a label.
    """
    if most == 1:
        return replace(rows, order=unit_order(rows.units.to_pylist(), key=BUCKETS_KEY))
    ids = np.array(rows.units.to_pylist(), dtype=np.object_)
    grouping = Grouping.of(ids, None, most)
    first, begins = grouping.first, grouping.starts[:-1]
    labels = np.full(len(first), UNLABELLED, np.int8)
    np.maximum.at(labels, grouping.owners, rows.labels)
    values = rows.values[:, grouping.kept]
    chosen = pa.array(first)
    return ScorableUnits(
        rows.units.take(chosen),
        np.ascontiguousarray(rows.positions[:, first]),
        np.fmax.reduceat(values, begins, axis=1) if len(begins) else values,
        labels,
        {name: column.take(chosen) for name, column in rows.groups.items()},
        order=unit_order(ids[first], key=BUCKETS_KEY),
        tables=grouping.tables(rows.positions),
        beside=None if rows.beside is None else rows.beside[:, first],
    )
