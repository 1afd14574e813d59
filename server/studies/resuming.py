"""Runs that go on by themselves: what was started is carried on, and nothing new is begun.

A run that a person stopped, that is over, or that ended with something another try does not fix
waits for a person. Every other one is resumed after a pause, five times at most, as long as the
study's spare releases and its budget carry it. A run with an earliest start begins after that.
Quiet hours put both off. The rule is a function of a run's state and the time; what it decides is
kept before it is done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from fieldfare.server.home.settings import CoordinatorSettings
from fieldfare.server.store.rows import Restarts, RunRow, RunStatus
from fieldfare.server.studies.proposals import proposal
from fieldfare.server.studies.run_control import resume
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator
from fieldfare.shared.errors import FieldfareError, PackageError, UsageError
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.protocol.prospects import budget_obstacle
from fieldfare.shared.quiet_hours import QuietHours, quiet_hours

if TYPE_CHECKING:  # it brings Flower, which who only watches does not need
    from fieldfare.server.studies.open_coordinator import OpenCoordinator

MOST: Final = 5  # times without a person
GROWTH: Final = 4  # of pauses: 1, 4, 16, 64 and 256 minutes, unless settings say otherwise
LATEST: Final = timedelta(days=7)  # what is older than that, a person has let be

_BY_PERSON: Final = frozenset({RunStatus.STOPPED, RunStatus.STOPPING, RunStatus.FINISHED})


class RunAct(Enum):
    """What is done with a run without a person."""

    NOTHING = "nothing"
    WAIT = "wait"
    CARRY_ON = "carry on"


@dataclass(frozen=True)
class NextAct:
    """The next act; `due` where it is to wait."""

    act: RunAct
    due: datetime | None = None


NOTHING: Final = NextAct(RunAct.NOTHING)


@dataclass(frozen=True)
class RunSituation:
    """A run as the rule sees it.

    Attributes:
        row: its row.
        life: whether a process works on it.
        restarts: how it was resumed so far.
        carried: whether the study's spare releases and budget carry it on.
        alone: whether no other run of its study is open, or newer.
    """

    row: RunRow
    life: Life
    restarts: Restarts
    carried: bool
    alone: bool


def next_act(
    run: RunSituation, now: datetime, quiet: QuietHours | None, pause: timedelta
) -> NextAct:
    """Return what is to be done with a run.

    Args:
        run: its state.
        now: with a time zone.
        quiet: hours in which nothing begins.
        pause: before the first time.
    """
    row, done = run.row, run.restarts
    if run.life in {Life.ALIVE, Life.UNKNOWN} or row.state in _BY_PERSON:
        return NOTHING
    if row.purged or done.needs_person or not run.carried or not run.alone:
        return NOTHING
    if run.life is Life.SCHEDULED:
        due = done.not_before or now
    elif done.automatic >= MOST or done.begun is None:
        return NOTHING
    else:
        seen = row.progress.at if row.progress else None
        since = min(now, max(filter(None, (row.ended, seen, done.begun))))
        if now - since > LATEST:
            return NOTHING
        due = since + pause * GROWTH**done.automatic
    if quiet is not None:
        due = quiet.until(max(due, now)) or due
    return NextAct(RunAct.CARRY_ON if due <= now else RunAct.WAIT, due)


def carried_by(plan: Plan, row: RunRow, paid_in_vain: int, left: int, *, begun: bool) -> bool:
    """Tell whether a study's spare releases and budget carry a run on.

    Args:
        plan: of the study.
        row: the run's.
        paid_in_vain: attempts of the study's runs that were paid for and died.
        left: what the study may still spend, in 1e-12 mu^2.
        begun: whether the run spent anything yet; else it needs a whole run's budget, which the
            caller looked at.
    """
    if row.progress is not None and row.progress.phase == "delivery":
        return True  # nothing is released any more
    if paid_in_vain and paid_in_vain >= plan.study.spare_releases:
        return False
    return not begun or left > 0


def run_now(coordinator: WatchedCoordinator, row: RunRow, rows: Sequence[RunRow]) -> RunSituation:
    """Look at a run as the rule sees it.

    Args:
        coordinator: whose.
        row: the run's.
        rows: of all runs.

    Raises:
        RunError: the run store cannot be read.
    """
    alone = not any(
        other.study == row.study
        and other.run != row.run
        and (not other.state.ended or other.created > row.created)
        for other in rows
    )
    found = inspect_run(coordinator.store, coordinator.control, row.run)
    return RunSituation(
        found.row,
        found.life,
        coordinator.store.restarts(row.run),
        _is_carried(coordinator, found.row),
        alone,
    )


def carry_on(
    coordinator: "OpenCoordinator", settings: CoordinatorSettings, now: datetime
) -> Iterator[str]:
    """Resume and start what is due; yields a line for each.

    Args:
        coordinator: with the store and the SuperLink.
        settings: of the coordinator.
        now: with a time zone.

    Raises:
        RunError: the run store cannot be used, or the SuperLink does not answer: nothing was begun
            then, and no try is counted.
    """
    if not settings.resume_runs:
        return
    quiet, pause = quiet_hours(settings.quiet_hours), timedelta(seconds=settings.resume_seconds)
    rows = coordinator.store.rows()
    for row in rows:
        if row.state in _BY_PERSON:
            continue
        run = run_now(coordinator, row, rows)
        if next_act(run, now, quiet, pause).act is RunAct.CARRY_ON:
            coordinator.control.nodes()  # a try that reaches nobody would be one of the five
            yield _carried_on(coordinator, run, now)


def _is_carried(coordinator: WatchedCoordinator, row: RunRow) -> bool:
    try:
        plan = plan_for(proposal(coordinator.home, row.study).study)
    except (UsageError, PackageError):
        return False
    spent, store = coordinator.spent(row.study), coordinator.store
    begun = row.progress is not None and row.progress.spent.total > 0
    if not begun and budget_obstacle(plan, spent):
        return False
    return carried_by(plan, row, store.paid_in_vain(row.study), plan.still(spent), begun=begun)


def _carried_on(coordinator: "OpenCoordinator", run: RunSituation, now: datetime) -> str:
    name = run.row.run
    try:
        resume(
            coordinator.store, coordinator.control, coordinator.bundle, name, now, automatic=True
        )
    except FieldfareError as error:
        return f"run {name}: not resumed: {error}"
    if run.life is Life.SCHEDULED:
        return f"run {name}: begun as planned, not before {_said(run.restarts.not_before)}"
    return f"run {name}: resumed by itself, {run.restarts.automatic + 1} of at most {MOST} times"


def _said(moment: datetime | None) -> str:
    return f"{(moment or datetime.now(UTC)):%Y-%m-%d %H:%M} UTC"
