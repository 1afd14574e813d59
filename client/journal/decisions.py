"""A custodian's decisions, written into the institution's own log.

A limit on the log lines of one kind that a peer can cause; a count replaces the others.

Whoever has the socket can ask as often as it likes, and every question leaves a line that is
flushed to the disk. Beyond a limit in each window the lines of a kind are counted instead: one
line when counting begins, and one with the number once the window is over.

A count of a custodian's answers since its start, taken on the way into the log.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final, Generic, TypeVar

from fieldfare.client.custodian.ports import DecisionLog, Term
from fieldfare.client.journal.entries import MAX_SENTENCE, Event, Value, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.protocol.messages import Request
from fieldfare.shared.protocol.roster import COORDINATOR

WINDOW_SECONDS: Final = 60.0

FloodKind = TypeVar("FloodKind", bound=Hashable)


@dataclass
class _Window:
    began: float
    written: int = 0
    counted: int = 0


class Flood(Generic[FloodKind]):
    """The counts of written and of withheld lines, by kind, in the present window."""

    def __init__(self, monotonic: Callable[[], float], seconds: float = WINDOW_SECONDS) -> None:
        """Measure windows of so many seconds by `monotonic`."""
        self._monotonic = monotonic
        self._seconds = seconds
        self._lock = Lock()
        self._windows: dict[FloodKind, _Window] = {}

    def admits(self, kind: FloodKind, most: int) -> bool:
        """Say whether another line of a kind is written; counts it if not."""
        with self._lock:
            window = self._windows.setdefault(kind, _Window(self._monotonic()))
            if window.written < most:
                window.written += 1
                return True
            window.counted += 1
            return False

    def begins(self, kind: FloodKind) -> bool:
        """Say whether the line that was just not admitted is the first of its window."""
        with self._lock:
            window = self._windows.get(kind)
            return window is not None and window.counted == 1

    def over(self, *, at_once: bool = False) -> list[tuple[FloodKind, int]]:
        """Return each kind whose window is over, with how many lines were counted; forget it.

        Args:
            at_once: end all windows now, as before a stop.
        """
        now = self._monotonic()
        with self._lock:
            ended = [
                kind
                for kind, window in self._windows.items()
                if at_once or now - window.began >= self._seconds
            ]
            found = [(kind, self._windows.pop(kind).counted) for kind in ended]
        return [(kind, counted) for kind, counted in found if counted]

    def put_back(self, kind: FloodKind, counted: int) -> None:
        """Take a count back that could not be written down."""
        with self._lock:
            window = self._windows.setdefault(kind, _Window(self._monotonic()))
            window.counted += counted


# -- journal decisions ----------------------------------------------------------------------------

CUSTODIAN: Final = "custodian"

Kind = tuple[Event, str]


# Lines in each minute; what comes beyond is counted, in one line. A run's own requests come at
# most three times a second, and each once.
MOST_REFUSALS: Final = 20  # of one code
MOST_REQUESTS: Final = 300  # of all
MOST_REPEATS: Final = 5  # of one request, and of the answer to it


class JournalDecisions:
    """A `DecisionLog` in a journal.

    What a peer wrote is cut to its limit and made printable, never refused here: a hostile
    request must not escape the log by being odd. Nor can it fill the disk: what is repeated too
    often is counted, and the count is written when its minute is over, at the next decision or
    `settle`. A kill loses at most the counts of a minute that began with a line which says so.
    """

    def __init__(self, journal: Journal, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Write into `journal`; minutes pass by `monotonic`, in seconds."""
        self._journal = journal
        self._flood: Flood[Kind] = Flood(monotonic)

    def requested(self, request: Request) -> None:
        """Write down a request of the coordinator.

        Raises:
            LedgerError: the log cannot be written; refuse.
        """
        if self._admits((Event.REQUEST, ""), MOST_REQUESTS) and self._admits(
            (Event.REQUEST, request.hash), MOST_REPEATS
        ):
            self._journal.append(Event.REQUEST, COORDINATOR, **_place(request))

    def refused(
        self,
        code: RefusalCode,
        rule: str,
        request: Request | None = None,
        *,
        asked: Term | None = None,
        limit: Term | None = None,
    ) -> None:
        """Log a refusal: its code, the rule in words, the requested value and the limit.

        Raises:
            LedgerError: the log cannot be written; the refusal stands all the same.
        """
        if not self._admits((Event.REFUSAL, code.value), MOST_REFUSALS):
            return
        details = _place(request) if request else {}
        details |= {"code": code.value, "rule": printable(rule, MAX_SENTENCE)}
        for key, term in (("asked", asked), ("limit", limit)):
            if term is not None:
                details[key] = printable(term) if isinstance(term, str) else term
        self._journal.append(Event.REFUSAL, CUSTODIAN, **details)

    def released(self, request: Request, debit: int, position: Position) -> None:
        """Write down an answer before it is sent.

        Raises:
            LedgerError: the log cannot be written; do not send.
        """
        if not self._admits((Event.RELEASE, request.hash), MOST_REPEATS):
            return  # the same bytes again, which the log has as often
        spent: dict[str, Value] = {
            "debit": debit,
            "cumulative": position.cumulative,
            "head": position.head,
        }
        self._journal.append(Event.RELEASE, CUSTODIAN, **(_place(request) | spent))

    def settle(self, *, at_once: bool = False) -> None:
        """Log the counts of the minutes that are over; `at_once`: of this one too.

        Raises:
            LedgerError: the log cannot be written; the counts are kept.
        """
        for kind, counted in self._flood.over(at_once=at_once):
            try:
                self._count(kind, f"{counted} more within a minute, counted", asked=counted)
            except LedgerError:
                self._flood.put_back(kind, counted)
                raise

    def _admits(self, kind: Kind, most: int) -> bool:
        self.settle()
        if self._flood.admits(kind, most):
            return True
        if self._flood.begins(kind):
            self._count(kind, f"more than {most} within a minute: counted from here on", limit=most)
        return False

    def _count(self, kind: Kind, rule: str, **numbers: int) -> None:
        event, name = kind
        details: dict[str, Value] = {"rule": rule, **numbers}
        if name:
            details["code" if event is Event.REFUSAL else "request"] = name
        self._journal.append(event, CUSTODIAN, **details)

    def approved(self, study: str, approval: str, user: str) -> None:
        """Write down an approval.

        Raises:
            LedgerError: the log cannot be written; do not approve.
        """
        details = {"study": printable(study), "fingerprint": printable(approval)}
        self._journal.append(Event.APPROVAL, printable(user), **details, user=printable(user))


