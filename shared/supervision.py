"""One child process, started again whenever it ends, until somebody says stop.

The child gets a pipe as its standard input: its end means that this process is gone, also
after a kill, so no child outlives its parent (`end_with_parent`).
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fieldfare.shared.stop_signals import Stopped, stop_signals

POLL_SECONDS: Final = 0.2


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

    For the main thread only, which takes the stop signals.
    """
    given = rules or Rules()
    failures = 0
    with stop_signals() as stopped:
        while True:
            begun = time.monotonic()
            status = _run(command, environment, stopped, given.grace_seconds)
            if status is None or status in given.final:
                return status or 0
            lived = time.monotonic() - begun
            failures = 1 if lived >= given.settled_seconds else failures + 1
            pause = given.pause(failures)
            say(f"ended with status {status} after {lived:.0f} s; it starts again in {pause:g} s")
            if stopped(pause):
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


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    stopped: Stopped,
    grace_seconds: float,
) -> int | None:
    """Run a child to its end; returns its status, or None when told to stop."""
    # Of its own session: what is typed at the terminal reaches this process alone.
    child = subprocess.Popen(  # noqa: S603 -- the caller's own command, no shell
        command, env=dict(environment), stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        while child.poll() is None:
            if stopped(POLL_SECONDS):
                return None
        return child.returncode
    finally:
        end_child(child, grace_seconds)


def end_child(child: "subprocess.Popen[bytes]", grace_seconds: float) -> None:
    """Tell a child to end, wait so many seconds, then kill it; its standard input is closed."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
    if child.stdin is not None:
        child.stdin.close()
