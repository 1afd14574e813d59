"""Several child processes under one command: started together, kept running, stopped together.

Each is kept as `supervision` keeps one: it gets a pipe as its standard input, whose end means
that this process is gone, and it is started again by its own rules. One that ends with a final
status takes all others with it. What they write is passed on line by line.
"""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Final, Self

from fieldfare.shared.stop_signals import stop_signals
from fieldfare.shared.supervision import POLL_SECONDS, Rules, end_child

LONGEST_LINE: Final = 8 * 1024  # bytes; a longer one is passed on in pieces

Say = Callable[[str, str], None]


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process that shall run.

    Attributes:
        name: how its lines are told from others'.
        command: its program and arguments.
        environment: all variables that it gets.
        given: the first bytes of its standard input, such as a passphrase, which belongs neither
            into arguments nor into the environment.
        rules: when it is started again.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    given: bytes = field(default=b"", repr=False)
    rules: Rules = field(default_factory=Rules)


def supervise_many(children: Sequence[Child], say: Say) -> int:
    """Keep all children running; returns the first final status, or 0 when told to stop.

    They are started in the order given, and ended in the opposite one, each before the next.
    For the main thread only, which takes the stop signals.

    Args:
        children: each with a name of its own.
        say: takes a child's name and a line: its own, or what became of it. Called by several
            threads.
    """
    with stop_signals() as stopped, ExitStack() as stack:
        kept = [stack.enter_context(_Kept(child, say)) for child in children]
        while not stopped(POLL_SECONDS):
            for one in kept:
                status = one.look()
                if status is not None:
                    return status
    return 0


class _Kept:
    """A child, and what became of it so far."""

    def __init__(self, child: Child, say: Say) -> None:
        self._child = child
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: Thread | None = None
        self._begun = self._due = 0.0
        self._failures = 0

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def look(self) -> int | None:
        """Start the child if it is time to; returns its status if that is final."""
        if self._process is None:
            if time.monotonic() >= self._due:
                self._start()
            return None
        status = self._process.poll()
        if status is None:
            return None
        self._end()
        if status not in self._child.rules.final:
            self._plan(status)
            return None
        return status

    def _start(self) -> None:
        self._begun = time.monotonic()
        # Of its own session: what is typed at the terminal reaches this process alone.
        self._process = subprocess.Popen(  # noqa: S603 -- the caller's own command, no shell
            self._child.command,
            env=dict(self._child.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended already; `look` says so
                self._process.stdin.write(self._child.given)
                self._process.stdin.flush()
        self._reader = Thread(target=self._pass_on, args=(self._process,), daemon=True)
        self._reader.start()

    def _pass_on(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdout is None:
            return
        while line := process.stdout.readline(LONGEST_LINE):
            self._say(self._child.name, line.decode(errors="replace").rstrip("\n"))

    def _plan(self, status: int) -> None:
        """Say what happened, and when the child starts again."""
        rules, lived = self._child.rules, time.monotonic() - self._begun
        self._failures = 1 if lived >= rules.settled_seconds else self._failures + 1
        pause = rules.pause(self._failures)
        self._due = time.monotonic() + pause
        self._say(
            self._child.name,
            f"ended with status {status} after {lived:.0f} s; it starts again in {pause:g} s",
        )

    def _end(self) -> None:
        if self._process is None:
            return
        end_child(self._process, self._child.rules.grace_seconds)
        if self._reader is not None:
            self._reader.join(self._child.rules.grace_seconds)  # its last words come out
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
