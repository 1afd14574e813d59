"""`fieldfare query ask`: ask a deployed federation, after printing the cost.

Errors pass through: the root command turns them into exit codes.
"""

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fieldfare.server.answer_plots import check_plot, write_plot
from fieldfare.server.answer_sets import AnswerSet, kept_answers
from fieldfare.server.asking import (
    already_answered,
    answers_of_study,
    begin,
    check_asked,
    is_later,
    spent_later,
)
from fieldfare.server.cli_home import DEFAULT_HOME, EXIT_DECLINED, HomeOption
from fieldfare.server.cli_proposals import StudyArgument
from fieldfare.server.cli_query import (
    AnswerFormat,
    FormatOption,
    OutOption,
    PlotOption,
    write_answers,
)
from fieldfare.server.cli_runs import EXIT_INTERRUPTED
from fieldfare.server.desk import Desk, open_desk
from fieldfare.server.proposals import Proposal, find_study
from fieldfare.server.run_view import line
from fieldfare.server.steering import SUFFIX_BYTES, new_run_id
from fieldfare.server.store import RunState
from fieldfare.server.watching import follow, news
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import RunError
from fieldfare.shared.query_cli import errors_table, head_lines, priced
from fieldfare.shared.question_file import load_questions
from fieldfare.shared.questions import QuestionGroup

query_ask_app = typer.Typer(add_completion=False)


@query_ask_app.command("ask")
def query_ask(
    study: StudyArgument,
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS.toml", help="What to ask, as [[queries]].")
    ],
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", help="Ask without being asked back.")] = False,
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
    asked = load_questions(questions)
    with open_desk(home) as desk:
        found = find_study(desk.home, study)
        sets = () if again else already_answered(answers_of_study(desk, found.id), asked)
        if sets:
            typer.echo("answered before: the stored answer costs nothing", err=True)
        else:
            sets = _asked_now(desk, found, asked, yes=yes)
    if plot is not None:
        write_plot(plot, sets)
        typer.echo(f"wrote {plot}", err=True)
    write_answers(sets, form, out)


def _asked_now(
    desk: Desk, found: Proposal, asked: QuestionGroup, *, yes: bool
) -> tuple[AnswerSet, ...]:
    later = is_later(found, asked)
    check_asked(desk, found, asked, later=later)
    _say_cost(desk, found, asked if later else None)
    if not yes and not typer.confirm("Ask the institutions, and spend this?", err=True):
        typer.echo("nothing was asked, nothing was spent", err=True)
        raise typer.Exit(EXIT_DECLINED)
    run = new_run_id(found, utc_now(), secrets.token_bytes(SUFFIX_BYTES))
    begin(desk, found, asked if later else None, run, utc_now())
    _await(desk, run)
    sets = already_answered(kept_answers(desk.store, desk.home, desk.store.row(run)), asked)
    if not sets:
        raise RunError(
            f"run {run}: expected answers, found none: see fieldfare query answers {run}"
        )
    return sets


def _say_cost(desk: Desk, found: Proposal, later: QuestionGroup | None) -> None:
    """Say what each question costs, and which error that buys, before it is asked."""
    least = found.study.aggregation.minimum_institutions
    own = priced(found.study, later, least)
    to = Console(stderr=True, highlight=False)
    for text in head_lines(own, least):
        to.print(Text(text))
    to.print(errors_table(own))
    if later is not None:
        terms = own.plan.allowance
        portion = terms.cost * (terms.steps + terms.spare)
        left = min(terms.steps, (portion - spent_later(desk, found.id)) // terms.cost)
        to.print(Text(f"one of {left} groups that are still left of the allowance"))


def _await(desk: Desk, run: str) -> None:
    """Wait until a run ends, saying what it does.

    Raises:
        RunError: it did not finish.
    """
    try:
        pictures = follow(desk, run, now=utc_now, monotonic=time.monotonic, sleep=time.sleep)
        for picture in news(pictures, line):
            typer.echo(line(picture), err=True)
    except KeyboardInterrupt:
        typer.echo(f"the run goes on; its answers: fieldfare query answers {run}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    row = desk.store.row(run)
    if row.state is not RunState.FINISHED:
        why = row.reason or "its process is gone"
        raise RunError(
            f"run {run} {row.state.value}: {why}; what was asked is kept: fieldfare coordinator "
            f"run resume {run}, then fieldfare query answers {run}"
        )
