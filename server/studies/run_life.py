"""Telling dead processes of runs from live ones.

The run store says what a run's process last wrote; the SuperLink says whether that process
can still be there. Only both together say that a run goes on.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Protocol

from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.shared.errors import RunError

ALIVE: Final = frozenset(["pending", "starting", "running"])  # of a Flower run


class FlowerStatus(Protocol):
    """The status of a Flower run (superlink.RunStatus)."""

    @property
    def state(self) -> str:
        """One of superlink.RunStatus's states; something else where the run is unknown."""
        ...

    @property
    def reason(self) -> str:
        """The reason that the SuperLink was told at the end, may be empty."""
        ...


class RunWatch(Protocol):
    """What tells whether a run's process can still be there: who only watches has no more."""

    def run_status(self, run: int) -> FlowerStatus:
        """Return how a Flower run stands.

        Raises:
            RunError: that cannot be found out now.
        """
        ...


class Life(Enum):
    """The state of a run as its processes show it."""

    ENDED = "ended"  # the store says so
    ALIVE = "alive"
    SCHEDULED = "scheduled"  # it begins by itself, not before some time
    INTERRUPTED = "interrupted"  # its process is gone and gave no reason
    UNKNOWN = "unknown"  # the SuperLink does not answer


@dataclass(frozen=True)
class InspectedRun:
    """A run's row, and its state at the SuperLink.

    Attributes:
        row: from the store, read after the SuperLink answered.
        life: whether a process works on it.
        word: the state in one word, for people.
        note: what to know of it, one sentence; may be empty.
        command: what to type to go on; empty where there is nothing to do.
    """

    row: RunRow
    life: Life
    word: str
    note: str
    command: str = ""


def inspect_run(store: RunStore, control: RunWatch, run: str) -> InspectedRun:
    """Look at a run.

    Raises:
        UsageError: there is no such run.
    """
    row = store.row(run)
    if row.state.ended:
        return _ended(row)
    if row.flower_run is None:
        return _not_started(row, store.restarts(run).not_before)
    try:
        status = control.run_status(row.flower_run)
    except RunError as error:
        note = f"nobody knows whether it goes on: {error}"
        return InspectedRun(row, Life.UNKNOWN, row.state.value, note)
    row = store.row(run)  # what its process wrote before it ended counts
    if row.state.ended:
        return _ended(row)
    if status.state in ALIVE:
        return InspectedRun(row, Life.ALIVE, row.state.value, row.reason)
    return _interrupted(row, status.reason or "its process is gone")


def _ended(row: RunRow) -> InspectedRun:
    resumable = row.state is not RunStatus.FINISHED and not row.purged
    return InspectedRun(row, Life.ENDED, row.state.value, "", _resume(row) if resumable else "")


def _not_started(row: RunRow, not_before: datetime | None) -> InspectedRun:
    if not_before is None or row.state is not RunStatus.WAITING:
        return _interrupted(row, "it was never started")
    note = f"it begins by itself, not before {not_before:%Y-%m-%d %H:%M} UTC"
    return InspectedRun(row, Life.SCHEDULED, "scheduled", note, _resume(row))


def _interrupted(row: RunRow, reason: str) -> InspectedRun:
    return InspectedRun(row, Life.INTERRUPTED, "interrupted", reason, _resume(row))


def _resume(row: RunRow) -> str:
    return f"fieldfare coordinator run resume {row.run}"
