"""Asking a deployed federation: earlier answers, remaining allowance, and the run that asks.

The same question again gets the answer that is stored; asking anew is a new release that costs
again, however little the records have changed.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from fieldfare.server.answers.answer import Answer
from fieldfare.server.answers.sets import AnswerSet, kept_answers
from fieldfare.server.members.roster import published_roster
from fieldfare.server.run.later_questions import check_later, keep_questions
from fieldfare.server.studies.proposals import Proposal
from fieldfare.server.studies.run_control import start
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, UsageError
from fieldfare.shared.protocol.plan import PICOMU2, Plan, ReleaseTerms, check_groups, plan_for
from fieldfare.shared.study.questions import Question, QuestionGroup

if TYPE_CHECKING:  # it brings Flower, which who only asks for a price does not need
    from fieldfare.server.studies.open_coordinator import OpenCoordinator


def answers_of_study(coordinator: WatchedCoordinator, study: str) -> tuple[AnswerSet, ...]:
    """Return everything that a study's runs answered, oldest run first.

    Raises:
        RunError: a kept run cannot be read.
    """
    rows = [row for row in coordinator.store.rows() if row.study == study]
    return tuple(
        one for row in rows for one in kept_answers(coordinator.store, coordinator.home, row)
    )


def already_answered(sets: Sequence[AnswerSet], asked: QuestionGroup) -> tuple[AnswerSet, ...]:
    """Return the newest answer to each question under the name that it is asked by.

    Names and shares tell no questions apart. Nothing where any question is new: what is asked
    is then answered together.
    """
    wanted = {_content(question): question.name for question in asked.questions}
    found: list[AnswerSet] = []
    for one in reversed(sets):
        answers: list[Answer] = []
        for question, answer in zip(_questions(one), one.answers, strict=True):
            name = wanted.pop(_content(question), None)
            if name is not None:
                answers.append(replace(answer, name=name))
        if answers:
            found.append(replace(one, answers=tuple(answers)))
    return () if wanted else tuple(reversed(found))


def _questions(one: AnswerSet) -> tuple[Question, ...]:
    return one.questions.questions if one.questions else ()


def _content(question: Question) -> bytes:
    return canonical_bytes(question.model_copy(update={"name": "question", "share": 1.0}))


def is_later(proposal: Proposal, asked: QuestionGroup) -> bool:
    """Tell whether questions are asked within the allowance; those that are declared are not.

    Raises:
        UsageError: declared questions of a study that trains: its runs ask them.
    """
    declared = {_content(question) for question in proposal.study.queries}
    if not all(_content(question) in declared for question in asked.questions):
        return True
    if proposal.study.trains:
        raise UsageError(
            "expected questions that the study does not declare, found declared ones: they are "
            f"answered by a whole run: fieldfare coordinator run start {proposal.short}"
        )
    return False


def check_asked(
    coordinator: WatchedCoordinator, proposal: Proposal, asked: QuestionGroup, *, later: bool
) -> None:
    """Check the questions as far as possible before any institution is asked.

    Raises:
        StudyError: a question that is wrong, not allowed, or about too few institutions.
        UsageError: no roster is published.
        PolicyRefusal: too little of the budget is left, so institutions would refuse.
    """
    roster, plan = published_roster(coordinator.home), plan_for(proposal.study)
    if later:
        check_later(plan, [asked])
    if roster is None:
        raise UsageError("expected a published roster, found none: fieldfare coordinator roster")
    check_groups(proposal.study, asked, roster.ids)
    terms = _terms(plan, later=later)
    if later:
        _check_left(plan, "the allowance", terms.cost, left_later(coordinator, proposal))
    spent = coordinator.spent(proposal.id)
    _check_left(plan, "the study", terms.cost, spent.room(terms.side, plan.study_limit))


def cost_of(proposal: Proposal, *, later: bool) -> int:
    """Return what a group of questions costs each institution, 1e-12 mu^2."""
    return _terms(plan_for(proposal.study), later=later).cost


def left_later(coordinator: WatchedCoordinator, proposal: Proposal) -> int:
    """Return what is left of a study's allowance, 1e-12 mu^2."""
    terms = plan_for(proposal.study).allowance
    portion = terms.cost * (terms.steps + terms.spare)
    return max(portion - spent_later(coordinator, proposal.id), 0)


def groups_left(coordinator: WatchedCoordinator, proposal: Proposal) -> int:
    """Return how many groups of questions may still be asked later of a study."""
    terms = plan_for(proposal.study).allowance
    return min(terms.steps, left_later(coordinator, proposal) // terms.cost) if terms.cost else 0


def _terms(plan: Plan, *, later: bool) -> ReleaseTerms:
    return plan.allowance if later else plan.query


def _check_left(plan: Plan, what: str, cost: int, left: int) -> None:
    if cost > left:
        rest = plan.epsilon(left / PICOMU2) if left > 0 else 0.0
        raise PolicyRefusal(
            RefusalCode.BUDGET_EXHAUSTED,
            f"this costs epsilon {plan.epsilon(cost / PICOMU2):.3g}, {rest:.3g} is left of "
            f"{what}, and institutions would refuse: propose another study",
        )


def spent_later(coordinator: WatchedCoordinator, study: str) -> int:
    """Return the spend of a study's later questions, 1e-12 mu^2; no institution spent more."""
    return sum(
        row.progress.spent.all
        for row in coordinator.store.rows()
        if row.study == study and row.progress and coordinator.home.questions(row.run).is_file()
    )


def begin(
    coordinator: "OpenCoordinator",
    proposal: Proposal,
    later: QuestionGroup | None,
    run: str,
    now: datetime,
) -> None:
    """Start the run that asks later questions, or with none the study's declared ones.

    Raises:
        UsageError: another run of the study has not ended; nothing was kept.
        RunError: it could not be started; the run is kept as failed and can be resumed.
    """
    kept = coordinator.home.questions(run)
    if later is not None:
        keep_questions(kept, [later])
    try:
        start(coordinator.store, coordinator.control, coordinator.bundle, run, proposal.id, now)
    except UsageError:
        kept.unlink(missing_ok=True)
        raise
