"""Settings of properties whose examples share a fixture, such as a folder that each overwrites."""

from typing import Final

from hypothesis import HealthCheck, settings

SHARING: Final = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
