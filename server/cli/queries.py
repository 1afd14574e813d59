"""`fieldfare query plan|ask|answers`: which epsilon buys which error, ask, read the answers."""

import json
import math
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from fieldfare.server.answers import asking, expected_error
from fieldfare.server.answers.output import answers_csv, answers_json, answers_table, arrow_bytes
from fieldfare.server.answers.plots import check_plot, write_plot
from fieldfare.server.answers.priced import PricedGroup, priced
from fieldfare.server.answers.sets import AnswerSet, kept_answers, simulated_answers
from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, EXIT_DECLINED, HomeOption, JsonOption
from fieldfare.server.cli.runs import EXIT_INTERRUPTED, StudyArgument
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.studies.open_coordinator import (
    OpenCoordinator,
    changes_in,
    open_coordinator,
    watch_run,
)
from fieldfare.server.studies.proposals import Proposal, find_study, shown
from fieldfare.server.studies.run_control import SUFFIX_BYTES, new_run_id
from fieldfare.server.studies.run_view import line
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.pages.words import number
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.screen import PlainConsole, add_row, console, table
from fieldfare.shared.terminal.streams import write_binary
from fieldfare.shared.terminal.texts import plain

RESULTS: Final = ".json"


class AnswerFormat(Enum):
    """The formats of answers."""

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


@app.command("query.answers")
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
    """Show questions and their answers; reading costs nothing, however often."""
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
    if form is not AnswerFormat.ARROW:
        typer.echo(content, nl=False)
    elif sys.stdout.isatty():
        raise UsageError("--out: expected a file for arrow, found none: a terminal cannot show it")
    else:
        write_binary(content)


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


def _show(sets: Sequence[AnswerSet], to: PlainConsole) -> None:
    for one in sets:
        institutions = one.answers[0].institutions
        where = f"run {one.run}" if one.run else "a simulation"
        later = ", asked later" if one.later else ""
        to.print(Text(f"{one.name}: {where}{later}; {institutions} institutions"))
        to.print(answers_table(one))
        to.print()
    to.print(
        Text(
            "An interval contains the true answer over these records 19 times in 20 (noise alone)."
        )
    )
    to.print(Text("held back: too few units to distinguish from zero."))


TIMES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the study's epsilon, where none is asked for
MOST_EPSILON: Final = 100.0


