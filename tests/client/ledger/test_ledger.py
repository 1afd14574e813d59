"""The ledger as its callers see it, against a slow exact oracle."""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.debits import commit_release, waiting_answer

from fieldfare.client.ledger.budget import (
    Debit,
    Limits,
    Position,
    StoredReply,
    from_picomu2,
    to_picomu2,
)
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import PeerRows
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
MOST: Final = 9 * 10**15
WIDE: Final = Limits(yearly_picomu2=MOST, lifetime_picomu2=MOST)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


def open_ledger(path: Path | None, *, limits: Limits = WIDE, clock: Clock | None = None) -> Ledger:
    return Ledger.open(
        path, population="units", limits=limits, clock=clock or Clock(), busy_timeout=0.05
    )


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "units.ledger"


@pytest.fixture
def ledger(place: Path | None) -> Iterator[Ledger]:
    with open_ledger(place) as ledger:
        yield ledger


def debit(
    step: int = 0,
    attempt: int = 0,
    *,
    study: str = "s",
    run: str = "r",
    variant: str = "",
    cost: int = 10,
) -> Debit:
    content = f"{study} {run} {step} {attempt} {variant}"
    return Debit(
        study=study,
        run=run,
        step=step,
        attempt=attempt,
        kind="training",
        request=hashlib.sha256(content.encode()).hexdigest(),
        cost=cost,
    )


def sign(position: Position) -> bytes:
    return f"signed: {position}".encode()


def commit(
    ledger: Ledger,
    debit: Debit,
    *,
    vector: bytes = b"masked",
    limit: int = MOST,
    attempts: int = 3,
    sign: Callable[[Position], bytes] = sign,
    state: bytes = b"next keys",
) -> StoredReply:
    return commit_release(
        ledger,
        debit,
        vector=vector,
        study_limit=limit,
        max_attempts=attempts,
        sign=sign,
        run_states={debit.run: state},
    )


def refusal(ledger: Ledger, debit: Debit, *, limit: int = MOST, attempts: int = 3) -> RefusalCode:
    """The code of a commit that must be refused, and must leave no trace."""
    before = ledger.position(), ledger.run_state(debit.study, debit.run)
    codes = set()
    with pytest.raises(PolicyRefusal) as caught:
        ledger.admit(debit, study_limit=limit, max_attempts=attempts)
    codes.add(caught.value.code)
    with pytest.raises(PolicyRefusal) as caught:
        commit(ledger, debit, limit=limit, attempts=attempts, state=b"must not be kept")
    codes.add(caught.value.code)
    assert (ledger.position(), ledger.run_state(debit.study, debit.run)) == before
    (code,) = codes
    return code


# --- what a caller gets ------------------------------------------------------------------


def test_a_commit_debits_signs_and_keeps(ledger: Ledger) -> None:
    start = ledger.position()
    assert (start.sequence, start.cumulative, start.epoch) == (0, 0, 1)
    assert ledger.stored(debit().request) is None
    reply = commit(ledger, debit(cost=7), vector=b"masked", state=b"keys 1")
    assert reply.reply == sign(reply.position)
    assert reply.vector == b"masked"
    assert reply.position == ledger.position()
    assert (reply.position.sequence, reply.position.cumulative) == (1, 7)
    assert ledger.stored(debit().request) == reply
    assert ledger.run_state("s", "r") == b"keys 1"
    assert ledger.spent() == ledger.spent("s") == 7
    assert ledger.spent("t") == 0
    ledger.verify()


def test_the_same_request_gets_the_same_bytes_for_free(ledger: Ledger) -> None:
    first = commit(ledger, debit(), vector=b"first", state=b"keys 1")
    commit(ledger, debit(1), state=b"keys 2")
    ledger.admit(debit(), study_limit=0, max_attempts=0)  # free, so no limit binds
    again = commit(ledger, debit(), vector=b"other noise", limit=0, attempts=0, state=b"keys 1")
    assert again == first
    assert ledger.run_state("s", "r") == b"keys 2"
    assert ledger.spent() == 20


