"""A reply's time does not tell how long its noise took to draw, and so nothing of its values."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from tests.support.federations.bench import Bench, MakeBench, make_study

from fieldfare.client.custodian import noise_stock
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.noise_stock import NoiseStock
from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.simulations.federation.federation import LocalFederation

NAME: Final = "bank-b"
ATTEMPTS: Final = 100  # of a step, the most that a study may allow
REPLIES: Final = 10_000
HELD: Final = 10  # draws of which a reply takes any
NEAR: Final = 3  # replies before and after, by which one is measured
MOST_APART: Final = 50e-6  # seconds
CHANCE: Final = 1e-6


class Timed(ExactNoise):
    """The real source, with how long each draw took of its thread."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[int, float] = {}  # by the array's place in memory, while it is held

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        began = time.thread_time()
        noise = super().sample(entries, scale)
        self.seconds[id(noise)] = time.thread_time() - began
        return noise


@dataclass
class TimedStock:
    """The time of each draw that a reply used, noted as it is taken.

    Draws are taken in no order: what slows a machine down for some milliseconds slows the draws
    and replies of these, and is no sign that a reply takes the time of its own draw. In their order
    tenths were 141 us apart once, and 115 to 188 by draws of one to three replies before or after.
    """

    stock: NoiseStock
    source: Timed
    used: list[float] = field(default_factory=list)
    order: Random = field(default_factory=lambda: Random(1))  # noqa: S311 -- no secret

    def __post_init__(self) -> None:
        taken = self.stock._take

        def note_time(draw: tuple[int, float]) -> NDArray[np.int64]:
            if held := self.stock._drawn.get(draw):
                self.order.shuffle(held)
            noise = taken(draw)
            self.used.append(self.source.seconds.pop(id(noise)))
            return noise

        self.stock._take = note_time  # type: ignore[method-assign]

    def wait(self) -> None:
        """Wait as a custodian does, until its stock is full."""
        ends = time.monotonic() + 60
        while self.stock._thread.is_alive():
            assert time.monotonic() < ends
            time.sleep(0.0002)


@pytest.fixture
def bench(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A federation whose ledgers are in memory: no disk's time is in a reply's."""

    def open_ledger(self: LocalFederation, _: int, name: str) -> Ledger:
        most = self.plan.study_limit
        limits = Limits(yearly_picomu2=most, lifetime_picomu2=most)
        return Ledger.open(None, population=name, limits=limits, clock=partial(datetime.now, UTC))

    monkeypatch.setattr(LocalFederation, "_open_ledger", open_ledger)
    monkeypatch.setattr(noise_stock, "ATTEMPTS", HELD)
    return make_bench(make_study(aggregation={"attempts": ATTEMPTS}))


def time_replies(bench: Bench, count: int, *, in_the_reply: bool) -> Iterator[tuple[float, float]]:
    """The seconds of each draw, and of the reply that it was used in."""
    source = Timed()
    custodian = Custodian(bench.party(NAME), bench.ledger(NAME), source)
    custodian.approve(bench.study, lambda: bench.sums[NAME])
    bench.remembers(NAME, custodian)
    timed = TimedStock(custodian._noise, source)
    while len(timed.used) < count:
        run = bench.open_run()
        run.everybody(run.request(ReleaseKind.REHEARSAL))
        for attempt in range(min(ATTEMPTS, count - len(timed.used))):
            request = run.request(attempt=attempt)
            signed, content = bench.sign(request), run.contents[request.parameters]
            timed.wait()
            if in_the_reply:  # nothing is there when it is asked for
                custodian._noise.expect(bench.study.id, {})
            began = time.perf_counter()
            found = custodian.release(signed, content, run.rehearsed)
            took = time.perf_counter() - began
            assert isinstance(found, CommitmentReply), found
            yield timed.used[-1], took


def tenths(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The replies with the shortest draws, and with the longest, of each run's.

    In seconds beyond the median of the replies beside, which the machine served as slowly.
    """
    short, long = [], []
    for first in range(0, len(pairs), ATTEMPTS):
        drawn, took = zip(*pairs[first : first + ATTEMPTS], strict=True)
        beside = [[*took[max(0, i - NEAR) : i], *took[i + 1 :][:NEAR]] for i in range(len(took))]
        beyond = map(float.__sub__, took, map(statistics.median, beside))
        ordered = [one for _, one in sorted(zip(drawn, beyond, strict=True))]
        size = len(ordered) // 10
        short += ordered[:size]
        long += ordered[-size:]
    return short, long


def chance(short: list[float], long: list[float]) -> float:
    """How likely so much longer replies are by chance (Mann-Whitney, one side)."""
    return float(mannwhitneyu(long, short, alternative="greater").pvalue)


@pytest.mark.promises
def test_ten_thousand_replies_take_no_longer_for_a_draw_that_did(bench: Bench) -> None:
    short, long = tenths(list(time_replies(bench, REPLIES, in_the_reply=False)))
    apart = statistics.median(long) - statistics.median(short)
    assert abs(apart) <= MOST_APART, f"{apart * 1e6:.1f} us, p = {chance(short, long):.2g}"


@pytest.mark.promises
def test_a_draw_in_the_reply_is_seen(bench: Bench) -> None:
    """So the figure above would not hold of a door that draws between request and reply."""
    short, long = tenths(list(time_replies(bench, REPLIES // 5, in_the_reply=True)))
    assert chance(short, long) < CHANCE
