"""A custodian in this process and one over a socket are one `CustodianPort`: frames to frames."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.bench import STEPS, Bench
from tests.support.network.calling import Caller
from tests.support.network.served import served

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import NO_LAST_SUM, Refusal, ReleaseKind
from fieldfare.shared.transcript.heads import ShownLog

NAME: Final = "bank-b"


@pytest.fixture(params=["here", "over a socket"])
def port(request: pytest.FixtureRequest, bench: Bench, room: Path) -> Iterator[Caller]:
    """One custodian of the bench; what the bench asks of it goes through the port, too."""
    inside = bench.custodian(NAME)
    assert isinstance(inside, Custodian)
    if request.param == "here":
        yield Caller(partial(answer, inside))
        return
    with served(bench, NAME, room) as remote:
        yield remote


def test_a_study_is_described(port: Caller, bench: Bench) -> None:
    first, again = port.describe(bench.study.id), port.describe(bench.study.id)
    assert isinstance(first, HelloAnswer)
    assert first == again


def test_a_whole_run_is_answered_and_a_repeat_gives_the_same_bytes(
    port: Caller, bench: Bench
) -> None:
    run = bench.open_run()
    for step in range(STEPS):
        content = run.parameters(ReleaseKind.TRAINING, step)
        asked = run.request(step=step)
        request, last = bench.sign(asked), run.last(step) if step else NO_LAST_SUM
        committed = port.release(request, content, last)
        assert isinstance(committed, CommitmentReply)
        assert port.release(request, content, last) == committed
        sum_ = run.everybody(asked)
        assert committed.commitment in sum_.statements
        assert port.reveal(request, sum_.statements) in sum_.replies
    assert bench.ledger(NAME).position().sequence == STEPS


def test_every_call_refuses_what_it_does_not_know(port: Caller) -> None:
    unknown, malformed = Refusal(RefusalCode.UNKNOWN_STUDY), Refusal(RefusalCode.MALFORMED)
    assert port.describe("no such study") == unknown
    assert port.agree("no such study", "run", []) == unknown
    assert port.open_run(b"", [], []) == malformed
    assert port.release(b"", b"") == malformed
    assert port.cosign("no such study", "run", ShownLog(b"")) == unknown
    assert port.deliver(b"", b"", b"") == malformed
