"""Batches of columns into positions and labels, with counts of misfits.

Every value is encoded by itself: a look-up of its text, or an elementwise formula of its
number. Nothing here sees a column as a whole.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fieldfare.client.records.encoding.columns import Columns
from fieldfare.client.records.encoding.problems import INFINITE, NO_NUMBER, Effect, Place, Problems
from fieldfare.client.records.encoding.units import Texts
from fieldfare.client.records.encoding.values import LabelRule, LevelCodes
from fieldfare.client.records.sources.sql import DATE_FUTURE, DATE_NONE
from fieldfare.shared.features.basis import Positions, encode_by, encode_categorical, encode_numeric
from fieldfare.shared.features.features import CategoricalFeature, Feature, NumericFeature

CLAMPED, MISSING, OTHER = range(3)  # rows of the tally
UNLABELLED: Final = -1
_BAD_LABEL_CODE: Final = -2
_ODD_LABEL_CODE: Final = -3

_NO_LABEL: Final = "expected a label, found none in {rows}; label the rows or leave them out"
_BAD_LABEL: Final = (
    "expected a finite number (records.positive compares), found something else in {rows}; correct "
    "the rows"
)
_ODD_LABEL: Final = (
    "expected 0 or 1, found something else in {rows}; none of them is positive: say in "
    "records.positive of the study which labels are, or correct the rows"
)
_OUTSIDE: Final = (
    "expected values from {lower:.9g} to {upper:.9g}, found others in {{rows}}; they count as the "
    "nearer bound"
)
_ABSENT: Final = "expected a value, found none or a missing token in {rows}"
_NO_LEVEL: Final = "expected a level that the study declares, found another text in {rows}"
_FUTURE: Final = (
    "expected dates up to {today}, found later ones in {{rows}}; the study reads no date, but such "
    "rows are often mistakes of the extract"
)
_NO_DATE: Final = (
    "expected dates in the declared form, found something else in {rows}; correct the form under "
    "dates, or the rows"
)


class Encoder:
    """Encodes batches under one study.

    Attributes:
        columns: those that are read.
        tally: int64 (3, features): values clamped, missing, other.
    """

    def __init__(self, columns: Columns, problems: Problems) -> None:
        """Prepare look-ups; complaints go to `problems`."""
        self.columns = columns
        self._problems = problems
        study = columns.study
        self._features = study.features
        self._rule = LabelRule.parse(study.records.positive)
        self._missing = frozenset(("", *study.records.missing))
        self._outside = {
            index: _OUTSIDE.format(lower=feature.lower, upper=feature.upper)
            for index, feature in enumerate(study.features)
            if isinstance(feature, NumericFeature)
        }
        self._levels = {
            index: LevelCodes.of(feature, study.records.missing)
            for index, feature in enumerate(study.features)
            if isinstance(feature, CategoricalFeature) or feature.by is not None
        }
        self.tally = np.zeros((3, len(study.features)), dtype=np.int64)

    def positions(self, batch: Any, place: Place, start: int) -> Positions:
        """Return uint16 (features, rows) for a batch whose first row is `start` (from 0)."""
        positions = np.empty((len(self._features), batch.num_rows), dtype=np.uint16)
        for index, feature in enumerate(self._features):
            column = batch.column(index)
            if isinstance(feature, NumericFeature):
                values = self._numbers(index, column, place, start)
                self._count_outside(index, feature, values, place, start)
                positions[index] = encode_numeric(feature, values)
                if feature.by is not None:
                    codes = self._levels_of(index, feature, column, place, start)
                    positions[index] = encode_by(feature, positions[index], codes)
            else:
                positions[index] = self._category(index, feature, column, place, start)
        return positions

    def labels(self, column: Any, place: Place, start: int) -> NDArray[np.uint8]:
        """Return uint8 (rows,), 1 where positive."""
        codes = _by_value(column, self._label_code)
        for code, complaint, effect in (
            (UNLABELLED, _NO_LABEL, Effect.ZERO),
            (_BAD_LABEL_CODE, _BAD_LABEL, Effect.ZERO),
            (_ODD_LABEL_CODE, _ODD_LABEL, Effect.NEGATIVE),
        ):
            name = self.columns.label or ""
            self._problems.add_where(place, name, complaint, codes == code, start, effect)
        labels: NDArray[np.uint8] = (codes == 1).astype(np.uint8)
        return labels

    def optional_labels(self, column: Any) -> NDArray[np.int8]:
        """Return int8 (rows,): 1 where positive, -1 where no label can be compared, or 0."""
        codes = _by_value(column, self._label_code)
        codes[codes == _BAD_LABEL_CODE] = UNLABELLED
        codes[codes == _ODD_LABEL_CODE] = 0
        return codes.astype(np.int8)

    def numbers(self, batch: Any) -> NDArray[np.float32]:
        """Return float32 (features, rows): numbers as they stand, NaN where there is none."""
        found = np.full((len(self._features), batch.num_rows), np.nan, np.float32)
        for index in self._outside:
            found[index] = _number(batch.column(index)).to_numpy(zero_copy_only=False)
        return found

    def dates(self, name: str, column: Any, place: Place, start: int) -> None:
        """Note the problems of a batch of date codes (sql.py) of the column `name`."""
        codes = column.to_numpy(zero_copy_only=False)
        future = _FUTURE.format(today=self.columns.today.isoformat())
        for code, complaint in ((DATE_FUTURE, future), (DATE_NONE, _NO_DATE)):
            bad = codes == code
            self._problems.add_where(place, name, complaint, bad, start, Effect.NONE)

    def _numbers(self, index: int, column: Any, place: Place, start: int) -> NDArray[np.float64]:
        """Return float64 (rows,), NaN where missing; complain about NULL, which is no number."""
        name, column = self.columns.features[index], _number(column)
        no_number = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
        # Contiguous, always: the same elementwise kernel then runs for every unit.
        values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        self._problems.add_where(place, name, NO_NUMBER, no_number, start)
        self._problems.add_where(place, name, INFINITE, np.isinf(values), start)
        self._count(MISSING, index, np.isnan(values) & ~no_number, place, start)
        return values

    def _count_outside(
        self,
        index: int,
        feature: NumericFeature,
        values: NDArray[np.float64],
        place: Place,
        start: int,
    ) -> None:
        outside = ((values < feature.lower) | (values > feature.upper)) & np.isfinite(values)
        for special in feature.special:  # a special value has its own slot, in bounds or not
            outside &= values != special
        self._count(CLAMPED, index, outside, place, start)

    def _category(
        self, index: int, feature: CategoricalFeature, column: Any, place: Place, start: int
    ) -> Positions:
        return encode_categorical(feature, self._levels_of(index, feature, column, place, start))

    def _levels_of(
        self, index: int, feature: Feature, column: Any, place: Place, start: int
    ) -> NDArray[np.int64]:
        """Return int64 (rows,): each level's index, and note those that are missing or others."""
        texts = column.field(1) if isinstance(feature, NumericFeature) else column
        codes = _by_value(texts, self._levels[index].code_of)
        self._count(MISSING, index, codes < 0, place, start)
        self._count(OTHER, index, codes == len(feature.levels), place, start)
        return codes

    def _count(
        self, what: int, index: int, where: NDArray[np.bool_], place: Place, start: int
    ) -> None:
        self.tally[what, index] += np.count_nonzero(where)
        text, effect = {
            CLAMPED: (self._outside.get(index, ""), Effect.CLAMPED),
            MISSING: (_ABSENT, Effect.MISSING),
            OTHER: (_NO_LEVEL, Effect.OTHER),
        }[what]
        self._problems.add_where(place, self.columns.features[index], text, where, start, effect)

    def _label_code(self, text: str | None) -> int:
        if text is None or text in self._missing:
            return UNLABELLED
        label = self._rule.label_of(text)
        if label is None:
            return _BAD_LABEL_CODE
        return label if self._rule.foresees(text) else _ODD_LABEL_CODE


def _number(column: Any) -> Any:
    """Return the number of a column that may bring a level with it."""
    return column.field(0) if pa.types.is_struct(column.type) else column


def _by_value(column: Any, code_of: Callable[[str | None], int]) -> NDArray[np.int64]:
    """Apply `code_of` once per different value of a text column (int64 (rows,))."""
    encoded = column.dictionary_encode()
    table = [*map(code_of, encoded.dictionary.to_pylist()), code_of(None)]
    places = encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    codes: NDArray[np.int64] = np.asarray(table, dtype=np.int64)[places]
    return codes


def texts_of(column: Any) -> Texts:
    """Return a text column as an array of str, empty where NULL."""
    texts = np.empty(len(column), dtype=np.object_)
    texts[:] = [text or "" for text in column.to_pylist()]
    return texts


def few_texts_of(column: Any) -> Texts:
    """Return the same with one str for equal texts of a batch: for names, not for ids."""
    encoded = column.dictionary_encode()
    table = np.array([*(sys.intern(t) for t in encoded.dictionary.to_pylist()), ""], np.object_)
    texts: Texts = table[encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)]
    return texts
