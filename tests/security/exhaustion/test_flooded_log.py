"""A node that calls without end floods neither the institution's log nor its process's.

12,495 calls in 10 s once left as many lines, 1.2 MB, in the process's log: at that rate it turns
over in ten minutes, and what people need is gone from it.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.bench import Bench
from tests.support.homes.journals import logged
from tests.support.network.calling import question
from tests.support.network.served import hostile_channel, raw, serving, status_of

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.journal.decisions import MOST_REFUSALS, JournalDecisions, Tally
from fieldfare.client.journal.journal import Journal
from fieldfare.client.wire.calls import path_of
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.protocol.messages import Refusal
from fieldfare.shared.system.sockets import UnixSocket

CALLS: Final = 600
FRAMES: Final = {
    RefusalCode.UNKNOWN_STUDY: question(Call.HELLO, {"study": "a" * 64, "last_reply": b""}),
    RefusalCode.MALFORMED: b"\xff",
}


def refusal_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "refused" in one.getMessage()]


@pytest.mark.parametrize("threads", [4, 12])
@pytest.mark.parametrize("code", FRAMES)
def test_refusals_beyond_some_of_a_minute_are_counted_in_both_logs(
    code: RefusalCode,
    threads: int,
    bench: Bench,
    tmp_path: Path,
    room: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = lambda: datetime.now(UTC)  # noqa: E731
    decisions = JournalDecisions(Journal.open(tmp_path / "log", clock=clock), lambda: 0.0)
    tally = Tally(decisions, clock)
    custodian = Custodian(bench.party("bank-a"), bench.ledger("bank-a"), ExactNoise(), tally)

    with (
        caplog.at_level(logging.WARNING),
        serving(custodian, UnixSocket(room)),
        hostile_channel(room) as channel,
        ThreadPoolExecutor(threads) as pool,
    ):
        ask = raw(channel, path_of(Call.HELLO))
        asked = [pool.submit(lambda: status_of(ask.future(FRAMES[code]))) for _ in range(CALLS)]
        for one in asked:
            one.result(120)
        decisions.settle(at_once=True)

    refused = tally.refusals[code.value]  # others found every place taken
    assert refused > CALLS / 4
    lines = refusal_lines(caplog)
    begun = f"{code.value} refused: more than {MOST_REFUSALS} within a minute: counted from here on"
    counted = f"{code.value} refused: {refused - MOST_REFUSALS} more within a minute, counted"
    assert len(lines) == MOST_REFUSALS + 2
    assert lines.count(begun) == 1
    assert lines[-1] == counted
    assert len(logged(tmp_path / "log")) == MOST_REFUSALS + 2


class FullLog(NoLog):
    """A log on a full disk."""

    def refused(self, *_: object, **__: object) -> bool:
        raise LedgerError("no space left")


def test_a_log_that_cannot_be_written_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    custodian = Custodian(bench.party("bank-a"), bench.ledger("bank-a"), ExactNoise(), FullLog())
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            assert custodian.describe("a" * 64) == Refusal(RefusalCode.UNKNOWN_STUDY)
    assert [one.levelno for one in caplog.records] == [logging.ERROR, logging.WARNING]
