"""A lost hold-out key: it costs what units may lose on other sides, and never less."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import WINDOW, Debit, Limits
from fieldfare.client.ledger.chain import Statement, StatementDraft, StatementKind
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.pending import PendingAnswer, Split
from fieldfare.client.ledger.schema import LEDGER
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.sqlite.database import Database

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
TERMS: Final[dict[str, Any]] = {"study_limit": 10**6, "max_attempts": 1}
SAID: Final = {"user": "ines", "reason": "the disk with the key failed"}


def open_ledger(path: Path | None = None, now: list[datetime] | None = None) -> Ledger:
    limits = Limits(yearly_picomu2=10**6, lifetime_picomu2=10**6)
    dates = now or [START]
    return Ledger.open(path, population="units", limits=limits, clock=lambda: dates[0])


def debit(step: int, side: Side, cost: int = 10, study: str = "s") -> Debit:
    hashed = hashlib.sha256(f"{study}{step}".encode()).hexdigest()
    return Debit(
        study=study, run="r", step=step, attempt=0, kind="any", request=hashed, cost=cost, side=side
    )


def spend(ledger: Ledger, one: Debit, split: str = "1" * 64, ids: bytes = b"") -> None:
    states: dict[str, bytes] = {}
    by = Split(split, ids)
    commit_release(
        ledger, one, vector=b"v", sign=lambda _: b"signed", run_states=states, split=by, **TERMS
    )


def keep(ledger: Ledger, one: Debit, split: Split) -> None:
    """Commit to an answer that waits for its opening."""
    answer = PendingAnswer(
        study="s",
        run="r",
        step=one.step,
        attempt=0,
        request=one.request,
        cost=10,
        commitment=b"c",
        vector=b"v",
        seed=b"s" * 32,
    )
    ledger.keep_waiting(answer, check=lambda _: None, run_states={}, split=split)


def forget_split(ledger: Ledger) -> list[Statement]:
    with ledger.splits() as splits:
        return splits.forget(**SAID)


def test_questions_are_answered_under_any_key() -> None:
    with open_ledger() as ledger:
        spend(ledger, debit(0, Side.ALL))
        spend(ledger, debit(1, Side.ALL), split="2" * 64)  # bound to no key by the first
        spend(ledger, debit(2, Side.TRAINING))
        for side in (Side.TRAINING, Side.HOLDOUT):
            with pytest.raises(LedgerError, match="holdout-key"):
                spend(ledger, debit(3, side), split="2" * 64)
        spend(ledger, debit(3, Side.ALL), split="2" * 64)
        assert ledger.spent() == 40


def test_a_study_goes_on_under_another_key_once_the_loss_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with open_ledger(path) as ledger:
        spend(ledger, debit(0, Side.TRAINING, 30))
        spend(ledger, debit(1, Side.HOLDOUT, 20))
        spend(ledger, debit(0, Side.ALL, study="only questions"))
        (stated,) = forget_split(ledger)
        assert (stated.stated.study, stated.stated.carried) == ("s", 20)  # the evaluation led by 20
        assert forget_split(ledger) == []  # repeated after a crash
        spend(ledger, debit(2, Side.HOLDOUT, 25), split="2" * 64)
        assert ledger.spent("s") == 20 + 45
        with pytest.raises(LedgerError, match="hold-out key"):
            spend(ledger, debit(3, Side.HOLDOUT), split="1" * 64)
        with pytest.raises(LedgerError, match="hold-out key"):  # what waits was made by one key
            spend(ledger, debit(3, Side.TRAINING), split="3" * 64)
        assert [one.stated.carried for one in forget_split(ledger)] == [45]
        spend(ledger, debit(3, Side.TRAINING), split="3" * 64)
    with open_ledger(path) as ledger:
        ledger.verify()
        kinds = [one.stated.kind for one in ledger.history() if not hasattr(one, "debit")]
        assert kinds == [StatementKind.HOLDOUT] * 2


def test_what_waits_under_the_lost_key_is_destroyed() -> None:
    with open_ledger() as ledger:
        keep(ledger, debit(0, Side.TRAINING), Split("1" * 64))
        assert [found.stated.carried for found in forget_split(ledger)] == [0]
        assert ledger.waiting("s", "r") is None


def test_what_was_debited_under_a_smaller_multiplicity_counts_as_it_does_now() -> None:
    with open_ledger() as ledger:
        spend(ledger, debit(0, Side.TRAINING, 10))
        ledger.recount(2, before=1, **SAID)
        spend(ledger, debit(1, Side.HOLDOUT, 40))
        (stated,) = forget_split(ledger)
        assert stated.stated.carried == 40  # of the newest entries alone
        spend(ledger, debit(2, Side.TRAINING, 10), split="2" * 64)
        assert ledger.spent() >= 40 + 10


@dataclass(frozen=True)
class Move:
    """A release of one side after some days, or with no cost the loss of the key."""

    side: Side
    cost: int
    days: int


MOVES: Final = st.builds(
    Move,
    side=st.sampled_from([Side.TRAINING, Side.HOLDOUT, Side.ALL]),
    cost=st.sampled_from([0, 1, 2, 3, 5]),
    days=st.sampled_from([0, 1, 100, 200]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MOVES, max_size=10))
def test_nobody_loses_more_than_the_ledger_counts_in_any_window(moves: list[Move]) -> None:
    now, keys = [START], 1
    lost: list[tuple[datetime, Side, int, int]] = []
    with open_ledger(None, now) as ledger:
        for step, move in enumerate(moves):
            now[0] += move.days * DAY
            if not move.cost:
                forget_split(ledger)
                keys += 1
                continue
            spend(ledger, debit(step, move.side, move.cost), split=f"{keys}" * 64)
            lost.append((now[0], move.side, move.cost, keys - 1))
        windows = {START, now[0] - WINDOW, *(when for when, *_ in lost)}
        counted = {since: ledger.spent_since(since) for since in windows}
    for sides in product((Side.TRAINING, Side.HOLDOUT), repeat=min(keys, 8)):
        for since in windows:
            own = sum(
                cost
                for when, side, cost, key in lost
                if when >= since and side in {Side.ALL, sides[min(key, 7)]}
            )
            assert own <= counted[since]


# -- ids ------------------------------------------------------------------------------------------


def ids(ledger: Ledger, split: str = "1" * 64) -> bytes:
    with ledger.splits() as splits:
        return splits.ids("s", split)


def test_the_first_answer_of_one_side_keeps_a_sketch_of_its_ids(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger") as ledger:
        spend(ledger, debit(0, Side.ALL), ids=b"of all")
        assert ids(ledger) == b""
        spend(ledger, debit(1, Side.TRAINING))  # of nobody
        assert ids(ledger) == b""
        spend(ledger, debit(2, Side.HOLDOUT), ids=b"first")
        spend(ledger, debit(3, Side.TRAINING), ids=b"later")
    with open_ledger(tmp_path / "ledger") as ledger:
        assert ids(ledger) == b"first"
        assert ids(ledger, "2" * 64) == b""  # hashes under another key tell nothing of it


def test_an_answer_that_waits_keeps_them_too() -> None:
    one = debit(0, Side.TRAINING)
    with open_ledger() as ledger:
        keep(ledger, one, Split("1" * 64, b"first"))
        assert ids(ledger) == b"first"


def test_other_sides_begin_with_other_ids(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger") as ledger:
        spend(ledger, debit(0, Side.TRAINING, 30), ids=b"first")
        forget_split(ledger)
        assert ids(ledger) == b""
        spend(ledger, debit(1, Side.HOLDOUT, 20), ids=b"named anew")
        assert ids(ledger) == b"named anew"
        assert ledger.spent("s") == 30 + 30  # somebody may have lost 50


def test_a_persons_word_on_ids_is_a_statement_that_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with open_ledger(path) as ledger:
        spend(ledger, debit(0, Side.TRAINING, 30), ids=b"first")
        before, costs = ledger.position(), ledger.costs("s")
        with ledger.splits() as splits:
            splits.confirm_ids("s", Split("1" * 64, b"others"), **SAID)
        assert (ids(ledger), ledger.costs("s")) == (b"others", costs)
        after = ledger.position()
        assert (after.sequence, after.epoch) == (before.sequence + 1, before.epoch)
        for study, split in (("s", "2" * 64), ("unknown", "1" * 64)):
            with pytest.raises(LedgerError, match="nothing to confirm"), ledger.splits() as splits:
                splits.confirm_ids(study, Split(split, b"lies"), **SAID)
        assert ids(ledger) == b"others"
        assert ledger.position() == after
    with open_ledger(path) as ledger:
        ledger.verify()
        kinds = [one.stated.kind for one in ledger.history() if not hasattr(one, "debit")]
        assert kinds == [StatementKind.IDS]


def test_a_persons_word_on_ids_carries_nothing_over() -> None:
    with pytest.raises(LedgerError, match="terms of a statement"):
        StatementDraft(kind=StatementKind.IDS, user="ines", reason="a branch", study="s", carried=1)


def test_a_ledger_of_today_keeps_ids_from_its_next_answer_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Database(replace(LEDGER, migrations=LEDGER.migrations[:2]), path, busy_seconds=1) as old:
        old.rows("INSERT INTO ledger VALUES (1, 'units', 0)")
        old.rows("INSERT INTO sides VALUES ('s', ?)", "1" * 64)
    with open_ledger(path) as ledger:
        assert ids(ledger) == b""
        spend(ledger, debit(0, Side.TRAINING), ids=b"first")
        assert ids(ledger) == b"first"
