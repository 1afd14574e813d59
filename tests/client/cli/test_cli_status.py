import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, clock

from fieldfare.client.daemon.process import admin_socket, administration
from fieldfare.client.daemon.reload import CustodianInputs, custodian_reloader
from fieldfare.shared.cli.root import run
from fieldfare.shared.desk.answering import serving_desk

COMMAND: Final = Path(sys.executable).with_name("fieldfare")


def status(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [COMMAND, "institution", "status", "--home", home, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_works_when_nothing_runs(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAMES[0]].path
    done = status(home)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "institution   bank-a"
    assert "custodian     not running" in lines
    assert max(map(len, lines)) <= 80
    assert json.loads(status(home, "--json").stdout)["institution"] == "bank-a"


def test_ready_is_an_exit_status(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    home = coordinator.homes[NAMES[0]]
    asked = ["institution", "status", "--ready", "--home", str(home.path)]
    assert (run(asked), capsys.readouterr().out) == (1, "not ready: no custodian is running\n")
    given = CustodianInputs(home=home.path, passphrase=None, environment={}, clock=clock)
    with custodian_reloader(given) as reloader:
        place = admin_socket(reloader.institution)
        with serving_desk(administration(reloader), place):
            assert (run(asked), capsys.readouterr().out) == (0, "ready\n")
            home.policy.write_text("broken")
            reloader.reload()
            assert run(asked) == 1
            assert "policy.toml" in capsys.readouterr().out


def test_without_a_home_it_says_so(tmp_path: Path) -> None:
    done = status(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "fieldfare institution init" in done.stderr
