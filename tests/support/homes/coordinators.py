"""Coordinators with homes on disk."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.server.home.certificate_authority import new_authority
from fieldfare.server.home.initial_setup import CoordinatorSetup, create_coordinator
from fieldfare.server.home.layout import CoordinatorHome

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_authority(now: datetime = NOW) -> str:
    """An authority's certificate, PEM."""
    return new_authority("Example coordinator", now).certificate.decode()


def found(folder: Path, **changes: Any) -> CoordinatorHome:
    """A coordinator's home, as `init` makes it."""
    setup: dict[str, Any] = {
        "name": "Example coordinator",
        "address": "coordinator.example.org:8443",
    }
    named = ("passphrase", "roster_key")
    keys = {name: changes.pop(name) for name in named if name in changes}
    return create_coordinator(folder, CoordinatorSetup(**(setup | changes)), NOW, **keys)


@pytest.fixture
def coordinator_home(tmp_path: Path) -> CoordinatorHome:
    return found(tmp_path / "coordinator")
