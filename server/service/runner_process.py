"""The runner: it waits for the SuperLink's runs and gives each of them a process of its own.

Nothing of a run is kept here. What a run did is in the run store, so a process that dies takes
nothing with it, and `coordinator run resume` goes on from there.

It is a child of `coordinator start` and ends with its parent. Beside serving runs it keeps the
SuperLink's list of nodes as the enrolments say, so that a change that was made while the
SuperLink was down is made up for.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.enrolment import members
from fieldfare.server.members.node_registration import settle_nodes
from fieldfare.server.service.run_process import TOLD, RunnerInput
from fieldfare.server.store.store import run_store
from fieldfare.server.studies.open_coordinator import open_coordinator
from fieldfare.server.studies.resuming import carry_on
from fieldfare.server.superlink.control import control_target, read_token
from fieldfare.server.superlink.facts import Task
from fieldfare.server.superlink.retention import flower_environment, quiet_flower
from fieldfare.server.superlink.superlink import Tasks, control, fail_task, tasks
from fieldfare.server.upkeep.due_deletions import delete_due
from fieldfare.shared.errors import FieldfareError, RunError
from fieldfare.shared.study.allowed_packages import permit_as_told
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import (
    Stopped,
    end_with_parent,
    read_given,
    stop_signals,
)
from fieldfare.shared.watch.log import begin_log

RUN_PROCESS: Final = "fieldfare.server.service.run_process"
SETTLE_SECONDS: Final = 60.0
CONTINUE_SECONDS: Final = 10.0
DELETE_SECONDS: Final = 86_400.0
POLL_SECONDS: Final = 0.5
SAID_AFTER: Final = 20  # polls without an answer; a SuperLink starts in less
MOST_RUNS: Final = 8  # at once; more wait at the SuperLink
GRACE_SECONDS: Final = 10.0  # that a run has to leave its step

log = logging.getLogger("fieldfare.server.service.runner_process")  # it runs as __main__


@dataclass(frozen=True)
class RunCommand:
    """The command that starts a run's process, and its SuperLink's address.

    Attributes:
        command: reads the handed values from its standard input.
        environment: of the process.
        address: host:port of the SuperLink.
        authority: PEM of the authority that signed its certificate.
        passphrase: of the coordinator's signing key, None where it has none.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    address: str
    authority: bytes
    passphrase: bytes | None = field(default=None, repr=False)


