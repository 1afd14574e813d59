"""A column that a model reads as rows: texts hashed where they are read, vectors scaled.

A row depends on its own text or vector and on public constants alone. The text
itself is let go with its batch.
"""

import json
from numbers import Real
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.shared.features.media_gate import (
    MAX_SIZE,
    pixel_rows,
    prose_problem,
    text_problem,
    value_problem,
)
from fieldfare.shared.features.rows import DenseRows, SparseRows, UnitRows, joined, unit_rows
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.study.model_sections import TextSection, VectorSection
from fieldfare.shared.study.study import Study

_ABSENT: Final = "expected a value, found none or a missing token in {rows}"
_MEDIA: Final = "expected text, {problem} in {rows}; leave it out (harm rule 6)"
_NO_VECTOR: Final = (
    "expected vectors of {entries} numbers from your own tool, {problem} in {rows}; correct or "
    "leave them out (harm rule 6)"
)

_NOT_FINITE: Final = "found entries that are no finite numbers"


Missing = frozenset[str | None]


class RowReader(Protocol):
    """Reads one column of every batch.

    Attributes:
        absent: how many rows so far have no value.
    """

    absent: int

    def read(self, name: str, column: Any, place: Place, start: int) -> None:
        """Take a batch whose first row is `start` (from 0).

        Args:
            name: of the column, in the source.
            column: Arrow strings.
            place: where they are from.
            start: rows of the part before the batch.
        """
        ...

    def finish(self) -> UnitRows:
        """Return all rows, in order."""
        ...


def row_reader(study: Study, problems: Problems) -> RowReader | None:
    """Return the reader of a model's one column, and None for models without one."""
    missing: Missing = frozenset((None, "", *study.records.missing))
    if isinstance(study.rows, VectorSection):
        return VectorReader(study.rows, missing, problems)
    return None if study.rows is None else TextReader(study.rows, missing, problems)


class _Complaints:
    """Problems of single rows, said once for each kind."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._found: dict[str, NDArray[np.bool_]] = {}

    def add(self, problem: str, row: int) -> None:
        self._found.setdefault(problem, np.zeros(self._rows, dtype=np.bool_))[row] = True

    def say(self, problems: Problems, place: Place, name: str, form: str, start: int) -> None:
        for problem, where in self._found.items():
            problems.add_where(place, name, form.replace("{problem}", problem), where, start)


class TextReader:
    """Texts to rows; see `RowReader`."""

    def __init__(self, section: TextSection, missing: Missing, problems: Problems) -> None:
        """Begin with no rows, so that an institution without units loads like any other."""
        self.absent = 0
        self._encoder = TextEncoder(section.buckets)
        self._missing, self._problems = missing, problems
        self._parts: list[UnitRows] = [SparseRows.empty(section.buckets)]

    def read(self, name: str, column: Any, place: Place, start: int) -> None:
        """Hash a batch; a row with media in its text counts as zero."""
        texts = ["" if text in self._missing else text for text in column.to_pylist()]
        self.absent += _note_absent(self._problems, [not t for t in texts], place, name, start)
        complaints = _Complaints(len(texts))
        for row, text in enumerate(texts):
            problem = prose_problem(text)
            if problem:
                complaints.add(problem, row)
        complaints.say(self._problems, place, name, _MEDIA, start)
        self._parts.append(self._encoder.rows(texts))

    def finish(self) -> UnitRows:
        """Return all rows, in order."""
        return joined(self._parts)


class VectorReader:
    """Vectors, from lists of numbers or as JSON writes such lists, to rows; see `RowReader`."""

    def __init__(self, section: VectorSection, missing: Missing, problems: Problems) -> None:
        """Begin with no rows."""
        self.absent = 0
        self._entries, self._missing, self._problems = section.entries, missing, problems
        self._parts: list[UnitRows] = [DenseRows.empty(section.entries)]

    def read(self, name: str, column: Any, place: Place, start: int) -> None:
        """Scale a batch; a value that is no vector, or looks like a medium, counts as zero."""
        texts = column.to_pylist()
        absent = [text in self._missing for text in texts]
        self.absent += _note_absent(self._problems, absent, place, name, start)
        complaints = _Complaints(len(texts))
        values = np.zeros((len(texts), self._entries))
        for row, text in enumerate(texts):
            if not absent[row]:
                found = vector_in(text, self._entries)
                if isinstance(found, str):
                    complaints.add(found, row)
                else:
                    values[row] = found
        for problem, where in pixel_rows(values).items():
            for place_found in np.flatnonzero(where):
                complaints.add(problem, int(place_found))
        form = _NO_VECTOR.replace("{entries}", str(self._entries))
        complaints.say(self._problems, place, name, form, start)
        self._parts.append(unit_rows(values))

    def finish(self) -> UnitRows:
        """Return all rows, in order."""
        return joined(self._parts)


def vector_in(text: str, entries: int) -> list[float] | str:
    """Return the numbers of a vector as JSON writes them, or why it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        # A list with NULL, infinity or words in it, or something else altogether.
        listed = text.startswith("[")
        return _NOT_FINITE if listed else text_problem(text) or "found other text"
    problem = _no_vector(found, entries)
    return problem or [float(value) for value in found]


def _no_vector(found: object, entries: int) -> str:
    if not isinstance(found, list):
        return value_problem(found) or "found something else"
    if any(isinstance(value, bool) or not isinstance(value, Real) for value in found):
        return value_problem(found) or _NOT_FINITE
    if len(found) != entries:
        return "found another number of entries"
    # Also false for NaN; a whole number of a thousand digits is compared, never converted.
    fits = all(-MAX_SIZE <= value <= MAX_SIZE for value in found)
    return "" if fits else f"found numbers beyond {MAX_SIZE:g} or none"


def _note_absent(
    problems: Problems, absent: list[bool], place: Place, name: str, start: int
) -> int:
    where = np.array(absent, dtype=np.bool_)
    problems.add_where(place, name, _ABSENT, where, start, Effect.MISSING)
    return int(np.count_nonzero(where))
