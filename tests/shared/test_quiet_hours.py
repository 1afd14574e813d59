"""Quiet hours: over midnight, in a zone with summer time, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.quiet_hours import quiet_hours


def at(hour: int, minute: int = 0, *, day: int = 1, month: int = 6) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "now", "end"),
    [
        ("22:00-07:00", at(23), at(7, day=2)),
        ("22:00-07:00", at(3), at(7)),
        ("22:00-07:00", at(7), None),
        ("22:00-07:00", at(22), at(7, day=2)),
        ("08:00-18:00", at(8), at(18)),
        ("08:00-18:00", at(18), None),
        ("08:00-18:00 America/Toronto", at(12, 30), at(22)),  # half past eight there, in summer
        ("08:00-18:00 America/Toronto", at(12, 30, month=1), None),  # half past seven, in winter
    ],
)
def test_quiet_hours_end(text: str, now: datetime, end: datetime | None) -> None:
    found = quiet_hours(text)
    assert found is not None
    assert found.until(now) == end


@pytest.mark.parametrize(
    "text",
    [
        "22:00",
        "24:00-07:00",
        "22:00-7:00",
        "08:00-08:00",
        "22:00-07:00 Nowhere/Never",
        "22:00-07:00 ../etc/passwd",
        "22:00-07:00\n",
        "22:60-07:00",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        quiet_hours(text)


def test_no_text_is_no_quiet_hours() -> None:
    assert quiet_hours("") is None


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)))  # noqa: DTZ001 -- made UTC below
def test_the_end_is_ahead_and_no_longer_quiet(moment: datetime) -> None:
    found, now = quiet_hours("21:30-06:15 Europe/Vienna"), moment.replace(tzinfo=UTC)
    assert found is not None
    end = found.until(now)
    if end is not None:
        assert timedelta() < end - now <= timedelta(hours=11)
        assert found.until(end) is None
