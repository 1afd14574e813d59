"""When the window frees what was spent: told from a real ledger, day by day, never too early."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import WINDOW, Debit, Limits
from fieldfare.client.ledger.freeing import (
    FreedBudget,
    enough_from,
    freed_later,
    next_freed,
    said_day,
    worth,
)
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import mu2_for

HALF = int(mu2_for(epsilon=0.5, delta=1e-5, xi=XI_LIMIT) * 10**12)
START = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)


@contextmanager
def spent(times: list[datetime], cost: int) -> Iterator[Ledger]:
    """A ledger that spent `cost` at each of these times."""
    now = [times[0]]
    limits = Limits(yearly_picomu2=10**15, lifetime_picomu2=10**15)
    with Ledger.open(None, population="bank-a", limits=limits, clock=lambda: now[0]) as ledger:
        for step, moment in enumerate(times):
            now[0] = moment
            commit_release(
                ledger,
                Debit(
                    study="5" * 64,
                    run="r",
                    step=step,
                    attempt=0,
                    kind="training",
                    request=hashlib.sha256(f"{step}".encode()).hexdigest(),
                    cost=cost,
                ),
                vector=b"masked",
                study_limit=10**15,
                max_attempts=1,
                sign=lambda _: b"signed",
                run_states={},
            )
        yield ledger


def test_each_day_frees_what_it_spent_a_year_after() -> None:
    days = [START, START + timedelta(hours=1), START + timedelta(days=30)]
    with spent(days, HALF // 2) as ledger:
        found = freed_later(ledger.history(), START + timedelta(days=31))
        later = freed_later(ledger.history(), START + timedelta(days=380))
        never = freed_later(ledger.history(), START + timedelta(days=800))
    assert found == (
        FreedBudget(date(2027, 3, 3), 2 * (HALF // 2)),
        FreedBudget(date(2027, 4, 2), HALF // 2),
    )
    assert (later, never) == (found[1:], ())
    assert next_freed(found, 1e-5) == "the next 0.5 comes free on 3 March 2027"
    assert next_freed(never, 1e-5) == ""


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 3 * 365 * 24 * 60), min_size=1, max_size=8).map(sorted),
    st.integers(0, 400 * 24 * 60),
)
def test_on_the_day_that_is_said_the_ledger_counts_it_no_more(
    minutes: list[int], after: int
) -> None:
    times = [START + timedelta(minutes=one) for one in minutes]
    now = times[-1] + timedelta(minutes=after)
    with spent(times, 7) as ledger:
        counted = ledger.spent_since(now - WINDOW)
        freed = freed_later(ledger.history(), now)
        for one in freed:
            counted -= one.picomu2
            begins = datetime.combine(one.day, time.min, UTC)
            assert ledger.spent_since(begins - WINDOW) <= counted
            assert ledger.spent_since(begins - timedelta(days=1) - WINDOW) > counted
    assert counted == 0


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (3, "enough on 3 March 2027"),
        (5, "enough on 3 March 2027"),
        (6, "enough on 1 May 2027"),
        (10, "never enough: the limit is below it"),
    ],
)
def test_from_which_day_on_there_is_enough(needed: int, said: str) -> None:
    freed = (FreedBudget(date(2027, 3, 3), 3), FreedBudget(date(2027, 5, 1), 4))
    assert enough_from(needed, 2, freed) == said


def test_amounts_and_days_are_said_as_people_say_them() -> None:
    assert said_day(date(2027, 12, 25)) == "25 December 2027"
    assert worth(0, 1e-5) == worth(-1, 1e-5) == 0.0
    assert worth(HALF, 1e-5) == pytest.approx(0.5, rel=1e-6)
