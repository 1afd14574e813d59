"""Settings of properties: what their examples share, and how many of them are drawn."""

import os
from typing import Final

from hypothesis import HealthCheck, settings

SHARING: Final = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Of properties whose examples share a fixture, such as a folder that each overwrites."""

AT_NIGHT: Final = "FIELDFARE_NIGHT" in os.environ


def examples(check: int, night: int) -> int:
    """Return how many examples a slow property draws: in `make check`, and at night."""
    return night if AT_NIGHT else check
