"""A count of a custodian's answers since its start, taken on the way into the log."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fieldfare.client.decision_log import DecisionLog, Term
from fieldfare.client.ledger_terms import Position
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.messages import Request


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
