"""CSV for people: what a spreadsheet would compute stands in it as a text, and can be read back.

A spreadsheet runs a cell that begins with one of a few signs, quoted or not (OWASP, "CSV
Injection"). Before such a text stands an apostrophe, and one more where it had some already; so
`text_of` gives exactly what `cell_of` was given. Numbers stay numbers, texts of numbers too.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

# With the wide forms of the four signs, which a Japanese Excel reads as it reads these.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def cell_of(value: Any) -> Any:
    """Return a value as it stands in a cell: a text that a spreadsheet would compute, marked."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def text_of(cell: str) -> str:
    """Return the text of which `cell_of` made a cell."""
    marked = cell.startswith("'") and cell_of(cell[1:]) == cell
    return cell[1:] if marked else cell


def csv_text(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV, lines ending in LF; every cell is `cell_of` its value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(cell_of, row) for row in (titles, *rows))
    return text.getvalue()
