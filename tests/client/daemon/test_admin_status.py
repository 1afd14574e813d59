from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from fieldfare.client.daemon.status import (
    LedgerNow,
    ReleaseNow,
    ReloadReport,
    StudyNow,
    ledger_now,
    release_now,
)
from fieldfare.client.journal.releases import LastRelease
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger

NOW = datetime(2025, 6, 1, tzinfo=UTC)

TOLD = ReloadReport(
    changed=["roster version 2 (was 1)"],
    trouble="",
    left_out=[StudyNow(id="a" * 64, serving=False, reason="approve it again")],
)


def test_what_is_told_is_what_is_read() -> None:
    content = TOLD.to_bytes()
    assert content.startswith(b'{"changed":["roster')  # canonical: sorted, nothing between
    assert ReloadReport.model_validate_json(content) == TOLD


def test_another_format_is_not_read() -> None:
    with pytest.raises(ValidationError):
        ReloadReport.model_validate_json(TOLD.to_bytes().replace(b'"format":1', b'"format":2'))


def test_a_ledger_is_told_within_its_limits() -> None:
    limits = Limits(yearly_picomu2=5, lifetime_picomu2=9)
    with Ledger.open(None, population="p", limits=limits, clock=lambda: NOW) as ledger:
        found = ledger_now(ledger, limits, NOW)
        head = ledger.position().head
    assert found == LedgerNow(
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
    assert release_now(last) == ReleaseNow(
        time="2025-06-01T00:00:00+00:00", study="s", run="r", kind="training", step=3
    )
