import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.homes.institutions import NAMES, Coordinator

COMMAND: Final = Path(sys.executable).with_name("fieldfare")


def check(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [COMMAND, "institution", "check", "--home", home, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_ends_with_0_when_nothing_fails(coordinator: Coordinator) -> None:
    done = check(coordinator.homes[NAMES[0]].path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "pass  roster       version 1, 3 members, this one among them" in lines
    assert "skip  records      no study is approved" in lines
    assert lines[-1] == "nothing failed"


def test_it_ends_with_1_when_something_fails(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAMES[0]]
    home.roster.unlink()
    done = check(home.path, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["failed"] == 1
    (failed,) = [one for one in found["findings"] if one["outcome"] == "fail"]
    assert failed["topic"] == "roster"
    assert failed["remedy"]


def test_without_a_home_it_says_so(tmp_path: Path) -> None:
    done = check(tmp_path / "nowhere")
    assert done.returncode == 1
    assert "fieldfare institution init" in " ".join(done.stdout.split())
