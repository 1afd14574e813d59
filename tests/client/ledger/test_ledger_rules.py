"""Each refusal has its own reason, and the order of reasons is fixed."""

from dataclasses import replace

import pytest

from fieldfare.client.ledger.budget import Debit, LedgerBalance, Limits, Portion, check_debit
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.sides import Side, SideCosts

DEBIT = Debit(study="s", run="r", step=5, attempt=1, kind="training", request="a" * 64, cost=10)
FREE = LedgerBalance(
    occupant=None, last=(5, 0), study=SideCosts(), yearly_total=0, lifetime_total=0
)
LIMITS = Limits(yearly_picomu2=100, lifetime_picomu2=1000)


def check(balance: LedgerBalance, *, debit: Debit = DEBIT, attempts: int = 3) -> None:
    check_debit(debit, balance, LIMITS, study_limit=50, max_attempts=attempts)


def refusal(balance: LedgerBalance, *, debit: Debit = DEBIT, attempts: int = 3) -> RefusalCode:
    with pytest.raises(PolicyRefusal, match=r"expected .*, found ") as caught:
        check(balance, debit=debit, attempts=attempts)
    return caught.value.code


@pytest.mark.parametrize(
    "balance",
    [
        FREE,
        replace(FREE, last=None),
        replace(FREE, last=(5, 1)),
        replace(FREE, last=(4, 7)),
        replace(
            FREE, study=SideCosts(all=40), yearly_total=90, lifetime_total=990
        ),  # to the last unit
    ],
)
def test_what_is_in_order_and_affordable_passes(balance: LedgerBalance) -> None:
    check(balance)


@pytest.mark.parametrize(
    ("balance", "code"),
    [
        (replace(FREE, occupant="b" * 64), RefusalCode.REPLAY_CHANGED),
        (replace(FREE, last=(6, 0)), RefusalCode.STEP_CLOSED),
        (replace(FREE, last=(5, 2)), RefusalCode.ATTEMPT_CLOSED),
        (replace(FREE, study=SideCosts(all=41)), RefusalCode.BUDGET_EXHAUSTED),
        (replace(FREE, yearly_total=91), RefusalCode.BUDGET_EXHAUSTED),
        (replace(FREE, lifetime_total=991), RefusalCode.BUDGET_EXHAUSTED),
    ],
)
def test_each_rule_refuses_with_its_code(balance: LedgerBalance, code: RefusalCode) -> None:
    assert refusal(balance) is code


def test_each_side_of_a_study_has_what_all_units_leave() -> None:
    """Q 20 and T 30 are all of the study's 50: the hold-out still has 30, training nothing."""
    spent = SideCosts(all=20, training=30, holdout=20)
    balance = replace(
        FREE,
        study=spent,
        study_in_year=spent,
        study_ever=spent,
        yearly_total=90 + 10,
        lifetime_total=1000,
    )
    check(balance, debit=replace(DEBIT, side=Side.HOLDOUT))
    dearer = replace(DEBIT, side=Side.HOLDOUT, cost=11)
    for debit in (dearer, replace(DEBIT, side=Side.TRAINING), DEBIT):
        assert refusal(balance, debit=debit) is RefusalCode.BUDGET_EXHAUSTED


def test_a_part_of_a_study_has_a_limit_of_its_own() -> None:
    portion = Portion(first_step=4, picomu2=25)
    terms = {"study_limit": 50, "max_attempts": 3}
    check_debit(DEBIT, replace(FREE, portion_total=15), LIMITS, portion=portion, **terms)
    with pytest.raises(PolicyRefusal, match="the allowance") as caught:
        check_debit(DEBIT, replace(FREE, portion_total=16), LIMITS, portion=portion, **terms)
    assert caught.value.code is RefusalCode.BUDGET_EXHAUSTED
    with pytest.raises(LedgerError):
        Portion(first_step=-1, picomu2=1)


def test_attempts_count_from_zero() -> None:
    check(FREE, attempts=2)
    assert refusal(FREE, attempts=1) is RefusalCode.TOO_MANY_ATTEMPTS
    assert refusal(FREE, debit=replace(DEBIT, attempt=0), attempts=0) is (
        RefusalCode.TOO_MANY_ATTEMPTS
    )


def test_the_first_reason_that_applies_is_given() -> None:
    everything = LedgerBalance(
        occupant="b" * 64,
        last=(6, 0),
        study=SideCosts(all=99),
        yearly_total=999,
        lifetime_total=9999,
    )
    assert refusal(everything, attempts=0) is RefusalCode.REPLAY_CHANGED
    assert refusal(replace(everything, occupant=None), attempts=0) is RefusalCode.STEP_CLOSED
    closed = replace(everything, occupant=None, last=(5, 2))
    assert refusal(closed, attempts=0) is RefusalCode.ATTEMPT_CLOSED
    spent = replace(closed, last=None)
    assert refusal(spent, attempts=0) is RefusalCode.TOO_MANY_ATTEMPTS
    assert refusal(spent) is RefusalCode.BUDGET_EXHAUSTED


def test_an_exhausted_budget_says_which_limit_and_what_is_left() -> None:
    with pytest.raises(PolicyRefusal, match=r"at most 9e-12 of mu\^2.*365 days.*costs 1e-11"):
        check(replace(FREE, yearly_total=91))
