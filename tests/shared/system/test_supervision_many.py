"""A supervisor of several real children: what they say comes out, and none is left behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.system.processes import alive, until

WAIT_SECONDS: Final = 60.0
CHILD: Final = """
import os, signal, sys, time
from fieldfare.shared.system.processes import end_with_parent
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
"""
WAITS: Final = "end_with_parent(0.2)\nprint('ready', flush=True)\ntime.sleep(600)"
PARENT: Final = """
import os, sys
from fieldfare.shared.system.processes import RestartRules
from fieldfare.shared.system.processes import Child, supervise_many
pauses = {"first_seconds": 0.05, "longest_seconds": 0.2, "grace_seconds": 0.5}
rules = RestartRules(final=frozenset({0, 2}), **pauses)
children = [
    Child(
        name=name,
        command=[sys.executable, "-c", body, f"{sys.argv[1]}-{name}"],
        environment=os.environ,
        given=given,
        rules=rules,
    )
    for name, body, given in BODIES
]
# One write a line: two threads may come between a text and the end of its line.
say = lambda name, line: print(f"{name}: {line}\\n", end="", flush=True)
status = supervise_many(children, say)
print("status", status, flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a supervisor over children that execute `bodies`."""
    running: list[subprocess.Popen[str]] = []

    def run(given: bytes = b"", **bodies: str) -> "subprocess.Popen[str]":
        listed: list[Any] = [(name, CHILD + body, given) for name, body in bodies.items()]
        program = f"BODIES = {listed!r}\n{PARENT}"
        command = [sys.executable, "-c", program, str(tmp_path / "pids")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def pids(folder: Path, name: str) -> list[int]:
    path = folder / f"pids-{name}"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def said(process: "subprocess.Popen[str]", text: str) -> list[str]:
    """Read lines up to one with `text`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(lines)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_signal_stops_all(sent: signal.Signals, start: Start, tmp_path: Path) -> None:
    process = start(one=WAITS, two=WAITS)
    said(process, "ready")
    said(process, "ready")
    process.send_signal(sent)
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert (out, process.returncode) == ("status 0\n", 0)
    for name in ("one", "two"):
        assert not alive(pids(tmp_path, name)[0])


def test_lines_come_out_under_the_name_of_who_wrote_them(start: Start) -> None:
    process = start(one="print('a\\nb')\nprint('c', file=sys.stderr)\nsys.exit(2)")
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert sorted(out.splitlines()) == ["one: a", "one: b", "one: c", "status 2"]


def test_what_is_given_arrives_and_the_pipe_stays_open(start: Start) -> None:
    reads = "print(sys.stdin.readline().strip(), flush=True)\ntime.sleep(0.5)\nsys.exit(2)"
    out, _ = start(b"a secret\n", one=reads).communicate(timeout=WAIT_SECONDS)
    assert out == "one: a secret\nstatus 2\n"


@pytest.mark.parametrize("status", [0, 2])
def test_a_final_status_ends_all(status: int, start: Start, tmp_path: Path) -> None:
    process = start(one=WAITS, two=f"time.sleep(0.5)\nsys.exit({status})")
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert out.endswith(f"status {status}\n")
    assert not alive(pids(tmp_path, "one")[0])
    assert len(pids(tmp_path, "two")) == 1


def test_one_that_fails_is_started_again_and_the_other_stays(start: Start, tmp_path: Path) -> None:
    process = start(one=WAITS, two="sys.exit(75)")
    until(lambda: len(pids(tmp_path, "two")) >= 3)
    process.terminate()
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    for pause in ("0.05", "0.1"):
        assert re.search(rf"two: ended with status 75 after \d+ s; .* again in {pause} s\n", out)
    assert len(pids(tmp_path, "one")) == 1


def test_a_killed_child_is_started_again(start: Start, tmp_path: Path) -> None:
    process = start(one=WAITS)
    said(process, "ready")
    os.kill(pids(tmp_path, "one")[0], signal.SIGKILL)
    said(process, "ended with status -9")
    said(process, "ready")
    assert len(pids(tmp_path, "one")) == 2


def test_nothing_outlives_a_killed_parent(start: Start, tmp_path: Path) -> None:
    process = start(one=WAITS, two=WAITS)
    said(process, "ready")
    said(process, "ready")
    process.kill()
    until(lambda: not any(alive(pids(tmp_path, name)[0]) for name in ("one", "two")))


def test_one_that_does_not_listen_is_killed(start: Start, tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\n"
    process = start(one=f"{deaf}time.sleep(600)")
    said(process, "ready")
    process.terminate()
    assert process.communicate(timeout=WAIT_SECONDS)[0] == "status 0\n"
    assert not alive(pids(tmp_path, "one")[0])
