"""Answers to questions: true and private side by side, on the page and on the screen."""

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.pages.words import number, plain
from fieldfare.shared.terminal.screen import add_row, table
from fieldfare.simulations.report import figures, words

TEMPLATE: Final = resources.files("fieldfare.simulations.report") / "questions.html"
FRAGMENT: Final = resources.files("fieldfare.simulations.report") / "answers_part.html"
MOST_WIDTH: Final = 19  # of a name, so that 80 columns hold a row
MOST_CELLS: Final = 6  # of one answer on the screen; the report has all

Results = Mapping[str, Any]


def write_answers_report(path: Path, results: Results) -> None:
    """Write the page of a study that only asks questions: one HTML file, no scripts.

    Raises:
        OSError: `path` cannot be written.
    """
    shown = plain(results)
    context = {
        "several": words.sentence(results, "several"),
        "needs_more": figures.needs_more(results),
        "study": shown["study"],
        "institutions": shown["institutions"],
        "privacy": shown["privacy"],
        "answers": answer_tables(shown),
        "harm_rules": HARM_RULES,
    }
    path.write_text(page_template(TEMPLATE).render(context), encoding="utf-8")


def answers_html(results: Results) -> str:
    """Return the answers as a piece of HTML, for a notebook; names are escaped and stripped."""
    return page_template(FRAGMENT).render(answers=answer_tables(plain(results)))


def answer_tables(results: Results) -> list[dict[str, Any]]:
    """Return each answer with its rows: cell, true, private, low, high."""
    return [
        {"alarms": [], **answer, "rows": list(_rows(answer))}
        for answer in results.get("answers") or ()
    ]


def _rows(answer: Results) -> Iterator[dict[str, Any]]:
    single = not isinstance(answer["value"], list)
    values, true, intervals = (
        [answer[key]] if single else answer[key] for key in ("value", "true", "interval")
    )
    cells = [[]] if single else answer["cells"]
    measures = [""] if single else answer["measures"]
    for cell, measure, value, truth, interval in zip(
        cells, measures, values, true, intervals, strict=True
    ):
        named = [*cell, *([measure] if measure == "mean" and len(set(measures)) > 1 else [])]
        yield {
            "cell": ", ".join(named),
            "true": number(truth),
            "value": "held back" if value is None else number(value),
            "low": "" if interval is None else number(interval[0]),
            "high": "" if interval is None else number(interval[1]),
        }


def answers_table(results: Results) -> Table:
    """Return the answers for a terminal: a few cells of each."""
    names, numbers = ("question", "cell"), ("true", "private", "95 % from", "to")
    found = table((*names, *numbers), numbers=numbers, whole=names, gap=1)
    for column in found.columns:
        if column.header in names:
            column.max_width = MOST_WIDTH
        else:
            column.min_width = 9
    for answer in answer_tables(results):
        rows = answer["rows"]
        for index, row in enumerate(rows[:MOST_CELLS]):
            cells = [row[key] for key in ("cell", "true", "value", "low", "high")]
            add_row(found, answer["name"] if index == 0 else "", *cells)
        if len(rows) > MOST_CELLS:
            add_row(found, "", f"{len(rows) - MOST_CELLS} more: see the report")
    return found
