"""Batches of columns into positions and labels, counting what does not fit.

Every value is encoded by itself: a look-up of its text, or an elementwise formula of its
number. Nothing here sees a column as a whole.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.columns import Columns
from fieldfare.client.records.problems import Problems
from fieldfare.client.records.text import LabelRule, LevelCodes
from fieldfare.shared.basis import Positions, encode_categorical, encode_numeric
from fieldfare.shared.features import CategoricalFeature, NumericFeature

Texts = NDArray[np.object_]  # str per unit

CLAMPED, MISSING, OTHER = range(3)  # rows of the tally
_NO_LABEL_CODE: Final = -1
_BAD_LABEL_CODE: Final = -2

_NO_NUMBER: Final = (
    "a number expected, other text found in {rows}; correct the rows, or list the text under "
    "records.missing of the study"
)
_INFINITE: Final = "a finite number expected, infinity found in {rows}; correct the rows"
_NO_LABEL: Final = "a label expected, none found in {rows}; label the rows or leave them out"
_BAD_LABEL: Final = (
    "a finite number expected (records.positive compares), something else found in {rows}; "
    "correct the rows"
)


class Encoder:
    """Encodes batches under one study.

    Attributes:
        tally: int64 (3, features): values clamped, missing, other.
    """

    def __init__(self, columns: Columns, problems: Problems) -> None:
        """Prepare look-ups; complaints go to `problems`."""
        self._columns = columns
        self._problems = problems
        study = columns.study
        self._features = study.features
        self._rule = LabelRule.parse(study.records.positive)
        self._missing = frozenset(("", *study.records.missing))
        self._levels = {
            index: LevelCodes.of(feature, study.records.missing)
            for index, feature in enumerate(study.features)
            if isinstance(feature, CategoricalFeature)
        }
        self.tally = np.zeros((3, len(study.features)), dtype=np.int64)

    def positions(self, batch: Any, path: Path, start: int) -> Positions:
        """Return uint16 (features, rows) for a batch whose first row is `start` (from 0)."""
        positions = np.empty((len(self._features), batch.num_rows), dtype=np.uint16)
        for index, feature in enumerate(self._features):
            column = batch.column(index)
            if isinstance(feature, NumericFeature):
                values = self._numbers(index, column, path, start)
                self._count_outside(index, feature, values)
                positions[index] = encode_numeric(feature, values)
            else:
                positions[index] = self._category(index, feature, column)
        return positions

    def labels(self, column: Any, path: Path, start: int) -> NDArray[np.uint8]:
        """Return uint8 (rows,), 1 where positive."""
        codes = _by_value(column, self._label_code)
        complaints = ((_NO_LABEL_CODE, _NO_LABEL), (_BAD_LABEL_CODE, _BAD_LABEL))
        for code, complaint in complaints:
            rows = np.flatnonzero(codes == code) + start + 1
            self._problems.add_rows(path, self._columns.label, complaint, rows)
        labels: NDArray[np.uint8] = (codes == 1).astype(np.uint8)
        return labels

    def _numbers(self, index: int, column: Any, path: Path, start: int) -> NDArray[np.float64]:
        """Return float64 (rows,), NaN where missing; complain about NULL, which is no number."""
        name = self._columns.features[index]
        no_number = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
        # Contiguous, always: the same elementwise kernel then runs for every unit.
        values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
        for bad, complaint in ((no_number, _NO_NUMBER), (np.isinf(values), _INFINITE)):
            if bad.any():
                rows = np.flatnonzero(bad) + start + 1
                self._problems.add_rows(path, name, complaint, rows)
        return values

    def _count_outside(
        self, index: int, feature: NumericFeature, values: NDArray[np.float64]
    ) -> None:
        outside = (values < feature.lower) | (values > feature.upper)
        for special in feature.special:  # a special value has its own slot, in bounds or not
            outside &= values != special
        self.tally[CLAMPED, index] += np.count_nonzero(outside)
        self.tally[MISSING, index] += np.count_nonzero(np.isnan(values))

    def _category(self, index: int, feature: CategoricalFeature, column: Any) -> Positions:
        codes = _by_value(column, self._levels[index].code_of)
        self.tally[MISSING, index] += np.count_nonzero(codes < 0)
        self.tally[OTHER, index] += np.count_nonzero(codes == len(feature.levels))
        return encode_categorical(feature, codes)

    def _label_code(self, text: str | None) -> int:
        if text is None or text in self._missing:
            return _NO_LABEL_CODE
        label = self._rule.label_of(text)
        return _BAD_LABEL_CODE if label is None else label


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
