"""A `Custodian` in this process and a `RemoteCustodian` over a socket keep to `CustodianPort`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.bench import STEPS, Bench
from tests.support.network.served import served

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.node.client_app import CustodianPort
from fieldfare.client.node.remote_custodian import RemoteCustodian
from fieldfare.client.wire.frames import Committed, Described
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import NO_LAST_SUM, Refusal, ReleaseKind
from fieldfare.shared.transcript.heads import ShownLog

NAME: Final = "bank-b"


@pytest.fixture(params=["here", "over a socket"])
def port(request: pytest.FixtureRequest, bench: Bench, room: Path) -> Iterator[CustodianPort]:
    """One custodian of the bench; what the bench asks of it goes through the port, too."""
    inside = bench.custodian(NAME)
    assert isinstance(inside, Custodian)
    if request.param == "here":
        yield inside
        return
    with served(bench, NAME, room) as remote:
        assert isinstance(remote, RemoteCustodian)
        yield remote


def test_a_study_is_described(port: CustodianPort, bench: Bench) -> None:
    first, again = port.describe(bench.study.id), port.describe(bench.study.id)
    assert isinstance(first, Described)
    assert first == again


def test_a_whole_run_is_answered_and_a_repeat_gives_the_same_bytes(
    port: CustodianPort, bench: Bench
) -> None:
    run = bench.open_run()
    for step in range(STEPS):
        content = run.parameters(ReleaseKind.TRAINING, step)
        asked = run.request(step=step)
        request, last = bench.sign(asked), run.last(step) if step else NO_LAST_SUM
        answer = port.release(request, content, last)
        assert isinstance(answer, Committed)
        assert port.release(request, content, last) == answer
        sum_ = run.everybody(asked)
        assert answer.commitment in sum_.statements
        assert port.reveal(request, sum_.statements) in sum_.replies
    assert bench.ledger(NAME).position().sequence == STEPS


def test_every_call_refuses_what_it_does_not_know(port: CustodianPort) -> None:
    unknown, malformed = Refusal(RefusalCode.UNKNOWN_STUDY), Refusal(RefusalCode.MALFORMED)
    assert port.describe("no such study") == unknown
    assert port.agree("no such study", "run", []) == unknown
    assert port.open_run(b"", [], []) == malformed
    assert port.release(b"", b"") == malformed
    assert port.cosign("no such study", "run", ShownLog(b"")) == unknown
    assert port.deliver(b"", b"", b"") == malformed
