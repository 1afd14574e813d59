"""Federations with real custodians, and an institution's home, for every test here."""

from pathlib import Path

import pytest
from tests.support.federations.bench import bench, make_bench
from tests.support.network.served import room

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.founding import found_institution

__all__ = ["bench", "home", "make_bench", "room"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home as `init` makes it."""
    return found_institution(tmp_path / "home", "bank-a")
