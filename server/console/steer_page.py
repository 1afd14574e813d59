"""A proposed study and its runs: who is awaited, what an attempt costs, then start, stop, resume.

The desk looks at everything again before it acts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from fieldfare.server.console.done import checked_run, done_query, done_words, get_done
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.desk.calls import (
    GREET,
    RESUME_RUN,
    START_RUN,
    STOP_RUN,
    GreetForm,
    ResumeForm,
    StartForm,
    StopForm,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.enrolment import members
from fieldfare.server.store.rows import RunStatus, said_of_losses
from fieldfare.server.studies.proposals import Proposal, proposal
from fieldfare.server.studies.run_control import SUFFIX_BYTES, new_run_id
from fieldfare.server.studies.run_life import InspectedRun, Life, inspect_run
from fieldfare.server.studies.run_view import metric_texts, start_obstacles
from fieldfare.server.studies.study_answers import StudyAnswer, given
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator, watched_coordinator
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.shared.cli.study import plan_facts
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.protocol.plan import PICOMU2, Plan, plan_for
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain

PROPOSALS: Final = "/proposals"
STEER: Final = "/steer"
_NUMBER_DIGITS: Final = 20
_STOPS: Final = {"stop": False, "end": True}


@dataclass(frozen=True)
class AwaitedMember:
    """An institution before a run: what it says to the study, and whether its node is there."""

    name: str
    said: StudyAnswer
    there: str


@dataclass(frozen=True)
class RunPrice:
    """What a run and its attempts cost each institution, as epsilon at the study's delta.

    Attributes:
        run: a whole run without a failed attempt.
        spent: by earlier runs.
        granted: to the study.
        attempts: for each kind of release, its name, its cost and how many failures are reserved.
    """

    run: float
    spent: float
    granted: float
    attempts: tuple[tuple[str, float, int], ...]


def steer_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about a proposed study and about steering its runs."""
    one, run = f"{PROPOSALS}/{{study}}", f"{STEER}/{{run}}"
    return (
        Page(one, Right.WATCH, lambda visit: _proposal(visit, place)),
        Page(f"{one}/greet", Right.STEER, lambda visit: _greet(visit, place), "POST"),
        Page(f"{one}/start", Right.STEER, lambda visit: _start(visit, place), "POST"),
        Page(run, Right.WATCH, lambda visit: _run(visit, place)),
        Page(f"{run}/resume", Right.STEER, lambda visit: _resume(visit, place), "POST"),
        Page(f"{run}/{{act}}", Right.STEER, lambda visit: _stop(visit, place), "POST"),
    )


def _proposal(visit: Visit, place: CoordinatorPlace) -> Response:
    home = place.opened
    found = proposal(home, visit.places["study"])
    with watched_coordinator(home) as coordinator:
        heard = coordinator.heard(found.id)
        rows = [row for row in coordinator.store.rows() if row.study == found.id]
        entropy = visit.parts.book.entropy
        return visit.page(
            "proposal.html",
            found=found,
            facts=plan_facts(plan_for(found.study)),
            awaited=_list_awaited(home, heard),
            given=given(heard),
            least=found.study.aggregation.minimum_institutions,
            price=_price(plan_for(found.study), coordinator, found),
            obstacles=start_obstacles(plan_for(found.study), heard, coordinator.spent(found.id)),
            going=[row for row in rows if not row.state.ended],
            rows=rows,
            run=new_run_id(found, utc_now(), entropy(SUFFIX_BYTES)),
            may=Right.STEER in visit.rights,
            done=done_words(visit, "Done"),
            plain=plain,
        )


def _list_awaited(home: CoordinatorHome, heard: Mapping[str, StudyAnswer]) -> list[AwaitedMember]:
    nodes = {one.institution: one.node for one in members(home)}
    try:
        contacts = SuperlinkView(home.superlink_database, utc_now).contacts()
    except FieldfareError:
        return [AwaitedMember(name, said, "not known") for name, said in heard.items()]
    there = {
        name: "connected" if (at := contacts.get(node)) and at.connected else "not connected"
        for name, node in nodes.items()
    }
    return [
        AwaitedMember(name, said, there.get(name, "not enrolled")) for name, said in heard.items()
    ]


