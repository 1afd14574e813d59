"""Federations with real custodians, and an institution's home, for every test here."""

from pathlib import Path

import pytest

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.founding import found_institution


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home as `init` makes it."""
    return found_institution(tmp_path / "home", "bank-a")
