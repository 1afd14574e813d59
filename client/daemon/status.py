"""A running custodian's state, as far as it is counted or looked up for who asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fieldfare.client.home.studies import stamp
from fieldfare.client.journal.releases import LastRelease
from fieldfare.client.ledger.budget import WINDOW, Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.wire.admin_calls import LedgerStatus, ReleaseStatus
from fieldfare.shared.errors import LedgerError


@dataclass(frozen=True, kw_only=True)
class CustodianCounts:
    """Answers and acts since the start, for who watches.

    Attributes:
        kinds: answers that left, by kind of release.
        acts: acts for a run without a release, by kind.
        repeated: answers to a later attempt than the first.
    """

    kinds: Mapping[str, int]
    acts: Mapping[str, int]
    repeated: int


def release_now(last: LastRelease | None) -> ReleaseStatus | None:
    """Return the last release as it is told."""
    if last is None:
        return None
    return ReleaseStatus(
        time=stamp(last.time), study=last.study, run=last.run, kind=last.kind, step=last.step
    )


def ledger_now(ledger: Ledger, granted: Limits, now: datetime) -> LedgerStatus | None:
    """Return where a ledger stands within its limits; None where it cannot be read just now."""
    try:
        position = ledger.position()
        yearly, ever = ledger.spent_since(now - WINDOW), ledger.spent()
    except LedgerError:
        return None
    return LedgerStatus(
        entries=position.sequence,
        epoch=position.epoch,
        head=position.head,
        spent=ever,
        yearly_left=max(granted.yearly_picomu2 - yearly, 0),
        lifetime_left=max(granted.lifetime_picomu2 - ever, 0),
        yearly_limit=granted.yearly_picomu2,
        lifetime_limit=granted.lifetime_picomu2,
    )
