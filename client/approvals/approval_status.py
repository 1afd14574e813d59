"""Whether a study may run here, and what the studies that may run can still spend."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Final

from fieldfare.client.approvals.review import SpentBudget
from fieldfare.client.home.studies import KeptStudy, State, StudyDecision
from fieldfare.client.ledger.budget import WINDOW
from fieldfare.client.ledger.freeing import freed_later
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.privacy.sides import SideCosts, total_of
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.study.study import Study

ENDED: Final = frozenset({State.REJECTED, State.WITHDRAWN})


class ApprovalStatus(Enum):
    """A study's permission to run; the value is the screen's text."""

    RECEIVED = "waits for a decision"
    APPROVED = "approved"
    OUTDATED = "approved under an earlier roster or ledger: approve it again"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


def approval_status(decision: StudyDecision, roster: Roster, epoch: int) -> ApprovalStatus:
    """Say where a study stands under the pinned roster and the ledger's epoch."""
    if decision.state is not State.APPROVED:
        return ApprovalStatus[decision.state.name]
    current = (decision.roster, decision.epoch) == (roster.hash, epoch)
    return ApprovalStatus.APPROVED if current else ApprovalStatus.OUTDATED


def sum_spent(
    ledger: Ledger, study: Study, others: Sequence[KeptStudy], roster: Roster, now: datetime
) -> SpentBudget:
    """Return the spent budget, and the budget that other approved studies may still spend.

    Args:
        ledger: of the population.
        study: the one in question.
        others: all studies that arrived; those that may not run are passed over.
        roster: the pinned one.
        now: the present, with a time zone.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    yearly = ledger.costs_since(now - WINDOW)
    return SpentBudget(
        yearly=total_of(yearly),
        lifetime=ledger.spent(),
        study=ledger.costs(study.id),
        study_in_year=yearly.get(study.id, SideCosts()),
        promised=sum_promised(ledger, [k for k in others if k.study.id != study.id], roster),
        freed=freed_later(ledger.history(), now),
    )


def sum_promised(ledger: Ledger, kept: Iterable[KeptStudy], roster: Roster) -> int:
    """Return what those of these studies that may run may still spend, in picomu2.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    epoch = ledger.position().epoch
    return sum(
        plan_for(one.study).still(ledger.costs(one.study.id))
        for one in kept
        if approval_status(one.decision, roster, epoch) is ApprovalStatus.APPROVED
    )