def _price(plan: Plan, coordinator: WatchedCoordinator, found: Proposal) -> RunPrice:
    spent = coordinator.spent(found.id).total
    attempts = tuple(
        (terms.kind.value, plan.epsilon(terms.mu2), terms.spare)
        for terms in plan.releases
        if terms is not plan.allowance
    )
    return RunPrice(
        run=plan.epsilon(plan.run_costs.total / PICOMU2) if plan.run_costs.total else 0.0,
        spent=plan.epsilon(spent / PICOMU2) if spent else 0.0,
        granted=plan.study.privacy.epsilon,
        attempts=attempts,
    )


def _greet(visit: Visit, place: CoordinatorPlace) -> Response:
    found = proposal(place.opened, visit.places["study"])
    asked = GreetForm(study=found.id, person=visit.person.name)
    done = get_done(place.opened, GREET, asked)
    return visit.go(f"{PROPOSALS}/{found.id}", **done_query(done))


def _start(visit: Visit, place: CoordinatorPlace) -> Response:
    found = proposal(place.opened, visit.places["study"])
    run = checked_run(visit.form.get("run", ""))
    asked = StartForm(study=found.id, run=run, person=visit.person.name)
    done = get_done(place.opened, START_RUN, asked)
    return visit.go(f"{STEER}/{done.of}", **done_query(done))


def _run(visit: Visit, place: CoordinatorPlace) -> Response:
    home = place.opened
    with watched_coordinator(home) as coordinator:
        seen = inspect_run(coordinator.store, coordinator.control, visit.places["run"])
        summary = coordinator.summary(seen, utc_now())
        try:
            found = proposal(home, seen.row.study)
            price = _price(plan_for(found.study), coordinator, found)
        except FieldfareError:  # its study is gone, or of an earlier version: it is shown anyway
            price = None
        return visit.page(
            "steer.html",
            seen=seen,
            row=seen.row,
            summary=summary,
            metrics=metric_texts(summary.metrics) if summary.metrics is not None else [],
            losses=[said_of_losses(name, lost) for name, lost in summary.losses.items()],
            price=price,
            acts=_acts(seen) if Right.STEER in visit.rights else (),
            done=done_words(visit, "Done"),
            plain=plain,
        )


def _acts(seen: InspectedRun) -> tuple[str, ...]:
    """Return what may be done with a run as it stands."""
    row = seen.row
    if seen.life is Life.ENDED:
        return () if row.state is RunStatus.FINISHED or row.purged else ("resume",)
    if seen.life in {Life.INTERRUPTED, Life.SCHEDULED}:
        return ("resume", "stop")
    return ("end",) if row.state is RunStatus.STOPPING else ("stop",)


def _resume(visit: Visit, place: CoordinatorPlace) -> Response:
    seen = visit.form.get("seen", "")
    if seen and (not seen.isascii() or not seen.isdecimal() or len(seen) > _NUMBER_DIGITS):
        raise UsageError("seen: expected how the page saw the run, found something else")
    asked = ResumeForm(
        run=_read_run_id(visit, place),
        seen=int(seen) if seen else None,
        person=visit.person.name,
    )
    done = get_done(place.opened, RESUME_RUN, asked)
    return visit.go(f"{STEER}/{done.of}", **done_query(done))


def _stop(visit: Visit, place: CoordinatorPlace) -> Response:
    act = visit.places["act"]
    if act not in _STOPS:
        raise UsageError("expected stop or end, found another act")
    asked = StopForm(run=_read_run_id(visit, place), force=_STOPS[act], person=visit.person.name)
    done = get_done(place.opened, STOP_RUN, asked)
    return visit.go(f"{STEER}/{done.of}", **done_query(done))


def _read_run_id(visit: Visit, place: CoordinatorPlace) -> str:
    """Return the run that an address names.

    Raises:
        UsageError: there is none.
    """
    with watched_coordinator(place.opened) as coordinator:
        return coordinator.store.row(checked_run(visit.places["run"])).run
