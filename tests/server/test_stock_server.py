"""The ServerApp that the bundle names, as a stock `flwr-serverapp` would call it."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from tests.support.network.coordinator import new_home

from fieldfare.server import stock_server
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import create_private

GRID: Any = object()


def context(**configuration: str) -> Context:
    given: Any = configuration
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=given)


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(
        stock_server, "carry_out", lambda *given, passphrase: calls.append((*given, passphrase))
    )
    return calls


def test_it_carries_out_the_run_that_the_configuration_names(
    carried_out: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home(tmp_path / "home")
    create_private(tmp_path / "passphrase", b"open sesame, now\n")
    monkeypatch.setenv("FIELDFARE_COORDINATOR", str(home.path))
    stock_server.app(GRID, context(study="s", run="r"))
    monkeypatch.setenv("FIELDFARE_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    stock_server.app(GRID, context(study="s"))
    assert carried_out == [(home, GRID, "s", "r", None), (home, GRID, "s", "", b"open sesame, now")]


def test_without_a_home_it_says_what_is_missing(
    carried_out: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIELDFARE_COORDINATOR", raising=False)
    with pytest.raises(UsageError, match="FIELDFARE_COORDINATOR with the coordinator's folder"):
        stock_server.app(GRID, context(study="s", run="r"))
    assert carried_out == []
