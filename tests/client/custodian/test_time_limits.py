"""What takes too long is ended, what does not is left alone, and one thread sees to all."""

import threading
import time
from collections.abc import Iterator
from threading import Event

import pytest

from fieldfare.client.custodian.service import TimeLimits, time_limits


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
    assert done.wait(60)
    time.sleep(0.1)
    assert len(ended) == 1
    assert ended[0] >= 0.05


def test_a_limit_that_is_cleared_or_replaced_ends_nothing() -> None:
    early, late, other = Event(), Event(), Event()
    limits = TimeLimits()  # nobody looks yet: none of them can be due before it is cleared
    limits.set("cleared", 0.05, early.set)
    limits.set("replaced", 0.05, early.set)
    limits.clear("cleared")
    limits.clear("never set")
    limits.set("replaced", 0.2, late.set)
    limits.set("other", 0.05, other.set)
    thread = threading.Thread(target=limits.run)
    thread.start()
    assert other.wait(60)
    assert late.wait(60)
    limits.close()
    thread.join()
    assert not early.is_set()


def test_the_sooner_of_two_limits_is_not_late(limits: TimeLimits) -> None:
    sooner = Event()
    limits.set("later", 60.0, Event().set)
    time.sleep(0.05)  # it sleeps until then
    limits.set("sooner", 0.05, sooner.set)
    assert sooner.wait(30)


def test_many_limits_take_one_thread(limits: TimeLimits) -> None:
    before = {*threading.enumerate()}
    for key in range(1000):
        limits.set(key, 60.0, Event().set)
    assert {*threading.enumerate()} <= before


def test_nothing_is_ended_after_the_end() -> None:
    ended = Event()
    with time_limits() as limits:
        limits.set("call", 1.0, ended.set)
    assert not ended.wait(1.2)
    assert "time limits" not in {thread.name for thread in threading.enumerate()}
