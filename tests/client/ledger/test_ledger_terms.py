"""Amounts are exact, rounded in the safe direction, and refused when they cannot be."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.ledger.budget import (
    MAX_PICOMU2,
    PICOMU2_PER_MU2,
    Debit,
    Limits,
    from_picomu2,
    present,
    to_picomu2,
)
from fieldfare.shared.errors import AccountingError, LedgerError
from fieldfare.shared.protocol import plan

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
DEBIT = Debit(study="s", run="r", step=0, attempt=0, kind="training", request="0" * 64, cost=1)


@given(st.floats(min_value=0, max_value=9e3))
def test_rounding_up_never_loses_a_spend(mu2: float) -> None:
    units = to_picomu2(mu2)
    exact = Fraction(mu2) * 10**12
    assert exact <= units < exact + 1
    assert from_picomu2(units) >= mu2


@pytest.mark.parametrize(
    ("mu2", "units"),
    [
        (0.0, 0),
        (-0.0, 0),
        (math.ulp(0.0), 1),
        (1e-12, 1),
        (1.0, 10**12),
        (0.1, 100_000_000_001),  # the float 0.1 is a little more than a tenth
        (9e3, MAX_PICOMU2),
    ],
)
def test_known_amounts(mu2: float, units: int) -> None:
    assert to_picomu2(mu2) == units


@pytest.mark.parametrize(
    "mu2", [math.nan, math.inf, -math.inf, -1e-300, math.nextafter(9e3, math.inf), 1e300]
)
def test_what_is_no_amount_is_refused(mu2: float) -> None:
    with pytest.raises(AccountingError, match="expected mu"):
        to_picomu2(mu2)


def test_every_amount_is_exact_in_canonical_json() -> None:
    assert MAX_PICOMU2 < 2**53


def test_the_plan_counts_in_the_same_unit() -> None:
    assert plan.PICOMU2 == PICOMU2_PER_MU2


@pytest.mark.parametrize("limit", [-1, MAX_PICOMU2 + 1, 1.0, True, None])
def test_a_limit_is_an_amount(limit: object) -> None:
    with pytest.raises(LedgerError, match="yearly"):
        Limits(yearly_picomu2=limit, lifetime_picomu2=1)  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match="lifetime"):
        Limits(yearly_picomu2=1, lifetime_picomu2=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cost", 0),
        ("cost", -1),
        ("cost", MAX_PICOMU2 + 1),
        ("cost", 1.0),
        ("step", -1),
        ("step", True),
        ("attempt", -1),
        ("study", ""),
        ("run", "x" * 257),
        ("run", "a\x00b"),
        ("kind", "\ud800"),
        ("kind", 3),
        ("request", "0" * 63),
        ("request", "A" * 64),
        ("request", "0" * 64 + "\n"),
    ],
)
def test_a_debit_that_cannot_stand_in_the_chain_is_refused(field: str, value: object) -> None:
    with pytest.raises(LedgerError, match=field):
        replace(DEBIT, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("days", "tolerance", "found"),
    [
        ((), 1, 0),
        ((-5,), 1, 0),  # one peer may be the colluder
        ((-5, 300), 1, -5),  # who is ahead counts for nothing
        ((-5, -3, 300), 1, -3),
        ((-5, -3, 300), 2, -5),
        ((-5, -3, 300, 300), 2, -3),
        ((300, 300, 300), 1, 0),
        ((0, 0, -300), 1, 0),  # nor does one who is behind
    ],
)
def test_the_present_is_the_earlier_of_the_own_clock_and_what_honest_peers_say(
    days: tuple[int, ...], tolerance: int, found: int
) -> None:
    peers = [NOON + timedelta(days=n) for n in days]
    assert present(NOON, peers, tolerance) == NOON + timedelta(days=found)


@given(
    st.lists(st.integers(-400, 400), max_size=6), st.integers(0, 3), st.lists(st.integers(-9, 999))
)
def test_colluders_never_make_the_present_later(
    honest: list[int], tolerance: int, false: list[int]
) -> None:
    """Whatever up to t of them sign: no later than the own clock, nor than every honest one's."""
    said = [*honest, *false[:tolerance]]
    found = present(NOON, [NOON + timedelta(days=n) for n in said], tolerance)
    bounds = [0, max(honest)] if len(said) > tolerance and honest else [0]
    assert found <= NOON + timedelta(days=min(bounds))
