"""Every institution's spending in a run, followed through the positions that it signed.

A ledger only goes forward: from reply to reply its sequence and its total grow by the reply's
debit, and by the debits of other runs in between (docs/protocol.md, "The ledger").
"""

from dataclasses import dataclass, field

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import Reply
from fieldfare.shared.transcript.file import expect


@dataclass
class Spent:
    """One institution's spending in the run.

    Attributes:
        releases: replies that cost something; a repeat of the same bytes counts once.
        debits: their debits together, in 1e-12 mu^2.
        asked: its total debit, had it answered every request that named it: an
            answer that was lost on its way is in its ledger, but in no transcript.
        elsewhere: debits of its ledger between two of its replies that are in neither: other
            runs, answers that were lost, or an attempt that the coordinator hides.
    """

    releases: int = 0
    debits: int = 0
    asked: int = 0
    elsewhere: int = 0


@dataclass
class LedgerTrail:
    """Every institution's ledger as its replies show it; takes replies in order.

    Attributes:
        study_limit: 1e-12 mu^2 that all runs of the study may spend together.
        spent: by institution.
    """

    study_limit: int
    spent: dict[str, Spent] = field(default_factory=dict)
    _last: dict[str, Reply] = field(default_factory=dict)
    _answers: dict[tuple[str, str], str] = field(default_factory=dict)

    def ask(self, institution: str, cost: int) -> None:
        """Note that a new request names an institution."""
        self._of(institution).asked += cost

    def take(self, reply: Reply, envelope: bytes, cost: int) -> None:
        """Follow one reply; the same bytes for the same request again change nothing.

        Raises:
            ProtocolError: another answer to an answered request, another debit, a ledger that
                went back, stood still or lost count, or more than the study allows.
        """
        key, content = (reply.institution, reply.request), bytes_hash(envelope)
        known = self._answers.get(key)
        if known is not None and cost:  # a rehearsal is free, and answered anew each time
            expect("the same answer to the same request", known, content)
            return
        expect("the plan's debit", cost, reply.debit)
        between = self._check_position(reply)
        self._answers[key] = content
        self._last[reply.institution] = reply
        spent = self._of(reply.institution)
        spent.releases += int(cost > 0)
        spent.debits += cost
        spent.elsewhere += between
        if spent.debits > self.study_limit:
            raise ProtocolError(
                f"expected at most {self.study_limit}e-12 of mu^2 for the study, found "
                f"{spent.debits}e-12"
            )

    def _check_position(self, reply: Reply) -> int:
        """Compare with the last position; returns what was debited in between."""
        last = self._last.get(reply.institution)
        entries = int(reply.debit > 0)
        sequence, total = (last.ledger_sequence, last.cumulative) if last else (0, 0)
        if reply.ledger_sequence < sequence + entries:
            raise ProtocolError(
                f"expected a ledger at entry {sequence + entries} or later, found entry "
                f"{reply.ledger_sequence}: it went back"
            )
        if reply.cumulative < total + reply.debit:
            raise ProtocolError(
                f"expected a total of {total + reply.debit}e-12 of mu^2 or more, found "
                f"{reply.cumulative}e-12: a debit is missing"
            )
        if last is None:
            return 0
        if reply.ledger_sequence == sequence + entries:  # nothing came in between
            expect("the last total and this debit", total + reply.debit, reply.cumulative)
        if reply.ledger_sequence == sequence:
            expect("the ledger's head where it did not move", last.ledger_head, reply.ledger_head)
        else:
            moved = reply.ledger_head != last.ledger_head
            expect("another head of a ledger that moved", True, moved)
        return reply.cumulative - total - reply.debit

    def _of(self, institution: str) -> Spent:
        return self.spent.setdefault(institution, Spent())
