"""The runner: it waits for the SuperLink's runs and gives each of them a process of its own.

Nothing of a run is kept here. What a run did is in the run store, so a process that dies takes
nothing with it, and `coordinator run resume` goes on from there.
"""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from fieldfare.server.service.run_process import TOLD, Handed
from fieldfare.server.superlink.facts import Task
from fieldfare.server.superlink.superlink import Tasks, fail_task
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.processes import Stopped

POLL_SECONDS: Final = 0.5
SAID_AFTER: Final = 20  # polls without an answer; a SuperLink starts in less
MOST_RUNS: Final = 8  # at once; more wait at the SuperLink
GRACE_SECONDS: Final = 10.0  # that a run has to leave its step


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
    """

    command: RunCommand
    say: Callable[[str], None]
    settle: Callable[[], None]
    _running: dict[Task, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _unanswered: int = 0

    def serve(self, desk: Tasks, stopped: Stopped) -> None:
        """Serve runs until told to stop; their processes are gone at the end."""
        try:
            while not stopped(POLL_SECONDS):
                self._reap()
                if len(self._running) < MOST_RUNS:
                    self._take(desk)
        finally:
            self._end_all()

    def _take(self, desk: Tasks) -> None:
        try:
            task = desk.acquire()
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
                child.stdin.write(Handed(task.token, self.command.passphrase).lines())
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
