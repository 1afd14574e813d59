"""A custodian's decisions, written into the institution's own log."""

from typing import Final

from fieldfare.client.decision_log import Term
from fieldfare.client.institution.journal import Event, Journal, Value
from fieldfare.client.institution.journal_terms import MAX_SENTENCE, printable
from fieldfare.client.ledger_terms import Position
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.messages import Request
from fieldfare.shared.roster import COORDINATOR

CUSTODIAN: Final = "custodian"


class JournalDecisions:
    """A `DecisionLog` in a journal.

    What a peer wrote is cut to its limit and made printable, never refused here: a hostile
    request must not escape the log by being odd.
    """

    def __init__(self, journal: Journal) -> None:
        """Write into `journal`."""
        self._journal = journal

    def requested(self, request: Request) -> None:
        """Write down a request of the coordinator.

        Raises:
            LedgerError: the log cannot be written; refuse.
        """
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
        spent: dict[str, Value] = {
            "debit": debit,
            "cumulative": position.cumulative,
            "head": position.head,
        }
        self._journal.append(Event.RELEASE, CUSTODIAN, **(_place(request) | spent))

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
