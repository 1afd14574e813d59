"""A custodian's decisions, written into the institution's own log."""

import time
from collections.abc import Callable
from typing import Final

from fieldfare.client.decision_log import Term
from fieldfare.client.institution.flood import Flood
from fieldfare.client.institution.journal import Event, Journal, Value
from fieldfare.client.institution.journal_terms import MAX_SENTENCE, printable
from fieldfare.client.ledger_terms import Position
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.messages import Request
from fieldfare.shared.roster import COORDINATOR

CUSTODIAN: Final = "custodian"

Kind = tuple[Event, str]


# Lines in each minute; whatever comes beyond is counted, in one line (flood.py). A run's own
# requests come at most three times a second, and each once.
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
        """Write down a refusal: its code, the rule in words, what was asked and the limit.

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
        """Write down what was counted in minutes that are over; `at_once`: in this one too.

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
