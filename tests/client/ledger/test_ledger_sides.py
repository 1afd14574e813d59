"""Training and hold-out side by side, against an oracle that keeps each unit's own total.

The oracle knows nothing of sums and maxima: it follows people, one for each way to be split in
all studies, and lets a release pass if nobody who is in it would lose more than a limit.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import WINDOW, Debit, Limits
from fieldfare.client.ledger.freeing import freed_later
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import PeerClaim
from fieldfare.client.ledger.pending import PendingAnswer, Split
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.sides import Side, SideCosts

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
STUDIES: Final = ("a", "b")
LIMIT, YEARLY, LIFETIME = 10, 14, 22


@dataclass
class Person:
    """Somebody who is on one side in each study, and all that was released of them."""

    sides: dict[str, Side]
    lost: list[tuple[datetime, str, int]] = field(default_factory=list)

    def is_in(self, study: str, side: Side) -> bool:
        return side is Side.ALL or self.sides[study] is side

    def total(self, *, study: str | None = None, since: datetime = START - 9999 * DAY) -> int:
        return sum(c for t, s, c in self.lost if t >= since and study in {None, s})


def everybody() -> list[Person]:
    sides = (Side.TRAINING, Side.HOLDOUT)
    return [
        Person(dict(zip(STUDIES, one, strict=True))) for one in product(sides, repeat=len(STUDIES))
    ]


@dataclass(frozen=True)
class Move:
    """What a coordinator asks for, in whatever order, and the days until it does."""

    study: str
    run: str
    side: Side
    cost: int
    days: int


moves = st.builds(
    Move,
    study=st.sampled_from(STUDIES),
    run=st.sampled_from("rq"),
    side=st.sampled_from([Side.TRAINING, Side.HOLDOUT, Side.HOLDOUT, Side.ALL]),
    cost=st.integers(1, 6),
    days=st.sampled_from([0, 0, 0, 100, 300, 366]),
)


def debit_of(move: Move, number: int) -> Debit:
    return Debit(
        study=move.study,
        run=move.run,
        step=number,
        attempt=0,
        kind="anything",
        request=hashlib.sha256(b"%d" % number).hexdigest(),
        cost=move.cost,
        side=move.side,
    )


def commit(ledger: Ledger, debit: Debit, *, limit: int = LIMIT, split: str = "") -> bool:
    """Say whether the ledger lets it pass."""
    try:
        commit_release(
            ledger,
            debit,
            vector=b"masked",
            study_limit=limit,
            max_attempts=1,
            sign=lambda _: b"signed",
            run_states={},
            split=Split(split),
        )
    except PolicyRefusal as refused:
        if refused.code is not RefusalCode.BUDGET_EXHAUSTED:
            raise
        return False
    return True


def opened(path: Path | None, clock: Callable[[], datetime], population: str = "units") -> Ledger:
    limits = Limits(yearly_picomu2=YEARLY, lifetime_picomu2=LIFETIME)
    return Ledger.open(path, population=population, limits=limits, clock=clock)


def play(ledger: Ledger, people: list[Person], asked: list[Move], now: list[datetime]) -> None:
    for number, move in enumerate(asked):
        now[0] += move.days * DAY
        inside = [one for one in people if one.is_in(move.study, move.side)]
        passes = all(
            one.total(study=move.study) + move.cost <= LIMIT
            and one.total(since=now[0] - WINDOW) + move.cost <= YEARLY
            and one.total() + move.cost <= LIFETIME
            for one in inside
        )
        assert commit(ledger, debit_of(move, number)) is passes
        if passes:
            for one in inside:
                one.lost.append((now[0], move.study, move.cost))


@settings(max_examples=80, deadline=None)
@given(st.lists(moves, max_size=30))
def test_the_ledger_passes_what_costs_nobody_more_than_a_limit(asked: list[Move]) -> None:
    people, now = everybody(), [START]
    with opened(None, lambda: now[0]) as ledger:
        play(ledger, people, asked, now)
        worst = max(one.total() for one in people)
        assert ledger.spent() == ledger.position().cumulative == worst
        debits = [entry.debit for entry in ledger.entries()]
        assert ledger.position().debited == sum(one.cost for one in debits)
        for study in STUDIES:
            assert ledger.spent(study) == max(one.total(study=study) for one in people)
        for days in (0, 99, 300, 365, 9999):
            since = now[0] - days * DAY
            assert ledger.spent_since(since) == max(one.total(since=since) for one in people)
        ledger.verify()
        freed, before = freed_later(ledger.history(), now[0]), ledger.spent_since(now[0] - WINDOW)
        assert all(one.picomu2 > 0 for one in freed)
        for one in freed:
            before -= one.picomu2
            since = datetime.combine(one.day, datetime.min.time(), UTC) - WINDOW
            assert before == ledger.spent_since(since)


def test_a_run_may_spend_on_both_sides_all_that_questions_left() -> None:
    """And no order of asking, no second run and no spare evaluation gives more than that."""
    with opened(None, lambda: START) as ledger:
        steps = [Move("a", "r", Side.ALL, 2, 0)] + [Move("a", "r", Side.TRAINING, 4, 0)] * 2
        evaluations = [Move("a", "r", Side.HOLDOUT, 4, 0)] * 2
        totals = []
        for number, move in enumerate([*steps, *evaluations]):
            assert commit(ledger, debit_of(move, number))
            totals.append(ledger.position().cumulative)
        assert totals == [2, 6, 10, 10, 10]  # what the hold-out costs is paid for
        for number, side in enumerate((Side.HOLDOUT, Side.TRAINING, Side.ALL)):
            for run in "rq":
                one = Move("a", run, side, 1, 0)
                assert not commit(ledger, debit_of(one, 10 + 10 * number + (run == "q")))
        assert ledger.costs("a") == SideCosts(all=2, training=8, holdout=8)


def test_two_studies_add_up_since_a_unit_may_change_its_side() -> None:
    with opened(None, lambda: START) as ledger:
        assert commit(ledger, debit_of(Move("a", "r", Side.TRAINING, 7, 0), 0))
        assert commit(ledger, debit_of(Move("b", "r", Side.HOLDOUT, 7, 0), 1))
        assert (
            ledger.spent() == 14
        )  # trained on in a, held out in b: the maximum of sums would be 7
        assert not commit(ledger, debit_of(Move("b", "r", Side.HOLDOUT, 1, 0), 2))


def test_what_an_earlier_version_debited_counts_as_if_it_read_all(tmp_path: Path) -> None:
    """Its entries name no side: the study that it began goes on from their plain sum."""
    old = Debit(study="a", run="r", step=0, attempt=0, kind="training", request="a" * 64, cost=6)
    assert old.side is Side.ALL
    assert "side" not in old.content()
    with opened(tmp_path / "ledger", lambda: START) as ledger:
        assert commit(ledger, old)
        assert commit(ledger, debit_of(Move("a", "r", Side.TRAINING, 4, 0), 1))
        assert commit(ledger, debit_of(Move("a", "r", Side.HOLDOUT, 4, 0), 2))
        assert not commit(ledger, debit_of(Move("a", "r", Side.HOLDOUT, 1, 0), 3))
        assert ledger.position().cumulative == 10


# -- what was lost, split off, or split otherwise --------------------------------------------------


def copied(path: Path, into: Path) -> None:
    into.write_bytes(path.read_bytes())


def test_a_restored_copy_cannot_spend_the_smaller_side_twice(tmp_path: Path) -> None:
    """The lost evaluation raised no total: the sum of debits tells of it all the same."""
    path, kept = tmp_path / "ledger", tmp_path / "kept"
    with opened(path, lambda: START) as ledger:
        assert commit(ledger, debit_of(Move("a", "r", Side.TRAINING, 8, 0), 0))
    copied(path, kept)
    with opened(path, lambda: START) as ledger:
        assert commit(ledger, debit_of(Move("a", "r", Side.HOLDOUT, 8, 0), 1))
        assert ledger.position().cumulative == 8
    copied(kept, path)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    with pytest.raises(LedgerError, match="truncated or restored"):
        opened(path, lambda: START)
    terms = Acceptance(user="ines", reason="disk lost", kept=1, study="a")
    later = START + 300 * DAY
    with RestoredLedger.open(path, population="units", clock=lambda: later) as restored:
        found = restored.accept(terms)
    assert (found.stated.carried, found.position.debited) == (8, 16)
    with opened(path, lambda: later) as ledger:
        assert ledger.spent("a") == 16  # what was lost counts on both sides
        for side, cost in ((Side.TRAINING, 1), (Side.ALL, 1), (Side.HOLDOUT, 3)):
            assert not commit(ledger, debit_of(Move("a", "r", side, cost, 0), 2))
        assert commit(ledger, debit_of(Move("a", "r", Side.HOLDOUT, 2, 0), 2))  # 8 + 2 in truth
    with opened(path, lambda: later + 200 * DAY) as ledger:  # dated to the day of acceptance
        assert ledger.spent_since(later + 200 * DAY - WINDOW) == 8 + 2


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path / "ledger", lambda: START) as ledger:
        yield ledger


def test_a_study_keeps_the_key_and_share_of_its_first_release(on_disk: Ledger) -> None:
    first, second = (debit_of(Move("a", "r", Side.TRAINING, 1, 0), step) for step in (0, 1))
    assert commit(on_disk, first, split="1" * 64)
    for other in ("2" * 64, ""):
        with pytest.raises(LedgerError, match="hold-out key"):
            commit(on_disk, second, split=other)
        with pytest.raises(LedgerError, match="hold-out key"):  # also in another run of it
            commit(on_disk, replace(second, run="q"), split=other)
    assert on_disk.spent() == 1
    assert commit(on_disk, first, split="2" * 64)  # what was answered leaves again, free
    assert commit(on_disk, second, split="1" * 64)
    assert commit(on_disk, replace(second, study="b", request="b" * 64), split="2" * 64)


def test_a_refused_release_binds_no_key(on_disk: Ledger) -> None:
    assert not commit(on_disk, debit_of(Move("a", "r", Side.TRAINING, 99, 0), 0), split="1" * 64)
    assert commit(on_disk, debit_of(Move("a", "r", Side.TRAINING, 9, 0), 0), split="2" * 64)


def test_an_answer_is_not_opened_under_another_key_than_it_was_given_by(on_disk: Ledger) -> None:
    first, second = (debit_of(Move("a", "r", Side.TRAINING, 1, 0), step) for step in (0, 1))
    answer = PendingAnswer(
        study="a",
        run="r",
        step=0,
        attempt=0,
        request=first.request,
        cost=1,
        commitment=b"hidden",
        vector=b"masked",
        seed=b"seed",
    )
    on_disk.keep_waiting(answer, check=lambda _: None, run_states={}, split=Split("1" * 64))
    terms: dict[str, Any] = {"study_limit": LIMIT, "max_attempts": 1}
    with pytest.raises(LedgerError, match="hold-out key"):
        on_disk.commit_waiting(first, sign=lambda *_: b"signed", split=Split("2" * 64), **terms)
    assert on_disk.spent() == 0
    on_disk.commit_waiting(first, sign=lambda *_: b"signed", split=Split("1" * 64), **terms)
    assert commit(on_disk, second, split="1" * 64)


def test_what_peers_opened_counts_where_the_larger_side_is_full(on_disk: Ledger) -> None:
    """A copy's evaluations beside a training that used the limit up: nobody loses more."""
    assert commit(on_disk, debit_of(Move("a", "r", Side.TRAINING, LIMIT, 0), 0))
    opened_there = [debit_of(Move("a", "r", Side.ALL, 4, 0), number) for number in (1, 2)]
    claims = [PeerClaim(debit=one, request=b"R", participants=(), by="b") for one in opened_there]
    with on_disk.peers() as rows:
        assert len(rows.debit_told(claims, "a", LIMIT)) == 2
    assert on_disk.costs("a") == SideCosts(all=8, training=LIMIT)
    assert not commit(on_disk, debit_of(Move("a", "r", Side.HOLDOUT, 3, 0), 3))
    with on_disk.peers() as rows:  # and no more than that
        last = replace(claims[0], debit=debit_of(Move("a", "r", Side.ALL, 6, 0), 4))
        assert rows.debit_told([last], "a", LIMIT) == [last]
        more = replace(claims[0], debit=debit_of(Move("a", "r", Side.ALL, 6, 0), 5))
        assert rows.debit_told([more], "a", LIMIT) == []
    assert on_disk.costs("a") == SideCosts(all=LIMIT, training=LIMIT)
    on_disk.verify()


def test_what_is_stated_counts_on_both_sides_whatever_its_row_says(tmp_path: Path) -> None:
    path, told = tmp_path / "ledger", debit_of(Move("a", "r", Side.ALL, 4, 0), 0)
    with opened(path, lambda: START) as ledger, ledger.peers() as rows:
        rows.debit_told([PeerClaim(debit=told, request=b"R", participants=(), by="b")], "a", LIMIT)
    with closing(sqlite3.connect(path)) as stranger:
        stranger.execute("DROP TRIGGER entries_UPDATE")
        stranger.execute("UPDATE entries SET side = 'holdout'")
        stranger.commit()
    with opened(path, lambda: START) as ledger:  # no hash holds it, and no total rests on it
        assert ledger.costs("a") == ledger.costs_since(START)["a"] == SideCosts(all=4)
