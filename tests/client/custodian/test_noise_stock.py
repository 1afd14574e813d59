"""Noise is drawn before it is asked for: each draw for one reply, and nothing of it stays."""

import time
from collections import Counter
from collections.abc import Callable
from threading import Event, get_ident
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    OpenedVector,
    Run,
    make_study,
)

from fieldfare.client.custodian import noise_stock
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.noise_stock import ATTEMPTS, MOST_RUNS, NoiseStock, coming_draws
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import Refusal, ReleaseKind
from fieldfare.shared.protocol.plan import plan_for

NAME: Final = "bank-b"
TRAINING: Final = ReleaseKind.TRAINING
SMALL, LARGE = (4, 100.0), (5, 1000.0)


class Watched(ExactNoise):
    """The real source, with a record of what it gave, and in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[NDArray[np.int64]] = []  # the arrays themselves
        self.copies: list[NDArray[np.int64]] = []
        self.asked: list[tuple[int, float]] = []
        self.threads: list[int] = []
        self.gate = Event()
        self.gate.set()

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        self.threads.append(get_ident())
        assert self.gate.wait(60)
        noise = super().sample(entries, scale)
        self.asked.append((entries, scale))
        self.given.append(noise)
        self.copies.append(noise.copy())
        return noise


class Counting:
    """A source that is not the operating system's, by how often it was asked."""

    protection = Protection.EXACT

    def __init__(self) -> None:
        self.asked = 0

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        del scale
        self.asked += 1
        return np.full(entries, self.asked, dtype=np.int64)


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.001)


def wait(stock: NoiseStock) -> None:
    """Let the thread draw what is missing, as while a custodian waits."""
    until(lambda: not stock._thread.is_alive())


def held(stock: NoiseStock) -> dict[tuple[int, float], int]:
    return {draw: len(drawn) for draw, drawn in stock._drawn.items() if drawn}


def taken(stock: NoiseStock, draw: tuple[int, float], count: int = 1) -> list[NDArray[np.int64]]:
    return [noise.copy() for noise in stock.draws(*draw, count)]


@pytest.fixture
def source() -> Watched:
    return Watched()


@pytest.fixture
def stock(source: Watched) -> NoiseStock:
    return NoiseStock(source)


# -- the stock ---------------------------------------------------------------------------------


def test_what_is_expected_is_drawn_ahead_and_given_as_it_was_drawn(
    stock: NoiseStock, source: Watched
) -> None:
    stock.expect("a", {SMALL: 2, LARGE: 1})
    wait(stock)
    assert Counter(source.asked) == {SMALL: 2, LARGE: 1}
    assert get_ident() not in source.threads
    found = [*taken(stock, SMALL, 2), *taken(stock, LARGE)]
    assert len(source.given) == 3  # nothing was drawn for the asking
    wanted = {copy.tobytes() for copy in source.copies}
    assert {noise.tobytes() for noise in found} == wanted
    assert len(wanted) == 3


def test_each_draw_is_given_once(stock: NoiseStock, source: Watched) -> None:
    large = (64, 1000.0)
    stock.expect("a", {large: 3})
    wait(stock)
    found = taken(stock, large, 8)  # more than there are
    assert len({noise.tobytes() for noise in found}) == 8
    assert {noise.tobytes() for noise in found} == {copy.tobytes() for copy in source.copies}
    assert source.threads.count(get_ident()) == 5


def test_a_draw_is_wiped_as_it_is_used(stock: NoiseStock, source: Watched) -> None:
    stock.expect("a", {LARGE: 2})
    wait(stock)
    noises = stock.draws(*LARGE, 3)
    for place in range(2):
        noise = next(noises)
        assert any(given is noise for given in source.given)
        assert noise.any()
        assert sum(given.any() for given in source.given) == 2 - place
    noises.close()  # as after a failure on the way
    assert not any(given.any() for given in source.given)


def test_what_is_drawn_in_a_reply_is_wiped_too(stock: NoiseStock, source: Watched) -> None:
    assert taken(stock, LARGE)[0].any()
    assert [given.any() for given in source.given] == [False]


def test_what_no_run_needs_any_more_is_wiped(stock: NoiseStock, source: Watched) -> None:
    """As where fewer take part: each one's share is larger then."""
    stock.expect("a", {SMALL: 3})
    stock.expect("b", {SMALL: 1})
    wait(stock)
    stock.expect("a", {(SMALL[0], 2 * SMALL[1]): 3})
    assert held(stock)[SMALL] == 1
    assert sum(not given.any() for given in source.given) >= 3
    wait(stock)
    assert held(stock) == {SMALL: 1, (SMALL[0], 2 * SMALL[1]): 3}
    stock.expect("a", {})
    stock.expect("b", {})
    assert not held(stock)
    assert not any(given.any() for given in source.given)


