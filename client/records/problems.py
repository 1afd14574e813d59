"""What does not fit in records, gathered until all of it can be said at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError

_SHOWN: Final = 5  # row numbers per line
_PARTS_SHOWN: Final = 3  # names of files per line


class Effect(Enum):
    """What it does to the result."""

    REFUSED = "refused"  # nothing is loaded
    CLAMPED = "clamped"  # counts as the nearer bound
    MISSING = "missing slot"
    OTHER = "other slot"
    NEGATIVE = "counts as 0"  # a label
    NONE = "no effect"  # worth a look all the same


@dataclass(frozen=True)
class Place:
    """A table, and which of its files where it has several."""

    table: str
    part: str = ""


@dataclass(frozen=True)
class Finding:
    """One line: what was found, in how many rows, and what that does.

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
    """Problems by table, column and kind: counts and row numbers, never a record's value."""

    _plain: dict[tuple[str, str, Effect], list[str]] = field(default_factory=dict)
    _rows: dict[tuple[str, str, str, Effect], _Rows] = field(default_factory=dict)

    def add(self, place: Place, text: str, effect: Effect = Effect.REFUSED) -> None:
        """Note a problem of a whole file."""
        self._plain.setdefault((place.table, text, effect), []).append(place.part)

    def add_error(self, error: RecordsError) -> None:
        """Note that something could not be read, in the words of its error."""
        for line in str(error).split("\n"):
            self._plain.setdefault(("", line, Effect.REFUSED), []).append("")

    def add_rows(
        self,
        place: Place,
        column: str,
        what: str,
        rows: NDArray[Any],
        effect: Effect = Effect.REFUSED,
    ) -> None:
        """Note `rows` (int (n,), 1 is the first row after the header, increasing) of a column.

        `what` reads `EXPECTED expected, FOUND found; REMEDY` and holds one `{rows}`.
        """
        if not len(rows):
            return
        found = self._rows.setdefault((place.table, column, what, effect), _Rows())
        found.count += len(rows)
        free = max(0, _SHOWN - len(found.first))
        found.first.extend((place.part, int(row)) for row in rows[:free])

    def add_where(
        self, place: Place, column: str, what: str, bad: NDArray[np.bool_], start: int,
        effect: Effect = Effect.REFUSED,
    ) -> None:  # fmt: skip
        """Note rows where `bad` (bool (n,)) holds, of a batch whose first is `start` (from 0)."""
        if bad.any():
            self.add_rows(place, column, what, np.flatnonzero(bad) + start + 1, effect)

    def findings(self) -> list[Finding]:
        """Return one finding per problem, those that refuse first."""
        found = [
            Finding(effect, (f"{table}: " if table else "") + text + _named(parts), 0)
            for (table, text, effect), parts in self._plain.items()
        ]
        for (table, column, what, effect), rows in self._rows.items():
            # The column first: a name may hold braces, which are none of `what`'s.
            text = f"{table}: column {column}: " + what.replace("{rows}", str(rows))
            found.append(Finding(effect, text, rows.count))
        order = list(Effect)
        return sorted(found, key=lambda finding: order.index(finding.effect))

    def lines(self) -> Sequence[str]:
        """Return one line per problem that refuses the records."""
        return [found.text for found in self.findings() if found.effect is Effect.REFUSED]

    def check(self) -> None:
        """Stop if anything refuses the records.

        Raises:
            RecordsError: every such problem, one line each.
        """
        lines = self.lines()
        if lines:
            raise RecordsError("\n".join(lines))


def _named(parts: Sequence[str]) -> str:
    names = [part for part in parts if part]
    if not names:
        return ""
    more = f" and {len(names) - _PARTS_SHOWN} more" if len(names) > _PARTS_SHOWN else ""
    return f" (in {', '.join(names[:_PARTS_SHOWN])}{more})"
