"""Differencing: it works where nothing is in its way; noise and fixed sets are in its way."""

from functools import cache

import pytest

from fieldfare.simulations.attacks.differencing import DifferencingTask, differencing
from fieldfare.simulations.attacks.finding import Finding


@cache
def found(epsilon: float = 1.0) -> list[Finding]:
    return list(differencing(DifferencingTask(epsilon=epsilon, trials=300)))


def test_two_answers_without_noise_tell_the_unit_and_with_noise_what_was_debited() -> None:
    bare, noised = found()[:2]
    assert bare.figure("AUROC").value == bare.figure("TPR - FPR").value == 1.0
    area = noised.figure("AUROC")
    assert area.interval is not None
    assert area.ceiling is not None
    assert area.interval[0] <= area.ceiling < 0.58
    assert 0.5 < noised.figure("epsilon debited for both").value < 1.0


def test_with_little_noise_the_attack_comes_to_its_ceiling() -> None:
    area = found(20.0)[1].figure("AUROC")
    assert area.interval is not None
    assert area.ceiling is not None
    assert area.value > 0.8
    assert area.interval[0] <= area.ceiling


def test_real_custodians_answer_twice_where_anybody_may_be_left_out() -> None:
    """H1: without noise the one left out is told to the unit."""
    bare, noised = found()[2:4]
    for one in (bare, noised):
        assert one.figure("custodians that answered both").value == 3
        assert one.figure("sums that can be read").value == 2
        assert one.figure("epsilon debited for both sums").value == pytest.approx(1.0, abs=0.01)
    true = bare.figure("true cases of the one left out").value
    assert true > 20
    assert bare.figure("cases of the one left out").value == true
    said = noised.figure("cases of the one left out")
    assert said.value != true
    assert said.interval is not None
    assert said.interval[0] < true < said.interval[1]


@pytest.mark.parametrize("place", [4, 5])
def test_real_custodians_refuse_where_the_set_is_fixed(place: int) -> None:
    one = found()[place]
    assert "fixed" in one.attack
    assert one.figure("custodians that refused").value == 3
    assert one.figure("custodians that answered both").value == 0
    assert one.figure("sums that can be read").value == 1
