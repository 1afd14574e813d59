"""Federations with real custodians, and an institution's home, for every test here."""

from pathlib import Path

import pytest

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.initial_setup import create_institution


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home as `init` makes it."""
    return create_institution(tmp_path / "home", "bank-a")
