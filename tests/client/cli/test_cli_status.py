import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.homes.institutions import NAMES, Coordinator

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


def test_without_a_home_it_says_so(tmp_path: Path) -> None:
    done = status(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "fieldfare institution init" in done.stderr
