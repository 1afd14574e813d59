"""The clock of everything that is deployed; the core takes the time as an argument."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)
