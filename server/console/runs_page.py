"""Runs, and one run that the page follows: steps, who is awaited, what attempts cost, what is next.

Everything shown is the coordinator's own or was released (studies/run_view.py). The page starts and
stops nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.rows import Restarts, RunStatus, said_of_losses
from fieldfare.server.studies.resuming import MOST, RunAct, next_act, run_now
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.studies.run_view import (
    RunSummary,
    metric_texts,
    pace_words,
    phase_words,
    short_number,
)
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator, watched_coordinator
from fieldfare.shared.console.following import FollowedPart, Followers
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.quiet_hours import quiet_hours
from fieldfare.shared.system.clock import since_boot, utc_now
from fieldfare.shared.terminal.texts import plain, utc_text

RUNS: Final = "/runs"
LONG: Final = 2_000  # characters of a reason: names of many institutions
AWAITED: Final = frozenset({"asked", "waiting"})  # what a run's process writes of who is to answer
_WORST: Final = frozenset({"failed", "interrupted"})


@dataclass(frozen=True)
class WatchedRun:
    """One run as its page shows it.

    Attributes:
        summary: everything that commands show of it.
        restarts: how it was resumed without a person.
        due: when it goes on by itself; None: it does not.
    """

    summary: RunSummary
    restarts: Restarts
    due: datetime | None

    @property
    def over(self) -> bool:
        """Whether nothing of it will change by itself any more."""
        return self.summary.inspected.life is Life.ENDED and self.due is None

    @property
    def awaited(self) -> list[str]:
        """Who has not answered what was asked last; nobody where no process works."""
        if self.summary.inspected.life is not Life.ALIVE:
            return []
        said = self.summary.institutions.items()
        return [name for name, one in said if one is not None and one[0] in AWAITED]

    @property
    def by_itself(self) -> str:
        """How it is resumed without a person, in words; may be nothing."""
        times, inspected = self.restarts.automatic, self.summary.inspected
        parts = [f"resumed {times} of at most {MOST} times"] if times else []
        broken = inspected.life is Life.INTERRUPTED or inspected.row.state is RunStatus.FAILED
        if self.due is not None:
            parts.append(f"goes on at {utc_text(self.due)}")
        elif broken and self.restarts.needs_person:
            parts.append("waits for a person: another try would fail too")
        elif broken:
            parts.append("waits for a person")
        return "; ".join(parts)

    @property
    def paid_in_vain(self) -> int:
        """How often others paid for an attempt of this run that died by somebody."""
        return max((one.debited for one in self.summary.losses.values()), default=0)


def runs_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about runs."""
    one, followers = f"{RUNS}/{{run}}", Followers(since_boot)

    def follow(visit: Visit) -> Response:
        _watch_run(place, visit.places["run"])  # an odd id is refused by a status of its own
        return followers.follow(visit, lambda: _part(visit, place))

    return (
        Page(RUNS, Right.WATCH, lambda visit: _runs(visit, place)),
        Page(one, Right.WATCH, lambda visit: _run(visit, place)),
        Page(f"{one}/events", Right.WATCH, follow, by_itself=True),
    )


def _runs(visit: Visit, place: CoordinatorPlace) -> Response:
    with watched_coordinator(place.opened) as coordinator:
        found = coordinator.summaries(utc_now())
    return visit.page("runs.html", found=found[::-1], worst=_WORST, **_words())


def _run(visit: Visit, place: CoordinatorPlace) -> Response:
    run = visit.places["run"]
    found = _watch_run(place, run)
    return visit.page("run.html", run=run, may=Right.STEER in visit.rights, **_values(found))


def _part(visit: Visit, place: CoordinatorPlace) -> FollowedPart:
    found = _watch_run(place, visit.places["run"])
    return FollowedPart(visit.render("run_part.html", **_values(found)), found.over)


def _watch_run(place: CoordinatorPlace, run: str) -> WatchedRun:
    home = place.opened
    with watched_coordinator(home) as coordinator:
        found = inspect_run(coordinator.store, coordinator.control, run)
        return WatchedRun(
            coordinator.summary(found, utc_now()),
            coordinator.store.restarts(run),
            _due(coordinator, run),
        )


def _due(coordinator: WatchedCoordinator, run: str) -> datetime | None:
    """Return when a run goes on by itself, by the rule that carries runs on."""
    settings, store = load_settings(coordinator.home), coordinator.store
    if not settings.resume_runs:
        return None
    now = run_now(coordinator, store.row(run), store.rows())
    pause = timedelta(seconds=settings.resume_seconds)
    found = next_act(now, utc_now(), quiet_hours(settings.quiet_hours), pause)
    return None if found.act is RunAct.NOTHING else found.due


def _values(found: WatchedRun) -> dict[str, Any]:
    return {"found": found, "one": found.summary, "worst": _WORST, **_words()}


def _words() -> dict[str, Any]:
    return {
        "long": LONG,
        "losses": said_of_losses,
        "pace": pace_words,
        "phase": phase_words,
        "plain": plain,
        "released": metric_texts,
        "short": short_number,
        "time": utc_text,
    }
