"""An open coordinator for study and run commands: its home, run store and SuperLink.

It watches a run until it ends, too; a watcher changes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.server.home.initial_setup import kept_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.store import run_store
from fieldfare.server.studies.run_control import RunControl
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.studies.run_view import Pace, RunSummary
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control


@dataclass(frozen=True)
class OpenCoordinator(WatchedCoordinator):
    """An open coordinator; its `control` is of its SuperLink, which may not be reachable."""

    control: RunControl

    @property
    def bundle(self) -> bytes:
        """The bundle that runs are started with, which institutions list.

        Raises:
            KeysError: missing or damaged.
        """
        return kept_bundle(self.home)


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
