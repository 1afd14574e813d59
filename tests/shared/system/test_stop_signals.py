import os
import signal
import threading
import time

import pytest

from fieldfare.shared.system.processes import STOP_SIGNALS, stop_put_off, stop_signals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_wait_ends_when_a_signal_comes(number: signal.Signals) -> None:
    with stop_signals() as stopped:
        assert not stopped(0)
        later = threading.Timer(0.05, os.kill, (os.getpid(), number))
        later.start()
        begun = time.monotonic()
        assert stopped(30)
        assert time.monotonic() - begun < 25
        assert stopped(0)  # and it stays so
        later.join()


def test_a_signal_that_a_thread_of_a_library_takes_is_heard_too() -> None:
    ready = threading.Event()
    done = threading.Event()

    def idle() -> None:
        ready.set()
        done.wait(30)

    thread = threading.Thread(target=idle)
    thread.start()
    ready.wait()
    with stop_signals() as stopped:
        assert thread.ident is not None
        signal.pthread_kill(thread.ident, signal.SIGTERM)
        assert stopped(30)
    done.set()
    thread.join()


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        old = signal.getsignal(signal.SIGTERM)
        with stop_signals() as stopped:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stopped(0.05)
            assert signal.getsignal(signal.SIGTERM) is not old
        assert signal.getsignal(signal.SIGTERM) is old
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_that_is_put_off_acts_at_the_end(number: signal.Signals) -> None:
    done: list[str] = []
    before = signal.signal(number, lambda *_: done.append("stop"))
    try:
        with stop_put_off():
            signal.raise_signal(number)
            done.append("step")
        assert done == ["step", "stop"]
        signal.signal(number, signal.SIG_IGN)
        with stop_put_off():
            signal.raise_signal(number)
        assert done == ["step", "stop"]
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


class ToldToStopError(BaseException):
    """What a handler of a stop signal raises."""


def wait_after(*numbers: signal.Signals, seconds: float, put_off: float) -> None:
    with stop_put_off(put_off):
        for number in numbers:
            signal.raise_signal(number)
        time.sleep(seconds)
    raise AssertionError("expected a stop before")


def test_a_stop_is_put_off_for_a_while_only() -> None:
    """A peer that accepts and never answers holds no process up."""

    def stop(*_: object) -> None:
        raise ToldToStopError

    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    handlers[signal.SIGTERM] = stop
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(ToldToStopError):
            wait_after(signal.SIGTERM, seconds=60, put_off=0.05)
        assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == handlers
    finally:
        signal.signal(signal.SIGTERM, before)


def test_each_of_two_stops_that_are_put_off_acts() -> None:
    """One says who ends, the other that it is not to begin again: neither may be lost."""

    def stop(number: int, _: object) -> None:
        done.append(number)
        raise ToldToStopError

    done: list[int] = []
    two = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in two}
    try:
        with pytest.raises(ToldToStopError):
            wait_after(*two, seconds=0, put_off=60)
        assert sorted(done) == sorted(two)
        assert {signal.getsignal(number) for number in two} == {stop}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_stop_is_put_off_by_the_main_thread_only() -> None:
    done: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: done.append("stop"))

    def step() -> None:
        with stop_put_off():
            done.append("step")

    try:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
        assert done == ["step"]
    finally:
        signal.signal(signal.SIGTERM, before)
