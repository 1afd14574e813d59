from datetime import UTC, datetime

from fieldfare.client.daemon.status import ledger_now, release_now
from fieldfare.client.journal.releases import LastRelease
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.wire.admin_calls import LedgerStatus, ReleaseStatus

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def test_a_ledger_is_told_within_its_limits() -> None:
    limits = Limits(yearly_picomu2=5, lifetime_picomu2=9)
    with Ledger.open(None, population="p", limits=limits, clock=lambda: NOW) as ledger:
        found = ledger_now(ledger, limits, NOW)
        head = ledger.position().head
    assert found == LedgerStatus(
        entries=0,
        epoch=found.epoch if found else 0,
        head=head,
        spent=0,
        yearly_left=5,
        lifetime_left=9,
        yearly_limit=5,
        lifetime_limit=9,
    )
    assert ledger_now(ledger, limits, NOW) is None  # closed


def test_the_last_release_is_told() -> None:
    last = LastRelease(time=NOW, study="s", run="r", kind="training", step=3)
    assert release_now(None) is None
    assert release_now(last) == ReleaseStatus(
        time="2025-06-01T00:00:00+00:00", study="s", run="r", kind="training", step=3
    )
