"""Problems in records, gathered so that a load reports all of them at once."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.terminal.texts import listed

SHOWN: Final = 5  # row numbers per line
_PARTSSHOWN: Final = 3  # names of files per line

# What is said of a number, whoever reads it.
NO_NUMBER: Final = (
    "expected a number, found other text in {rows}; correct the rows, declare how numbers are "
    'written (decimal = "," for 1,5; thousands = "." for 1.234,5) at the source or in its mapping, '
    "or list the text under records.missing of the study"
)
_UNREAD: Final = (
    "expected as many fields as the header, in the file's encoding, found {lines} that cannot be "
    "read so ({named}); check separators, encoding and quotes: a text ends with its line, and an "
    "export whose texts have line breaks belongs in Parquet"
)
_UNREAD_ROWS: Final = (
    "expected texts in UTF-8 and dates of the calendar, found {lines} with other values ({named}), "
    "which are left out; write them again"
)
INFINITE: Final = "expected a finite number, found infinity in {rows}; correct the rows"


class FailedRowsError(RecordsError):
    """Rows could not be computed or held: because of one value, perhaps, of one of them."""


class Effect(Enum):
    """The effect of a problem on the result."""

    REFUSED = "refused"  # nothing is loaded: of what is no record, such as columns
    ZERO = "counts as zero"  # a row: its unit is in no sum
    CLAMPED = "clamped"  # counts as the nearer bound
    MISSING = "missing slot"
    OTHER = "other slot"
    NEGATIVE = "label 0"
    NONE = "no effect"  # worth a look all the same


@dataclass(frozen=True)
class Place:
    """A table, and which of its files where it has several.

    Attributes:
        first: how many rows of all tables come before its own.
        pieces: where several files are read as one: each one's name and number of rows.
    """

    table: str
    part: str = ""
    first: int = 0
    pieces: tuple[tuple[str, int], ...] = field(default=(), compare=False)

    @property
    def parts(self) -> list[str]:
        """Names of its files."""
        return [name for name, _ in self.pieces] or [self.part]

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((rows for _, rows in self.pieces[:-1]), initial=0))

    def of(self, row: int) -> tuple[str, int]:
        """Return the file that a row (from 0) is of, and its number there, 1 for the first."""
        if not self.pieces:
            return self.part, row + 1
        piece = bisect_right(self._starts, row) - 1
        return self.pieces[piece][0], row - self._starts[piece] + 1


@dataclass(frozen=True)
class RecordProblem:
    """One line: the problem, the number of its rows, and its effect.

    Attributes:
        count: rows; 0 where it is about a whole file.
    """

    effect: Effect
    text: str
    count: int


@dataclass
class _Rows:
    count: int = 0
    first: list[tuple[str, int]] = field(default_factory=list)

    def __str__(self) -> str:
        words, last = [], ""
        for part, row in self.first:
            words.append(f"{part} {row}" if part != last else str(row))
            last = part
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.count} row{'s' if self.count > 1 else ''} ({', '.join(words)}{more})"


@dataclass
class Problems:
    """Problems by table, column and kind: counts and row numbers, never a record's value.

    *Formal Guarantees.* A row counts as zero exactly where it was noted with that effect, and a
    note about a row never refuses records: only `add` and `add_error` do.
    """

    _plain: dict[tuple[str, str, Effect], list[str]] = field(default_factory=dict)
    _rows: dict[tuple[str, str, str, Effect], _Rows] = field(default_factory=dict)
    _zero: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)
    unread: int = 0  # lines that are no rows, and rows that nobody can read
    failed: bool = False  # a value kept all of them from being read
    _noted: set[tuple[Place, str, str, int]] = field(default_factory=set)

    def add(self, place: Place, text: str, effect: Effect = Effect.REFUSED) -> None:
        """Note a problem of a whole file."""
        self._plain.setdefault((place.table, text, effect), []).extend(place.parts)

    def add_error(self, error: RecordsError) -> None:
        """Note that something could not be read, in the words of its error."""
        self.failed |= isinstance(error, FailedRowsError)
        for line in str(error).split("\n"):
            self._plain.setdefault(("", line, Effect.REFUSED), []).append("")

    def add_where(
        self, place: Place, column: str, what: str, bad: NDArray[np.bool_], start: int,
        effect: Effect = Effect.ZERO,
    ) -> None:  # fmt: skip
        """Note rows where `bad` (bool (n,)) holds, of a batch whose first is `start` (from 0).

        `what` reads `expected X, found {rows}; REMEDY` and holds one `{rows}`; numbers are
        those of the file, 1 for the first row after the header.
        """
        if effect is Effect.REFUSED:
            raise UsageError("expected an effect of rows, found one of whole sources")
        rows, noted = np.flatnonzero(bad), (place, column, what, start)
        if not len(rows) or noted in self._noted:  # a feature that a question reads too
            return
        self._noted.add(noted)
        if effect is Effect.ZERO:
            where = (place.first + start, len(bad))
            self._zero[where] = self._zero.get(where, False) | bad
        found = self._rows.setdefault((place.table, column, what, effect), _Rows())
        found.count += len(rows)
        free = max(0, SHOWN - len(found.first))
        found.first.extend(place.of(int(row) + start) for row in rows[:free])

    def add_unread(
        self, place: Place, count: int, first: Sequence[int], *, rows: bool = False
    ) -> None:
        """Note lines that are no rows, by their numbers in the file: nobody's, so they are zero.

        Args:
            place: whose they are.
            count: how many.
            first: numbers of some, 1 for the file's first line, or for the first row.
            rows: they are rows, with a value that nobody can read.
        """
        if count:
            lines = f"{count} {'row' if rows else 'line'}{'s' * (count > 1)}"
            named = ", ".join(map(str, first)) + ", ..." * (count > len(first))
            self.unread += count
            text = (_UNREAD_ROWS if rows else _UNREAD).format(lines=lines, named=named)
            self._plain.setdefault((place.table, text, Effect.ZERO), []).append(place.part)

    def fits(self, rows: int) -> NDArray[np.bool_]:
        """Return bool (rows,) over all tables: those that do not count as zero."""
        found = np.ones(rows, dtype=np.bool_)
        for (first, size), bad in self._zero.items():
            found[first : first + size] &= ~bad
        return found

    def findings(self) -> list[RecordProblem]:
        """Return one finding per problem, those that refuse first."""
        found = [
            RecordProblem(effect, (f"{table}: " if table else "") + text + _named(parts), 0)
            for (table, text, effect), parts in self._plain.items()
        ]
        for (table, column, what, effect), rows in self._rows.items():
            # The column first: a name may hold braces, which are none of `what`'s.
            text = f"{table}: column {column}: " + what.replace("{rows}", str(rows))
            found.append(RecordProblem(effect, text, rows.count))
        order = list(Effect)
        return sorted(found, key=lambda finding: order.index(finding.effect))

    def lines(self, *effects: Effect) -> Sequence[str]:
        """Return one line per problem that has one of `effects`."""
        return [found.text for found in self.findings() if found.effect in effects]

    def check(self, *also: Effect) -> None:
        """Stop if anything refuses the records.

        Args:
            also: further effects that do, where nobody outside can tell that it stopped.

        Raises:
            RecordsError: every such problem, one line each.
            FailedRowsError: the same, where one of them is about what stands in rows.
        """
        lines = self.lines(Effect.REFUSED, *also)
        if lines:
            raise (FailedRowsError if self.failed else RecordsError)("\n".join(lines))


def count_rows(rows: int) -> str:
    """Return how many rows, in words."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def zero_words(rows: int, zero: int) -> str:
    """Return how many rows count as zero; empty where none does."""
    if not zero:
        return ""
    of = count_rows(rows)
    return f"{zero:,} of {of} count{'s' * (zero == 1)} as zero ({100 * zero / rows:.3g} %)"


def zero_lines(findings: Sequence[RecordProblem]) -> list[str]:
    """Return why rows count as zero, a line for each kind."""
    return [f"  {one.effect.value}: {one.text}" for one in findings if one.effect is Effect.ZERO]


def _named(parts: Sequence[str]) -> str:
    names = [part for part in parts if part]
    if not names:
        return ""
    return f" (in {listed(names, _PARTSSHOWN)})"
