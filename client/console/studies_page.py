"""Studies for who operates and who examines: where each stands, and one as a person decides on it.

The console holds nothing to decide with: where the home allows it, the desk takes what somebody
says, with the proofs of it; elsewhere the page tells the command that the home's own user types.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

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
)
from fieldfare.client.desk.calls import (
    STUDIES as ASK_STUDIES,
)
from fieldfare.client.desk.calls import (
    STUDY as ASK_STUDY,
)
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.desk.topics import ReviewTopic
from fieldfare.shared.errors import FieldfareError, RunError, UsageError
from fieldfare.shared.protocol.messages import check_reason
from fieldfare.shared.terminal.texts import SHORT, plain

STUDIES: Final = "/studies"
MOST_DIGITS: Final = 200


@dataclass(frozen=True)
class TypedDecision:
    """What was typed of an approval or a rejection, and what came of it.

    Attributes:
        reason, keep: of a rejection.
        problem: what is wrong with it; `of`: with which form.
        command: that rejects it on the terminal.
        done: what the desk did, one line each.
    """

    reason: str = ""
    keep: bool = False
    problem: str = ""
    of: DecisionChoice | None = None
    command: str = ""
    done: tuple[str, ...] = ()


def studies_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the pages about the studies that a desk answers for."""
    one = f"{STUDIES}/{{study}}"
    command, decide = f"{one}/command", f"{one}/decide"
    return (
        Page(STUDIES, Right.WATCH, lambda visit: _show_all(visit, desk)),
        Page(one, Right.WATCH, lambda visit: _show(visit, _ask_study(visit, desk))),
        Page(command, Right.DECIDE_ON_STUDIES, lambda visit: _show_command(visit, desk), "POST"),
        Page(decide, Right.DECIDE_ON_STUDIES, lambda visit: _decide(visit, desk), "POST"),
    )


def _show_all(visit: Visit, desk: AskDesk) -> Response:
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


def _ask_study(visit: Visit, desk: AskDesk) -> DeskStudy:
    try:
        return desk().ask(ASK_STUDY, StudyQuestion(digits=visit.places["study"][:MOST_DIGITS]))
    except (UsageError, RunError):
        raise
    except FieldfareError as error:  # of a study without a plan, its reason
        raise PageRefusal(HTTPStatus.CONFLICT, str(error)) from None


def _read_typed(visit: Visit) -> TypedDecision:
    return TypedDecision(visit.form.get("reason", "").strip(), bool(visit.form.get("keep")))


def _show_command(visit: Visit, desk: AskDesk) -> Response:
    """Show the command that rejects, its reason checked as the log will check it."""
    found, typed = _ask_study(visit, desk), _read_typed(visit)
    try:
        check_reason(typed.reason)
    except UsageError as error:
        return _show(visit, found, replace(typed, problem=str(error)))
    if not typed.reason and _end_of(found) is DecisionChoice.REJECT:
        problem = "expected a reason of one line, found none"
        return _show(visit, found, replace(typed, problem=problem))
    options = [f"--reason={typed.reason}"] if typed.reason else []
    options += ["--keep-reason"] if typed.keep else []
    command = _command(_end_of(found).value, found, *options)
    return _show(visit, found, replace(typed, command=command))


def _decide(visit: Visit, desk: AskDesk) -> Response:
    """Hand a decision with its proofs to the desk; what was typed wrong stays, but the codes."""
    form, typed = visit.form, _read_typed(visit)
    try:
        choice = DecisionChoice(form.get("say", ""))
        typed = replace(typed, of=choice)
        asked = DecisionForm(
            person=visit.person.name,
            study=visit.places["study"],
            say=choice,
            code=form.get("code", ""),
            safety=form.get("safety", ""),
            seen=form.get("seen", ""),
            columns=bool(form.get("columns")),
            reason=typed.reason,
            keep=typed.keep,
        )
        typed = replace(typed, done=tuple(desk().ask(DECIDE, asked).lines))
    except ValueError:  # also pydantic's
        problem = "expected a form of this page, found something else: open it again"
        typed = replace(typed, problem=problem)
    except RunError:
        raise
    except FieldfareError as error:
        typed = replace(typed, problem=str(error))
    return _show(visit, _ask_study(visit, desk), typed)


def _show(visit: Visit, found: DeskStudy, typed: TypedDecision | None = None) -> Response:
    return visit.page(
        "study.html",
        desk=found,
        study=found.study,
        topics=_topics(found.topics),
        no_word=_end_of(found).value,
        no=typed or TypedDecision(),
        waits=found.study.group is not StudyGroup.APPROVED,
        approve=_command("approve", found),
        again=_command("review", found),
        decides=Right.DECIDE_ON_STUDIES in visit.rights,
        plain=plain,
    )


def _topics(found: Iterable[ReviewTopic]) -> dict[str, ReviewTopic]:
    """Join what stands under no name of its own to the topic before; the verdict comes first."""
    topics = {"verdict": ReviewTopic("verdict")}
    name = ""
    for one in found:
        name = one.name.strip() or name
        before = topics.get(name, ReviewTopic(name, rows=one.rows))
        topics[name] = replace(before, lines=before.lines + one.lines)
    return topics


def _end_of(found: DeskStudy) -> DecisionChoice:
    """Return how a study is ended: an approval is withdrawn, also one of an earlier roster."""
    return DecisionChoice.WITHDRAW if found.approved else DecisionChoice.REJECT


def _command(word: str, found: DeskStudy, *more: str) -> str:
    """Return a line for a shell; whatever is in it is one word there."""
    parts = ("fieldfare", "institution", word, found.study.short, *more)
    return shlex.join([*parts, "--home", found.home])
