"""For every test: what takes long on a busy machine is no failure; benchmarks time things."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fieldfare", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fieldfare")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Leave what hypothesis repeats a hundred times out of the coverage: tracing it takes minutes.

    Lines that only a property reaches then count as uncovered, so the floor asks for no less.
    """
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.no_cover)
