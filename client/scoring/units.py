"""Units to score: positions or rows as the model reads them, and values as people read them.

Unlike records for training, these may lack labels: a customer of today has none yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import unit_order
from fieldfare.client.records.encoding.columns import Columns
from fieldfare.client.records.encoding.encoding import Encoder
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.encoding.rows import row_reader
from fieldfare.client.records.encoding.units import Grouping
from fieldfare.client.records.encoding.values import LabelRule
from fieldfare.client.records.load import BUCKETS_KEY
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.source import Table
from fieldfare.client.records.sources.sql import ColumnType, number_of, text_of, value_of
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.features.basis import EncodedUnits, Positions, UnitTables
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.features.rows import UnitRows
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study

UNLABELLED: Final = -1


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
    """

    units: Any
    positions: Positions
    values: NDArray[np.float32]
    labels: NDArray[np.int8]
    groups: Mapping[str, Any] = field(default_factory=dict)
    rows: UnitRows | None = None
    order: NDArray[np.uint64] | None = None
    tables: UnitTables | None = None

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
        )

    def encoded(self) -> EncodedUnits:
        """Return the units as a model reads them; no label counts as 0."""
        one_row = self.rows is None and self.tables is None
        positions = self.positions if one_row else self.positions[:0]
        labels = (self.labels == 1).astype(np.uint8)
        return EncodedUnits(positions, labels, self.rows, self.order, self.tables)


