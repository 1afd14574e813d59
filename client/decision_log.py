"""Events that a custodian writes to its institution's log: requests, refusals, releases, approvals.

A log that cannot be written raises, and then nothing leaves: `released` is called after the
debit and the reply's bytes are committed and before they are sent, so that a repeat of the
request gets the same bytes once the log can be written again (docs/design.md, "The door").
"""

from typing import Protocol

from fieldfare.client.ledger_terms import Position
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.messages import Request

Term = str | int | float | bool


class DecisionLog(Protocol):
    """Where decisions are written down. Every method raises LedgerError if it cannot."""

    def requested(self, request: Request) -> None:
        """A request was read, its signature holds, and it is about to be decided."""
        ...

    def refused(
        self,
        code: RefusalCode,
        rule: str,
        request: Request | None = None,
        *,
        asked: Term | None = None,
        limit: Term | None = None,
    ) -> None:
        """A call was refused with `code`: the rule in words, what was asked and the limit.

        `request` is None where none could be read, or the call was no release.
        """
        ...

    def released(self, request: Request, debit: int, position: Position) -> None:
        """An answer is about to be sent; `debit` in picomu2 (0: a rehearsal).

        `position` is the ledger's after the debit; for a repeat, the first answer's.
        """
        ...

    def approved(self, study: str, approval: str, user: str) -> None:
        """A user approved a study; `approval` is the hash of the signed approval."""
        ...


class NoLog:
    """Writes no event: for simulations."""

    def requested(self, request: Request) -> None:
        """Do nothing."""

    def refused(
        self,
        code: RefusalCode,
        rule: str,
        request: Request | None = None,
        *,
        asked: Term | None = None,
        limit: Term | None = None,
    ) -> None:
        """Do nothing."""

    def released(self, request: Request, debit: int, position: Position) -> None:
        """Do nothing."""

    def approved(self, study: str, approval: str, user: str) -> None:
        """Do nothing."""