def _place(request: Request) -> dict[str, Value]:
    return {
        "study": request.study,
        "run": request.run,
        "step": request.step,
        "attempt": request.attempt,
        "kind": request.kind.value,
        "request": request.hash,
    }


# -- tally ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LastRelease:
    """The newest answer that left; a repeat of it counts too."""

    time: datetime
    study: str
    run: str
    kind: str
    step: int


class Tally:
    """A `DecisionLog` that counts and passes everything on to another one."""

    def __init__(self, log: DecisionLog, clock: Callable[[], datetime]) -> None:
        """Pass on to `log`; `clock` returns the present with a time zone."""
        self._log = log
        self._clock = clock
        self.releases = 0
        self.refusals: Counter[str] = Counter()
        self.last: LastRelease | None = None

    def requested(self, request: Request) -> None:
        """Pass it on."""
        self._log.requested(request)

    def refused(
        self,
        code: RefusalCode,
        rule: str,
        request: Request | None = None,
        *,
        asked: Term | None = None,
        limit: Term | None = None,
    ) -> None:
        """Count it, whether or not it can be written down, and pass it on."""
        self.refusals[code.value] += 1
        self._log.refused(code, rule, request, asked=asked, limit=limit)

    def released(self, request: Request, debit: int, position: Position) -> None:
        """Pass it on, and count it once it is written down."""
        self._log.released(request, debit, position)
        self.releases += 1
        self.last = LastRelease(
            time=self._clock(),
            study=request.study,
            run=request.run,
            kind=request.kind.value,
            step=request.step,
        )

    def approved(self, study: str, approval: str, user: str) -> None:
        """Pass it on."""
        self._log.approved(study, approval, user)
