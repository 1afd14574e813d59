from datetime import UTC, datetime

from fieldfare.shared.system.clock import utc_now


def test_the_present_is_told_in_utc() -> None:
    before = datetime.now(UTC)
    assert before <= utc_now() <= datetime.now(UTC)
    assert utc_now().tzinfo is UTC
