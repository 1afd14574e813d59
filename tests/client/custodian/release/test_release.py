"""The door: in order, once, and nothing that was not committed with its debit."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, Final

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
    make_sums,
)

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.models import UnitSums
from fieldfare.shared.privacy.accountant import mu_squared
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.protocol.messages import NO_LAST_SUM, Refusal, ReleaseKind, Reply
from fieldfare.shared.protocol.plan import PICOMU2, ReleaseTerms
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.ring import Word, add, centre, to_ring
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.study.study import UNPAID_ATTEMPTS
from fieldfare.simulations.federation.federation import LocalFederation, noise_source

NAME: Final = "bank-b"
TRAINING: Final = ReleaseKind.TRAINING
EVALUATION: Final = ReleaseKind.EVALUATION
REHEARSAL: Final = ReleaseKind.REHEARSAL


@dataclass
class Watched:
    """A real source and real sums, with a record of when each was used."""

    source: NoiseSource = field(default_factory=ExactNoise)
    units: UnitSums | None = None
    used: list[str] = field(default_factory=list)
    drawn: list[NDArray[np.int64]] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    fail: str = ""
    pause: float = 0.0  # seconds in which other threads may come in

    @property
    def protection(self) -> Protection:
        return self.source.protection

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        self._use("noise")
        self.scales.append(scale)
        self.drawn.append(self.source.sample(entries, scale))
        return self.drawn[-1].copy()  # what is used is wiped

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        self._use("sum")
        assert self.units is not None
        return self.units.gradient_sum(parameters)

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _use(self, what: str) -> None:
        self.used.append(what)
        time.sleep(self.pause)
        if what == self.fail:
            raise MemoryError(f"no {what}")


def watch(bench: Bench, name: str = NAME) -> Watched:
    """Put a custodian that is watched in place of one, over the same ledger and keys."""
    watched = Watched(units=bench.sums[name].training)
    sums = replace(bench.sums[name], training=watched)
    custodian = Custodian(bench.party(name), bench.ledger(name), watched)
    custodian.approve(bench.study, lambda: sums)
    bench.remembers(name, custodian)
    return watched


def decoded(answers: list[OpenedVector], terms: ReleaseTerms) -> NDArray[np.int64]:
    vectors, seeds = [one.vector for one in answers], [one.seed for one in answers]
    return centre(
        add_words(vectors, terms.word_bits, terms.vectors.entries, seeds), terms.word_bits
    )


def masked(answer: OpenedVector, terms: ReleaseTerms) -> Word:
    """What is under the seed: a masked vector."""
    return add_words([answer.vector], terms.word_bits, terms.vectors.entries, [answer.seed])


def opened(run: Run, answer: OpenedVector) -> Reply:
    party = run.bench.party("bank-a")
    return party.from_member(answer.reply, Reply, NAME).body


# -- what leaves -------------------------------------------------------------------------------


def test_a_reply_says_what_left_at_what_price_and_where_the_ledger_stands(bench: Bench) -> None:
    run = bench.open_run()
    for step in range(2):
        request = run.request(step=step)
        answer = run.answer(NAME, request)
        reply, position = opened(run, answer), bench.ledger(NAME).position()
        assert reply.request == request.hash
        assert (reply.institution, reply.answer) == (NAME, run.participant(NAME).answer)
        assert reply.vector == bytes_hash(answer.vector)
        assert reply.debit == bench.plan.training.cost
        assert reply.ledger_sequence == position.sequence == step + 1
        assert reply.ledger_head == position.head
        assert reply.cumulative == position.cumulative == (step + 1) * reply.debit
        assert reply.epoch == position.epoch
        assert bench.ledger(NAME).contains(position)


@pytest.mark.parametrize(("kind", "step"), [(TRAINING, 0), (EVALUATION, STEPS)])
def test_everybodys_vectors_sum_to_the_units_and_everybodys_noise(
    kind: ReleaseKind, step: int, bench: Bench
) -> None:
    watched = [watch(bench, name) for name in NAMES]
    run, terms = bench.open_run(), bench.plan.terms(kind)
    answers = [run.answer(name, run.request(kind, step)) for name in NAMES]
    parameters = np.frombuffer(run.parameters(kind, step))
    exact = sum(part.vector(kind, parameters) for part in bench.sums.values())
    noise = sum(source.drawn[-1] for source in watched)
    assert (decoded(answers, terms) == exact + noise).all()


def test_a_refused_request_takes_no_noise(bench: Bench) -> None:
    """It is taken when all that can refuse a request was checked: a refusal uses none up."""
    watched = {name: watch(bench, name) for name in NAMES}
    run, terms = bench.open_run(), bench.plan.training
    for name in NAMES:
        run.answer(name, run.request())
    old = run.parameters(TRAINING, 0)
    for _ in range(5):
        refused = run.ask(NAME, run.request(step=1, parameters=old), old)
        assert refused == Refusal(RefusalCode.NOT_RECOMPUTED)
    answers = [run.answer(name, run.request(step=1, attempt=1)) for name in NAMES]
    parameters = np.frombuffer(run.parameters(TRAINING, 1))
    exact = sum(part.vector(TRAINING, parameters) for part in bench.sums.values())
    noise = sum(source.drawn[-1] for source in watched.values())
    assert (decoded(answers, terms) == exact + noise).all()
    assert watched[NAME].used == ["sum", "noise"] * 2


@pytest.mark.parametrize("names", [NAMES, NAMES[:3], NAMES[1:]])
def test_each_adds_its_share_of_the_noise_for_those_who_take_part(
    names: tuple[str, ...], bench: Bench
) -> None:
    """Sigma / sqrt(n - t), in units of gamma: with fewer participants each adds more."""
    watched = watch(bench)
    run = bench.open_run()
    for step in range(STEPS):
        run.answer(NAME, run.request(step=step, names=names))
    run.answer(NAME, run.request(EVALUATION, STEPS, names=names))
    honest = len(names) - bench.study.privacy.collusion_tolerance
    expected = [
        terms.sigma / (terms.gamma * math.sqrt(honest))
        for terms in (*[bench.plan.training] * STEPS, bench.plan.evaluation)
    ]
    assert watched.scales == pytest.approx(expected, rel=1e-15)


LOCAL: Final = make_study(training={"mode": "local", "steps": STEPS, "local_steps": 4})


def test_in_local_mode_vectors_sum_to_everybodys_changes(make_bench: MakeBench) -> None:
    """Each change was made by steps on sums that all of sigma was added to; none is added after."""
    bench = make_bench(LOCAL)
    watched = {name: watch(bench, name) for name in NAMES}
    run, terms = bench.open_run(), bench.plan.training
    answers = [run.answer(name, run.request()) for name in NAMES]
    parameters = np.frombuffer(run.parameters(TRAINING, 0))
    changes = [
        bench.sums[name].local_change(parameters, source.drawn, len(NAMES))
        for name, source in watched.items()
    ]
    assert (decoded(answers, terms) == sum(changes)).all()
    for source, answer, change in zip(watched.values(), answers, changes, strict=True):
        assert source.used == ["noise", "sum"] * 4
        assert masked(answer, terms).tolist() != to_ring(change, terms.word_bits).tolist()


@pytest.mark.parametrize("names", [NAMES, NAMES[:3]])
def test_in_local_mode_noise_is_full_and_the_debit_is_for_every_step(
    names: tuple[str, ...], make_bench: MakeBench
) -> None:
    bench = make_bench(LOCAL)
    watched, run, terms = watch(bench), bench.open_run(), bench.plan.training
    request = run.request(names=names)
    answer = run.answer(NAME, request)
    assert watched.scales == [terms.sigma / terms.gamma] * 4
    assert [len(drawn) for drawn in watched.drawn] == [terms.vectors.entries] * 4
    assert terms.sensitivity is not None
    one = mu_squared(terms.sensitivity, sigma=terms.sigma)
    assert opened(run, answer).debit == terms.cost >= 4 * one * PICOMU2
    assert bench.ledger(NAME).position().cumulative == terms.cost
    assert run.answer(NAME, request) == answer  # the same request again is free
    assert bench.ledger(NAME).position().cumulative == terms.cost
    assert len(watched.drawn) == 4
    run.answer(NAME, run.request(attempt=1, names=names))
    assert bench.ledger(NAME).position().cumulative == 2 * terms.cost
    assert len({drawn.tobytes() for drawn in watched.drawn}) == 8  # none is used again


def test_in_simulations_vectors_are_sum_and_noise_without_masks(tmp_path: Path) -> None:
    study = make_study()
    sums = {name: make_sums(study, 100, seed=index) for index, name in enumerate(NAMES)}
    with LocalFederation(
        study, sums, Protection.SIMULATED, seed=9, directory=tmp_path
    ) as federation:
        run, terms = Bench(federation, sums).open_run(), federation.plan.training
        answer = run.answer(NAME, run.request())
    source = noise_source(Protection.SIMULATED, seed=9, stream=1)
    noise = source.sample(terms.vectors.entries, terms.share(4, 1))
    exact = sums[NAME].vector(TRAINING, np.frombuffer(run.bench.parameters()))
    expected = add(
        to_ring(exact, terms.word_bits), to_ring(noise, terms.word_bits), terms.word_bits
    )
    assert (masked(answer, terms) == expected).all()


# -- in order, and once ------------------------------------------------------------------------


def test_records_and_noise_are_used_once_for_one_request(bench: Bench) -> None:
    watched, run = watch(bench), bench.open_run()
    answers = {run.answer(NAME, run.request()) for _ in range(3)}
    assert len(answers) == 1
    assert watched.used == ["sum", "noise"]


REFUSED: Final[dict[RefusalCode, Callable[[Run], Any]]] = {
    RefusalCode.REPLAY_CHANGED: lambda run: run.request(names=NAMES[:3]),
    RefusalCode.STEP_CLOSED: lambda run: run.request(step=0, attempt=1),
    RefusalCode.ATTEMPT_CLOSED: lambda run: run.request(step=1, attempt=0),
    RefusalCode.TOO_MANY_ATTEMPTS: lambda run: run.request(step=2, attempt=UNPAID_ATTEMPTS),
    RefusalCode.WRONG_TERMS: lambda run: run.request(step=2, sigma=1.0),
    RefusalCode.NOT_IN_PLAN: lambda run: run.request(step=STEPS),
    RefusalCode.NOT_RECOMPUTED: lambda run: run.request(
        step=2, parameters=run.bench.parameters(-1.0)
    ),
}


@pytest.mark.parametrize("code", REFUSED)
def test_nothing_is_computed_for_a_request_that_is_refused(code: RefusalCode, bench: Bench) -> None:
    """Not even in memory: what was never computed cannot leave, nor take its time."""
    run = bench.open_run()
    run.answer(NAME, run.request())
    watched = watch(bench)
    if code is not RefusalCode.REPLAY_CHANGED:
        run.answer(NAME, run.request(step=1, attempt=1))
    request = REFUSED[code](run)  # whose honest parameters take the steps before it
    watched.used.clear()
    assert run.ask(NAME, request) == Refusal(code)
    assert watched.used == []


def test_nothing_is_computed_when_the_budget_does_not_cover_the_whole_release(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(make_study(privacy={"spare_releases": 0}, evaluation={"spare_releases": 0}))
    first = bench.open_run()
    for step in range(STEPS):
        first.answer(NAME, first.request(step=step))
    first.answer(NAME, first.request(EVALUATION, STEPS))
    watched, run = watch(bench), bench.open_run()
    assert run.ask(NAME, run.request()) == Refusal(RefusalCode.BUDGET_EXHAUSTED)
    assert watched.used == []


@pytest.mark.parametrize("fail", ["sum", "noise"])
def test_a_failure_on_the_way_leaves_nothing_and_the_next_try_works(
    fail: str, bench: Bench
) -> None:
    watched, run = watch(bench), bench.open_run()
    watched.fail = fail
    with pytest.raises(MemoryError):
        run.ask(NAME, run.request())
    assert bench.ledger(NAME).spent() == 0
    assert bench.ledger(NAME).stored(run.request().hash) is None
    watched.fail = ""
    run.answer(NAME, run.request())
    assert bench.ledger(NAME).spent() == bench.plan.training.cost


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all calls at the same moment and return their results."""
    results: list[Any] = [None] * len(calls)
    gate = Barrier(len(calls))

    def go(index: int) -> None:
        gate.wait()
        results[index] = calls[index]()

    threads = [Thread(target=go, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_same_request_from_many_threads_is_answered_once(bench: Bench) -> None:
    watched, run = watch(bench), bench.open_run()
    watched.pause = 0.05
    request = run.request()
    answers = at_once([partial(run.ask, NAME, request)] * 6)
    assert len(set(answers)) == 1
    assert isinstance(answers[0], OpenedVector)
    assert watched.used == ["sum", "noise"]
    assert bench.ledger(NAME).spent() == bench.plan.training.cost


def test_different_requests_for_one_place_get_one_answer_between_them(bench: Bench) -> None:
    run = bench.open_run()
    circles = (NAMES, NAMES[:3], NAMES[1:], ("bank-a", "bank-b", "bank-d"))
    requests = [run.request(names=names) for names in circles]
    answers = at_once([partial(run.ask, NAME, request) for request in requests])
    assert sum(isinstance(answer, OpenedVector) for answer in answers) == 1
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert set(refused) == {Refusal(RefusalCode.REPLAY_CHANGED)}
    assert bench.ledger(NAME).spent() == bench.plan.training.cost


def test_two_custodians_over_one_ledger_answer_one_request_once(bench: Bench) -> None:
    """A second process that should not be there: it sends what the first committed."""
    run = bench.open_run()
    ledger = Ledger.open(
        bench.path(NAME),
        population=NAME,
        limits=bench.ledger(NAME)._limits,
        clock=bench.ledger(NAME)._clock,
    )
    with ledger:
        twin = Custodian(bench.party(NAME), ledger, ExactNoise())
        twin.approve(bench.study, lambda: bench.sums[NAME])
        twin._door.held = bench.held(NAME)  # a copy of the running machine, memory included
        for step in range(STEPS):
            request = run.request(step=step)
            envelope, content = bench.sign(request), run.contents[request.parameters]
            last = run.lasts.get(step, NO_LAST_SUM)
            custodians = [bench.custodian(NAME), twin] * 2
            answers = at_once([partial(c.release, envelope, content, last) for c in custodians])
            assert len(set(answers)) == 1
            assert isinstance(answers[0], CommitmentReply)
            statements = list(run.everybody(request).statements)
            answers = at_once([partial(c.reveal, envelope, statements) for c in custodians])
            assert len(set(answers)) == 1
            assert isinstance(answers[0], bytes)
        assert ledger.spent() == STEPS * bench.plan.training.cost
        ledger.verify()


# -- rehearsals --------------------------------------------------------------------------------


def test_a_rehearsal_reads_no_records_draws_no_noise_and_costs_nothing(bench: Bench) -> None:
    watched, run = watch(bench), bench.open_run()
    answers = [run.answer(name, run.request(REHEARSAL)) for name in NAMES]
    assert not decoded(answers, bench.plan.rehearsal).any()
    assert decoded(answers[1:], bench.plan.rehearsal).all()
    assert watched.used == []
    assert bench.ledger(NAME).position().sequence == 0


def test_rehearsals_may_be_repeated_and_changed_and_share_no_mask(bench: Bench) -> None:
    run = bench.open_run()
    first = run.answer(NAME, run.request(REHEARSAL))
    assert run.answer(NAME, run.request(REHEARSAL)).vector == first.vector
    second = run.answer(NAME, run.request(REHEARSAL, attempt=1))
    third = run.answer(NAME, run.request(REHEARSAL, attempt=2, names=NAMES[:3]))
    words = [masked(answer, bench.plan.rehearsal) for answer in (first, second, third)]
    assert (words[0] != words[1]).all()
    assert (words[0] != words[2]).all()


def test_a_rehearsals_reply_can_be_told_from_a_releases(bench: Bench) -> None:
    run = bench.open_run()
    reply = opened(run, run.answer(NAME, run.request(REHEARSAL)))
    assert (reply.debit, reply.cumulative, reply.ledger_sequence) == (0, 0, 0)


# -- keys --------------------------------------------------------------------------------------


def test_each_step_has_keys_of_its_own_and_none_is_in_a_file(bench: Bench) -> None:
    run = bench.open_run()
    seen = [bench.run_keys(NAME, run)]
    for step in range(STEPS):
        run.answer(NAME, run.request(step=step))
        seen.append(bench.run_keys(NAME, run))
        run.answer(NAME, run.request(step=step, attempt=1))
        # Attempts of a step share its keys, not its masks.
        assert bench.run_keys(NAME, run) == seen[-1]
    keys = [key for one in seen for key in one.keys.values()]
    assert len(set(keys)) == (STEPS + 1) * (len(NAMES) - 1)
    content = bench.files(NAME)
    assert all(key.hex().encode() not in content and key not in content for key in keys)


def test_a_step_that_is_left_out_moves_the_keys_on_all_the_same(bench: Bench) -> None:
    """Who missed a step and who did not must agree on the next."""
    run = bench.open_run()
    for name in NAMES[:2]:
        run.answer(name, run.request(step=0))
    answers = [run.answer(name, run.request(step=2)) for name in NAMES]
    terms = bench.plan.training
    assert np.abs(decoded(answers, terms)).max() * terms.gamma < terms.largest_entry


def test_the_door_shows_nothing_it_holds(bench: Bench) -> None:
    run = bench.open_run()
    answer = run.answer(NAME, run.request())
    door, at_door = bench.custodian(NAME)._door, next(iter(bench.custodian(NAME)._runs.values()))
    shown = repr(door) + repr(at_door)
    assert "array" not in shown
    assert COORDINATOR not in shown
    assert opened(run, answer).institution == NAME
