"""The values that questions and groups read of each unit, beside the model's basis.

Only columns that the study's questions, its allowance or its groups name are kept. Every value
is read by itself; which cells a unit with too many of them counts in is decided by a keyed hash
of its id, alone and for good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.problems import INFINITE, NO_NUMBER, Place, Problems
from fieldfare.client.records.encoding.values import LevelCodes
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature
from fieldfare.shared.study.asked_columns import asked_columns
from fieldfare.shared.study.question_columns import (
    Asked,
    MonthColumn,
    OpenColumn,
    SeveralColumn,
    holds_several,
)
from fieldfare.shared.study.question_layout import MISSING_TEXT, packed
from fieldfare.shared.study.study import Study

MONTH_CHARACTERS: Final = 7  # 2025-01
SEPARATOR: Final = ";"


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ListColumn:
    """A column of lists: one row for each unit and level, by unit.

    Attributes:
        owners: int64 (rows,), the unit's index, rising.
        codes: int32 (rows,), its levels, each once.
    """

    owners: NDArray[np.int64]
    codes: NDArray[np.int32]

    def select(self, mask: NDArray[np.bool_]) -> "ListColumn":
        """Return the rows of the units where `mask` (bool (units,)) holds."""
        kept = mask[self.owners]
        places = np.cumsum(mask) - 1
        return ListColumn(places[self.owners[kept]], self.codes[kept])


@dataclass(frozen=True, eq=False, repr=False)
class AskedValues:
    """The asked columns of some units, by column.

    Attributes:
        numbers: float64 (units,), NaN where missing.
        codes: int32 (units,); after the levels come `other` and `missing`.
        lists: columns where a unit may have several levels.
        texts: uint64 (units,), packed; see `fieldfare.shared.study.question_layout`.
    """

    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    codes: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    lists: Mapping[str, ListColumn] = field(default_factory=dict)
    texts: Mapping[str, NDArray[np.uint64]] = field(default_factory=dict)

    def select(self, mask: NDArray[np.bool_]) -> "AskedValues":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        return AskedValues(
            {name: values[mask] for name, values in self.numbers.items()},
            {name: codes[mask] for name, codes in self.codes.items()},
            {name: listed.select(mask) for name, listed in self.lists.items()},
            {name: texts[mask] for name, texts in self.texts.items()},
        )


NOTHING_ASKED: Final = AskedValues()


@dataclass(frozen=True, eq=False, repr=False)
class AskedUnits:
    """One institution's units as questions see them.

    Attributes:
        institution: whose they are.
        labels: uint8 (units,).
        values: the asked columns.
        order: uint64 (units,), a keyed hash of each unit's id.
    """

    institution: str
    labels: NDArray[np.uint8]
    values: AskedValues
    order: NDArray[np.uint64]

    def __len__(self) -> int:
        """Count the units."""
        return len(self.labels)

    def select(self, mask: NDArray[np.bool_]) -> "AskedUnits":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        values = self.values.select(mask)
        return AskedUnits(self.institution, self.labels[mask], values, self.order[mask])


class AskedReader:
    """Turns batches into asked columns, and keeps the parts until all are read."""

    def __init__(self, study: Study) -> None:
        """Begin with nothing read, so that an institution without units loads like any other."""
        self.columns = asked_columns(study)
        self._missing = study.records.missing
        self._numbers = {c.name: [np.empty(0)] for c in self._of(NumericFeature)}
        self._codes = {
            c.name: [np.empty(0, np.int32)]
            for c in self.columns
            if isinstance(c, CategoricalFeature | MonthColumn) and not holds_several(c)
        }
        self._texts = {c.name: [np.empty(0, np.uint64)] for c in self._of(OpenColumn)}
        self._lists = {
            c.name: [ListColumn(np.empty(0, np.int64), np.empty(0, np.int32))]
            for c in self.columns
            if holds_several(c)
        }

    def _of(self, kind: type[Asked]) -> list[Asked]:
        return [column for column in self.columns if isinstance(column, kind)]

    def read(
        self, columns: Sequence[Any], names: Sequence[str], place: Place, start: int,
        problems: Problems, first: int,
    ) -> None:  # fmt: skip
        """Take in one batch: Arrow columns in the order of `columns`, as expressions read them.

        Args:
            columns: numbers as doubles, everything else as text.
            names: of the source's columns.
            place: where the batch is from.
            start: its first row there.
            problems: takes complaints.
            first: its first row of all rows read.
        """
        for column, name, values in zip(self.columns, names, columns, strict=True):
            if isinstance(column, NumericFeature):
                numbers = _numbers(values, name, place, start, problems)
                self._numbers[column.name].append(numbers)
            elif isinstance(column, OpenColumn):
                coded = _coded(values, lambda text, c=column: self._packed(c, text), np.uint64)
                self._texts[column.name].append(coded)
            elif holds_several(column):
                self._lists[column.name].append(self._listed(column, values, first))
            else:
                codes = _coded(values, self._code_of(column), np.int32)
                self._codes[column.name].append(codes)

    def values(self) -> AskedValues:
        """Return everything that was read."""
        return AskedValues(
            {name: np.concatenate(parts) for name, parts in self._numbers.items()},
            {name: np.concatenate(parts) for name, parts in self._codes.items()},
            {
                name: ListColumn(
                    np.concatenate([part.owners for part in parts]),
                    np.concatenate([part.codes for part in parts]),
                )
                for name, parts in self._lists.items()
            },
            {name: np.concatenate(parts) for name, parts in self._texts.items()},
        )

    def _packed(self, column: OpenColumn, text: str | None) -> int:
        if text is None or text in self._missing:
            return MISSING_TEXT
        return packed(text, column.length)

    def _code_of(self, column: Asked) -> Any:
        if isinstance(column, CategoricalFeature):
            known, levels = LevelCodes.of(column, self._missing), len(column.levels)

            def code(text: str | None) -> int:
                found = known.code_of(text)
                return levels + 1 if found < 0 else found

            return code
        return _LevelCodes(_levels_of(column), isinstance(column, MonthColumn), self._missing).code

    def _listed(self, column: Asked, values: Any, first: int) -> ListColumn:
        known = _LevelCodes(_levels_of(column), isinstance(column, MonthColumn), self._missing)
        encoded = values.dictionary_encode()
        table = [known.several(text) for text in (*encoded.dictionary.to_pylist(), None)]
        places = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
        sizes = np.array([len(codes) for codes in table], dtype=np.int64)[places]
        owners = np.repeat(np.arange(len(places), dtype=np.int64), sizes)
        parts = [table[place] for place in places.tolist()]
        codes = np.array([code for part in parts for code in part], dtype=np.int32)
        return ListColumn(owners + first, codes)


@dataclass(frozen=True)
class _LevelCodes:
    levels: tuple[str, ...]
    months: bool
    missing: tuple[str, ...]

    def code(self, text: str | None) -> int:
        """Return the place of a text among the levels."""
        if text is None or text in self.missing:
            return len(self.levels) + 1
        level = text[:MONTH_CHARACTERS] if self.months else text
        return self.levels.index(level) if level in self.levels else len(self.levels)

    def several(self, text: str | None) -> tuple[int, ...]:
        """Return the places of all texts that a separator parts."""
        if text is None or text in self.missing:
            return (len(self.levels) + 1,)
        parts = [part.strip() for part in text.split(SEPARATOR)]
        return tuple(sorted({self.code(part) for part in parts if part}))


def _levels_of(column: Asked) -> tuple[str, ...]:
    return column.levels if isinstance(column, MonthColumn | SeveralColumn) else ()


def _numbers(
    column: Any, name: str, place: Place, start: int, problems: Problems
) -> NDArray[np.float64]:
    no_number = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
    values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    problems.add_where(place, name, NO_NUMBER, no_number, start)
    problems.add_where(place, name, INFINITE, np.isinf(values), start)
    return values


def _coded(column: Any, code_of: Any, dtype: Any) -> Any:
    """Apply `code_of` once for each different text of a column."""
    encoded = column.dictionary_encode()
    table = [*map(code_of, encoded.dictionary.to_pylist()), code_of(None)]
    places = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    return np.array(table, dtype=dtype)[places]