def test_order_is_kept(ledger: Ledger) -> None:
    commit(ledger, debit(4, 0))
    commit(ledger, debit(4, 2))  # attempts may be skipped: other institutions answered them
    assert refusal(ledger, debit(4, 2, variant="x")) is RefusalCode.REPLAY_CHANGED
    assert refusal(ledger, debit(4, 0, variant="x")) is RefusalCode.REPLAY_CHANGED
    assert refusal(ledger, debit(4, 1)) is RefusalCode.ATTEMPT_CLOSED
    assert refusal(ledger, debit(3, 0)) is RefusalCode.STEP_CLOSED
    assert refusal(ledger, debit(4, 3)) is RefusalCode.TOO_MANY_ATTEMPTS
    commit(ledger, debit(5, 0))
    assert refusal(ledger, debit(4, 2, variant="x")) is RefusalCode.REPLAY_CHANGED
    commit(ledger, debit(0, 0, run="another"))  # each run has its own order
    commit(ledger, debit(0, 0, study="t"))


def test_one_request_cannot_stand_in_two_places(ledger: Ledger) -> None:
    commit(ledger, debit())
    with pytest.raises(LedgerError, match="hash the whole request"):
        commit(ledger, replace(debit(), step=1))
    assert ledger.spent() == 10


def test_the_study_limit_counts_all_its_runs(ledger: Ledger) -> None:
    commit(ledger, debit(run="a"), limit=25)
    commit(ledger, debit(run="b"), limit=25)
    assert refusal(ledger, debit(run="c"), limit=25) is RefusalCode.BUDGET_EXHAUSTED
    commit(ledger, debit(run="c", cost=5), limit=25)
    commit(ledger, debit(study="t"), limit=25)


def test_the_year_slides_and_the_lifetime_does_not(place: Path | None) -> None:
    clock = Clock()
    limits = Limits(yearly_picomu2=20, lifetime_picomu2=35)
    with open_ledger(place, limits=limits, clock=clock) as ledger:
        commit(ledger, debit(0, study="a"))
        clock.now += 100 * DAY
        commit(ledger, debit(0, study="b"))
        assert refusal(ledger, debit(0, study="c", cost=1)) is RefusalCode.BUDGET_EXHAUSTED
        clock.now = START + 365 * DAY  # the first instant of the window still counts
        assert refusal(ledger, debit(0, study="c", cost=1)) is RefusalCode.BUDGET_EXHAUSTED
        clock.now += timedelta(microseconds=1)
        commit(ledger, debit(0, study="c"))
        assert ledger.spent_since(START + DAY) == 20
        clock.now += 1000 * DAY
        assert refusal(ledger, debit(0, study="d", cost=6)) is RefusalCode.BUDGET_EXHAUSTED
        commit(ledger, debit(0, study="d", cost=5))
        ledger.verify()


def test_a_clock_set_back_gives_no_budget_back(place: Path | None) -> None:
    clock = Clock(START + 400 * DAY)
    with open_ledger(
        place, limits=Limits(yearly_picomu2=20, lifetime_picomu2=MOST), clock=clock
    ) as ledger:
        commit(ledger, debit(0))
        clock.now = START
        commit(ledger, debit(1))  # dated as its predecessor, not 400 days earlier
        assert refusal(ledger, debit(2)) is RefusalCode.BUDGET_EXHAUSTED
        clock.now = START + 500 * DAY
        assert refusal(ledger, debit(2)) is RefusalCode.BUDGET_EXHAUSTED
        first, second = ledger.entries()
        assert first.time == second.time == START + 400 * DAY
        clock.now = START + 766 * DAY
        commit(ledger, debit(2))


def test_a_clock_that_ran_ahead_does_not_hide_the_real_year(place: Path | None) -> None:
    clock = Clock()
    with open_ledger(
        place, limits=Limits(yearly_picomu2=20, lifetime_picomu2=MOST), clock=clock
    ) as ledger:
        commit(ledger, debit(0))
        clock.now = START + 5000 * DAY
        commit(ledger, debit(1))
        clock.now = START + DAY  # set right: both debits are inside the window again
        assert refusal(ledger, debit(2)) is RefusalCode.BUDGET_EXHAUSTED


