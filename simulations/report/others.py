"""Models of others, each with what its maker sees: a table for the terminal, rows for the page."""

from typing import Any, Final

from rich.table import Table
from rich.text import Text

from fieldfare.shared.pages.words import decimals
from fieldfare.shared.terminal.screen import add_row, table
from fieldfare.shared.terminal.texts import short
from fieldfare.simulations.report.figures import Results

OTHERS: Final = (
    "Models of others, in simulation only: no study can name one, for their maker sees more "
    "than a sum."
)
_KEYS: Final = ("auroc", "average_precision", "recall_at_budget")
_HEADS: Final = ("AUROC", "precision", "found")


def others_rows(results: Results) -> list[dict[str, Any]]:
    """Return a row for each: name, what its maker sees, what it promises, and figures."""
    return [{**one, "promise": _promise(one)} for one in results.get("others") or ()]


def _promise(row: Results) -> str:
    """Say which epsilon is promised, and to whom."""
    if row.get("epsilon") is None:
        return "none"
    return f"{short(row['epsilon'])}, of one\n{row['promised']}"


def others_table(results: Results) -> Table:
    """Return the terminal's table, under a line that says what it is of."""
    heads = ("model", "its maker sees", "epsilon")
    found = table((*heads, *_HEADS), numbers=_HEADS, whole=heads[:2])
    found.title, found.title_justify, found.title_style = Text(OTHERS), "left", "bold yellow"
    for row in others_rows(results):
        figures = (decimals(row.get(key)) for key in _KEYS)
        add_row(found, row["name"], row["sees"], row["promise"], *figures)
    return found
