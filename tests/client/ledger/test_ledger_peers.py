"""What peers tell a ledger: debited once, in every limit, and in the chain for good."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import Debit, Limits, Portion
from fieldfare.client.ledger.chain import Statement, StatementDraft, StatementKind
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import MOST_FORKS, Fork, PeerClaim
from fieldfare.client.ledger.pending import PendingAnswer
from fieldfare.client.ledger.rows import Store
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.sides import Side

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT: Final = 100
NAMES: Final = ("a", "b", "c")


def open_ledger(path: Path | None = None) -> Ledger:
    limits = Limits(yearly_picomu2=1_000, lifetime_picomu2=2_000)
    return Ledger.open(path, population="units", limits=limits, clock=lambda: NOW)


def debit(step: int = 0, attempt: int = 0, *, cost: int = 10, run: str = "r") -> Debit:
    request = hashlib.sha256(f"{run}{step}{attempt}".encode()).hexdigest()
    return Debit(
        study="s", run=run, step=step, attempt=attempt, kind="training", request=request, cost=cost
    )


def told(one: Debit) -> PeerClaim:
    return PeerClaim(debit=one, request=one.request.encode(), participants=NAMES, by="b, c")


def tell(ledger: Ledger, *debits: Debit, limit: int = LIMIT) -> list[PeerClaim]:
    with ledger.peers() as rows:
        return rows.debit_told([told(one) for one in debits], "s", limit)


def admit(ledger: Ledger, one: Debit, **changes: object) -> None:
    limits: dict[str, object] = {"study_limit": LIMIT, "max_attempts": 2, "max_tries": 9}
    ledger.admit(one, **limits | changes)  # type: ignore[arg-type]


def spend(ledger: Ledger, one: Debit) -> None:
    commit_release(
        ledger,
        one,
        vector=b"v",
        study_limit=LIMIT,
        max_attempts=9,
        sign=lambda position: position.head.encode(),
        run_states={},
        asked=b"R",
    )


def test_it_counts_as_a_debit_does_and_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with open_ledger(path) as ledger:
        spend(ledger, debit(0))
        new = tell(ledger, debit(0), debit(1), debit(2))
        assert [one.debit.step for one in new] == [1, 2]
        assert tell(ledger, debit(0), debit(1), debit(2)) == []
        assert ledger.spent("s") == ledger.spent() == ledger.spent_since(NOW) == 30
        assert (ledger.position().sequence, ledger.position().cumulative) == (3, 30)
    with open_ledger(path) as ledger:  # recomputed, and held against its witness
        ledger.verify()
        stated = [one.stated for one in ledger.history() if isinstance(one, Statement)]
        assert [one.kind for one in stated] == [StatementKind.PEERS] * 2
        assert [(one.debit, one.carried) for one in stated] == [(debit(1), 10), (debit(2), 10)]
        assert {one.reason for one in stated} == {"opened by b, c"}
        with ledger.peers() as rows:
            assert rows.requests("s") == [b"R", *(debit(n).request.encode() for n in (2, 1))]
        assert ledger.fixed("s") == NAMES


def test_what_was_told_is_not_answered_and_closes_what_came_before() -> None:
    with open_ledger() as ledger:
        tell(ledger, debit(3, 1))
        for refused, code in (
            (debit(3, 1), RefusalCode.ATTEMPT_CLOSED),
            (debit(2, 0), RefusalCode.STEP_CLOSED),
            (debit(3, 0), RefusalCode.ATTEMPT_CLOSED),
        ):
            with pytest.raises(PolicyRefusal) as caught:
                admit(ledger, refused)
            assert caught.value.code is code
        admit(ledger, debit(3, 2))
        admit(ledger, debit(0, run="other"))
        tell(ledger, debit(3, 2))
        with pytest.raises(PolicyRefusal) as caught:  # two attempts were paid for
            admit(ledger, debit(3, 3))
        assert caught.value.code is RefusalCode.TOO_MANY_ATTEMPTS


def test_it_uses_up_the_part_that_is_set_apart_for_questions() -> None:
    with open_ledger() as ledger:
        tell(ledger, debit(5, cost=30), debit(1, cost=30))
        admit(ledger, debit(6), portion=Portion(first_step=5, picomu2=40))
        with pytest.raises(PolicyRefusal, match="the allowance"):
            admit(ledger, debit(6), portion=Portion(first_step=5, picomu2=39))


def test_it_ends_at_the_studys_limit_and_what_others_spent_is_no_part_of_it() -> None:
    with open_ledger() as ledger:
        spend(ledger, debit(0, cost=50))
        commit_release(ledger,
            Debit(
                study="other", run="r", step=0, attempt=0, kind="training",
                request="1" * 64, cost=500,
            ),
            vector=b"v", study_limit=1_000, max_attempts=1, sign=lambda _: b"", run_states={},
        )  # fmt: skip
        tell(ledger, *(debit(n, cost=30) for n in range(1, 9)))
        assert ledger.spent("s") == LIMIT
        assert ledger.spent() == 500 + LIMIT
        assert tell(ledger, debit(9)) == []
        with pytest.raises(PolicyRefusal) as caught:
            admit(ledger, debit(9))
        assert caught.value.code is RefusalCode.BUDGET_EXHAUSTED


def test_what_waits_for_its_opening_is_destroyed_with_its_seed(tmp_path: Path) -> None:
    path, seed = tmp_path / "ledger", b"seed of thirty-two bytes........"
    with open_ledger(path) as ledger:
        for one in (debit(1), debit(1, run="other")):
            ledger.keep_waiting(
                PendingAnswer(
                    study="s",
                    run=one.run,
                    step=1,
                    attempt=0,
                    request=one.request,
                    cost=10,
                    commitment=b"c",
                    vector=b"v",
                    seed=seed if one.run == "r" else b"another",
                ),
                check=lambda _: None,
                run_states={},
            )
        tell(ledger, debit(1))
        assert ledger.waiting("s", "r") is None
        assert ledger.waiting("s", "other") is not None
    assert not any(seed in file.read_bytes() for file in tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_nothing() -> None:
    def fails(ledger: Ledger) -> None:
        with ledger.peers() as rows:
            rows.debit_told([told(debit())], "s", LIMIT)
            raise LedgerError("the log cannot be written")

    with open_ledger() as ledger:
        with pytest.raises(LedgerError, match="the log"):
            fails(ledger)
        assert ledger.position().sequence == 0


def test_a_statement_of_peers_has_a_debit_and_no_other_has() -> None:
    common = {"user": "custodian", "reason": "opened by b"}
    for wrong in (
        {"kind": StatementKind.PEERS},
        {"kind": StatementKind.PEERS, "debit": debit(), "study": "s", "carried": 11},
        {"kind": StatementKind.PEERS, "debit": debit(), "study": "t", "carried": 10},
        {"kind": StatementKind.PEERS, "debit": debit(), "study": "s", "population": "p"},
        {"kind": StatementKind.EPOCH, "debit": debit(), "study": "s"},
        {"kind": StatementKind.UNIT, "population": "p", "unit": "u", "carried": 1},
    ):
        with pytest.raises(LedgerError):
            StatementDraft(**common | wrong)


def test_proofs_and_replies_are_kept(tmp_path: Path) -> None:
    path, fork = tmp_path / "ledger", Fork("b", 1, 7, b"one", b"other")
    with open_ledger(path) as ledger:
        with ledger.peers() as rows:
            assert rows.put_fork(fork)
            assert not rows.put_fork(Fork("b", 1, 7, b"one", b"a third"))
            for reply in (b"first", b"second"):
                rows.put_replies({"b": reply})
            rows.put_replies({"c": b"of another one"})
        ledger.forget_runs("s")
    with open_ledger(path) as ledger, ledger.peers() as rows:
        assert rows.forks() == [fork]
        assert rows.replies() == {"b": b"second", "c": b"of another one"}


def test_many_are_debited_without_reading_all_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand took 10 s of processor, with the ledger locked; a study may have more."""
    reads, whole = [0], Store.statements

    def counted(store: Store) -> list[Statement]:
        reads[0] += 1
        return whole(store)

    monkeypatch.setattr(Store, "statements", counted)
    with open_ledger() as ledger:
        before = reads[0]
        new = tell(ledger, *(debit(step) for step in range(60)), limit=600)
        assert len(new) == 60
        assert reads[0] - before < 5


