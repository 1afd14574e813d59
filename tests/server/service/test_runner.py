"""Runs in processes of their own, at a real SuperLink; what a run does is a test's script."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from tests.support.network.coordinator import RunningSuperlink, new_home, running_superlink
from tests.support.system.processes import alive, until

from fieldfare.server.home.initial_setup import build_bundle
from fieldfare.server.service import runner_process as runner_module
from fieldfare.server.service.runner_process import RunCommand, Runner
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.retention import flower_environment
from fieldfare.server.superlink.superlink import ControlClient, control, tasks

WAIT_SECONDS: Final = 120.0
# Does what the study's name says, and leaves what it saw.
SCRIPT: Final = """\
import os, signal, sys, time
from fieldfare.server.service import run_process
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.processes import end_at_once, end_on_defect

def carry_out(home, grid, study, run, *, passphrase=None):
    if study == "does-not-listen":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # before anybody knows that it runs
    seen = home.run / run
    seen.with_suffix(".new").write_text(f"{os.getpid()}\\n{study}\\n{passphrase}\\n{sys.argv[1:]}\\n")
    seen.with_suffix(".new").rename(seen)
    if study == "fails":
        raise RunError("expected two institutions, found one")
    if study == "breaks":
        raise ArithmeticError("a defect")
    while study == "goes-on":
        grid.get_node_ids()
        time.sleep(0.05)
    while study == "does-not-listen":
        try:
            time.sleep(60)
        except run_process.StoppedError:
            pass

sys.excepthook = end_on_defect
end_at_once(run_process.main(sys.argv[1:], carry_out))
"""


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    with running_superlink(new_home(tmp_path_factory.mktemp("coordinator") / "home")) as running:
        yield running


class Served:
    """A runner on a thread; what it says is kept."""

    def __init__(self, superlink: RunningSuperlink, script: Path, stack: ExitStack) -> None:
        self.home = superlink.home
        target = control_target(self.home)
        self.link: ControlClient = stack.enter_context(control(target))
        self.said: list[str] = []
        self.settled = 0
        self._stop = threading.Event()
        command = RunCommand(
            command=[sys.executable, "-I", str(script), str(self.home.path)],
            environment=flower_environment(os.environ, self.home.run),
            address=target.address,
            authority=target.authority,
            passphrase=b"open sesame",
        )
        self.runner = Runner(command, self.said.append, self._settle)
        secret = self.home.runtime_token.read_bytes()
        source = stack.enter_context(tasks(target.address, target.authority, secret))
        self.thread = threading.Thread(
            target=self.runner.serve, args=(source, self._stop.wait), daemon=True
        )
        self.thread.start()

    def _settle(self) -> None:
        self.settled += 1

    def start(self, study: str, name: str) -> int:
        return self.link.start_run(build_bundle(), {"study": study, "run": name})

    def seen(self, name: str) -> list[str]:
        """What a run's process saw of itself."""
        path = self.home.run / name
        until(path.exists, WAIT_SECONDS)
        return path.read_text().splitlines()

    def pid(self, name: str) -> int:
        return int(self.seen(name)[0])

    def ends_as(self, run: int, state: str) -> str:
        until(lambda: self.link.run_status(run).state == state, WAIT_SECONDS)
        return self.link.run_status(run).reason

    def stop(self) -> None:
        self._stop.set()
        self.thread.join(WAIT_SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def served(superlink: RunningSuperlink, tmp_path: Path) -> Iterator[Served]:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    with ExitStack() as stack:
        made = Served(superlink, script, stack)
        yield made
        made.stop()


def test_a_run_is_carried_out_in_a_process_that_is_handed_its_secrets(served: Served) -> None:
    run = served.start("works", "handed")
    assert served.ends_as(run, "completed") == ""
    pid, study, passphrase, arguments = served.seen("handed")
    assert (study, passphrase) == ("works", "b'open sesame'")
    assert arguments == str([str(served.home.path)])
    until(lambda: len(served.said) == 2, WAIT_SECONDS)
    assert not alive(int(pid))
    assert served.said == [
        f"run {run}: carried out by process {pid}",
        f"run {run}: its process ended",
    ]
    assert served.settled


def test_no_secret_of_a_run_stands_where_others_see_it(served: Served) -> None:
    run = served.start("goes-on", "seen")
    process = Path(f"/proc/{served.pid('seen')}")
    (task,) = served.runner._running
    for name in ("cmdline", "environ"):
        content = (process / name).read_bytes()
        assert task.token.encode() not in content
        assert b"sesame" not in content
    served.link.stop_run(run)


def test_a_run_that_cannot_be_finished_says_why(served: Served) -> None:
    run = served.start("fails", "failed")
    assert served.ends_as(run, "failed") == "expected two institutions, found one"


@pytest.mark.faults
def test_a_process_that_breaks_or_is_killed_ends_its_run_alone(served: Served) -> None:
    other, run = served.start("goes-on", "spared"), served.start("goes-on", "killed")
    os.kill(served.pid("killed"), signal.SIGKILL)
    assert served.ends_as(run, "failed") == "the run's process ended with status -9"
    run = served.start("breaks", "broken")
    assert served.ends_as(run, "failed") == "the run's process ended with status 1"
    assert alive(served.pid("spared"))
    assert served.link.run_status(other).state == "running"
    served.link.stop_run(other)


@pytest.mark.promises
def test_a_run_that_is_stopped_at_the_superlink_ends_its_process(served: Served) -> None:
    run = served.start("goes-on", "stopped")
    pid = served.pid("stopped")
    served.link.stop_run(run)
    until(lambda: not alive(pid), WAIT_SECONDS)
    assert served.link.run_status(run).state == "stopped"
    until(lambda: served.said[-1] == f"run {run}: its process ended")


def test_stopping_ends_every_run_and_says_how_to_go_on(served: Served) -> None:
    runs = [served.start("goes-on", name) for name in ("one", "two")]
    pids = [served.pid(name) for name in ("one", "two")]
    served.stop()
    assert not [pid for pid in pids if alive(pid)]
    for run in runs:
        assert "`fieldfare coordinator run resume`" in served.ends_as(run, "failed")


@pytest.mark.faults
def test_a_run_that_does_not_listen_is_killed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "GRACE_SECONDS", 0.5)
    run = served.start("does-not-listen", "deaf")
    pid = served.pid("deaf")
    served.stop()
    assert not alive(pid)
    assert served.ends_as(run, "failed") == "the run's process ended with status -9"


@pytest.mark.promises
def test_no_more_runs_than_allowed_go_on_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "MOST_RUNS", 1)
    first, second = served.start("goes-on", "first"), served.start("works", "second")
    served.pid("first")
    time.sleep(1)
    assert served.link.run_status(second).state == "pending"
    served.link.stop_run(first)
    assert served.ends_as(second, "completed") == ""


@pytest.mark.faults
def test_a_run_outlives_a_superlink_that_is_killed(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "SAID_AFTER", 1)
    home = new_home(tmp_path / "own")
    superlink = RunningSuperlink(home)
    superlink.start()
    with ExitStack() as stack:
        script = tmp_path / "run.py"
        own = Served(superlink, script, stack)
        run = own.start("goes-on", "long")
        pid = own.pid("long")
        superlink.kill()
        until(lambda: any("no SuperLink" in line for line in own.said), WAIT_SECONDS)
        superlink.start()
        until(lambda: "the SuperLink answers again" in own.said, WAIT_SECONDS)
        assert alive(pid)
        assert own.link.run_status(run).state == "running"
        own.stop()
    superlink.stop()