@app.command("query.plan")
def query_plan(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            metavar="QUESTIONS.toml",
            help="Questions to ask later, within the study's allowance.",
            show_default="the study's own",
        ),
    ] = None,
    epsilon: Annotated[
        list[float] | None,
        typer.Option(
            "--epsilon",
            help="Show the errors that this epsilon buys; may be repeated.",
            show_default="a quarter of the study's to four times as much",
        ),
    ] = None,
    institutions: Annotated[
        int | None,
        typer.Option(
            "--institutions", help="How many take part.", show_default="the study's minimum"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each question would cost and the error that this buys; nothing is spent."""
    found = load_study(study)
    group = None if questions is None else expected_error.load_questions(questions)
    count = _institutions(found, institutions)
    own = priced(found, group, count)
    others = [priced(_at(found, one), group, count) for one in _epsilons(found, epsilon)]
    if as_json:
        typer.echo(json.dumps(plan_json(own, others, count), indent=2))
        return
    to = console()
    for head in head_lines(own, count):
        to.print(Text(head))
    to.print(errors_table(own))
    to.print(Text("\nExpected error at another epsilon for the whole study"))
    to.print(_by_epsilon(others))
    for note in _notes(found):
        to.print(Text(note))


def plan_json(own: PricedGroup, others: Sequence[PricedGroup], institutions: int) -> dict[str, Any]:
    """Return everything for programs; unknown values are null."""
    study = own.plan.study
    return {
        "study": study.id,
        "name": study.name,
        "epsilon": study.privacy.epsilon,
        "delta": study.privacy.delta,
        "units": study.records.units,
        "institutions": institutions,
        "asked": "allowance" if own.later else "study",
        "groups": study.allowance.groups if own.later and study.allowance else 1,
        "mu2": own.terms.mu2,
        "questions": [_question_json(one) for one in own.questions],
        "by_epsilon": [
            {
                "epsilon": other.plan.study.privacy.epsilon,
                "mu2": other.terms.mu2,
                "questions": [_question_json(one) for one in other.questions],
            }
            for other in others
        ],
    }


def _question_json(one: expected_error.QuestionPlan) -> dict[str, Any]:
    return {
        "name": one.question.name,
        "kind": one.question.kind,
        "mu2": one.mu2,
        "cells": one.cells,
        "measures": [
            {
                "measure": expected.measure,
                "of": expected.of,
                "sigma": _finite(expected.sigma),
                "expected_error": _finite(expected.error),
                "smallest_count": _finite(expected.least),
            }
            for expected in one.expected
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _institutions(study: Study, given: int | None) -> int:
    least = study.aggregation.minimum_institutions
    if given is None:
        return least
    if given < least:
        raise UsageError(
            f"--institutions: expected at least {least}, the study's minimum, found {given}"
        )
    return given


def _epsilons(study: Study, given: Sequence[float] | None) -> list[float]:
    own = study.privacy.epsilon
    if not given:
        return [own * times for times in TIMES if own * times <= MOST_EPSILON]
    for one in given:
        if not 0 < one <= MOST_EPSILON:  # also not a number
            raise UsageError(f"--epsilon: expected more than 0 and at most {MOST_EPSILON:g}")
    return sorted(set(given))


def _at(study: Study, epsilon: float) -> Study:
    privacy = study.privacy.model_copy(update={"epsilon": epsilon})
    return study.model_copy(update={"privacy": privacy})


def head_lines(own: PricedGroup, institutions: int) -> Iterator[str]:
    """Say under which promise a group is asked, and what it costs of it."""
    study, privacy = own.plan.study, own.plan.study.privacy
    unit = plain(study.records.unit or "unit")
    yield (
        f"{study.name}: epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per {unit} for "
        f"the whole study, {institutions} institutions"
    )
    if own.later and study.allowance is not None:
        allowed = study.allowance
        yield (
            f"one of {allowed.groups} groups that may be asked later; each costs mu^2 "
            f"{own.terms.mu2:.4g} of {own.plan.mu2:.4g}"
        )
    else:
        yield f"answered together; mu^2 {own.terms.mu2:.4g} of {own.plan.mu2:.4g}"


def errors_table(own: PricedGroup) -> Table:
    """Return each question's cost, expected error and smallest count."""
    numbers = ("mu^2", "cells", "expected error", "distinct from 0")
    found = table(("question", "kind", "of", *numbers), numbers=numbers)
    for one in own.questions:
        for index, expected in enumerate(one.expected):
            named = (one.question.name, one.question.kind) if index == 0 else ("", "")
            costs = (f"{one.mu2:.3g}", f"{one.cells:,}") if index == 0 else ("", "")
            least = "" if expected.least is None else f"{math.ceil(expected.least):,}"
            add_row(found, *named, _of(expected), *costs, number(expected.error, 3), least)
    return found


def _by_epsilon(others: Sequence[PricedGroup]) -> Table:
    epsilons = [f"epsilon {other.plan.study.privacy.epsilon:g}" for other in others]
    found = table(("question", "of", *epsilons), numbers=epsilons)
    for index, one in enumerate(others[0].questions):
        for place, expected in enumerate(one.expected):
            errors = (number(other.questions[index].expected[place].error, 3) for other in others)
            add_row(found, one.question.name if place == 0 else "", _of(expected), *errors)
    return found


def _of(expected: expected_error.ExpectedMeasure) -> str:
    return expected.measure + ("" if expected.of in {"", "units"} else f", {expected.of}")


def _notes(study: Study) -> Iterator[str]:
    yield ""
    yield "distinct from 0: a cell with a smaller noisy count is held back; never less than 10."
    yield (
        f"Errors of means, ratios, ranks and correlations assume that all {study.records.units:,} "
        "units count;"
    )
    yield "with a tenth of them, such an error is ten times as large. Nothing was spent."


@app.command("query.ask")
def query_ask(
    study: StudyArgument,
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS.toml", help="What to ask, as [[queries]].")
    ],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask the institutions without asking you to confirm.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Pay for a new answer where one is stored.")
    ] = False,
    form: FormatOption = AnswerFormat.TABLE,
    out: OutOption = None,
    plot: PlotOption = None,
) -> None:
    """Ask all institutions together: what a study declares, or within its allowance.

    Says what each question costs first. The same question again gets the stored answer for
    free. What is not the answer goes to standard error.
    """
    if plot is not None:
        check_plot(plot)
    asked = expected_error.load_questions(questions)
    with open_coordinator(home) as coordinator:
        found = find_study(coordinator.home, study)
        sets = (
            ()
            if again
            else asking.already_answered(asking.answers_of_study(coordinator, found.id), asked)
        )
        if sets:
            typer.echo("answered before: the stored answer costs nothing", err=True)
        else:
            sets = _asked_now(coordinator, found, asked, yes=yes)
    if plot is not None:
        write_plot(plot, sets)
        typer.echo(f"wrote {plot}", err=True)
    write_answers(sets, form, out)


