"""What a run's process takes and how it ends; with a real SuperLink it is in test_runner.py."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.network.coordinator import new_home
from tests.support.rows import night

from fieldfare.server.service.run_process import (
    EXIT_OVER,
    NAMED_SECONDS,
    TOLD,
    RunnerInput,
    check_newest,
)
from fieldfare.server.store.store import run_store
from fieldfare.shared.errors import RunError
from fieldfare.shared.study.allowed_packages import VARIABLE
from fieldfare.shared.system.processes import EXIT_DEFECT

PROCESS: Final = "fieldfare.server.service.run_process"
WAIT_SECONDS: Final = 120.0
STARTED: Final = f"""
import os, runpy, sys
from fieldfare.shared.study import allowed_packages
os._exit = sys.exit
try:
    runpy.run_module({PROCESS!r}, run_name="__main__")
finally:
    print(*sorted(allowed_packages._permitted))
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One whose SuperLink is not there."""
    home = new_home(tmp_path / "home")
    with subprocess.Popen(
        [sys.executable, "-I", "-m", PROCESS, home.path],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield process
        process.kill()


def hand(process: "subprocess.Popen[bytes]", content: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(content)
    process.stdin.flush()


def said_until(process: "subprocess.Popen[bytes]", text: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"expected {text!r}, the process ended")


def test_it_waits_for_its_superlink_and_stops_when_told(
    child: "subprocess.Popen[bytes]",
) -> None:
    hand(child, RunnerInput("token", None).lines())
    said_until(child, b"retrying")
    child.terminate()
    assert child.wait(WAIT_SECONDS) == EXIT_DEFECT


def test_it_ends_with_its_parent(child: "subprocess.Popen[bytes]") -> None:
    hand(child, RunnerInput("token", b"x").lines())
    said_until(child, b"retrying")
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(WAIT_SECONDS) == EXIT_DEFECT


def test_it_ends_where_the_superlink_ended_its_run(child: "subprocess.Popen[bytes]") -> None:
    hand(child, RunnerInput("token", None).lines())
    said_until(child, b"retrying")
    child.send_signal(signal.SIGINT)  # as flwr says it
    assert child.wait(WAIT_SECONDS) == EXIT_OVER


@pytest.mark.parametrize("given", [b"token\n", *night(b"", b"x" * 70_000 + b"\n")])
def test_it_ends_where_it_is_handed_something_else(
    given: bytes, child: "subprocess.Popen[bytes]"
) -> None:
    with pytest.MonkeyPatch.context():
        assert child.stdin is not None
        try:
            child.stdin.write(given)
            child.stdin.close()
        except BrokenPipeError:  # it has read enough
            pass
    assert child.wait(WAIT_SECONDS) == EXIT_DEFECT
    assert child.stderr is not None
    said = child.stderr.read()
    assert b"Traceback" not in said
    assert b"token" not in said


@pytest.mark.parametrize("told", [*night(""), "acme-nets==1.2.0 b==2"])
def test_it_allows_the_packages_that_the_coordinator_was_started_with(
    told: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", STARTED, tmp_path],
        input=b"",  # it is handed nothing, and ends
        env={**os.environ, VARIABLE: told},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout.decode().strip()) == (EXIT_DEFECT, told)


def test_no_passphrase_is_an_empty_line() -> None:
    assert RunnerInput("t", None).lines() == b"t\n\n"
    shown: Any = repr(RunnerInput("hush", b"hush"))
    assert "hush" not in shown


def test_the_runner_is_told_nothing_of_a_defect() -> None:
    assert EXIT_DEFECT not in TOLD
    assert EXIT_OVER in TOLD


def test_a_process_leaves_a_run_for_which_another_was_started(tmp_path: Path) -> None:
    home, slept = new_home(tmp_path / "home"), list[float]()
    with run_store(home.runs_database) as store:
        store.create("run-1", "a" * 64, datetime.now(UTC))
        store.set_flower_run("run-1", 7)
    check_newest(home, "run-1", 7)
    check_newest(home, "unknown", 7)  # what carries it out refuses it
    with pytest.raises(RunError, match="another process was started for it"):
        check_newest(home, "run-1", 8, monotonic=lambda: sum(slept), sleep=slept.append)
    assert sum(slept) >= NAMED_SECONDS


def test_a_process_waits_until_the_store_names_it(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with run_store(home.runs_database) as store:
        store.create("run-1", "a" * 64, datetime.now(UTC))
        check_newest(home, "run-1", 7, sleep=lambda _: store.set_flower_run("run-1", 7))
