"""An institution's home, made as `init` makes it."""

from pathlib import Path

import pytest

from fieldfare.client.institution.founding import found_institution
from fieldfare.client.institution.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return found_institution(tmp_path / "home", "bank-a")