def test_a_draw_under_way_that_came_to_be_unneeded_is_wiped(
    stock: NoiseStock, source: Watched
) -> None:
    source.gate.clear()
    stock.expect("a", {LARGE: 1})
    until(lambda: bool(source.threads))
    stock.expect("a", {})
    source.gate.set()
    wait(stock)
    assert not held(stock)
    assert [given.any() for given in source.given] == [False]


def test_noise_is_of_the_scale_that_is_asked_for(stock: NoiseStock, source: Watched) -> None:
    stock.expect("a", {(4, 100.0): 1})
    wait(stock)
    taken(stock, (4, 101.0))
    taken(stock, (3, 100.0))
    assert source.asked == [(4, 100.0), (4, 101.0), (3, 100.0)]


def test_so_many_runs_have_noise_ahead_and_the_one_idle_longest_gives_way(
    stock: NoiseStock,
) -> None:
    needs = {f"s{place}": {(1 + place, 100.0): 1} for place in range(MOST_RUNS + 1)}
    for study, draws in needs.items():
        if study == f"s{MOST_RUNS}":
            stock.expect("s0", needs["s0"])  # it was asked again meanwhile
        stock.expect(study, draws)
    wait(stock)
    kept = [place for place in range(MOST_RUNS + 1) if place != 1]
    assert sorted(held(stock)) == [(1 + place, 100.0) for place in kept]


def test_the_memory_for_noise_is_bounded(
    stock: NoiseStock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_stock, "MOST_ENTRIES", 10)
    stock.expect("a", {(4, 100.0): 1000})
    wait(stock)
    assert held(stock) == {(4, 100.0): 2}


def test_a_source_that_is_not_the_operating_systems_is_asked_at_its_use() -> None:
    """What a seed gives depends on the order: no thread may change it."""
    source = Counting()
    stock = NoiseStock(source)
    stock.expect("a", {SMALL: 2})
    wait(stock)
    assert source.asked == 0
    assert [noise[0] for noise in taken(stock, SMALL, 3)] == [1, 2, 3]


