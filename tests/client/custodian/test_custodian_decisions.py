"""The custodian and the door write down what they decide, before anything is sent."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.federations.bench import Bench, OpenedVector
from tests.support.homes.journals import logged_text

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.journal.decisions import JournalDecisions
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import Refusal

NAME = "bank-a"


class FullLog(NoLog):
    """A log on a full disk."""

    def released(self, *_: object) -> None:
        raise LedgerError("no space left")

    def refused(self, *_: object, **__: object) -> bool:
        raise LedgerError("no space left")


def with_log(bench: Bench, decisions: NoLog | JournalDecisions) -> Custodian:
    custodian = Custodian(bench.party(NAME), bench.ledger(NAME), ExactNoise(), decisions)
    custodian.approve(bench.study, lambda: bench.sums[NAME])
    bench.remembers(NAME, custodian)
    return custodian


def test_requests_releases_and_refusals_are_written_down_in_order(
    bench: Bench, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    folder.mkdir(mode=0o700)
    run = bench.open_run()
    journal = Journal.open(folder, clock=lambda: datetime.now(UTC))
    with_log(bench, JournalDecisions(journal))
    request = run.request()
    run.answer(NAME, request)
    run.answer(NAME, request)
    refused = run.ask(NAME, run.request(step=0, attempt=0, sigma=1.0))

    assert refused == Refusal(RefusalCode.WRONG_TERMS)
    lines = logged_text(folder).splitlines()
    events = [line.partition('"event":"')[2].partition('"')[0] for line in lines]
    assert events == ["request", "release", "request", "release", "request", "refusal"]
    assert "wrong_terms" in lines[-1]


def test_what_cannot_be_written_down_is_not_sent_and_is_repeated_later(bench: Bench) -> None:
    run = bench.open_run()
    with_log(bench, FullLog())
    request = run.request()
    before = bench.ledger(NAME).position().cumulative

    assert run.ask(NAME, request) == Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    spent = bench.ledger(NAME).position().cumulative
    assert spent == before + bench.plan.training.cost

    with_log(bench, NoLog())
    first = run.ask(NAME, request)
    assert isinstance(first, OpenedVector)
    assert bench.ledger(NAME).position().cumulative == spent


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_a_refusal_is_given_even_when_it_cannot_be_written_down(bench: Bench, sigma: float) -> None:
    run = bench.open_run()
    with_log(bench, FullLog())

    assert run.ask(NAME, run.request(sigma=sigma)) == Refusal(RefusalCode.WRONG_TERMS)
