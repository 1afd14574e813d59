"""`fieldfare query plan`: which epsilon buys which error, before anything is spent.

Errors pass through: the root command turns them into exit codes.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.shared.expected_error import Expected, QuestionPlan, question_plans
from fieldfare.shared.pages.words import plain
from fieldfare.shared.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.question_file import load_questions
from fieldfare.shared.questions import QuestionGroup
from fieldfare.shared.study import Study, load_study

WIDTH: Final = 100  # where the terminal's is not known
TIMES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the study's epsilon, where none is asked for
MOST_EPSILON: Final = 100.0

query_plan_app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Priced:
    """One group of questions under one study's plan.

    Attributes:
        plan: of the study, or of the study at another epsilon.
        terms: of the group's release.
        later: whether it is asked within the allowance.
        questions: each with its cost and its errors.
    """

    plan: Plan
    terms: ReleaseTerms
    later: bool
    questions: tuple[QuestionPlan, ...]


@query_plan_app.command("plan")
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
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on stdout.")] = False,
) -> None:
    """Show what each question would cost and which error that buys; nothing is spent."""
    found = load_study(study)
    group = None if questions is None else load_questions(questions)
    count = _institutions(found, institutions)
    own = priced(found, group, count)
    others = [priced(_at(found, one), group, count) for one in _epsilons(found, epsilon)]
    if as_json:
        typer.echo(json.dumps(plan_json(own, others, count), indent=2))
        return
    console = _console()
    for line in head_lines(own, count):
        console.print(Text(line))
    console.print(errors_table(own))
    console.print(Text("\nExpected error at another epsilon for the whole study"))
    console.print(_by_epsilon(others))
    for line in _notes(found):
        console.print(Text(line))


def priced(study: Study, group: QuestionGroup | None, institutions: int) -> Priced:
    """Return what a group, by default the declared questions, costs under a study's plan.

    Raises:
        StudyError: nothing is declared, or what is asked is not within the allowance.
        AccountingError: so few institutions that the accounting rule does not hold.
    """
    plan = plan_for(study)
    plan.check_noise(institutions)
    declared = group is None or set(group.questions) <= set(study.queries)
    asked = study.questions if declared else group  # declared ones are answered all together
    if asked is None:
        raise StudyError(
            "expected a study that declares [[queries]], found none: declare some, or give "
            "--questions where it has an [allowance]"
        )
    later = not declared
    step = plan.allowance.first_step if later else plan.query.first_step
    terms = plan.question_terms(step, asked)
    return Priced(plan, terms, later, question_plans(plan, asked, terms, institutions))


def plan_json(own: Priced, others: Sequence[Priced], institutions: int) -> dict[str, Any]:
    """Return everything for programs; what cannot be said is null."""
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


def _question_json(one: QuestionPlan) -> dict[str, Any]:
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


def head_lines(own: Priced, institutions: int) -> Iterator[str]:
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


def errors_table(own: Priced) -> Table:
    """Return each question's cost, expected error and smallest count."""
    table = _table("question", "kind", "of")
    for title in ("mu^2", "cells", "expected error", "told from 0"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in own.questions:
        for index, expected in enumerate(one.expected):
            first = index == 0
            table.add_row(
                Text(one.question.name if first else ""),
                Text(one.question.kind if first else ""),
                _of(expected),
                f"{one.mu2:.3g}" if first else "",
                f"{one.cells:,}" if first else "",
                number(expected.error),
                "" if expected.least is None else f"{math.ceil(expected.least):,}",
            )
    return table


def _by_epsilon(others: Sequence[Priced]) -> Table:
    table = _table("question", "of")
    for other in others:
        title = f"epsilon {other.plan.study.privacy.epsilon:g}"
        table.add_column(title, justify="right", no_wrap=True)
    for index, one in enumerate(others[0].questions):
        for place, expected in enumerate(one.expected):
            errors = (number(other.questions[index].expected[place].error) for other in others)
            table.add_row(Text(one.question.name if place == 0 else ""), _of(expected), *errors)
    return table


def _of(expected: Expected) -> Text:
    named = expected.measure if expected.of in {"", "units"} else f"{expected.measure}, "
    return Text(named if expected.of in {"", "units"} else named + plain(expected.of))


def number(value: float) -> str:
    """Write an error for people: three digits."""
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"  # noqa: PLR2004


def _notes(study: Study) -> Iterator[str]:
    yield ""
    yield "told from 0: a cell whose noisy count is smaller is held back; never less than 10."
    yield (
        f"Errors of means, ratios, ranks and correlations suppose that all {study.records.units:,} "
        "units count;"
    )
    yield "with a tenth of them, such an error is ten times as large. Nothing was spent."


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)
