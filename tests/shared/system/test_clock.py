"""A clock that was set while a process runs is refused; one that only drifts is not."""

from datetime import UTC, datetime, timedelta

import pytest

from fieldfare.shared.errors import LedgerError
from fieldfare.shared.system.clock import SteadyClock, since_boot, utc_now

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "shown", "right"),
    [
        (0, timedelta(0), True),
        (86400 * 400, timedelta(days=400), True),
        (60, timedelta(minutes=11), True),  # set right by ten minutes
        (60, timedelta(days=1, minutes=2), False),
        (60, timedelta(days=366), False),
        (86400 * 400, timedelta(0), False),
        (60, -timedelta(days=2), False),
    ],
)
def test_a_step_of_more_than_a_day_is_refused(passed: int, shown: timedelta, right: bool) -> None:
    now, elapsed = [NOON], [5.0]
    clock = SteadyClock(lambda: now[0], lambda: elapsed[0])
    now[0], elapsed[0] = NOON + shown, 5.0 + passed
    if right:
        assert clock() == now[0]
    else:
        with pytest.raises(LedgerError, match="set while this process ran"):
            clock()
        now[0] = NOON + timedelta(seconds=passed)
        assert clock() == now[0]


def test_the_systems_own_clock_is_steady() -> None:
    clock = SteadyClock()
    assert clock() <= utc_now()
    assert since_boot() > 0
