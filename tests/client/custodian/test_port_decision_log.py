"""`NoLog`, `JournalDecisions` and `Tally` keep to `DecisionLog`: they take whatever is decided."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.bench import Bench

from fieldfare.client.custodian.ports import DecisionLog, NoLog, RunEvent
from fieldfare.client.journal.decisions import JournalDecisions, Tally
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import Request

POSITION: Final = Position(sequence=3, head="e" * 64, cumulative=5, debited=5, epoch=1)
HOSTILE: Final = "\x1b[2J\u202e" + "x" * 5000 + "\n"


def clock() -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC)


def journal(folder: Path) -> JournalDecisions:
    return JournalDecisions(Journal.open(folder / "log", clock=clock), lambda: 0.0)


LOGS: Final[dict[str, Callable[[Path], DecisionLog]]] = {
    "none": lambda _: NoLog(),
    "journal": journal,
    "tally": lambda folder: Tally(journal(folder), clock),
}


@pytest.fixture(params=list(LOGS))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> DecisionLog:
    return LOGS[str(request.param)](tmp_path)


@pytest.fixture
def request_read(bench: Bench) -> Request:
    return bench.open_run().request()


def test_every_decision_is_taken(log: DecisionLog, request_read: Request) -> None:
    for _ in range(2):
        log.requested(request_read)
        log.released(request_read, 1, POSITION)
        log.refused(RefusalCode.MALFORMED, "expected less", request_read, asked=2, limit=1)
        for event in RunEvent:
            log.noted(event, request_read.study, request_read.run, "f" * 64)
        log.approved(request_read.study, "f" * 64, "somebody")


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_is_taken_whatever_a_peer_wrote(log: DecisionLog, code: RefusalCode) -> None:
    log.refused(code, HOSTILE)
    log.refused(code, "", None, asked=HOSTILE, limit=None)


def test_a_log_that_writes_nothing_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_read: Request
) -> None:
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    test_every_decision_is_taken(NoLog(), request_read)
    assert sorted(tmp_path.rglob("*")) == before
