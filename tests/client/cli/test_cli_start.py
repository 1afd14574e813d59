"""One command for one user: real processes, stopped together and never left behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import NAMES, Coordinator
from tests.support.homes.journals import logged_text
from tests.support.network.certificates import Authority
from tests.support.rows import night
from tests.support.system.ports import free_port
from tests.support.system.processes import alive, children, until

from fieldfare.client.cli.upkeep.start import without_secrets
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import HomeSettings
from fieldfare.client.node.state import LinkState, read_node_state
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.cli.root import run
from fieldfare.shared.system import processes

COMMAND: Final = Path(sys.executable).with_name("fieldfare")
NAME: Final = NAMES[0]
PATIENCE: Final = 60.0

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    """A home whose SuperLink is not there."""
    home = coordinator.homes[NAME]
    authority = Authority.make(coordinator.folder).folder / "authority.pem"
    authority.rename(home.path / "authority.pem")
    (home.path / "node.toml").write_text(
        f'superlink = "127.0.0.1:{free_port()}"\nbundles = ["{"ab" * 32}"]\n'
    )
    return home


@pytest.fixture
def start(coordinator: Coordinator) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def begin(home: Home, *options: str) -> "subprocess.Popen[bytes]":
        with written(home).open("ab") as log:
            running.append(
                subprocess.Popen(
                    [COMMAND, "institution", "start", "--home", home.path, *options],
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
            )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def written(home: Home) -> Path:
    return home.path.with_name("start.log")


def up(home: Home) -> bool:
    """Both are: the custodian serves, the node writes down that it connects."""
    found = read_node_state(home.run / "node.json")
    return custodian_status(home.admin_socket) is not None and found is not None and found[1]


@pytest.mark.parametrize("sent", [*night(signal.SIGINT), signal.SIGTERM])
def test_it_runs_both_and_one_signal_stops_them(
    home: Home, start: Start, sent: signal.Signals
) -> None:
    process = start(home)
    until(lambda: up(home), PATIENCE)
    both = children(process)
    assert len(both) == 2
    process.send_signal(sent)
    assert process.wait(PATIENCE) == 0
    assert not any(alive(pid) for pid in both)
    assert not home.custodian_socket.exists()
    assert not home.admin_socket.exists()
    said = written(home).read_text().splitlines()
    assert f"fieldfare: custodian: serving on {home.custodian_socket}" in said
    assert "fieldfare: custodian: stopped" in said
    assert all(line.startswith(("fieldfare: custodian: ", "fieldfare: node: ")) for line in said)
    found = read_node_state(home.run / "node.json")
    assert found is not None
    assert (found[0].link, found[0].reason, found[1]) == (LinkState.ENDED, "stopped", False)


@pytest.mark.promises
def test_a_second_one_says_at_once_that_one_runs(
    home: Home, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(home)
    until(lambda: up(home), PATIENCE)
    assert run(["institution", "start", "--home", str(home.path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected that nothing runs for it yet, found a custodian (process " in line
    assert "and a node: see `fieldfare institution status`" in line
    assert process.poll() is None  # it goes on


@pytest.mark.promises
def test_nothing_is_left_of_a_killed_one(home: Home, start: Start) -> None:
    process = start(home)
    until(lambda: up(home), PATIENCE)
    both = children(process)
    process.kill()
    process.wait()
    until(lambda: not any(alive(pid) for pid in both), PATIENCE)
    assert not home.custodian_socket.exists()
    assert '"event":"stop"' in logged_text(home.log_folder)


@pytest.mark.faults
def test_a_custodian_that_was_killed_serves_again(home: Home, start: Start) -> None:
    process = start(home, "--custodian-only")
    until(lambda: custodian_status(home.admin_socket), PATIENCE)
    (custodian,) = children(process)
    os.kill(custodian, signal.SIGKILL)
    until(lambda: custodian not in children(process), PATIENCE)
    until(lambda: custodian_status(home.admin_socket), PATIENCE)
    process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.promises
def test_what_starting_again_does_not_mend_ends_it(home: Home, start: Start) -> None:
    home.policy.write_text("nonsense")
    process = start(home)
    assert process.wait(PATIENCE) == 2
    assert "policy.toml" in written(home).read_text()


def test_without_a_nodes_settings_it_says_how_to_join(
    coordinator: Coordinator, start: Start
) -> None:
    home = coordinator.homes[NAME]
    assert start(home).wait(PATIENCE) == 2
    said = written(home).read_text()
    assert "fieldfare institution join FILE" in said
    assert "--custodian-only" in said


def test_no_second_node_runs_beside_one_on_another_machine(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings, which `join` wrote, would connect under the same key and reach nothing."""
    monkeypatch.setattr(processes, "supervise_many", lambda *_: 0)  # what would start now
    settings = home.settings.read_text().replace("[custodian]", '[custodian]\nlisten = "[::1]:7"')
    home.settings.write_text(re.sub(r"(?m)^(socket|group) = .*\n", "", settings))
    start = ["institution", "start", "--home", str(home.path)]
    assert run(start) == 2
    assert "--custodian-only" in capsys.readouterr().err
    assert run([*start, "--custodian-only"]) == 0


def test_the_node_is_given_no_databases_address() -> None:
    source = {"kind": "postgresql", "uri_environment": "BANK_DB", "table": "accounts"}
    settings = HomeSettings.model_validate({"id": "bank-a", "records": [source]})
    given = {"BANK_DB": "postgresql://secret", "PGPASSWORD": "secret", "PATH": "/bin"}
    assert without_secrets(given, settings) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("process", "holds"),
    [("client.cli.upkeep.start", set()), ("client.node.process", {"flwr"})],
)
def test_what_runs_for_years_holds_no_library_that_it_does_not_use(
    process: str, holds: set[str]
) -> None:
    heavy = {
        *("torch", "opacus", "sklearn", "pandas", "polars", "pyarrow", "duckdb", "ray"),
        *("matplotlib", "lxml", "opendp", "flwr"),
    }
    code = f"import sys, fieldfare.{process}; print(*{heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*done.stdout.split()} == holds