def test_a_draw_that_fails_ahead_stops_nothing(
    stock: NoiseStock, source: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next reply draws, and what it tells the stock begins another thread."""
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(source, "sample", lambda *_: 1 // 0)
        stock.expect("a", {SMALL: 1})
        wait(stock)
    assert taken(stock, SMALL)[0].shape == (4,)
    stock.expect("a", {SMALL: 1})
    wait(stock)
    assert held(stock) == {SMALL: 1}


# -- what a run needs --------------------------------------------------------------------------


def test_a_run_needs_the_first_attempts_of_what_is_to_come(bench: Bench) -> None:
    run, plan = bench.open_run(), bench.plan
    shares = {
        kind: (plan.terms(kind).vectors.entries, plan.terms(kind).share(4, 1))
        for kind in (TRAINING, ReleaseKind.EVALUATION)
    }
    assert coming_draws(plan, run.request()) == dict.fromkeys(shares.values(), ATTEMPTS)
    last = run.request().model_copy(update={"step": STEPS})
    assert coming_draws(plan, last) == {shares[ReleaseKind.EVALUATION]: ATTEMPTS}
    fewer = run.request(names=NAMES[:3])
    assert not set(coming_draws(plan, fewer)) & set(shares.values())


def test_each_step_inside_needs_a_draw_of_its_own(bench: Bench) -> None:
    plan = plan_for(make_study(training={"mode": "local", "steps": STEPS, "local_steps": 4}))
    draw = plan.training.vectors.entries, plan.training.share(4, 1)
    assert coming_draws(plan, bench.open_run().request())[draw] == 4 * ATTEMPTS


# -- behind the door ---------------------------------------------------------------------------


def watch(bench: Bench) -> tuple[NoiseStock, Watched]:
    """Put a custodian whose source is watched in place of one, over the same ledger and keys."""
    source = Watched()
    custodian = Custodian(bench.party(NAME), bench.ledger(NAME), source)
    custodian.approve(bench.study, lambda: bench.sums[NAME])
    bench.remembers(NAME, custodian)
    return custodian._noise, source


def rehearsed(bench: Bench) -> Run:
    """A run as every opening begins: with a rehearsal, which tells the stock who takes part."""
    run = bench.open_run()
    run.everybody(run.request(ReleaseKind.REHEARSAL))
    return run


def test_no_reply_of_an_opened_run_draws_its_noise(bench: Bench) -> None:
    stock, source = watch(bench)
    run = rehearsed(bench)
    for step in range(STEPS):
        request = run.request(step=step)
        wait(stock)
        before = held(stock)
        assert isinstance(run.ask(NAME, request), OpenedVector)
        assert get_ident() not in source.threads
        wait(stock)
        assert held(stock) == before  # and another was drawn meanwhile
    assert len({copy.tobytes() for copy in source.copies}) == len(source.copies)


def test_with_other_participants_what_was_drawn_is_wiped(bench: Bench) -> None:
    stock, source = watch(bench)
    run = rehearsed(bench)
    run.answer(NAME, run.request())
    wait(stock)
    first = len(source.given)
    assert sum(given.any() for given in source.given) == 2 * ATTEMPTS
    assert get_ident() not in source.threads
    run.answer(NAME, run.request(attempt=1, names=NAMES[:3]))
    assert source.threads.count(get_ident()) == 1  # this one's scale was not foreseen
    assert not any(given.any() for given in source.given[:first])
    wait(stock)
    scales = {terms.share(3, 1) for terms in bench.plan.releases}
    assert {scale for _, scale in held(stock)} == scales


def test_a_refused_request_leaves_the_stock_as_it_was(bench: Bench) -> None:
    stock, source = watch(bench)
    run = rehearsed(bench)
    for name in NAMES:
        run.answer(name, run.request())
    wait(stock)
    before, drawn = held(stock), len(source.given)
    old = run.parameters(TRAINING, 0)
    refused = run.ask(NAME, run.request(step=1, parameters=old), old)
    assert refused == Refusal(RefusalCode.NOT_RECOMPUTED)
    wait(stock)
    assert (held(stock), len(source.given)) == (before, drawn)


def test_another_run_of_the_study_leaves_the_stock_as_it_was(bench: Bench) -> None:
    """Its requests, refused, repeated or answered, make no reply of this one draw."""
    stock, source = watch(bench)
    first, second = rehearsed(bench), rehearsed(bench)
    wait(stock)
    full, drawn = held(stock), source.threads.count(get_ident())
    for place, run in enumerate((first, second, first, second)):
        refused = run.ask(NAME, run.request(attempt=10**6))
        assert isinstance(refused, Refusal)
        wait(stock)
        assert held(stock) == full
        run.ask(NAME, run.request(ReleaseKind.REHEARSAL))
        assert isinstance(run.ask(NAME, run.request(attempt=place // 2)), OpenedVector)
        wait(stock)
        assert held(stock) == full
    assert source.threads.count(get_ident()) == drawn


def test_zeros_are_never_held_whatever_fails(stock: NoiseStock, source: Watched) -> None:
    """A failure while arrays are wiped leaves none of them where the next reply looks."""

    class Stubborn(np.ndarray[tuple[int, ...], np.dtype[np.int64]]):
        def fill(self, value: object) -> None:
            super().fill(value)
            raise MemoryError

    stock.expect("a", {LARGE: 2})
    wait(stock)
    stock._drawn[LARGE] = [one.view(Stubborn) for one in stock._drawn[LARGE]]
    with pytest.raises(MemoryError):
        stock.expect("a", {})
    assert all(one.any() for drawn in stock._drawn.values() for one in drawn)
    assert taken(stock, LARGE)[0].any()


def test_where_no_thread_is_left_replies_draw(
    stock: NoiseStock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        stock.expect("a", {SMALL: 1})
    assert taken(stock, SMALL)[0].any()
    stock.expect("a", {SMALL: 1})
    wait(stock)
    assert held(stock) == {SMALL: 1}


@pytest.mark.parametrize("end", ["finish", "leave_out", "hand_over"])
def test_noise_goes_with_the_study_that_it_was_for(end: str, bench: Bench) -> None:
    stock, source = watch(bench)
    run = rehearsed(bench)
    run.answer(NAME, run.request())
    wait(stock)
    assert held(stock)
    custodian = bench.custodian(NAME)
    if end == "hand_over":
        custodian.hand_over()
    else:
        getattr(custodian, end)(bench.study.id)
    assert not held(stock)
    assert not any(given.any() for given in source.given)


def test_in_local_mode_each_step_inside_has_a_draw_from_the_stock(make_bench: MakeBench) -> None:
    study = make_study(training={"mode": "local", "steps": STEPS, "local_steps": 4})
    bench = make_bench(study)
    stock, source = watch(bench)
    run = rehearsed(bench)
    for attempt in range(2):
        request = run.request(attempt=attempt)
        wait(stock)
        used = len([given for given in source.given if not given.any()])
        run.answer(NAME, request)
        assert get_ident() not in source.threads
        gone = len([given for given in source.given if not given.any()])
        assert gone - used == 4


def test_the_stock_shows_nothing_it_holds(bench: Bench) -> None:
    stock, _ = watch(bench)
    run = rehearsed(bench)
    run.answer(NAME, run.request())
    wait(stock)
    assert "array" not in repr(stock)
