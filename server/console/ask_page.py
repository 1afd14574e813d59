"""Ask a question with its price first: what it costs, at which error, how many more there can be.

The price is made anew by the desk, and a page whose price is another one asks nothing.
"""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from fieldfare.server.answers import asking
from fieldfare.server.answers.expected_error import QuestionPlan, parse_questions
from fieldfare.server.answers.priced import PricedGroup, priced
from fieldfare.server.answers.sets import AnswerSet
from fieldfare.server.console.done import checked_run, done_query, get_done
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.desk.calls import ASK, MOST_QUESTIONS_TEXT, AskForm
from fieldfare.server.members.roster import published_roster
from fieldfare.server.studies.draft_check import spent_in_year
from fieldfare.server.studies.proposals import Proposal, proposal, proposals
from fieldfare.server.studies.run_control import SUFFIX_BYTES, new_run_id
from fieldfare.server.studies.study_text import questions_text
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator, watched_coordinator
from fieldfare.shared.console.frame import LiveCheck, MenuEntry, Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.pages.words import number
from fieldfare.shared.privacy.usual_budget import USUAL_YEAR, usual_limit, usual_worth
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.system.clock import since_boot, utc_now
from fieldfare.shared.terminal.texts import plain

ASK_PATH: Final = "/ask"
ASK_MENU: Final = MenuEntry(ASK_PATH, "Ask", Right.STEER)
_COST_DIGITS: Final = 18


@dataclass(frozen=True)
class AskPrice:
    """The price of a group of questions, and what it leaves.

    Attributes:
        own: the group under the study's plan.
        cost: of each institution, 1e-12 mu^2.
        epsilon: the same at the usual delta, by itself.
        left: further groups at this price that the study carries, this one among them.
        year: how many at this price the usual year carries, after all that was run here.
        stored: answers to the very same questions, which cost nothing.
        problem: why they cannot be asked now.
    """

    own: PricedGroup
    cost: int
    epsilon: float
    left: int
    year: int
    stored: tuple[AnswerSet, ...]
    problem: str

    @property
    def questions(self) -> tuple[QuestionPlan, ...]:
        """Each question with its errors."""
        return self.own.questions


def ask_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages on which questions are priced and asked."""
    one, checking = f"{ASK_PATH}/{{study}}", LiveCheck(since_boot)
    return (
        Page(ASK_PATH, Right.STEER, lambda visit: _studies(visit, place)),
        Page(one, Right.STEER, lambda visit: _editor(visit, place)),
        Page(one, Right.STEER, lambda visit: _price(visit, place, checking), "POST"),
        Page(f"{one}/now", Right.STEER, lambda visit: _ask(visit, place, checking), "POST"),
    )


def _studies(visit: Visit, place: CoordinatorPlace) -> Response:
    found = [one for one in reversed(proposals(place.opened)) if one.study.asks]
    return visit.page("ask.html", found=found, plain=plain)


def _find_proposal(visit: Visit, place: CoordinatorPlace) -> Proposal:
    found = proposal(place.opened, visit.places["study"])
    if not found.study.asks:
        raise PageRefusal(
            HTTPStatus.CONFLICT,
            "This study neither declares questions nor has an allowance: nothing can be asked.",
        )
    return found


def _editor(visit: Visit, place: CoordinatorPlace) -> Response:
    found = _find_proposal(visit, place)
    return _show_form(visit, found, questions_text(found.study))


def _price(visit: Visit, place: CoordinatorPlace, checking: LiveCheck) -> Response:
    text = visit.form.get("questions", "")
    with checking.turn(visit.person.name):
        found = _find_proposal(visit, place)
        try:
            price = _price_questions(place, found, _group(text))
        except FieldfareError as error:
            return _show_form(visit, found, text, None, str(error))
        return _show_form(visit, found, text, price)


def _group(text: str) -> QuestionGroup:
    if len(text) > MOST_QUESTIONS_TEXT:
        raise UsageError(
            f"questions: expected at most {MOST_QUESTIONS_TEXT:,} characters, found {len(text):,}"
        )
    return parse_questions(text, "questions")


def _price_questions(place: CoordinatorPlace, found: Proposal, group: QuestionGroup) -> AskPrice:
    with watched_coordinator(place.opened) as coordinator:
        later = asking.is_later(found, group)
        roster, least = published_roster(place.opened), found.study.aggregation.minimum_institutions
        members = max(least, len(roster.ids)) if roster else least
        cost = asking.cost_of(found, later=later)
        return AskPrice(
            own=priced(found.study, group if later else None, members),
            cost=cost,
            epsilon=usual_worth(cost),
            left=_left(coordinator, found, cost, later=later),
            year=max(usual_limit(USUAL_YEAR) - _sum_spent(coordinator), 0) // cost if cost else 0,
            stored=asking.already_answered(asking.answers_of_study(coordinator, found.id), group),
            problem=_problem(coordinator, found, group, later=later),
        )


def _sum_spent(coordinator: WatchedCoordinator) -> int:
    return spent_in_year(coordinator.store.rows(), utc_now())


def _left(coordinator: WatchedCoordinator, found: Proposal, cost: int, *, later: bool) -> int:
    """Return how many such groups the study still carries."""
    plan = plan_for(found.study)
    room = coordinator.spent(found.id).room(plan.query.side, plan.study_limit)
    of_study = max(room, 0) // cost if cost else 0
    return min(of_study, asking.groups_left(coordinator, found)) if later else of_study


def _problem(
    coordinator: WatchedCoordinator, found: Proposal, group: QuestionGroup, *, later: bool
) -> str:
    try:
        asking.check_asked(coordinator, found, group, later=later)
    except FieldfareError as error:
        return str(error)
    return ""


def _show_form(
    visit: Visit, found: Proposal, text: str, price: AskPrice | None = None, problem: str = ""
) -> Response:
    entropy = visit.parts.book.entropy
    return visit.page(
        "ask_study.html",
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
        found=found,
        text=text,
        price=price,
        problem=problem,
        run=new_run_id(found, utc_now(), entropy(SUFFIX_BYTES)) if price else "",
        year=USUAL_YEAR,
        longest=MOST_QUESTIONS_TEXT,
        number=number,
        ceil=math.ceil,
        plain=plain,
    )


def _ask(visit: Visit, place: CoordinatorPlace, checking: LiveCheck) -> Response:
    cost = visit.form.get("cost", "")
    if not cost.isascii() or not cost.isdecimal() or len(cost) > _COST_DIGITS:
        raise UsageError("cost: expected the price that the page showed, found something else")
    with checking.turn(visit.person.name):
        asked = AskForm(
            study=proposal(place.opened, visit.places["study"]).id,
            questions=visit.form.get("questions", "")[:MOST_QUESTIONS_TEXT],
            cost=int(cost),
            run=checked_run(visit.form.get("run", "")),
            person=visit.person.name,
        )
        done = get_done(place.opened, ASK, asked)
    return visit.go(f"/steer/{done.of}", **done_query(done))