def test_a_member_that_signs_ever_new_contradictions_fills_no_disk() -> None:
    forks = [Fork("b", 1, place, b"one", b"other") for place in range(MOST_FORKS + 5)]
    with open_ledger() as ledger, ledger.peers() as rows:
        assert [rows.put_fork(one) for one in forks] == [True] * MOST_FORKS + [False] * 5
        assert rows.put_fork(Fork("c", 1, 1, b"one", b"other"))
        assert len(rows.forks()) == MOST_FORKS + 1


SPENT: Final = st.tuples(
    st.sampled_from([Side.TRAINING, Side.HOLDOUT, Side.ALL]), st.integers(1, 50)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SPENT, max_size=6), st.lists(st.integers(1, 60), max_size=6), SPENT)
def test_it_adds_no_more_than_the_smaller_side_has_left(
    own: list[tuple[Side, int]], others: list[int], more: tuple[Side, int]
) -> None:
    with open_ledger() as ledger:
        for step, (side, cost) in enumerate(own):
            with suppress(PolicyRefusal):
                spend(ledger, replace(debit(step, cost=cost), side=side))
        before = ledger.costs("s")
        lead = abs(before.training - before.holdout)
        new = tell(ledger, *(debit(20 + n, cost=cost) for n, cost in enumerate(others)))
        assert ledger.spent("s") <= LIMIT + lead <= 2 * LIMIT
        if sum(others) > sum(one.debit.cost for one in new) or ledger.spent("s") > LIMIT + lead - 1:
            for side in (Side.TRAINING, Side.HOLDOUT):  # what was not counted has ended the study
                with pytest.raises(PolicyRefusal):
                    spend(ledger, replace(debit(40, cost=50), side=side))
        with suppress(PolicyRefusal):
            spend(ledger, replace(debit(41, cost=more[1]), side=more[0]))
        assert ledger.spent("s") <= LIMIT + lead
