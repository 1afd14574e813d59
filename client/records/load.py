"""Records into encoded units: read once, checked whole, encoded batch by batch.

Everything that can be wrong with records is settled here, at load, so that no release
ever depends on it (design section 2, "Refusals depend on the request").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.columns import Columns
from fieldfare.client.records.encoding import CLAMPED, MISSING, OTHER, Encoder, Texts, texts_of
from fieldfare.client.records.mapping import ColumnMapping
from fieldfare.client.records.problems import Problems
from fieldfare.client.records.source import Source, open_source
from fieldfare.shared.basis import EncodedUnits, Positions
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study import Study

_NO_UNIT: Final = "a unit id expected, none found in {rows}; name the units or leave the rows out"
_NO_INSTITUTION: Final = "an institution's name expected, none found in {rows}; fill it in"
_TWICE: Final = "one row per unit expected, a further row found in {rows}; keep one row per unit"


@dataclass(frozen=True)
class LoadCounts:
    """How many values did not fit, by feature name. Local only: never leaves.

    Attributes:
        clamped: out of bounds, moved to the nearer bound.
        missing: NULL, NaN or a `missing` token.
        other: a level that the study does not declare.
    """

    clamped: dict[str, int]
    missing: dict[str, int]
    other: dict[str, int]


@dataclass(frozen=True, eq=False)
class Records:
    """The units of one or more files, ready for sums.

    Attributes:
        units: str (units,), unit ids; `row-000001` and so on where the study names no unit.
        data: positions and labels.
        institutions: str (units,), or None where no institution column was asked for.
        audit: str (units,), empty where missing; None where no audit column was asked for.
        counts: what did not fit, of the whole load (also after `select`).
    """

    units: Texts
    data: EncodedUnits
    institutions: Texts | None
    audit: Texts | None
    counts: LoadCounts

    def __len__(self) -> int:
        """Count the units."""
        return len(self.data)

    def select(self, mask: NDArray[np.bool_]) -> "Records":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        return Records(
            self.units[mask],
            self.data.select(mask),
            None if self.institutions is None else self.institutions[mask],
            None if self.audit is None else self.audit[mask],
            self.counts,
        )


class _Load:
    """A load under way: what is encoded and complained about so far."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.problems = Problems()
        self._encoder = Encoder(columns, self.problems)
        # An empty start, so that an institution without units loads like any other.
        self._positions: list[Positions] = [np.empty((len(columns.features), 0), np.uint16)]
        self._labels: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self._texts: list[list[Texts]] = [[np.empty(0, np.object_)] for _ in columns.texts[1:]]
        self._sizes: list[tuple[Path, int]] = []

    def read(self, source: Source) -> None:
        """Encode every row of one file."""
        rows = 0
        for batch in source.batches(self.columns.expressions(source)):
            self._add(batch, source.path, rows)
            rows += batch.num_rows
        self._sizes.append((source.path, rows))

    def _add(self, batch: Any, path: Path, start: int) -> None:
        self._positions.append(self._encoder.positions(batch, path, start))
        label, *texts = range(len(self.columns.features), batch.num_columns)
        self._labels.append(self._encoder.labels(batch.column(label), path, start))
        for parts, place in zip(self._texts, texts, strict=True):
            parts.append(texts_of(batch.column(place)))

    def finish(self) -> Records:
        """Check what only the whole can show, and hand over.

        Raises:
            RecordsError: every problem, one line each.
        """
        texts = iter([np.concatenate(parts) for parts in self._texts])
        unit, institution, audit = (
            None if name is None else next(texts)
            for name in (self.columns.unit, self.columns.institution, self.columns.audit)
        )
        if institution is not None and self.columns.institution is not None:
            self._complain(self.columns.institution, _NO_INSTITUTION, institution == "")
        if unit is not None and self.columns.unit is not None:
            self._complain(self.columns.unit, _NO_UNIT, unit == "")
            self._complain(self.columns.unit, _TWICE, _further_rows(unit, institution))
        self.problems.check()
        positions = np.ascontiguousarray(np.concatenate(self._positions, axis=1))
        self._positions.clear()  # two copies of the positions are the peak of a load
        data = EncodedUnits(positions, np.concatenate(self._labels))
        units = _row_names(len(data)) if unit is None else unit
        return Records(units, data, institution, audit, self._counts())

    def _complain(self, column: str, what: str, bad: NDArray[np.bool_]) -> None:
        start = 0
        for path, size in self._sizes:
            rows = np.flatnonzero(bad[start : start + size]) + 1
            self.problems.add_rows(path, column, what, rows)
            start += size

    def _counts(self) -> LoadCounts:
        names = [feature.name for feature in self.columns.study.features]
        tally = self._encoder.tally.tolist()
        return LoadCounts(
            clamped=dict(zip(names, tally[CLAMPED], strict=True)),
            missing=dict(zip(names, tally[MISSING], strict=True)),
            other=dict(zip(names, tally[OTHER], strict=True)),
        )


def _further_rows(units: Texts, institutions: Texts | None) -> NDArray[np.bool_]:
    """Mark rows whose unit stood before in the same institution.

    Across institutions a unit may return: that is the roster's M, not a fault of the file
    (design section 2, "The same person at several institutions").
    """
    keys = _numbered(units)
    if institutions is not None:
        keys = keys * np.int64(len(units) + 1) + _numbered(institutions)
    _, first = np.unique(keys, return_index=True)
    further: NDArray[np.bool_] = units != ""
    further[first] = False
    return further


def _numbered(texts: Texts) -> NDArray[np.int64]:
    """Number equal texts equally."""
    seen: dict[str, int] = {}
    numbers = (seen.setdefault(text, len(seen)) for text in texts)
    return np.fromiter(numbers, dtype=np.int64, count=len(texts))


def _row_names(rows: int) -> Texts:
    names = np.empty(rows, dtype=np.object_)
    names[:] = [f"row-{row:06d}" for row in range(1, rows + 1)]
    return names


def read_records(
    paths: Sequence[Path],
    study: Study,
    *,
    mapping: ColumnMapping | None = None,
    institution_column: str | None = None,
    audit_column: str | None = None,
) -> Records:
    """Read record files (CSV, Parquet, Arrow) and encode them under a study.

    NULL, NaN and the study's `missing` tokens fill the missing slot, values out of bounds are
    clamped and counted, an unknown level is `other` (design section 2). A unit's positions
    depend on its own row and the study alone: never on batches, order or neighbours.

    Args:
        paths: files of one table, read in order.
        study: the public plan.
        mapping: study column to source column; identity by default.
        institution_column: column that names each unit's institution (also through `mapping`).
        audit_column: column kept beside the units for a fairness audit; never a feature.

    Raises:
        RecordsError: every problem at once, one line each, by column, count and row number;
            rows count from 1 after the header. Never a value.
        StudyError: the mapping names columns that the study does not have.
    """
    if not paths:
        raise RecordsError("at least one file with records expected, none given")
    columns = Columns.of(study, mapping or ColumnMapping(), institution_column, audit_column)
    load = _Load(columns)
    for path in paths:
        with open_source(path) as source:
            if columns.all_in(source, load.problems):
                load.read(source)
    return load.finish()