def test_a_clock_that_runs_ahead_of_honest_peers_gives_no_new_year(place: Path | None) -> None:
    """Attack M6, at an opening: one colluder of three peers cannot help."""
    clock = Clock()
    with open_ledger(
        place, limits=Limits(yearly_picomu2=20, lifetime_picomu2=MOST), clock=clock
    ) as ledger:
        commit(ledger, debit(0))
        commit(ledger, debit(1))
        clock.now = START + 366 * DAY
        ledger.heed([START + DAY, START + DAY, clock.now], 1)
        assert refusal(ledger, debit(2)) is RefusalCode.BUDGET_EXHAUSTED
        clock.now += 200 * DAY  # the lag stays as it was until somebody says otherwise
        assert refusal(ledger, debit(2)) is RefusalCode.BUDGET_EXHAUSTED
        ledger.heed([clock.now, clock.now, START], 1)
        commit(ledger, debit(2))


def test_a_clock_without_a_time_zone_spends_nothing(place: Path | None) -> None:
    clock = Clock()
    with open_ledger(place, clock=clock) as ledger:
        clock.now = START.replace(tzinfo=None)
        with pytest.raises(LedgerError, match="time zone"):
            commit(ledger, debit())
        assert ledger.spent() == 0


def test_tiny_spends_are_never_lost_beside_a_large_total(place: Path | None) -> None:
    large, tiny = to_picomu2(9e3 - 1e-9), to_picomu2(5e-324)
    assert 9e3 + 1e-13 == 9e3  # what floats would do
    with open_ledger(place) as ledger:
        commit(ledger, debit(0, cost=large))
        left = MOST - large
        assert 0 < left <= 2000
        for step in range(1, 6):
            commit(ledger, debit(step, cost=tiny))
        commit(ledger, debit(6, cost=left - 5 * tiny))
        assert ledger.spent() == MOST
        for study in ("s", "t"):
            assert refusal(ledger, debit(7, study=study, cost=tiny)) is (
                RefusalCode.BUDGET_EXHAUSTED
            )
        assert from_picomu2(ledger.spent()) == 9e3
        ledger.verify()


@pytest.mark.parametrize("limit", [-1, MOST + 1, 1.5])
def test_an_impossible_limit_is_refused(ledger: Ledger, limit: int) -> None:
    with pytest.raises(LedgerError, match="study's limit"):
        commit(ledger, debit(), limit=limit)
    with pytest.raises(LedgerError, match="attempts"):
        commit(ledger, debit(), attempts=limit)
    assert ledger.position().sequence == 0


def test_a_signature_that_fails_debits_nothing(ledger: Ledger) -> None:
    commit(ledger, debit(0), state=b"keys 1")
    before = ledger.position()

    def broken(position: Position) -> bytes:
        assert position.sequence == 2
        raise ValueError("the signing key is locked")

    with pytest.raises(ValueError, match="signing key"):
        commit(ledger, debit(1), sign=broken, state=b"keys 2")
    assert ledger.position() == before
    assert ledger.run_state("s", "r") == b"keys 2"  # of the answer, which waits still
    assert ledger.stored(debit(1).request) is None
    commit(ledger, debit(1))
    ledger.verify()


def test_all_states_of_an_answer_are_kept_with_it_or_none(ledger: Ledger) -> None:
    states = {"r": b"keys", "progress:r": b"where it stands"}
    answer = waiting_answer(debit(), b"masked")

    def broken(rows: PeerRows) -> None:
        raise ValueError(f"{len(rows.waiting())} answers wait")

    with pytest.raises(ValueError, match="0 answers wait"):
        ledger.keep_waiting(answer, check=broken, run_states=states)
    assert ledger.run_names("s") == []
    ledger.keep_waiting(answer, check=lambda _: None, run_states=states)
    assert {name: ledger.run_state("s", name) for name in ledger.run_names("s")} == states
    others = dict.fromkeys(states, b"of a repeat")
    ledger.keep_waiting(answer, check=lambda _: None, run_states=others)
    assert ledger.run_state("s", "progress:r") == states["progress:r"]