def _asked_now(
    coordinator: OpenCoordinator, found: Proposal, asked: QuestionGroup, *, yes: bool
) -> tuple[AnswerSet, ...]:
    later = asking.is_later(found, asked)
    asking.check_asked(coordinator, found, asked, later=later)
    _say_cost(coordinator, found, asked if later else None)
    if not yes and not typer.confirm("Ask the institutions, and spend this?", err=True):
        typer.echo("nothing was asked, nothing was spent", err=True)
        raise typer.Exit(EXIT_DECLINED)
    run = new_run_id(found, utc_now(), secrets.token_bytes(SUFFIX_BYTES))
    asking.begin(coordinator, found, asked if later else None, run, utc_now())
    _await(coordinator, run)
    sets = asking.already_answered(
        kept_answers(coordinator.store, coordinator.home, coordinator.store.row(run)), asked
    )
    if not sets:
        raise RunError(
            f"run {run}: expected answers, found none: see fieldfare query answers {run}"
        )
    return sets


def _say_cost(coordinator: OpenCoordinator, found: Proposal, later: QuestionGroup | None) -> None:
    """Say what each question costs, and which error that buys, before it is asked."""
    least = found.study.aggregation.minimum_institutions
    own = priced(found.study, later, least)
    to = PlainConsole(stderr=True)
    for text in head_lines(own, least):
        to.print(Text(text))
    to.print(errors_table(own))
    if later is not None:
        left = asking.groups_left(coordinator, found)
        to.print(Text(f"one of {left} groups that are still left of the allowance"))


def _await(coordinator: OpenCoordinator, run: str) -> None:
    """Wait until a run ends, and print its progress.

    Raises:
        RunError: it did not finish.
    """
    try:
        summaries = watch_run(
            coordinator, run, now=utc_now, monotonic=time.monotonic, sleep=time.sleep
        )
        for summary in changes_in(summaries, line):
            typer.echo(line(summary), err=True)
    except KeyboardInterrupt:
        typer.echo(f"the run goes on; its answers: fieldfare query answers {run}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    row = coordinator.store.row(run)
    if row.state is not RunStatus.FINISHED:
        why = row.reason or "its process is gone"
        raise RunError(
            f"run {run} {row.state.value}: {why}; what was asked is kept: fieldfare coordinator "
            f"run resume {run}, then fieldfare query answers {run}"
        )
