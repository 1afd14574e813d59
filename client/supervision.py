"""One child process, started again whenever it ends, until somebody says stop.

The child gets a pipe as its standard input: its end means that this process is gone, also
after a kill, so no child outlives its parent (`end_with_parent`).
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
POLL_SECONDS: Final = 1.0  # where one signal for two ended children was all that came


@dataclass(frozen=True)
class Rules:
    """When a child is started again.

    Attributes:
        final: statuses after which it is not.
        first_seconds: pause after the first failure; it doubles from one to the next.
        longest_seconds: longest pause.
        settled_seconds: a child that lived so long has not failed as the one before it.
        grace_seconds: that a child has to end when it is told to.
    """

    final: frozenset[int] = frozenset({0})
    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    settled_seconds: float = 120.0
    grace_seconds: float = 10.0

    def pause(self, failures: int) -> float:
        """Return seconds to wait after so many failures in a row, at least one."""
        doubled = self.first_seconds * 2.0 ** min(failures - 1, 30)
        return float(min(self.longest_seconds, doubled))


def supervise(
    command: Sequence[str],
    environment: Mapping[str, str],
    say: Callable[[str], None],
    rules: Rules | None = None,
) -> int:
    """Keep a child running; returns its final status, or 0 when told to stop.

    For the main thread only: signals are held back and taken one by one, so that none comes
    between a look and a wait.
    """
    given = rules or Rules()
    failures = 0
    with _held_back((*STOP_SIGNALS, signal.SIGCHLD)) as stops:
        while True:
            begun = time.monotonic()
            status = _run(command, environment, stops, given.grace_seconds)
            if status is None or status in given.final:
                return status or 0
            lived = time.monotonic() - begun
            failures = 1 if lived >= given.settled_seconds else failures + 1
            pause = given.pause(failures)
            say(f"ended with status {status} after {lived:.0f} s; it starts again in {pause:g} s")
            if _told_to_stop(stops, pause):
                return 0


def end_with_parent(grace_seconds: float = 10.0) -> None:
    """Watch this process's standard input, and end when it does; call it in a child."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def _held_back(signals: Sequence[signal.Signals]) -> Iterator[set[signal.Signals]]:
    """Hold signals back; yields those that stop, without what is ignored (as under nohup)."""
    stops = {s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN}
    held = {s for s in signals if s not in STOP_SIGNALS or s in stops}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield stops
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    stops: set[signal.Signals],
    grace_seconds: float,
) -> int | None:
    """Run a child to its end; returns its status, or None when told to stop."""
    # Of its own session: what is typed at the terminal reaches this process alone.
    child = subprocess.Popen(  # noqa: S603 -- the caller's own command, no shell
        command, env=dict(environment), stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        while child.poll() is None:
            heard = signal.sigtimedwait({*stops, signal.SIGCHLD}, POLL_SECONDS)
            if heard is not None and heard.si_signo in stops:
                return None
        return child.returncode
    finally:
        _end(child, grace_seconds)


def _end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _told_to_stop(stops: set[signal.Signals], seconds: float) -> bool:
    return signal.sigtimedwait(stops, seconds) is not None
