"""An open coordinator for study and run commands: its home, run store and SuperLink.

Also watches a run until it ends; a watcher changes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.server.home.initial_setup import kept_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.publication import published_roster
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.studies.proposals import proposal
from fieldfare.server.studies.run_control import InspectedRun, Life, RunControl, inspect_run
from fieldfare.server.studies.run_view import EpsilonSpent, Pace, RunSummary, parse_metrics
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.errors import PackageError, UsageError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.plan import PICOMU2, Plan
from fieldfare.shared.terminal.texts import SHORT


@dataclass(frozen=True)
class OpenCoordinator:
    """An open coordinator.

    Attributes:
        home: its folder.
        store: its runs.
        control: of its SuperLink, which may not be reachable.
    """

    home: CoordinatorHome
    store: RunStore
    control: RunControl
    _known: dict[str, tuple[str, Plan] | None] = field(default_factory=dict)

    @property
    def bundle(self) -> bytes:
        """The bundle that runs are started with, which institutions list.

        Raises:
            KeysError: missing or damaged.
        """
        return kept_bundle(self.home)

    def summary(self, found: InspectedRun, now: datetime, pace: Pace | None = None) -> RunSummary:
        """Return everything that is shown of a run.

        Raises:
            RunError: the run store cannot be read.
        """
        row = found.row
        known = self._study(row.study)
        statuses = self.store.statuses(row.run)
        roster = published_roster(self.home)
        names = sorted({*(roster.ids if roster else ()), *statuses})
        return RunSummary(
            inspected=found,
            name=known[0] if known else row.study[:SHORT],
            promise=self._promise(row, known[1]) if known else None,
            metrics=parse_metrics(self.store.metrics(row.run)),
            institutions={name: statuses.get(name) for name in names},
            losses=self.store.losses(row.run),
            seconds_left=(pace or Pace()).seconds_left(row.progress),
            now=now,
        )

    def summaries(self, now: datetime) -> list[RunSummary]:
        """Return everything that is shown of all runs, oldest first."""
        rows = self.store.rows()
        return [self.summary(inspect_run(self.store, self.control, row.run), now) for row in rows]

    def refreshed(self, found: InspectedRun) -> InspectedRun:
        """Return the store's present state of a run that was alive a moment ago."""
        row = self.store.row(found.row.run)
        if row.state.ended or found.life is not Life.ALIVE:
            return inspect_run(self.store, self.control, row.run)
        return InspectedRun(row, found.life, row.state.value, row.reason)

    def spent(self, study: str) -> SideCosts:
        """Return the spend of all runs of a study, 1e-12 mu^2; no institution spent more."""
        found = SideCosts()
        for row in self.store.rows():
            if row.study == study and row.progress is not None:
                found = found.and_also(row.progress.spent)
        return found

    def _promise(self, row: RunRow, plan: Plan) -> EpsilonSpent:
        privacy, own = plan.study.privacy, row.progress.spent if row.progress else SideCosts()
        of_study, of_run = (
            plan.epsilon(spent.total / PICOMU2) if spent.total else 0.0
            for spent in (self.spent(row.study), own)
        )
        return EpsilonSpent(privacy.epsilon, privacy.delta, of_study, of_run)

    def _study(self, study: str) -> tuple[str, Plan] | None:
        if study not in self._known:
            self._known[study] = _named_plan(self.home, study)
        return self._known[study]


def _named_plan(home: CoordinatorHome, study: str) -> tuple[str, Plan] | None:
    """Return a study's name and plan; None without file or module: its runs are shown anyway."""
    try:
        found = proposal(home, study)
        plan = found.plan
    except (UsageError, PackageError):
        return None
    return found.study.name, plan


@contextmanager
def open_coordinator(path: Path) -> Iterator[OpenCoordinator]:
    """Open a coordinator's folder for commands.

    Raises:
        UsageError, StudyError, KeysError: the folder, its settings or its tokens do not do.
        RunError: the run store cannot be opened.
    """
    home = CoordinatorHome.open(path)
    with run_store(home.runs_database) as store, control(control_target(home)) as link:
        yield OpenCoordinator(home, store, link)


# -- watching -------------------------------------------------------------------------------------

POLL_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 3.0  # between questions to the SuperLink, which has a run to serve


def watch_run(
    coordinator: OpenCoordinator,
    run: str,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[RunSummary]:
    """Yield a run's summary now and then; the last one is of its end or its interruption.

    Args:
        coordinator: the coordinator's.
        run: its id.
        now: the present, with a time zone.
        monotonic: seconds that only go forward.
        sleep: waits for so many seconds.

    Raises:
        RunError: the run store cannot be read.
    """
    pace, found, looked = (
        Pace(),
        inspect_run(coordinator.store, coordinator.control, run),
        monotonic(),
    )
    while True:
        yield coordinator.summary(found, now(), pace)
        if found.life in {Life.ENDED, Life.INTERRUPTED}:
            return
        sleep(POLL_SECONDS)
        if monotonic() - looked >= LOOK_SECONDS:
            found, looked = inspect_run(coordinator.store, coordinator.control, run), monotonic()
        else:
            found = coordinator.refreshed(found)


def changes_in(
    summaries: Iterator[RunSummary], said: Callable[[RunSummary], str]
) -> Iterator[RunSummary]:
    """Keep the summaries of which something else is said than of the one before."""
    before = None
    for summary in summaries:
        text = said(summary)
        if text != before:
            before = text
            yield summary
