"""Ranking with a model that reads one column as rows: texts or vectors.

Nothing of it leaves. Texts are hashed batch by batch and let go; for a unit that a user asks about,
the text is kept until the answer is printed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.columns import Columns, asked_by
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.encoding.rows import row_reader
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.source import Table
from fieldfare.client.records.sources.sql import ColumnType, text_of
from fieldfare.client.scoring.ranking import tie_breaks
from fieldfare.client.scoring.reasons import ranks
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import UnitRows
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ScorableRows:
    """Texts or vectors of one institution.

    Attributes:
        units: str (units,), ids.
        rows: each unit's input of the model.
        asked: the text of the unit that was asked about; None where no unit was asked for, or it is
            not there.
    """

    units: NDArray[np.object_]
    rows: UnitRows
    asked: str | None

    def without(self, suppressed: Collection[str]) -> "ScorableRows":
        """Leave out those who are never ranked."""
        kept = np.array([unit not in suppressed for unit in self.units], dtype=np.bool_)
        return ScorableRows(self.units[kept], self.rows.select(kept), self.asked)


def read_rows(tables: Sequence[Table], study: Study, asked: str | None = None) -> ScorableRows:
    """Read every row under a study of texts or vectors; labels are not needed.

    Args:
        tables: read in order, as one.
        study: whose unit and row are read.
        asked: the unit whose text is kept.

    Raises:
        RecordsError: columns are absent, media in one, a unit is empty or stands twice.
        UsageError: the study names no unit, or reads no rows.
    """
    if study.records.unit is None or study.rows is None:
        raise UsageError("expected a study of texts or vectors whose records.unit names a column")
    reader = _Reader(study, asked)
    for table in tables:
        reader.read(table)
    return reader.finish()


@dataclass(frozen=True, eq=False, repr=False)
class RankedRows:
    """Everyone who may be ranked.

    Attributes:
        units: str (units,), ids.
        scores: float64 (units,), log-odds.
        ranks: int64 (units,), 1 for the highest.
    """

    units: NDArray[np.object_]
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]

    def top(self, most: int) -> list[int]:
        """Return the places of the highest, highest first."""
        return [int(place) for place in np.argsort(self.ranks)[:most]]

    def place_of(self, unit: str) -> int:
        """Return where a unit is.

        Raises:
            UsageError: not among those who may be ranked.
        """
        found = np.flatnonzero(self.units == unit)
        if not len(found):
            raise UsageError(
                "--unit: expected a unit of the records that may be ranked, found no such unit: "
                "check the id and the suppression list"
            )
        return int(found[0])


def rank_rows(
    study: Study, parameters: NDArray[np.float64], found: ScorableRows, *, key: bytes
) -> RankedRows:
    """Score and rank; the software ranks, people decide (harm rule 3).

    Args:
        study: whose model it is.
        parameters: float64 (entries,).
        found: all units that may be ranked.
        key: the institution's hold-out key: who is first among equals.
    """
    count = len(found.units)
    units = EncodedUnits(np.empty((0, count), np.uint16), np.zeros(count, np.uint8), found.rows)
    scores = model_for(study).scores(parameters, units)
    return RankedRows(found.units, scores, ranks(scores, tie_breaks(found.units, key)))


class _Reader:
    def __init__(self, study: Study, asked: str | None) -> None:
        self._study, self._asked = study, asked
        self._problems = Problems()
        self._rows = row_reader(study, self._problems)
        self._units: list[str] = []
        self._text: str | None = None

    def read(self, table: Table) -> None:
        columns = Columns.of(self._study, table.mapping.only(asked_by(self._study)), None, None)
        for part in table.parts:
            with part.open() as source:
                self._read_part(source, columns, Place(table.name, part.name))

    def _read_part(self, source: Source, columns: Columns, place: Place) -> None:
        names = (columns.unit or "", columns.rows or "")
        kinds = [source.columns.get(name, ColumnType.OPAQUE) for name in names]
        lists = self._study.rows is not None and self._study.rows.kind == "vector"
        bad = [
            name
            for name, kind in zip(names, kinds, strict=True)
            if not (kind.is_plain or (lists and kind is ColumnType.LIST and name == names[1]))
        ]
        if bad:
            raise RecordsError(
                "\n".join(
                    f"{place.table}: expected column {name} in a readable form, found none"
                    for name in bad
                )
            )
        queries = [f"{text_of(n, source.columns[n])} AS c{i}" for i, n in enumerate(names)]
        start = 0
        for batch in source.batches(queries, names):
            self._add(batch, names[1], place, start)
            start += batch.num_rows

    def _add(self, batch: Any, name: str, place: Place, start: int) -> None:
        units = [unit or "" for unit in batch.column(0).to_pylist()]
        if self._asked in units:
            self._text = batch.column(1)[units.index(self._asked)].as_py() or ""
        self._units += units
        if self._rows is not None:
            self._rows.read(name, batch.column(1), place, start)

    def finish(self) -> ScorableRows:
        self._problems.check(Effect.ZERO)  # everyone is ranked, or nobody
        empty = self._units.count("")
        twice = len(self._units) - len(set(self._units))
        if empty or twice:
            raise RecordsError(
                f"expected one row for a unit, with its id, found {empty} rows without an id and "
                f"{twice} further rows of a unit: complete the records, or leave rows out"
            )
        if self._rows is None:
            raise UsageError("expected a study of texts or vectors")
        units = np.array(self._units, dtype=np.object_)
        return ScorableRows(units, self._rows.finish(), self._text)
