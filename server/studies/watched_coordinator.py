"""A coordinator as who only watches sees it: its home, and its run store, opened to be read.

Whether a run's process is still there, a `RunWatch` says: the SuperLink itself for commands
(open_coordinator.py), its rows for a console, which holds no token.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import RunStore, run_store_to_read
from fieldfare.server.studies.proposals import proposal
from fieldfare.server.studies.run_life import InspectedRun, Life, RunWatch, inspect_run
from fieldfare.server.studies.run_view import EpsilonUse, Pace, RunSummary, parse_metrics
from fieldfare.server.studies.study_answers import StudyAnswer, heard_of
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.shared.errors import PackageError, UsageError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.plan import PICOMU2, Plan, plan_for
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import SHORT


@dataclass(frozen=True)
class WatchedCoordinator:
    """A coordinator that is watched.

    Attributes:
        home: its folder.
        store: its runs.
        control: what tells whether a run's process is there.
    """

    home: CoordinatorHome
    store: RunStore
    control: RunWatch
    _known: dict[str, tuple[str, Plan] | None] = field(default_factory=dict)

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

    def heard(self, study: str) -> dict[str, StudyAnswer]:
        """Return the last known answers of the institutions to a study."""
        return heard_of(published_roster(self.home), study, self.store.approvals(study))

    def spent(self, study: str) -> SideCosts:
        """Return the spend of all runs of a study, 1e-12 mu^2; no institution spent more."""
        found = SideCosts()
        for row in self.store.rows():
            if row.study == study and row.progress is not None:
                found = found.and_also(row.progress.spent)
        return found

    def _promise(self, row: RunRow, plan: Plan) -> EpsilonUse:
        privacy, own = plan.study.privacy, row.progress.spent if row.progress else SideCosts()
        of_study, of_run = (
            plan.epsilon(spent.total / PICOMU2) if spent.total else 0.0
            for spent in (self.spent(row.study), own)
        )
        return EpsilonUse(privacy.epsilon, privacy.delta, of_study, of_run)

    def _study(self, study: str) -> tuple[str, Plan] | None:
        if study not in self._known:
            self._known[study] = _named_plan(self.home, study)
        return self._known[study]


def _named_plan(home: CoordinatorHome, study: str) -> tuple[str, Plan] | None:
    """Return a study's name and plan; None without file or module: its runs are shown anyway."""
    try:
        found = proposal(home, study)
        plan = plan_for(found.study)
    except (UsageError, PackageError):
        return None
    return found.study.name, plan


@contextmanager
def watched_coordinator(home: CoordinatorHome) -> Iterator[WatchedCoordinator]:
    """Open a coordinator to be read, without its tokens.

    Raises:
        RunError: the run store cannot be opened.
    """
    with run_store_to_read(home.runs_database) as store:
        yield WatchedCoordinator(home, store, SuperlinkView(home.superlink_database, utc_now))
