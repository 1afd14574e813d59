"""`fieldfare query answers`: questions and their answers, as a table, a file or a picture.

Errors pass through: the root command turns them into exit codes.
"""

import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from fieldfare.server.answer_output import answers_csv, answers_json, answers_table, arrow_bytes
from fieldfare.server.answer_plots import check_plot, write_plot
from fieldfare.server.answer_sets import AnswerSet, kept_answers, simulated_answers
from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.server.cli_screen import console
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.proposals import find_study, shown
from fieldfare.server.store import RunRow, RunStore, run_store
from fieldfare.shared.errors import UsageError

RESULTS: Final = ".json"

query_answers_app = typer.Typer(add_completion=False)


class AnswerFormat(Enum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


FormatOption = Annotated[AnswerFormat, typer.Option("--format", help="How answers are written.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write into this file.", show_default="standard output"),
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE.png|.svg|.html", help="Draw them into this file too."),
]


@query_answers_app.command("answers")
def query_answers(
    asked: Annotated[
        str,
        typer.Argument(
            metavar="RUN|STUDY|RESULTS.json",
            help="A run, a study (all of its runs), or a simulation's results.json.",
        ),
    ],
    home: HomeOption = DEFAULT_HOME,
    form: FormatOption = AnswerFormat.TABLE,
    out: OutOption = None,
    plot: PlotOption = None,
) -> None:
    """Show what was asked and answered; costs nothing, however often it is read."""
    if plot is not None:
        check_plot(plot)
    sets = find_answers(asked, home)
    if plot is not None:
        write_plot(plot, sets)
        typer.echo(f"wrote {plot}", err=True)
    write_answers(sets, form, out)


def find_answers(asked: str, home: Path) -> tuple[AnswerSet, ...]:
    """Return the answers that a person means.

    Raises:
        UsageError: neither a run nor a study nor a simulation's file, or nothing was answered.
        RunError: the run store cannot be read.
    """
    if asked.endswith(RESULTS):
        return (simulated_answers(Path(asked)),)
    opened = CoordinatorHome.open(home)
    with run_store(opened.runs_database) as store:
        rows = _rows(store, opened, asked)
        sets = tuple(one for row in rows for one in kept_answers(store, opened, row))
    if not sets:
        raise UsageError(
            f"{shown(asked)}: expected answers, found none yet: see `fieldfare coordinator runs`, "
            "or ask with `fieldfare query ask`"
        )
    return sets


def _rows(store: RunStore, home: CoordinatorHome, asked: str) -> list[RunRow]:
    """Return the run of that id, or beginning of an id; else the runs of that study."""
    rows = store.rows()
    exact = [row for row in rows if row.run == asked]
    if exact:
        return exact
    try:
        study = find_study(home, asked).id
    except UsageError:
        begun = [row for row in rows if asked and row.run.startswith(asked)]
        if len(begun) == 1:
            return begun
        if begun:
            listed = ", ".join(row.run for row in begun)
            raise UsageError(
                f"RUN: expected one run, found {shown(asked)}, which fits {listed}: give more of "
                "its id"
            ) from None
        raise UsageError(
            f"RUN|STUDY: expected one run, a study or a results.json, found {shown(asked)}: see "
            "`fieldfare coordinator runs` and `fieldfare coordinator studies`"
        ) from None
    return [row for row in rows if row.study == study]


def write_answers(sets: Sequence[AnswerSet], form: AnswerFormat, out: Path | None) -> None:
    """Write answers in one of the formats.

    Raises:
        UsageError: binary data for a terminal.
        OSError: `out` cannot be written.
    """
    if form is AnswerFormat.TABLE and out is None:
        _show(sets, console())
        return
    content = _content(sets, form)
    if out is not None:
        out.write_bytes(content)
        typer.echo(f"wrote {out}", err=True)
        return
    if form is AnswerFormat.ARROW and sys.stdout.isatty():
        raise UsageError("--out: expected a file for arrow, found none: a terminal cannot show it")
    typer.echo(content, nl=False)


def _content(sets: Sequence[AnswerSet], form: AnswerFormat) -> bytes:
    if form is AnswerFormat.JSON:
        return (json.dumps(answers_json(sets), indent=2) + "\n").encode()
    if form is AnswerFormat.CSV:
        return answers_csv(sets).encode()
    if form is AnswerFormat.ARROW:
        return arrow_bytes(sets)
    to = console()
    with to.capture() as captured:
        _show(sets, to)
    return captured.get().encode()


def _show(sets: Sequence[AnswerSet], to: Console) -> None:
    for one in sets:
        institutions = one.answers[0].institutions
        where = f"run {one.run}" if one.run else "a simulation"
        later = ", asked later" if one.later else ""
        to.print(Text(f"{one.name}: {where}{later}; {institutions} institutions"))
        to.print(answers_table(one))
        to.print()
    to.print(Text("An interval holds the answer over these records 19 times in 20 (noise alone)."))
    to.print(Text("held back: too few units to be told from none."))
