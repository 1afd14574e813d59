"""A person's rejection of a study, or the withdrawal of an approval; and their effects.

What forbids takes effect before it is logged: a crash in between leaves less permitted than the log
says, never more.
"""

from dataclasses import dataclass
from datetime import datetime

from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import (
    RejectionDisclosure,
    State,
    StudyDecision,
    deciding,
    read_decision,
    stamp,
    write_decision,
)
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.messages import check_reason


@dataclass(frozen=True)
class Rejecter:
    """A person who rejects a study or withdraws its approval, and where that is kept.

    Attributes:
        user: of the operating system, or of a console.
        now: with a time zone.
        told: what of it the coordinator hears.
        asked: in which way the person was asked; empty at the command line.
    """

    home: Home
    ledger: Ledger
    journal: Journal
    user: str
    now: datetime
    told: RejectionDisclosure = RejectionDisclosure.NOTHING
    asked: str = ""

    def reject(self, study: str, reason: str) -> StudyDecision:
        """Reject a study that arrived; keys that an interrupted approval left are destroyed.

        Raises:
            UsageError: it is approved (withdraw it), or the reason cannot stand in the log.
            LedgerError: ledger or log cannot be written.
        """
        with deciding(self.home):
            if read_decision(self.home, study).state is State.APPROVED:
                raise UsageError(
                    "expected a study that is not approved, found an approved one: `fieldfare "
                    "institution withdraw` ends it and destroys its keys"
                )
            return self._end(study, State.REJECTED, reason)

    def withdraw(self, study: str, reason: str) -> StudyDecision:
        """Take an approval back: the study's keys and its runs' are destroyed.

        *Formal Guarantees.* Afterwards no file of the home holds the private keys or chain keys of
        the study: transcripts of its runs cannot be unmasked with anything that is left here. What
        left before stays noised and debited. Copies (backups, snapshots) are beyond this.

        Raises:
            UsageError: it was never approved, or the reason cannot stand in the log.
            LedgerError: ledger or log cannot be written: repeat it.
        """
        with deciding(self.home):
            if read_decision(self.home, study).state not in {State.APPROVED, State.WITHDRAWN}:
                raise UsageError(
                    "expected an approved study, found one that is not: `fieldfare institution "
                    "reject` rejects it"
                )
            return self._end(study, State.WITHDRAWN, reason)

    def _end(self, study: str, state: State, reason: str) -> StudyDecision:
        check_reason(reason)
        said = {"user": self.user, "time": stamp(self.now), "reason": reason, "told": self.told}
        over = {"asked": self.asked, "state": state, "first": "", "first_roster": ""}
        decision = read_decision(self.home, study).model_copy(update=said | over)
        write_decision(self.home, decision)  # first: nothing loads it again, whatever comes after
        self.ledger.forget_runs(study)
        event = Event.REJECTION if state is State.REJECTED else Event.WITHDRAWAL
        details = {"reason": reason} if reason else {}
        details |= {"kind": self.asked} if self.asked else {}
        self.journal.append(event, self.user, study=study, user=self.user, **details)
        return decision
