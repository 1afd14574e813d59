"""One child process, started again whenever it ends, until a stop is asked for.

The child gets a pipe as its standard input: its end means that this process is gone, also
after a kill, so no child outlives its parent (`end_with_parent`).

Several child processes under one command: started together, kept running, stopped together.

Each is kept as `supervision` keeps one: it gets a pipe as its standard input, whose end means
that this process is gone, and it is started again by its own rules. One that ends with a final
status takes all others with it. What they write is passed on line by line.

Stop signals as something to wait for.

Handlers, not a blocked mask: libraries start threads of their own when they are imported,
those do not share a mask that is set later, and a signal that one of them takes ends the
process at once.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_DEFECT: Final = 1

log = logging.getLogger(__name__)

Stopped = Callable[[float], bool]


@contextmanager
def stop_signals() -> Iterator[Stopped]:
    """Take SIGTERM, SIGINT and SIGHUP; yields a wait of so many seconds that is true once one came.

    For the main thread only. A signal that this process was told to ignore (as under nohup)
    stays ignored. Afterwards the handlers are what they were.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)  # a handler must never wait
    taken = [s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    told: list[int] = []

    def stopped(seconds: float) -> bool:
        """Wait at most so long; tells whether a signal has come."""
        if not told and select.select([reading], [], [], seconds)[0]:
            told.extend(number for number in os.read(reading, 4096) if number in taken)
        return bool(told)

    # The interpreter writes a signal's number from whichever thread took it, so that the
    # main thread wakes; the handlers themselves have nothing to do.
    waker = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _heard) for number in taken}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waker)
        os.close(reading)
        os.close(writing)


PUT_OFF_SECONDS: Final = 3.0  # of the `grace_seconds` of a child; the rest is for its end


@contextmanager
def stop_put_off(seconds: float = PUT_OFF_SECONDS) -> Iterator[None]:
    """Let a stop signal act at the end of the block, not in the middle of it.

    For a short step that must be noted once it is done. Where it is not within so many seconds of
    the signal, that acts in the middle after all. The main thread alone hears signals; in another
    nothing is put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    told, overdue = SimpleQueue[int](), threading.Event()  # a handler may come into its own `put`
    with ExitStack() as end:

        def hear(number: int, frame: FrameType | None) -> None:
            """Keep a signal, or where it is time end what puts signals off."""
            del frame
            if overdue.is_set():
                end.close()
                return
            came.append(number)
            told.put(number)

        end.callback(_raise_all, came)
        for number in STOP_SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                end.callback(signal.signal, number, before)
                signal.signal(number, hear)
        end.enter_context(_hurried(told, overdue, seconds))
        yield


def _raise_all(numbers: Sequence[int]) -> None:
    """Raise signals, the first as the last: each acts, also where the one before it raises."""
    with ExitStack() as each:
        for number in numbers:
            each.callback(signal.raise_signal, number)


@contextmanager
def _hurried(told: SimpleQueue[int], overdue: threading.Event, seconds: float) -> Iterator[None]:
    """Say so many seconds after a signal that it is overdue, and wake the main thread with it."""
    over, main = threading.Event(), threading.get_ident()

    def wake() -> None:
        """Send the main thread its signal once more, unless the block has ended."""
        number = told.get()
        if not over.wait(seconds):
            overdue.set()
            signal.pthread_kill(main, number)

    thread = threading.Thread(target=wake, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        told.put(0)
        thread.join()  # it wakes nobody after the block


def _heard(number: int, frame: FrameType | None) -> None:
    del number, frame


# -- supervision ----------------------------------------------------------------------------------

POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class RestartRules:
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
    rules: RestartRules | None = None,
) -> int:
    """Keep a child running; returns its final status, or 0 when told to stop.

    For the main thread only, which takes the stop signals.
    """
    given = rules or RestartRules()
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
        """End this process once whoever holds its stdin is gone."""
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


_KEPT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")  # of a worker's variables
MOST_GIVEN: Final = 8 * 1024  # bytes of one line


def given_line(secret: bytes | None) -> bytes:
    """Return the line that a parent gives its child; empty where there is no secret."""
    return (secret or b"") + b"\n"


def read_given() -> bytes | None:
    """Return the next line of standard input as a parent gave it, None where it is empty.

    No byte after the line is read: the rest is for `end_with_parent`.
    """
    line = bytearray()
    while len(line) < MOST_GIVEN:
        sign = os.read(0, 1)
        if sign in {b"", b"\n"}:
            break
        line += sign
    return bytes(line) or None


def dismiss_itself(failure: threading.ExceptHookArgs) -> None:
    """Let this process hear SIGINT where a thread of flwr fails (threading.excepthook)."""
    log.warning("a thread of flwr failed: %s", failure.exc_type.__name__)
    os.kill(os.getpid(), signal.SIGINT)


def end_on_defect(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Show a defect and end with EXIT_DEFECT (sys.excepthook)."""
    sys.__excepthook__(kind, error, trace)
    end_at_once(EXIT_DEFECT)


def end_at_once(status: int) -> NoReturn:
    """End, whatever threads do: those of flwr that still try to connect would be waited for."""
    sys.stderr.flush()
    os._exit(status)


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


def child_environment() -> dict[str, str]:
    """Return a worker's variables: none that may hold an address or a secret."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


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


# -- supervision many -----------------------------------------------------------------------------

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
    rules: RestartRules = field(default_factory=RestartRules)


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
        kept = [stack.enter_context(_ChildProcess(child, say)) for child in children]
        while not stopped(POLL_SECONDS):
            for one in kept:
                status = one.look()
                if status is not None:
                    return status
    return 0


@contextmanager
def kept_running(child: Child, say: Say) -> Iterator[None]:
    """Keep one child running beside other work, until the block ends; `say` as above."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(POLL_SECONDS):
            kept.look()

    with _ChildProcess(child, say) as kept:
        thread = Thread(target=look, name=child.name)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _ChildProcess:
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
