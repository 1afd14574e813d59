from typing import Any

import pytest
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.audit.evidence import LedgerTrail, RunSpending
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.sides import Side, SideCosts
from fieldfare.shared.protocol.messages import Reply
from fieldfare.shared.transcript.leaves import LeafKind

COST = 100
H = "0" * 64


def reply(number: int, **changes: Any) -> Reply:
    total = changes.get("cumulative", number * COST)
    fields: dict[str, Any] = {
        "request": f"{number:064x}",
        "institution": "bank-a",
        "answer": H,
        "vector": H,
        "debit": COST,
        "ledger_sequence": number,
        "ledger_head": f"{number:064x}",
        "cumulative": total,
        "debited": total,  # what every debit raises by itself
        "epoch": 1,
    }
    return Reply(**(fields | changes))


def taken(*replies: Reply, limit: int = 10**6, side: Side = Side.ALL) -> LedgerTrail:
    trail = LedgerTrail(limit)
    for one in replies:
        trail.take(one, str(one).encode(), side, one.debit)
    return trail


def spent(releases: int = 0, debits: int = 0, **more: Any) -> RunSpending:
    return RunSpending(releases=releases, costs=SideCosts(all=debits), **more)


def test_debits_are_added_up() -> None:
    trail = taken(reply(1), reply(2), reply(1, institution="bank-b"))
    assert trail.spent == {
        "bank-a": spent(2, 2 * COST),
        "bank-b": spent(1, COST),
    }


def test_the_same_answer_again_costs_nothing() -> None:
    trail = taken(reply(1), reply(2), reply(1))
    assert trail.spent["bank-a"].debits == 2 * COST


def test_another_answer_to_the_same_request_is_refused() -> None:
    with pytest.raises(ProtocolError, match="the same answer"):
        taken(reply(1), reply(1, ledger_sequence=2, cumulative=2 * COST))


def test_a_rehearsal_moves_nothing() -> None:
    free = reply(7, debit=0, ledger_sequence=4, cumulative=900, ledger_head="4" * 64)
    again = reply(8, debit=0, ledger_sequence=4, cumulative=900, ledger_head="4" * 64)
    paid = reply(9, ledger_sequence=5, cumulative=900 + COST)
    assert taken(free, again, paid).spent["bank-a"] == spent(1, COST)


def test_a_rehearsal_is_answered_anew_each_time() -> None:
    first = reply(7, debit=0, ledger_sequence=4, cumulative=900)
    again = reply(7, debit=0, ledger_sequence=5, cumulative=950, ledger_head="5" * 64)
    assert taken(first, again).spent["bank-a"] == RunSpending(elsewhere=50)


def test_other_runs_may_debit_in_between() -> None:
    trail = taken(reply(1), reply(2, ledger_sequence=5, cumulative=900))
    expected = spent(2, 2 * COST, elsewhere=900 - 2 * COST)
    assert trail.spent["bank-a"] == expected


def test_what_was_debited_before_the_run_is_not_counted() -> None:
    trail = taken(reply(9, cumulative=10**5))
    assert trail.spent["bank-a"] == spent(1, COST)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"ledger_sequence": 1}, "went back"),
        ({"ledger_sequence": 0}, "went back"),
        ({"cumulative": COST}, "a debit is missing"),
        ({"cumulative": 2 * COST + 1}, "the last debits and this one"),
        ({"ledger_sequence": 5, "cumulative": COST + 1}, "a debit is missing"),
        ({"ledger_head": f"{1:064x}"}, "another head"),
        ({"debit": 0, "ledger_sequence": 1, "cumulative": COST}, "head where it did not move"),
        (
            {"debit": 0, "ledger_sequence": 1, "ledger_head": f"{1:064x}", "cumulative": COST + 1},
            "the last debits",
        ),
    ],
)
def test_a_ledger_only_goes_forward(second: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        taken(reply(1), reply(2, **second))


@pytest.mark.parametrize("first", [{"ledger_sequence": 0}, {"cumulative": COST - 1}])
def test_the_first_reply_counts_its_own_debit(first: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        taken(reply(1, **first))


def test_another_debit_than_the_plans_is_refused() -> None:
    with pytest.raises(ProtocolError, match="expected the plan's debit: 100; found: 99"):
        LedgerTrail(10**6).take(reply(1, debit=99), b"", Side.ALL, COST)


def test_more_than_the_study_allows_is_refused() -> None:
    taken(reply(1), reply(2), limit=2 * COST)
    with pytest.raises(ProtocolError, match="at most 199e-12"):
        taken(reply(1), reply(2), limit=2 * COST - 1)


def test_the_smaller_side_raises_no_total() -> None:
    trail = taken(reply(1), side=Side.TRAINING)
    second = reply(2, cumulative=COST, debited=2 * COST)
    trail.take(second, b"second", Side.HOLDOUT, COST)
    assert trail.spent["bank-a"].costs == SideCosts(training=COST, holdout=COST)
    assert trail.spent["bank-a"].debits == COST


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"cumulative": 2 * COST}, "the study's total: 100; found: 200"),
        ({"cumulative": COST - 1, "debited": 2 * COST}, "the study's total"),
        ({"cumulative": COST, "debited": COST}, "a debit is missing"),
        ({"cumulative": 500, "debited": 499, "ledger_sequence": 4}, "more than was debited"),
        ({"cumulative": COST - 1, "debited": 499, "ledger_sequence": 4}, "a debit is missing"),
    ],
)
def test_a_total_that_no_sides_come_to_is_refused(second: dict[str, Any], reason: str) -> None:
    trail = taken(reply(1), side=Side.TRAINING)
    with pytest.raises(ProtocolError, match=reason):
        trail.take(reply(2, **second), b"second", Side.HOLDOUT, COST)


def test_what_was_asked_is_the_most_that_may_have_been_spent() -> None:
    trail = taken(reply(1))
    trail.ask("bank-a", Side.ALL, COST)
    trail.ask("bank-a", Side.ALL, COST)
    trail.ask("bank-b", Side.HOLDOUT, COST)
    assert trail.spent["bank-a"] == spent(1, COST, asked=SideCosts(all=2 * COST))
    assert trail.spent["bank-b"] == RunSpending(asked=SideCosts(holdout=COST))


@pytest.mark.parametrize(
    "changes", [{"ledger_sequence": 0}, {"cumulative": 0}, {"ledger_sequence": 1, "cumulative": 1}]
)
def test_a_real_ledger_that_goes_back_is_named(recorded: Recorder, changes: dict[str, Any]) -> None:
    at = recorded.find(LeafKind.REPLY, -1)
    found = recorded.misfit_with(at, recorded.forged(at, Reply, **changes))
    assert (found.leaf, found.institution) == (at, "bank-d")
