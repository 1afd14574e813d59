"""A custodian's decisions, written into the institution's own log.

Beyond a limit in each minute the lines of one kind that a peer can cause are counted
(`shared/flood.py`): one line when counting begins, and one with the number once the minute is over.
On the way into the log a custodian's answers since its start are counted.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from threading import RLock
from typing import Final

from fieldfare.client.custodian.ports import DecisionLog, RunEvent, Term
from fieldfare.client.journal.entries import MAX_SENTENCE, Event, Value, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.journal.releases import LastRelease
from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.flood import Flood, WithheldLines
from fieldfare.shared.protocol.messages import Request
from fieldfare.shared.protocol.roster import COORDINATOR

log = logging.getLogger(__name__)

CUSTODIAN: Final = "custodian"

Kind = tuple[Event, str]


# Lines in each minute; what comes beyond is counted, in one line. A run's own requests come at
# most three times a second, and each once.
MOST_REFUSALS: Final = 20  # of one code
MOST_REQUESTS: Final = 300  # of all
MOST_REPEATS: Final = 5  # of one request, and of the answer to it


_NAMED: Final = {Event.REFUSAL: "code", Event.REQUEST: "request", Event.RELEASE: "request"}


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
        self._monotonic = monotonic
        self._lock = RLock()  # a watch settles counts beside the calls
        self._flood: Flood[Kind] = Flood()

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
    ) -> bool:
        """Log a refusal: its code, the rule in words, the requested value and the limit.

        Returns:
            Whether it was written; otherwise it was counted.

        Raises:
            LedgerError: the log cannot be written; the refusal stands all the same.
        """
        if not self._admits((Event.REFUSAL, code.value), MOST_REFUSALS):
            return False
        details = _place(request) if request else {}
        details |= {"code": code.value, "rule": printable(rule, MAX_SENTENCE)}
        for key, term in (("asked", asked), ("limit", limit)):
            if term is not None:
                details[key] = printable(term) if isinstance(term, str) else term
        self._journal.append(Event.REFUSAL, CUSTODIAN, **details)
        return True

    def released(self, request: Request, debit: int, position: Position) -> None:
        """Write down an answer before it is sent.

        Raises:
            LedgerError: the log cannot be written; do not send.
        """
        if not self._admits((Event.RELEASE, request.hash), MOST_REPEATS):
            return  # the same bytes again, which the log has as often
        where = asdict(position)
        self._journal.append(Event.RELEASE, CUSTODIAN, **(_place(request) | where), debit=debit)

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        """Write down an act for a run without a release.

        Raises:
            LedgerError: the log cannot be written; do not do it.
        """
        kind = Event(event.value)
        if self._admits((kind, ""), MOST_REQUESTS) and self._admits((kind, run), MOST_REPEATS):
            said = {"rule": printable(rule, MAX_SENTENCE)} if rule else {}
            where = {"run": run} if run else {}  # a reply may be shown before any run
            self._journal.append(
                kind, CUSTODIAN, study=study, fingerprint=fingerprint, **where, **said
            )

    def settle(self, *, at_once: bool = False) -> None:
        """Log the counts of the minutes that are over; `at_once`: of this one too.

        Raises:
            LedgerError: the log cannot be written; the counts are kept.
        """
        with self._lock:
            waiting = self._flood.over(self._monotonic(), at_once=at_once)
            for at, counted in enumerate(waiting):
                try:
                    self._say(counted)
                except LedgerError:
                    for one in waiting[at:]:
                        self._flood.put_back(one)
                    raise

    def _admits(self, kind: Kind, most: int) -> bool:
        with self._lock:
            self.settle()
            if self._flood.admits(kind, most, self._monotonic()):
                return True
            if self._flood.begins(kind):
                rule = f"more than {most} within a minute: counted from here on"
                self._count(kind, rule, limit=most)
            return False

    def _say(self, counted: WithheldLines[Kind]) -> None:
        rule = f"{counted.lines} more within a minute, counted"
        self._count(counted.kind, rule, asked=counted.lines)

    def _count(self, kind: Kind, rule: str, **numbers: int) -> None:
        event, name = kind
        if event is Event.REFUSAL:  # the process's log has each that was written, and this number
            log.warning("%s refused: %s", name, rule)
        details: dict[str, Value] = {"rule": rule, **numbers}
        if name:
            details[_NAMED.get(event, "run")] = name
        self._journal.append(event, CUSTODIAN, **details)

    def approved(self, study: str, approval: str, user: str, asked: str = "") -> None:
        """Write down an approval; `asked`: where it was said, if not on the terminal.

        Raises:
            LedgerError: the log cannot be written; do not approve.
        """
        details = {"study": printable(study), "fingerprint": printable(approval)}
        details |= {"kind": printable(asked)} if asked else {}
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


class Tally:
    """A `DecisionLog` that counts and passes everything on to another one."""

    def __init__(self, log: DecisionLog, clock: Callable[[], datetime]) -> None:
        """Pass on to `log`; `clock` returns the present with a time zone."""
        self._log = log
        self._clock = clock
        self.releases = 0
        self.repeated = 0  # answers to a later attempt than the first
        self.refusals: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()  # of what left
        self.acts: Counter[RunEvent] = Counter()
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
    ) -> bool:
        """Count it, whether or not it can be written down, and pass it on."""
        self.refusals[code.value] += 1
        return self._log.refused(code, rule, request, asked=asked, limit=limit)

    def released(self, request: Request, debit: int, position: Position) -> None:
        """Pass it on, and count it once it is written down."""
        self._log.released(request, debit, position)
        self.releases += 1
        self.repeated += request.attempt > 0
        self.kinds[request.kind.value] += 1
        self.last = LastRelease(
            time=self._clock(),
            study=request.study,
            run=request.run,
            kind=request.kind.value,
            step=request.step,
        )

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        """Pass it on, and count it."""
        self._log.noted(event, study, run, fingerprint, rule)
        self.acts[event] += 1

    def approved(self, study: str, approval: str, user: str) -> None:
        """Pass it on."""
        self._log.approved(study, approval, user)
