"""M rises: what was spent under the smaller one counts more from then on."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import Debit, Limits
from fieldfare.client.ledger.chain import StatementKind, counts_as
from fieldfare.client.ledger.freeing import freed_later
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import PolicyRefusal, RefusalCode

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS: Final = Limits(yearly_picomu2=200, lifetime_picomu2=300)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def open_ledger(path: Path, clock: Clock) -> Ledger:
    return Ledger.open(path, population="units", limits=LIMITS, clock=clock)


def spend(ledger: Ledger, step: int, cost: int = 10) -> None:
    request = hashlib.sha256(str(step).encode()).hexdigest()
    debit = Debit(
        study="s", run="r", step=step, attempt=0, kind="training", request=request, cost=cost
    )
    commit_release(
        ledger,
        debit,
        vector=b"v",
        study_limit=10_000,
        max_attempts=1,
        sign=lambda position: position.head.encode(),
        run_states={},
    )


def recount(ledger: Ledger, multiplicity: int) -> None:
    ledger.recount(multiplicity, before=1, user="ann", reason="roster version 2")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(10, 1)], [10]),
        ([(10, 1), (10, 2)], [40, 10]),
        ([(10, 2), (10, 3)], [23, 10]),  # rounded up
        ([(10, 2), (10, 1)], [10, 10]),  # a fall makes nothing cheaper
        ([(10, 1), (10, 3), (10, 1)], [90, 10, 10]),
        ([(10, 1), (10, 2), (10, 4)], [160, 40, 10]),
        ([(0, 1), (10, 2)], [0, 10]),
    ],
)
def test_each_part_counts_at_the_highest_m_since(
    parts: list[tuple[int, int]], expected: list[int]
) -> None:
    assert counts_as(parts) == expected


def test_what_was_spent_counts_by_the_square_and_entries_keep_their_cost(tmp_path: Path) -> None:
    path, clock = tmp_path / "ledger", Clock()
    with open_ledger(path, clock) as ledger:
        spend(ledger, 0)
        recount(ledger, 1)  # nothing new: nothing is stated
        assert ledger.position().sequence == 1
        recount(ledger, 2)
        recount(ledger, 2)
        spend(ledger, 1)
        position = ledger.position()
        assert (position.sequence, position.cumulative, position.epoch) == (3, 20, 1)
        assert [entry.debit.cost for entry in ledger.entries()] == [10, 10]
        assert ledger.spent() == ledger.spent_since(START) == 50
        assert sum(day.picomu2 for day in freed_later(ledger.history(), clock())) == 50
        ledger.verify()
    with open_ledger(path, clock) as again:  # the chain holds it
        assert again.spent() == 50
        kinds = [e.stated.kind for e in again.history() if not hasattr(e, "debit")]
        assert kinds == [StatementKind.MULTIPLICITY]
        recount(again, 1)
        assert again.spent() == 50


def test_limits_count_it(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path / "ledger", clock) as ledger:
        for step in range(5):
            spend(ledger, step)
        recount(ledger, 2)  # 50 count 200: the year is full
        with pytest.raises(PolicyRefusal) as refused:
            spend(ledger, 5, cost=1)
        assert refused.value.code is RefusalCode.BUDGET_EXHAUSTED
        clock.now += timedelta(days=366)
        assert ledger.spent_since(clock.now - timedelta(days=365)) == 0
        spend(ledger, 5, cost=100)  # the lifetime is full with it
        with pytest.raises(PolicyRefusal, match="lifetime"):
            spend(ledger, 6, cost=1)