@dataclass
class Runner:
    """The processes of the runs that go on.

    Attributes:
        command: starts one.
        say: takes a line about what happens.
        settle: called between polls that the SuperLink answers; quick.
        beat: called at each poll, while the SuperLink gives it work.
    """

    command: RunCommand
    say: Callable[[str], None]
    settle: Callable[[], None]
    beat: Callable[[], None] = lambda: None
    _running: dict[Task, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _unanswered: int = 0

    def serve(self, source: Tasks, stopped: Stopped) -> None:
        """Serve runs until told to stop; their processes are gone at the end."""
        try:
            while not stopped(POLL_SECONDS):
                self._reap()
                if len(self._running) < MOST_RUNS:
                    self._take(source)
                if self._unanswered < SAID_AFTER:
                    self.beat()
        finally:
            self._end_all()

    def _take(self, source: Tasks) -> None:
        try:
            task = source.acquire()
        except RunError as error:
            self._unanswered += 1
            if self._unanswered == SAID_AFTER:
                self.say(f"{error}; it is asked again until it answers")
            return
        if self._unanswered >= SAID_AFTER:
            self.say("the SuperLink answers again")
        self._unanswered = 0
        self.settle()
        if task is not None:
            self._start(task)

    def _start(self, task: Task) -> None:
        # Of its own session: what is typed at the terminal reaches the supervisor alone.
        child = subprocess.Popen(  # noqa: S603 -- this project's own command, no shell
            self.command.command,
            env=dict(self.command.environment),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._running[task] = child
        if child.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended: seen at the next look
                child.stdin.write(RunnerInput(task.token, self.command.passphrase).lines())
                child.stdin.flush()  # and stays open: its end would tell the child to end
        self.say(f"run {task.run}: carried out by process {child.pid}")

    def _reap(self) -> None:
        for task, child in list(self._running.items()):
            if child.poll() is not None:
                self._ended(task, child)

    def _ended(self, task: Task, child: "subprocess.Popen[bytes]") -> None:
        del self._running[task]
        if child.stdin is not None:
            child.stdin.close()
        status = child.returncode
        if status in TOLD:
            self.say(f"run {task.run}: its process ended")
            return
        self.say(f"run {task.run}: its process ended with status {status}")
        self._tell(task, f"the run's process ended with status {status}")

    def _tell(self, task: Task, reason: str) -> None:
        """Tell the SuperLink at once that the process ended; it would notice within a minute."""
        with suppress(RunError):
            fail_task(self.command.address, self.command.authority, task, reason)

    def _end_all(self) -> None:
        for child in self._running.values():
            child.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for task, child in list(self._running.items()):
            try:
                child.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            self._ended(task, child)


@dataclass
class NodeRegistrar:
    """Registers enrolled institutions' nodes, whenever enrolments may have changed.

    Attributes:
        home: the coordinator's.
        say: takes a line about each change.
        monotonic: a clock that only goes forward, seconds.
    """

    home: CoordinatorHome
    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic
    _seen: int = 0
    _due: float = 0.0
    _trouble: str = ""

    def __call__(self) -> None:
        """Look, and settle if there is cause to."""
        seen = self.home.members.stat().st_mtime_ns
        if seen == self._seen and self.monotonic() < self._due:
            return
        self._seen, self._due = seen, self.monotonic() + SETTLE_SECONDS
        try:
            with control(control_target(self.home)) as link:
                done = settle_nodes(members(self.home), link)
        except FieldfareError as error:
            self._complain(str(error))
            return
        if done.registered:
            self.say(f"nodes may sign on now: {', '.join(done.registered)}")
        if done.taken_off:
            self.say(f"nodes taken off: {done.taken_off}")
        self._complain("; ".join(f"{name}: {reason}" for name, reason in done.refused))

    def _complain(self, trouble: str) -> None:
        """Report a fault, once for as long as it lasts."""
        if trouble and trouble != self._trouble:
            self.say(f"nodes are not as the enrolments say: {trouble}")
        self._trouble = trouble


@dataclass
class RunResumer:
    """Starts scheduled runs and resumes interrupted ones, now and then.

    Attributes:
        home: the coordinator's.
        say: takes a line about each.
        monotonic: a clock that only goes forward, seconds.
    """

    home: CoordinatorHome
    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic
    _due: float = 0.0
    _trouble: str = ""

    def __call__(self) -> None:
        """Look, if it is time to."""
        if self.monotonic() < self._due:
            return
        self._due = self.monotonic() + CONTINUE_SECONDS
        trouble = ""
        try:
            with open_coordinator(self.home.path) as coordinator:
                for line in carry_on(coordinator, load_settings(self.home), utc_now()):
                    self.say(line)
        except FieldfareError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            self.say(f"no run goes on by itself: {trouble}")
        self._trouble = trouble


@dataclass
class RetentionWorker:
    """Deletes what is due and signs statements of it, at the start and once a day.

    Attributes:
        home: the coordinator's.
        passphrase: of its online key, None where it has none.
        say: takes a line about what was deleted.
        monotonic: a clock that only goes forward, seconds.
    """

    home: CoordinatorHome
    passphrase: bytes | None = field(repr=False)
    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic
    _due: float = 0.0

    def __call__(self) -> None:
        """Look, if it is time to."""
        if self.monotonic() < self._due:
            return
        self._due = self.monotonic() + DELETE_SECONDS
        try:
            with run_store(self.home.runs_database) as store:
                done = delete_due(self.home, store, self.passphrase, utc_now())
        except FieldfareError as error:
            self.say(f"masked vectors that are due were not deleted: {error}")
            return
        if done.vectors or done.stated:
            self.say(f"{done.vectors} masked vectors deleted, {done.stated} statements signed")


def run_command(home: CoordinatorHome, passphrase: bytes | None) -> RunCommand:
    """Return how a home's runs are started.

    Raises:
        StudyError, KeysError: the home's settings or the authority cannot be read.
    """
    target = control_target(home)
    return RunCommand(
        command=[sys.executable, "-I", "-m", RUN_PROCESS, str(home.path)],
        environment=flower_environment(os.environ, home.run),
        address=target.address,
        authority=target.authority,
        passphrase=passphrase,
    )


def serve_runs(home: CoordinatorHome, command: RunCommand) -> None:
    """Serve runs until a stop signal."""
    secret = read_token(home.runtime_token).encode()
    settling, continuing = NodeRegistrar(home, log.info), RunResumer(home, log.info)
    deleting = RetentionWorker(home, command.passphrase, log.info)

    def settle() -> None:
        """Do what is due between runs: nodes, interrupted runs, deletions."""
        settling()
        continuing()
        deleting()

    def beat() -> None:
        """Let /readyz see that runs are taken; a disk that is full ends none."""
        with suppress(OSError):
            home.runner_beat.touch()

    runner = Runner(command, log.info, settle, beat)
    with stop_signals() as stopped, tasks(command.address, command.authority, secret) as source:
        runner.serve(source, stopped)


def main(arguments: Sequence[str]) -> int:
    """Serve the runs of a home; the signing key's passphrase is on standard input."""
    os.umask(OTHERS)
    begin_log("runs")
    quiet_flower()
    keep_out_of_dumps()
    permit_as_told(os.environ)  # plans of studies whose model is a module of its own
    try:
        passphrase = read_given()
        end_with_parent()
        home = CoordinatorHome.open(Path(arguments[0]))
        serve_runs(home, run_command(home, passphrase))
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
