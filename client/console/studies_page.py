"""Studies for who operates and who examines: where each stands, and one as a person decides on it.

The console holds nothing to decide with: where the home allows it, the desk takes what somebody
says, with the proofs of it; elsewhere the page tells the command that the home's own user types.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from pydantic import ValidationError
from starlette.responses import Response

from fieldfare.client.console.place import AskDesk
from fieldfare.client.desk.calls import (
    DECIDE,
    DecisionChoice,
    DecisionForm,
    DeskStudy,
    StudyGroup,
    StudyList,
    StudyQuestion,
    TextView,
    TopicView,
)
from fieldfare.client.desk.calls import (
    STUDIES as ASK_STUDIES,
)
from fieldfare.client.desk.calls import (
    STUDY as ASK_STUDY,
)
from fieldfare.shared.console.frame import Page, PageRefusal, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.errors import FieldfareError, RunError, UsageError
from fieldfare.shared.protocol.messages import check_reason
from fieldfare.shared.terminal.texts import SHORT, plain

STUDIES: Final = "/studies"


@dataclass
class ToldTopic:
    """A topic of the page: its lines, and the rows of its table."""

    lines: list[list[TextView]]
    rows: list[list[TextView]]


@dataclass(frozen=True)
class TypedDecision:
    """What was typed of a yes or no, and what came of it.

    Attributes:
        reason, keep: of a no.
        problem: what is wrong with it; `of`: with which form.
        command: that says the no on the terminal.
        done: what the desk did, one line each.
    """

    reason: str = ""
    keep: bool = False
    problem: str = ""
    of: DecisionChoice | None = None
    command: str = ""
    done: tuple[str, ...] = ()


def studies_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the pages about the studies that a desk tells of."""
    one = f"{STUDIES}/{{study}}"
    told, decided = f"{one}/command", f"{one}/decide"
    return (
        Page(STUDIES, Right.WATCH, lambda visit: _studies(visit, desk)),
        Page(one, Right.WATCH, lambda visit: _shown(visit, _asked(visit, desk))),
        Page(told, Right.DECIDE_ON_STUDIES, lambda visit: _told(visit, desk), "POST"),
        Page(decided, Right.DECIDE_ON_STUDIES, lambda visit: _decided(visit, desk), "POST"),
    )


def _studies(visit: Visit, desk: AskDesk) -> Response:
    problem, found = "", StudyList(studies=[], earlier={})
    try:
        found = desk().ask(ASK_STUDIES, Nothing())
    except RunError:
        raise
    except FieldfareError as error:
        problem = str(error)
    groups = {
        group.value: [one for one in found.studies if one.group is group] for group in StudyGroup
    }
    earlier = {study[:SHORT]: why for study, why in found.earlier.items()}
    return visit.page("studies.html", groups=groups, earlier=earlier, problem=problem, plain=plain)


def _asked(visit: Visit, desk: AskDesk) -> DeskStudy:
    try:
        digits = StudyQuestion(digits=visit.places["study"][:MOST_DIGITS])
        return desk().ask(ASK_STUDY, digits)
    except (UsageError, RunError):
        raise
    except FieldfareError as error:  # of a study without a plan, its reason
        raise PageRefusal(HTTPStatus.CONFLICT, str(error)) from None


MOST_DIGITS: Final = 200


def _told(visit: Visit, desk: AskDesk) -> Response:
    """Say the command of a no, its reason checked as the log will check it."""
    found = _asked(visit, desk)
    no = TypedDecision(visit.form.get("reason", "").strip(), bool(visit.form.get("keep")))
    try:
        check_reason(no.reason)
    except UsageError as error:
        return _shown(visit, found, replace(no, problem=str(error)))
    if not no.reason and _no(found) is DecisionChoice.REJECT:
        problem = "expected a reason of one line, found none"
        return _shown(visit, found, replace(no, problem=problem))
    said = [f"--reason={no.reason}"] if no.reason else []
    said += ["--keep-reason"] if no.keep else []
    command = _command(_no(found).value, found, *said)
    return _shown(visit, found, replace(no, command=command))


def _decided(visit: Visit, desk: AskDesk) -> Response:
    """Hand a decision with its proofs to the desk; what was typed wrong stays, but the codes."""
    form = visit.form
    typed = TypedDecision(form.get("reason", "").strip(), bool(form.get("keep")))
    found = _asked(visit, desk)
    say = _said_in(form, found)
    try:
        asked = DecisionForm(
            person=visit.person.name,
            study=found.study.id,
            say=say,
            code=form.get("code", ""),
            safety=form.get("safety", ""),
            seen=form.get("seen", ""),
            columns=bool(form.get("columns")),
            reason=typed.reason,
            keep=typed.keep,
        )
        typed = replace(typed, done=tuple(desk().ask(DECIDE, asked).lines))
    except ValidationError:
        problem = "expected a form of this page, found something else: open it again"
        typed = replace(typed, problem=problem, of=say)
    except RunError:
        raise
    except FieldfareError as error:
        typed = replace(typed, problem=str(error), of=say)
    return _shown(visit, _asked(visit, desk), typed)


def _said_in(form: Mapping[str, str], found: DeskStudy) -> DecisionChoice:
    return DecisionChoice.APPROVE if form.get("say") == DecisionChoice.APPROVE.value else _no(found)


def _shown(visit: Visit, found: DeskStudy, no: TypedDecision | None = None) -> Response:
    return visit.page(
        "study.html",
        desk=found,
        study=found.study,
        topics=_topics(found.topics),
        titles=found.titles,
        no_word=_no(found).value,
        no=no or TypedDecision(),
        waits=found.study.group is not StudyGroup.APPROVED,
        approve=_command("approve", found),
        again=_command("review", found),
        decides=Right.DECIDE_ON_STUDIES in visit.rights,
        plain=plain,
    )


def _topics(found: Iterable[TopicView]) -> dict[str, ToldTopic]:
    """Put what is said under no name of its own to the topic before; the verdict comes first."""
    topics: dict[str, ToldTopic] = {"verdict": ToldTopic([], [])}
    name = ""
    for one in found:
        name = one.name.strip() or name
        told = topics.setdefault(name, ToldTopic([], one.rows))
        told.lines += one.lines
    return topics


def _no(found: DeskStudy) -> DecisionChoice:
    """Return what a no makes of it: an approval is withdrawn, also one of an earlier roster."""
    return DecisionChoice.WITHDRAW if found.approved else DecisionChoice.REJECT


def _command(word: str, found: DeskStudy, *more: str) -> str:
    """Return a line for a shell; whatever is in it is one word there."""
    parts = ("fieldfare", "institution", word, found.study.short, *more)
    return shlex.join([*parts, "--home", found.home])
