"""The calendar: real months, busy seasons, paydays that dodge weekends."""

from datetime import date, timedelta

import numpy as np
import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.habits import LINES, START, Months


def test_months_have_their_real_lengths() -> None:
    months = Months(14)
    assert np.diff(months.starts).tolist()[:3] == [31, 28, 31]
    assert START + timedelta(days=int(months.starts[12])) == date(2026, 1, 1)
    assert months.days == 365 + 31 + 28


@pytest.mark.parametrize("count", [0, -1, 25])
def test_a_window_that_no_statement_fits_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 24 months"):
        Months(count)


def test_busy_time_grows_and_a_flat_year_is_as_long_as_it_is() -> None:
    months = Months(12)
    for line in LINES.values():
        elapsed = months.elapsed(line)
        assert elapsed.size == 366
        assert (np.diff(elapsed) > 0).all()
    assert months.elapsed(LINES["care"])[-1] == pytest.approx(365)


def test_december_is_busier_for_shopping_and_weekends_for_going_out() -> None:
    months = Months(12)
    shopping = np.diff(months.elapsed(LINES["prepaid"]))
    assert shopping[335:].mean() > 1.5 * shopping[:59].mean()
    out = np.diff(months.elapsed(LINES["eating"]))
    saturday = 3  # 4 January 2025
    assert out[saturday] > 1.5 * out[saturday - 1]


def test_cash_wanes_and_coins_wax() -> None:
    months = Months(12)
    for name, sign in (("cash_out", -1), ("coins", 1)):
        daily = np.diff(months.elapsed(LINES[name]))
        assert sign * (daily[-90:].mean() - daily[:90].mean()) > 0


def test_a_payday_on_a_weekend_moves_to_monday() -> None:
    days = np.arange(14)
    moved = Months(1).working_day(days)
    weekdays = [(START + timedelta(days=int(day))).weekday() for day in moved]
    assert max(weekdays) < 5
    assert (
        moved[np.array([(START + timedelta(days=int(d))).weekday() < 5 for d in days])]
        == days[np.array([(START + timedelta(days=int(d))).weekday() < 5 for d in days])]
    ).all()
