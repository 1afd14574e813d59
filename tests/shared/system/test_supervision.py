"""A supervisor with real children: started again, stopped, never left behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.system.processes import alive, until

from fieldfare.shared.system.processes import RestartRules

WAIT_SECONDS: Final = 60.0
# A child that says so, then does what is written there.
CHILD: Final = """
import os, signal, sys, time
from fieldfare.shared.system.processes import end_with_parent
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
def unheld(handler):
    signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
"""
PARENT: Final = """
import os, sys
from fieldfare.shared.system.processes import RestartRules, supervise
pauses = {{"first_seconds": 0.05, "longest_seconds": 0.2}}
rules = RestartRules(final=frozenset({{0, 2}}), grace_seconds={grace}, **pauses)
command = [sys.executable, "-c", {child!r}, sys.argv[1]]
print(supervise(command, os.environ, print, rules), flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """Where every child writes its process id."""
    return tmp_path / "children"


@pytest.fixture
def start(started: Path) -> Iterator[Start]:
    """Run a supervisor over a child that executes `body`."""
    running: list[subprocess.Popen[str]] = []

    def run(body: str, grace: float = 5.0) -> "subprocess.Popen[str]":
        program = PARENT.format(child=CHILD + body, grace=grace)
        command = [sys.executable, "-c", program, str(started)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def pids(started: Path) -> list[int]:
    return [int(line) for line in started.read_text().split()] if started.exists() else []


WAITS: Final = "unheld(signal.SIG_DFL)\ntime.sleep(600)"


@pytest.mark.parametrize("status", [0, 2])
def test_a_final_status_ends_it(status: int, start: Start, started: Path) -> None:
    said, _ = start(f"sys.exit({status})").communicate(timeout=WAIT_SECONDS)
    assert said == f"{status}\n"
    assert len(pids(started)) == 1


def test_a_child_that_fails_is_started_again_and_again(start: Start, started: Path) -> None:
    process = start("sys.exit(75)")
    until(lambda: len(pids(started)) >= 4)
    process.terminate()
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert re.match(r"ended with status 75 after \d+ s; it starts again in 0\.05 s\n", said)
    assert "again in 0.1 s\n" in said
    assert "again in 0.2 s\n" in said
    assert said.endswith("\n0\n")


def test_a_killed_child_is_started_again(start: Start, started: Path) -> None:
    process = start(WAITS)
    until(lambda: len(pids(started)) == 1)
    os.kill(pids(started)[0], signal.SIGKILL)
    until(lambda: len(pids(started)) == 2)
    process.terminate()
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert "ended with status -9" in said


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_with_its_child(sent: signal.Signals, start: Start, started: Path) -> None:
    process = start(WAITS)
    until(lambda: pids(started))
    process.send_signal(sent)
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert (said, process.returncode) == ("0\n", 0)
    assert not alive(pids(started)[0])


def test_a_child_that_does_not_listen_is_killed(start: Start, started: Path) -> None:
    process = start("unheld(signal.SIG_IGN)\nwhile True: time.sleep(1)", grace=0.2)
    until(lambda: pids(started))
    process.terminate()
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert said == "0\n"
    assert not alive(pids(started)[0])


def test_it_stops_while_it_waits(start: Start, started: Path) -> None:
    process = start("sys.exit(1)")
    until(lambda: pids(started))
    process.terminate()
    process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0


@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_a_child_does_not_outlive_a_killed_parent(
    handler: str, start: Start, started: Path
) -> None:
    process = start(f"unheld({handler})\nend_with_parent(0.2)\ntime.sleep(600)")
    until(lambda: pids(started))
    process.kill()  # the child may still be on its way to where it watches: that must do too
    until(lambda: not alive(pids(started)[0]))


def test_pauses_double_up_to_the_longest() -> None:
    rules = RestartRules(first_seconds=1, longest_seconds=30)
    assert [rules.pause(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert rules.pause(10**6) == 30


def test_the_pauses_outlive_a_lease_of_flower() -> None:
    """A killed node is let in again when its lease has ended, at most 60 s later."""
    rules = RestartRules()
    assert sum(rules.pause(n) for n in range(1, 7)) > 60
    assert rules.longest_seconds <= 30  # nor is it kept out for long afterwards
