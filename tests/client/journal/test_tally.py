"""What is counted is passed on, and only what was written down has left."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import pytest

from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.journal.decisions import Tally
from fieldfare.client.journal.releases import LastRelease
from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.protocol.messages import ReleaseKind

NOW: Final = datetime(2025, 6, 1, tzinfo=UTC)
POSITION: Final = Position(sequence=3, head="e" * 64, cumulative=5, debited=5, epoch=1)
REQUEST: Final[Any] = SimpleNamespace(
    study="a" * 64, run="run-1", step=7, attempt=1, kind=ReleaseKind.TRAINING
)


class Broken(NoLog):
    def refused(self, *_: Any, **__: Any) -> bool:
        raise LedgerError("full")

    def released(self, *_: Any) -> None:
        raise LedgerError("full")


def test_releases_and_refusals_are_counted() -> None:
    tally = Tally(NoLog(), lambda: NOW)
    tally.requested(REQUEST)
    tally.released(REQUEST, 1, POSITION)
    tally.released(REQUEST, 1, POSITION)
    tally.refused(RefusalCode.UNKNOWN_STUDY, "expected a study")
    tally.approved("a" * 64, "b" * 64, "tester")
    assert tally.releases == 2
    assert tally.refusals == {"unknown_study": 1}
    assert tally.last == LastRelease(time=NOW, study="a" * 64, run="run-1", kind="training", step=7)


def test_what_was_not_written_down_did_not_leave() -> None:
    tally = Tally(Broken(), lambda: NOW)
    with pytest.raises(LedgerError):
        tally.released(REQUEST, 1, POSITION)
    assert (tally.releases, tally.last) == (0, None)


def test_a_refusal_counts_also_where_it_cannot_be_written_down() -> None:
    tally = Tally(Broken(), lambda: NOW)
    with pytest.raises(LedgerError):
        tally.refused(RefusalCode.MALFORMED, "expected a message")
    assert tally.refusals == {"malformed": 1}
