"""A person's rejection of a study, or the withdrawal of an approval; and their effects.

What forbids takes effect before it is logged: a crash in between leaves less permitted than the log
says, never more.
"""

from datetime import datetime

from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import (
    State,
    StudyDecision,
    Told,
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


def reject(
    home: Home,
    ledger: Ledger,
    journal: Journal,
    study: str,
    reason: str,
    user: str,
    now: datetime,
    told: Told = Told.NOTHING,
    asked: str = "",
) -> StudyDecision:
    """Say no to a study that arrived; keys that an interrupted approval left are destroyed.

    Raises:
        UsageError: it is approved (withdraw it), or the reason cannot stand in the log.
        LedgerError: ledger or log cannot be written.
    """
    with deciding(home):
        if read_decision(home, study).state is State.APPROVED:
            raise UsageError(
                "expected a study that is not approved, found an approved one: `fieldfare "
                "institution withdraw` ends it and destroys its keys"
            )
        return _end(home, ledger, journal, study, State.REJECTED, reason, user, now, told, asked)


def withdraw(
    home: Home,
    ledger: Ledger,
    journal: Journal,
    study: str,
    reason: str,
    user: str,
    now: datetime,
    told: Told = Told.NOTHING,
    asked: str = "",
) -> StudyDecision:
    """Take an approval back: the study's keys and its runs' are destroyed.

    *Formal Guarantees.* Afterwards no file of the home holds the private keys or chain keys of
    the study: transcripts of its runs cannot be unmasked with anything that is left here. What
    left before stays noised and debited. Copies (backups, snapshots) are beyond this.

    Raises:
        UsageError: it was never approved, or the reason cannot stand in the log.
        LedgerError: ledger or log cannot be written: repeat it.
    """
    with deciding(home):
        if read_decision(home, study).state not in {State.APPROVED, State.WITHDRAWN}:
            raise UsageError(
                "expected an approved study, found one that is not: `fieldfare institution reject` "
                "says no to it"
            )
        return _end(home, ledger, journal, study, State.WITHDRAWN, reason, user, now, told, asked)


def _end(
    home: Home,
    ledger: Ledger,
    journal: Journal,
    study: str,
    state: State,
    reason: str,
    user: str,
    now: datetime,
    told: Told,
    asked: str,
) -> StudyDecision:
    check_reason(reason)
    said = {"user": user, "time": stamp(now), "reason": reason, "told": told, "asked": asked}
    over = {"state": state, "first": "", "first_roster": ""}
    decision = read_decision(home, study).model_copy(update=said | over)
    write_decision(home, decision)  # first: nothing loads it again, whatever comes after
    ledger.forget_runs(study)
    event = Event.REJECTION if state is State.REJECTED else Event.WITHDRAWAL
    details = {"reason": reason} if reason else {}
    details |= {"kind": asked} if asked else {}
    journal.append(event, user, study=study, user=user, **details)
    return decision
