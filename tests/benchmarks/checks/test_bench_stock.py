"""Stock Flower, as it is shipped: that it runs here, is timed, and is gone afterwards."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.benchmarks import stock as bench_stock
from tests.benchmarks.stock import Fabric, environment, stock_rounds, working_in

from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.server.home.initial_setup import CoordinatorSetup, create_coordinator
from fieldfare.shared.errors import RunError


@pytest.fixture
def fabric(tmp_path: Path) -> Fabric:
    """Certificates and node keys as our own commands make them."""
    setup = CoordinatorSetup(name="Coordinator", address="127.0.0.1:8443", bind="127.0.0.1:8443")
    home = create_coordinator(tmp_path / "coordinator", setup, datetime.now(UTC))
    nodes = {
        name: create_institution(tmp_path / name, name).path / "keys" / "node"
        for name in ("bank-a", "bank-b")
    }
    tls = (home.authority, home.server_certificate, home.server_key)
    return Fabric(tmp_path / "stock", *tls, nodes)


@pytest.mark.faults
def test_a_round_is_timed_and_nothing_is_left(fabric: Fabric) -> None:
    (seconds,) = stock_rounds(fabric, entries=10, rounds=1)
    assert 0 < seconds < bench_stock.ROUND_SECONDS
    assert working_in(fabric.folder) == []
    for name in ("superlink", *fabric.nodes):
        assert (fabric.folder / f"{name}.log").is_file()


def test_what_stays_behind_is_ended(fabric: Fabric) -> None:
    """Whatever of Flower's is still there, and nothing that works elsewhere."""
    waits = [sys.executable, "-c", "input()"]
    elsewhere = fabric.folder.parent / "stock-2"
    with (
        subprocess.Popen(waits, env=environment(fabric.folder), stdin=subprocess.PIPE) as inside,
        subprocess.Popen(waits, env=environment(elsewhere), stdin=subprocess.PIPE) as outside,
    ):
        assert working_in(fabric.folder) == [inside.pid]
        bench_stock._clear(fabric.folder)
        assert inside.wait(60) == -signal.SIGKILL
        assert outside.poll() is None
        outside.kill()


@pytest.mark.promises
def test_what_flower_says_is_said(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_stock, "START_SECONDS", 0.0)
    monkeypatch.setattr(bench_stock, "_superlink", lambda *_: ["/bin/true"])
    with pytest.raises(RunError, match=r"`flwr supernode list` ended with"):
        stock_rounds(fabric, entries=10, rounds=1)


def test_nobody_is_called(tmp_path: Path) -> None:
    found = environment(tmp_path)
    assert found["FLWR_TELEMETRY_ENABLED"] == "0"
    assert found["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert found["PATH"].split(os.pathsep)[0] == str(bench_stock.BIN)