def values_before(units: ScorableUnits, before: ScorableUnits) -> NDArray[np.float32]:
    """Return float32 (features, units): what the same customers had at an earlier time.

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
    reader = _Reader(study, audit)
    for table in tables:
        reader.read(table)
    return reader.finish()


class _Reader:
    def __init__(self, study: Study, audit: Sequence[str]) -> None:
        self._study, self._audit = study, tuple(audit)
        self._problems = Problems()
        self._rows = row_reader(study, self._problems)
        self._rule = LabelRule.parse(study.records.positive)
        self._no_label = frozenset(("", *study.records.missing))
        features = len(study.features)
        self._positions: list[Positions] = [np.empty((features, 0), np.uint16)]
        self._values: list[NDArray[np.float32]] = [np.empty((features, 0), np.float32)]
        self._labels: list[NDArray[np.int8]] = [np.empty(0, np.int8)]
        self._texts: list[list[Any]] = [[] for _ in range(1 + len(self._audit))]

    def read(self, table: Table) -> None:
        columns = Columns.of(self._study, table.mapping.only(self._wanted()), None, None)
        encoder = Encoder(columns, self._problems)
        audit = [table.mapping.source_of(name) for name in self._audit]
        for part in table.parts:
            place = Place(table.name, part.name)
            with part.open() as source:
                self._read_part(source, columns, audit, encoder, place)

    def _wanted(self) -> set[str]:
        records = self._study.records
        names = {feature.name for feature in self._study.features}
        rows = {self._study.rows.column} if self._study.rows else set()
        return names | rows | {records.label} | ({records.unit} if records.unit else set())

    def _read_part(
        self, source: Source, columns: Columns, audit: list[str], encoder: Encoder, place: Place
    ) -> None:
        unit = columns.unit or ""
        rows = () if columns.rows is None else (columns.rows,)
        wanted = dict.fromkeys((*columns.features, unit, *audit, *rows))
        absent = [name for name in wanted if name not in source.columns]
        kinds = {name: source.columns.get(name, ColumnType.TEXT) for name in wanted}
        lists = self._study.model.kind == "vector"
        opaque = [
            name
            for name, kind in kinds.items()
            if not (kind.is_plain or (lists and name in rows and kind is ColumnType.LIST))
        ]
        if absent or opaque:
            lines = [f"{place.table}: expected column {name}, found none" for name in absent]
            lines += [
                f"{place.table}: expected column {name} of text or numbers" for name in opaque
            ]
            raise RecordsError("\n".join(lines))
        labelled = columns.label in source.columns
        expressions = self._expressions(source, columns, audit, labelled=labelled)
        needed = (*wanted, *((columns.label,) if labelled else ()))
        start = 0
        for batch in source.batches(expressions, needed):
            self._add(batch, encoder, place, start, labelled=labelled)
            start += batch.num_rows

    def _expressions(
        self, source: Source, columns: Columns, audit: list[str], *, labelled: bool
    ) -> list[str]:
        missing, numerals = self._study.records.missing, source.numerals
        queries = []
        for feature, column in zip(self._study.features, columns.features, strict=True):
            kind = source.columns[column]
            if isinstance(feature, NumericFeature):
                queries.append(number_of(column, kind, missing, numerals))
            else:
                queries.append(value_of(column, kind, numerals))
        rows = () if columns.rows is None else (columns.rows,)
        texts = (columns.unit or "", *audit, *rows)
        queries += [text_of(column, source.columns[column]) for column in texts]
        if labelled:
            queries.append(value_of(columns.label, source.columns[columns.label], numerals))
        return [f"{query} AS c{index}" for index, query in enumerate(queries)]

    def _add(
        self, batch: Any, encoder: Encoder, place: Place, start: int, *, labelled: bool
    ) -> None:
        first = len(self._study.features)
        if self._rows is None:
            self._positions.append(encoder.positions(batch, place, start))
            self._values.append(self._numbers(batch))
        else:
            name = encoder.columns.rows or ""
            self._rows.read(name, batch.column(first + len(self._texts)), place, start)
        for index, texts in enumerate(self._texts):
            texts.append(pc.fill_null(batch.column(first + index).cast(pa.string()), ""))
        if labelled:
            self._labels.append(self._label_codes(batch.column(batch.num_columns - 1)))
        else:
            self._labels.append(np.full(batch.num_rows, UNLABELLED, np.int8))

    def _numbers(self, batch: Any) -> NDArray[np.float32]:
        found = np.full((len(self._study.features), batch.num_rows), np.nan, np.float32)
        for index, feature in enumerate(self._study.features):
            if isinstance(feature, NumericFeature):
                found[index] = batch.column(index).to_numpy(zero_copy_only=False)
        return found

    def _label_codes(self, column: Any) -> NDArray[np.int8]:
        encoded = column.dictionary_encode()
        table = [*map(self._label_code, encoded.dictionary.to_pylist()), UNLABELLED]
        places = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
        codes: NDArray[np.int8] = np.asarray(table, np.int8)[places]
        return codes

    def _label_code(self, text: str | None) -> int:
        if text is None or text in self._no_label:
            return UNLABELLED
        label = self._rule.label_of(text)
        return UNLABELLED if label is None else label

    def finish(self) -> ScorableUnits:
        self._problems.check(Effect.ZERO)  # everyone is ranked, or nobody
        texts = [pa.chunked_array(parts, pa.string()).combine_chunks() for parts in self._texts]
        units = texts[0]
        empty = pc.sum(pc.equal(units, "")).as_py() or 0
        network = self._study.model if isinstance(self._study.model, MlpSection) else None
        several = network is not None and network.rows > 1
        twice = 0 if several else len(units) - len(units.unique())
        if empty or (twice and not empty):
            raise RecordsError(
                f"expected one row for a unit, with its id, found {empty} rows without an id and "
                f"{twice} further rows of a unit: complete the records, or leave rows out"
            )
        groups = dict(zip(self._audit, texts[1:], strict=True))
        labels = np.concatenate(self._labels)
        if self._rows is not None:
            rows = self._rows.finish()
            silent = (rows.squared_norms() == 0).astype(np.uint16)[None, :]
            values = np.full(silent.shape, np.nan, np.float32)
            return ScorableUnits(units, silent, values, labels, groups, rows)
        positions = np.concatenate(self._positions, axis=1)
        self._positions.clear()
        values = np.concatenate(self._values, axis=1)
        self._values.clear()
        found = ScorableUnits(units, positions, values, labels, groups)
        return found if network is None else units_of_network(found, network.rows)


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
    )
