"""A second process: who computes what changes nothing, and nothing is left of it."""

import math
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.beside import ALONE, SideProcess, beside
from fieldfare.simulations.federation.population import Partition


@pytest.fixture(scope="module")
def both() -> Iterator[SideProcess]:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core: everything is done in one process")
    with beside() as opened:
        yield opened


def test_results_are_in_order_whoever_computes_them(both: SideProcess) -> None:
    each = [(number,) for number in range(8)]
    heard: list[int] = []
    expected = [math.sqrt(number) for (number,) in each]
    assert ALONE.share(math.sqrt, each) == both.share(math.sqrt, each, heard.append) == expected
    assert heard == list(range(8))


def test_it_is_another_process(both: SideProcess) -> None:
    assert ALONE.begin(os.getpid)() == os.getpid()
    assert both.begin(os.getpid)() != os.getpid()


def test_a_refusal_comes_back_as_it_is(both: SideProcess) -> None:
    for one in (ALONE, both):
        with pytest.raises(UsageError, match="expected iid, dirichlet"):
            one.begin(Partition.parse, 3, "another")()


def test_numbers_take_one_thread_and_the_screen_is_left_alone(both: SideProcess) -> None:
    both.begin(np.zeros, 1)()  # loads what has threads
    assert {one["num_threads"] for one in both.begin(threadpool_info)()} == {1}
    assert both.begin(os.readlink, "/proc/self/fd/1")() == os.devnull


def test_nothing_goes_on_after_an_interruption() -> None:
    before = multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt), beside() as opened:  # noqa: PT012 -- ends what goes on
        opened.begin(time.sleep, 600)
        raise KeyboardInterrupt
    assert multiprocessing.active_children() == before


def test_what_changes_here_meanwhile_changes_nothing_there(both: SideProcess) -> None:
    first = [both.begin(time.sleep, 0.2) for _ in range(3)]  # others wait behind them
    values = [1]
    count = both.begin(len, values)
    values.append(2)
    assert [one() for one in first] == [None] * 3
    assert count() == 1


WAITING: Final = """
import time
from fieldfare.simulations.beside import beside
def said(place):
    if place:
        time.sleep(1)
        raise KeyboardInterrupt
if __name__ == "__main__":
    with beside() as both:
        both.begin(time.sleep, 600)
        # More than a pipe holds, nobody reads it; the first is taken back and computed here.
        both.share(len, [(bytes(10**7),)] * 4, said)
"""


def test_an_interrupted_process_waits_for_nothing_on_its_way(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WAITING)
    done = subprocess.run([sys.executable, script], capture_output=True, check=False, timeout=120)
    assert b"KeyboardInterrupt" in done.stderr
    assert b"InvalidStateError" not in done.stderr