def test_run_states_can_be_put_and_forgotten(ledger: Ledger) -> None:
    ledger.put_run_state("s", "r", b"before step 0")
    assert ledger.run_state("s", "r") == b"before step 0"
    commit(ledger, debit(), state=b"after step 0")
    ledger.put_run_state("t", "r", b"another study")
    ledger.forget_runs("s")
    assert ledger.run_state("s", "r") is None
    assert ledger.run_state("t", "r") == b"another study"
    assert ledger.stored(debit().request) is not None


def test_entries_come_in_order_over_many_batches(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.client.ledger.ledger.BATCH", 3)
    for count in range(8):
        assert [entry.position.sequence for entry in ledger.entries()] == [*range(1, count + 1)]
        commit(ledger, debit(count, cost=count + 1))
    assert [entry.debit.cost for entry in ledger.entries()] == [*range(1, 9)]


def test_positions_of_this_history_are_known_and_others_are_not(ledger: Ledger) -> None:
    seen = [ledger.position(), *(commit(ledger, debit(step)).position for step in range(3))]
    assert all(ledger.contains(position) for position in seen)
    for position in seen:
        assert not ledger.contains(replace(position, head="0" * 64))
        assert not ledger.contains(replace(position, epoch=2))
        assert not ledger.contains(replace(position, sequence=position.sequence + 1))


def test_a_closed_ledger_refuses(ledger: Ledger) -> None:
    ledger.close()
    for call in (ledger.position, ledger.verify, lambda: commit(ledger, debit())):
        with pytest.raises(LedgerError, match="closed"):
            call()


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    replies: list[StoredReply] = []
    refused: list[RefusalCode] = []

    def work(name: str) -> None:
        for step in range(10):
            replies.append(commit(ledger, debit(step, run="shared"), vector=name.encode()))
            try:
                commit(ledger, debit(step, study="t", run=name), limit=255)
            except PolicyRefusal as error:
                refused.append(error.code)

    threads = [Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 40
    assert len({reply.reply for reply in replies}) == len({r.vector + r.reply for r in replies})
    assert len({reply.reply for reply in replies}) == 10
    assert ledger.spent("s") == 100
    assert ledger.spent("t") == 250
    assert refused == [RefusalCode.BUDGET_EXHAUSTED] * 15
    ledger.verify()


# --- against an oracle -------------------------------------------------------------------


@dataclass
class Oracle:
    """The rules (docs/design.md, "The ledger") over a plain list of fractions, by scanning it."""

    opened: datetime
    yearly: Fraction
    lifetime: Fraction
    entries: list[tuple[datetime, Debit, Fraction]] = field(default_factory=list)

    def total(self, study: str | None = None, since: datetime | None = None) -> Fraction:
        return sum(
            (
                cost
                for time, debit, cost in self.entries
                if (study is None or debit.study == study) and (since is None or time >= since)
            ),
            Fraction(0),
        )

    def commit(
        self, debit: Debit, cost: Fraction, now: datetime, *, limit: Fraction, attempts: int
    ) -> RefusalCode | str:
        run = [d for _, d, _ in self.entries if (d.study, d.run) == (debit.study, debit.run)]
        if any(d.request == debit.request for d in run):
            return "again"
        reasons = {
            RefusalCode.REPLAY_CHANGED: any(
                (d.step, d.attempt) == (debit.step, debit.attempt) for d in run
            ),
            RefusalCode.STEP_CLOSED: any(d.step > debit.step for d in run),
            RefusalCode.ATTEMPT_CLOSED: any(
                d.step == debit.step and d.attempt > debit.attempt for d in run
            ),
            RefusalCode.TOO_MANY_ATTEMPTS: debit.attempt not in range(attempts),
            RefusalCode.BUDGET_EXHAUSTED: self.total(study=debit.study) + cost > limit
            or self.total(since=now - 365 * DAY) + cost > self.yearly
            or self.total() + cost > self.lifetime,
        }
        for code, applies in reasons.items():
            if applies:
                return code
        times = [time for time, _, _ in self.entries]
        self.entries.append((max([self.opened, now, *times]), debit, cost))
        return "new"


@dataclass(frozen=True)
class Ask:
    """One thing that a coordinator or the calendar does."""

    study: str
    run: str
    step: int
    attempt: int
    variant: str
    mu2: float
    days: int


asks = st.builds(
    Ask,
    study=st.sampled_from("ab"),
    run=st.sampled_from("rq"),
    step=st.integers(0, 4),
    attempt=st.integers(0, 3),
    variant=st.sampled_from(["", "", "", "x"]),
    mu2=st.sampled_from([1e-15, 1e-12, 0.1, 0.25, 1 / 3, 1.0]),
    days=st.sampled_from([0, 0, 0, 1, 90, 364, 365, 366, -200]),
)


def play(path: Path | None, moves: list[Ask], *, reopen: int = 0) -> set[RefusalCode | str]:
    """Let the ledger and the oracle answer the same moves; return the kinds of answers."""
    yearly, lifetime, limit = (to_picomu2(mu2) for mu2 in (1.5, 3.0, 1.2))
    limits = Limits(yearly_picomu2=yearly, lifetime_picomu2=lifetime)
    clock, replies, seen = Clock(START + 1000 * DAY), dict[str, StoredReply](), set()
    oracle = Oracle(
        opened=clock.now, yearly=Fraction(yearly, 10**12), lifetime=Fraction(lifetime, 10**12)
    )
    ledger = open_ledger(path, limits=limits, clock=clock)
    for number, move in enumerate(moves):
        clock.now += move.days * DAY
        cost = to_picomu2(move.mu2)
        asked = debit(
            move.step,
            move.attempt,
            study=move.study,
            run=move.run,
            variant=move.variant,
            cost=cost,
        )
        expected = oracle.commit(
            asked,
            Fraction(cost, 10**12),
            clock.now,
            limit=Fraction(limit, 10**12),
            attempts=3,
        )
        seen.add(expected)
        if isinstance(expected, RefusalCode):
            assert refusal(ledger, asked, limit=limit) is expected
        else:
            reply = commit(ledger, asked, vector=bytes([number]), limit=limit)
            assert (asked.request in replies) == (expected == "again")
            assert replies.setdefault(asked.request, reply) == reply
        assert Fraction(ledger.spent(), 10**12) == oracle.total()
        if reopen and number % reopen == 0:
            ledger.close()
            ledger = open_ledger(path, limits=limits, clock=clock)
    with ledger:
        check_totals(ledger, oracle, clock.now)
    return seen


def check_totals(ledger: Ledger, oracle: Oracle, now: datetime) -> None:
    for study in "ab":
        assert Fraction(ledger.spent(study), 10**12) == oracle.total(study=study)
    for days in (0, 1, 90, 365, 730):
        since = now - days * DAY
        assert Fraction(ledger.spent_since(since), 10**12) == oracle.total(since=since)
    assert [(e.time, e.debit) for e in ledger.entries()] == [(t, d) for t, d, _ in oracle.entries]
    ledger.verify()


@settings(max_examples=60, deadline=None)
@given(st.lists(asks, max_size=25))
def test_the_ledger_answers_as_the_oracle_does(moves: list[Ask]) -> None:
    play(None, moves)


def test_a_ledger_on_disk_answers_as_the_oracle_does(tmp_path: Path) -> None:
    rng = random.Random(11)  # noqa: S311  a fixed seed
    moves = [
        Ask(
            study=rng.choice("ab"),
            run=rng.choice("rq"),
            step=number // 30 + rng.choice([0, 0, 0, 1, 2]),
            attempt=rng.choice([0, 0, 1, 2, 3]),
            variant=rng.choice(["", "", "x"]),
            mu2=rng.choice([1e-15, 1e-12, 0.1, 0.25]),
            days=rng.choice([0, 0, 0, 1, 30, 90, -20]),
        )
        for number in range(200)
    ]
    assert play(tmp_path / "units.ledger", moves, reopen=20) == {
        "new",
        "again",
        RefusalCode.REPLAY_CHANGED,
        RefusalCode.STEP_CLOSED,
        RefusalCode.ATTEMPT_CLOSED,
        RefusalCode.TOO_MANY_ATTEMPTS,
        RefusalCode.BUDGET_EXHAUSTED,
    }
