"""What takes too long is ended, what does not is left alone, and one thread sees to all."""

import threading
import time
from collections.abc import Iterator
from threading import Event

import pytest

from fieldfare.client.time_limits import TimeLimits, time_limits


@pytest.fixture
def limits() -> Iterator[TimeLimits]:
    with time_limits() as kept:
        yield kept


def test_a_limit_ends_what_is_due_once(limits: TimeLimits) -> None:
    ended: list[float] = []
    done = Event()
    began = time.monotonic()

    def end() -> None:
        ended.append(time.monotonic() - began)
        done.set()

    limits.set("call", 0.05, end)
    assert done.wait(5)
    time.sleep(0.1)
    assert len(ended) == 1
    assert ended[0] >= 0.05


def test_a_limit_that_is_cleared_or_replaced_ends_nothing(limits: TimeLimits) -> None:
    early, late, other = Event(), Event(), Event()
    limits.set("cleared", 0.05, early.set)
    limits.set("replaced", 0.05, early.set)
    limits.clear("cleared")
    limits.clear("never set")
    limits.set("replaced", 0.2, late.set)
    limits.set("other", 0.05, other.set)
    assert other.wait(5)
    assert late.wait(5)
    assert not early.is_set()


def test_the_sooner_of_two_limits_is_not_late(limits: TimeLimits) -> None:
    sooner = Event()
    limits.set("later", 60.0, Event().set)
    time.sleep(0.05)  # it sleeps until then
    limits.set("sooner", 0.05, sooner.set)
    assert sooner.wait(5)


def test_many_limits_take_one_thread(limits: TimeLimits) -> None:
    before = threading.active_count()
    for key in range(1000):
        limits.set(key, 60.0, Event().set)
    assert threading.active_count() == before


def test_nothing_is_ended_after_the_end() -> None:
    ended = Event()
    with time_limits() as limits:
        limits.set("call", 0.1, ended.set)
    assert not ended.wait(0.3)
    assert "time limits" not in {thread.name for thread in threading.enumerate()}
