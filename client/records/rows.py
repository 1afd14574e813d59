"""A column that a model reads as rows: texts hashed where they are read.

What a row is made of depends on its own text and on public constants alone. The text itself is
let go with its batch.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.problems import Effect, Place, Problems
from fieldfare.shared.media_gate import prose_problem
from fieldfare.shared.model_sections import RowSection
from fieldfare.shared.rows import SparseRows, UnitRows, joined
from fieldfare.shared.study import Study
from fieldfare.shared.text_grams import TextEncoder

_ABSENT: Final = "a text expected, none or a missing token found in {rows}"
_MEDIA: Final = "text expected, {problem} in {{rows}}; leave it out (harm rule 6)"


class RowReader:
    """Reads one column of every batch.

    Attributes:
        absent: how many rows so far have no text.
    """

    def __init__(
        self, section: RowSection, missing: frozenset[str | None], problems: Problems
    ) -> None:
        """Begin with no rows, so that an institution without units loads like any other.

        Args:
            section: of the model.
            missing: what stands for no text.
            problems: complaints go there.
        """
        self.absent = 0
        self._encoder, self._missing, self._problems = (
            TextEncoder(section.buckets),
            missing,
            problems,
        )
        self._parts: list[UnitRows] = [SparseRows.empty(section.buckets)]

    @classmethod
    def of(cls, study: Study, problems: Problems) -> "RowReader | None":
        """Return what reads the column of a model that reads one, and None for others."""
        if study.rows is None:
            return None
        return cls(study.rows, frozenset((None, "", *study.records.missing)), problems)

    def read(self, name: str, column: Any, place: Place, start: int) -> None:
        """Take a batch whose first row is `start` (from 0).

        Args:
            name: of the column, in the source.
            column: Arrow strings.
            place: where they are from.
            start: rows of the part before the batch.
        """
        texts = ["" if text in self._missing else text for text in column.to_pylist()]
        absent = np.array([not text for text in texts], dtype=np.bool_)
        self._problems.add_where(place, name, _ABSENT, absent, start, Effect.MISSING)
        self._refuse_media(name, texts, place, start)
        self._parts.append(self._encoder.rows(texts))
        self.absent += int(np.count_nonzero(absent))

    def finish(self) -> UnitRows:
        """Return all rows, in order."""
        return joined(self._parts)

    def _refuse_media(self, name: str, texts: list[str], place: Place, start: int) -> None:
        found: dict[str, NDArray[np.bool_]] = {}
        for row, text in enumerate(texts):
            problem = prose_problem(text)
            if problem:
                found.setdefault(problem, np.zeros(len(texts), dtype=np.bool_))[row] = True
        for problem, where in found.items():
            self._problems.add_where(place, name, _MEDIA.format(problem=problem), where, start)
