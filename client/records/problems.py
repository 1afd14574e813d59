"""What is wrong with records, gathered until all of it can be said at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError

_SHOWN: Final = 5  # row numbers per line


@dataclass
class _BadRows:
    count: int = 0
    first: list[int] = field(default_factory=list)


@dataclass
class Problems:
    """Problems by file, column and kind: counts and row numbers, never a record's value."""

    _plain: list[str] = field(default_factory=list)
    _rows: dict[tuple[Path, str, str], _BadRows] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Note a problem of a whole file."""
        self._plain.append(line)

    def add_rows(self, path: Path, column: str, what: str, rows: NDArray[Any]) -> None:
        """Note bad `rows` (int (n,), 1 is the first row after the header) of a column.

        `what` reads `EXPECTED expected, FOUND found; REMEDY` and holds one `{rows}`.
        """
        if not len(rows):
            return
        bad = self._rows.setdefault((path, column, what), _BadRows())
        bad.count += len(rows)
        free = max(0, _SHOWN - len(bad.first))
        bad.first.extend(int(row) for row in np.sort(rows)[:free])

    def lines(self) -> Sequence[str]:
        """Return one line per problem."""
        lines = list(self._plain)
        for (path, column, what), bad in self._rows.items():
            numbers = ", ".join(map(str, bad.first)) + (", ..." if bad.count > _SHOWN else "")
            rows = f"{bad.count} row{'s' if bad.count > 1 else ''} ({numbers})"
            lines.append(f"{path}: column {column}: {what.format(rows=rows)}")
        return lines

    def check(self) -> None:
        """Stop if anything is wrong.

        Raises:
            RecordsError: every problem, one line each.
        """
        lines = self.lines()
        if lines:
            raise RecordsError("\n".join(lines))
