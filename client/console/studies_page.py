"""Studies for who operates and who examines: where each stands, and one as a person decides on it.

The console decides nothing here. A decision makes or destroys keys and stands in the ledger, which
it does not hold: it says the command that the home's own user types, with the reason checked.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.responses import Response

from fieldfare.client.approvals.approval import ENDED, ApprovalStatus, check_reason
from fieldfare.client.approvals.review_words import (
    PAGE,
    SUM_TITLES,
    Line,
    ReviewTopic,
    Spoken,
    Tone,
    review_topics,
)
from fieldfare.client.approvals.standing import (
    ArrivedStudies,
    StandingStudy,
    StudyOnDesk,
    arrived_studies,
    study_on_desk,
)
from fieldfare.client.home.studies import State
from fieldfare.shared.console.frame import Page, Refused, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import SHORT, plain

STUDIES: Final = "/studies"
_GROUPS: Final = ("Waiting", "Approved", "Rejected or withdrawn")
_WORDS: Final = {State.REJECTED: "reject", State.WITHDRAWN: "withdraw"}


@dataclass
class ToldTopic:
    """A topic of the page: its lines, and the rows of its table."""

    lines: list[Line]
    rows: tuple[tuple[Spoken, ...], ...]


@dataclass(frozen=True)
class TypedNo:
    """What was typed of a no, what is wrong with it, and the command that says it."""

    reason: str = ""
    keep: bool = False
    problem: str = ""
    command: str = ""


def studies_pages(home: Path) -> tuple[Page, ...]:
    """Return the pages about the studies of a home."""
    one, told = f"{STUDIES}/{{study}}", f"{STUDIES}/{{study}}/command"
    return (
        Page(STUDIES, Right.WATCH, lambda visit: _studies(visit, home)),
        Page(one, Right.WATCH, lambda visit: _study(visit, home)),
        Page(told, Right.DECIDE_ON_STUDIES, lambda visit: _told(visit, home), "POST"),
    )


def _studies(visit: Visit, home: Path) -> Response:
    problem, found = "", ArrivedStudies((), {})
    try:
        found = arrived_studies(home)
    except FieldfareError as error:
        problem = str(error)
    groups = {name: [one for one in found.standing if _group(one) == name] for name in _GROUPS}
    earlier = {study[:SHORT]: why for study, why in found.earlier.items()}
    return visit.page(
        "studies.html", groups=groups, earlier=earlier, problem=problem, home=home, plain=plain
    )


def _group(one: StandingStudy) -> str:
    if one.kept.decision.state in ENDED:
        return _GROUPS[2]
    return _GROUPS[one.status is ApprovalStatus.APPROVED]


def _study(visit: Visit, home: Path) -> Response:
    return _shown(visit, home, _on_desk(visit, home))


def _on_desk(visit: Visit, home: Path) -> StudyOnDesk:
    try:
        return study_on_desk(home, visit.places["study"], utc_now())
    except UsageError:
        raise
    except FieldfareError as error:  # of a study without a plan, its reason
        raise Refused(HTTPStatus.CONFLICT, str(error)) from None


def _told(visit: Visit, home: Path) -> Response:
    """Say the command of a no, its reason checked as the log will check it."""
    desk = _on_desk(visit, home)
    no = TypedNo(visit.form.get("reason", "").strip(), bool(visit.form.get("keep")))
    try:
        check_reason(no.reason)
    except UsageError as error:
        return _shown(visit, home, desk, replace(no, problem=str(error)))
    if not no.reason and _no(desk) is State.REJECTED:
        problem = "expected a reason of one line, found none"
        return _shown(visit, home, desk, replace(no, problem=problem))
    said = [f"--reason={no.reason}"] if no.reason else []
    said += ["--keep-reason"] if no.keep else []
    command = _command(_WORDS[_no(desk)], desk, home, *said)
    return _shown(visit, home, desk, replace(no, command=command))


def _shown(visit: Visit, home: Path, desk: StudyOnDesk, no: TypedNo | None = None) -> Response:
    topics = _topics(review_topics(desk.review, PAGE))
    return visit.page(
        "study.html",
        desk=desk,
        kept=desk.standing.kept,
        topics=topics,
        titles=SUM_TITLES,
        bad=Tone.BAD,
        no_word=_WORDS[_no(desk)],
        no=no or TypedNo(),
        approve="" if _is_approved(desk) else _command("approve", desk, home),
        again=_command("review", desk, home),
        decides=Right.DECIDE_ON_STUDIES in visit.rights,
        plain=plain,
    )


def _topics(found: Iterable[ReviewTopic]) -> dict[str, ToldTopic]:
    """Put what is said under no name of its own to the topic before; the verdict comes first."""
    topics: dict[str, ToldTopic] = {"verdict": ToldTopic([], ())}
    name = ""
    for one in found:
        name = one.name.strip() or name
        told = topics.setdefault(name, ToldTopic([], one.rows))
        told.lines += one.lines
    return topics


def _is_approved(desk: StudyOnDesk) -> bool:
    return desk.standing.status is ApprovalStatus.APPROVED


def _no(desk: StudyOnDesk) -> State:
    """Return what a no makes of it: an approval is withdrawn, also one of an earlier roster."""
    approved = desk.standing.kept.decision.state is State.APPROVED
    return State.WITHDRAWN if approved else State.REJECTED


def _command(word: str, desk: StudyOnDesk, home: Path, *more: str) -> str:
    """Return a line for a shell; whatever is in it is one word there."""
    parts = ("fieldfare", "institution", word, desk.standing.kept.short, *more)
    return shlex.join([*parts, "--home", str(home.absolute())])
