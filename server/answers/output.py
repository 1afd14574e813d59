"""Answers for people and programs: a table, JSON, CSV, Arrow."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from rich.table import Table

from fieldfare.server.answers import analytics
from fieldfare.server.answers.answer import Answer, Cell
from fieldfare.server.answers.sets import AnswerSet, Number
from fieldfare.shared.pages.words import number, plain
from fieldfare.shared.party.csv_cells import csv_text
from fieldfare.shared.terminal.screen import add_row, table

OUTPUT_FORMAT: Final = 1
HELD_BACK: Final = "held back"
MOST_CELLS: Final = 40  # of one answer on the screen; the other formats have all


def rows_of(one: AnswerSet) -> Iterator[tuple[Answer, Cell, Number]]:
    """Return every cell with its answer, and the true value where a simulation knows it."""
    for index, answer in enumerate(one.answers):
        truths = one.truths[index] if one.truths else (None,) * len(answer.cells)
        for cell, truth in zip(answer.cells, truths, strict=True):
            yield answer, cell, truth


def answers_json(sets: Sequence[AnswerSet]) -> dict[str, Any]:
    """Return answers for programs; each has the form that results.json gives it."""
    return {"format": OUTPUT_FORMAT, "answered": [_set_json(one) for one in sets]}


def _set_json(one: AnswerSet) -> dict[str, Any]:
    answers = [answer.as_dict() for answer in one.answers]
    for index, truth in enumerate(one.truths):
        single = not isinstance(answers[index]["value"], list)
        answers[index]["true"] = truth[0] if single else list(truth)
    return {
        "study": one.study,
        "name": one.name,
        "run": one.run or None,
        "asked": _asked(one),
        "answers": answers,
    }


def _asked(one: AnswerSet) -> str:
    if not one.run:
        return "simulation"
    return "allowance" if one.later else "study"


def answers_arrow(sets: Sequence[AnswerSet]) -> Any:
    """Return a pyarrow table: `analytics.table` after a column `run`, with `true` at its end."""
    import pyarrow as pa  # noqa: PLC0415 -- see `analytics.table`

    merged = analytics.table(chain.from_iterable(one.answers for one in sets))
    rows = [(one.run, truth) for one in sets for _, _, truth in rows_of(one)]
    runs = pa.array([run for run, _ in rows], pa.string())
    truths = pa.array([truth for _, truth in rows], pa.float64())
    return merged.add_column(0, "run", runs).append_column("true", truths)


def arrow_bytes(sets: Sequence[AnswerSet]) -> bytes:
    """Return the table as an Arrow IPC file."""
    import pyarrow as pa  # noqa: PLC0415 -- see `analytics.table`

    found, sink = answers_arrow(sets), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, found.schema) as writer:
        writer.write_table(found)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def answers_csv(sets: Sequence[AnswerSet]) -> str:
    """Return the table as CSV; keys and cells with ` | ` between their parts."""
    found = answers_arrow(sets)
    rows = ([_field(row[name]) for name in found.column_names] for row in found.to_pylist())
    return csv_text(found.column_names, rows)


def _field(value: Any) -> Any:
    if isinstance(value, list):
        return " | ".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def answers_table(one: AnswerSet) -> Table:
    """Return a set of answers for a terminal."""
    numbers = [*(["true"] if one.truths else []), "answer", "95 % from", "to"]
    found = table(("question", "cell", *numbers), numbers=numbers)
    shown, last = 0, None
    for answer, cell, truth in rows_of(one):
        shown = shown + 1 if answer is last else 1
        if shown > MOST_CELLS:
            if shown == MOST_CELLS + 1:
                more = len(answer.cells) - MOST_CELLS
                add_row(found, "", f"{more} more: --format csv")
            continue
        texts = [*([number(truth)] if one.truths else []), *_numbers(cell)]
        add_row(found, "" if answer is last else answer.name, cell_label(answer, cell), *texts)
        last = answer
    return found


def _numbers(cell: Cell) -> list[str]:
    value = HELD_BACK if cell.value is None else number(cell.value)
    return [value, *("" if end is None else number(end) for end in (cell.low, cell.high))]


def cell_label(answer: Answer, cell: Cell) -> str:
    """Return a cell's label: its place, its measure where that is not plain, and its alarm."""
    several = len({one.measure for one in answer.cells}) > 1
    parts = [*cell.key, *([cell.measure] if several or not cell.key else [])]
    alarm = bool(cell.key) and cell.key[0] in answer.alarms
    return str(plain(", ".join(parts))) + (" (alarm)" if alarm else "")
