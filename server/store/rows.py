"""The rows of a run store as plain values: states, progress and approvals."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.terminal.texts import counted

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class RunStatus(Enum):
    """The state of a run.

    WAITING: it was asked for, its process has not begun. RUNNING: its process works.
    STOPPING: it was asked to end after its step. STOPPED and FAILED: ended before it was
    done, and may be resumed. FINISHED: done for good.
    """

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Tell whether no process works on the run any more."""
        return self in {RunStatus.STOPPED, RunStatus.FINISHED, RunStatus.FAILED}


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        step: training steps that are done.
        steps: training steps that the study plans.
        attempt_failures: attempts that failed so far.
        seconds: how long the last step took.
        spent: 1e-12 mu^2 by whose units were read, the largest of any institution's in this run.
        phase: "hello", "rehearsal", "training", "evaluation", "fairness" or "delivery".
        at: when this was written.
    """

    step: int
    steps: int
    attempt_failures: int
    seconds: float
    spent: SideCosts
    phase: str
    at: datetime


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        run: its id.
        study: the id of its study.
        state: where it stands.
        reason: why it stands there, for people; may be empty.
        flower_run: the Flower run that carries it out, None before the first.
        created: when it was asked for.
        ended: when it ended; None while it goes on.
        progress: how far it has come; None before its process begins.
        purged: whether its masked vectors were deleted at the end of their time.
    """

    run: str
    study: str
    state: RunStatus
    reason: str
    flower_run: int | None
    created: datetime
    ended: datetime | None
    progress: Progress | None
    purged: bool = False


@dataclass(frozen=True)
class Restarts:
    """How a run is resumed without a person.

    Attributes:
        automatic: how often it was resumed by itself since a person started or resumed it.
        begun: when it was started or resumed last; None before the first time.
        not_before: when it may begin by itself; None unless a person asked for that.
        needs_person: whether it ended with something that another try does not fix.
    """

    automatic: int = 0
    begun: datetime | None = None
    not_before: datetime | None = None
    needs_person: bool = False


@dataclass(frozen=True)
class LostAttempts:
    """The failed attempts that one institution caused: its answer did not come or did not fit.

    Attributes:
        of_run: in one run.
        debited: of these, that the others who answered paid for.
        ever: in all runs.
    """

    of_run: int
    debited: int
    ever: int


@dataclass(frozen=True)
class ApprovalRow:
    """An institution's last answer to a study: in words, as it was signed, and when.

    The envelope is empty where nothing was signed.
    """

    text: str
    envelope: bytes
    at: datetime


def said_of_losses(name: str, lost: LostAttempts) -> str:
    """Return an institution's count of failed attempts in words, with the remedy."""
    paid = f", {lost.debited} of them debited to the others" if lost.debited else ""
    ever = f", {lost.ever} in all runs" if lost.ever > lost.of_run else ""
    return (
        f"{name} caused {counted(lost.of_run, 'failed attempt')}{paid}{ever}: "
        "ask its people whether its custodian runs and answers within the study's deadline; if it "
        "goes on, publish a roster without it: fieldfare coordinator remove"
    )


def to_micros(at: datetime) -> int:
    """Return a moment as microseconds since 1970 UTC."""
    return (at - _START) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the moment that `to_micros` wrote, in UTC."""
    return _START + micros * _MICROSECOND
