"""Times come back to the microsecond, and states say whether anybody still works on a run."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.server.store.rows import RunStatus, from_micros, to_micros


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_comes_back_exactly(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at


def test_a_moment_is_written_in_utc_whatever_its_zone() -> None:
    east = datetime(2025, 6, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    assert to_micros(east) == to_micros(datetime(2025, 6, 1, 3, tzinfo=UTC))
    assert to_micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        to_micros(datetime(2025, 6, 1, 12))  # noqa: DTZ001 -- what is refused


def test_ended_states() -> None:
    assert {state for state in RunStatus if state.ended} == {
        RunStatus.STOPPED,
        RunStatus.FINISHED,
        RunStatus.FAILED,
    }
