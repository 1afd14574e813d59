import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.rounding import non_negative, positive, root_up, round_up, whole

FRACTIONS = st.fractions(min_value=Fraction(1, 10**30), max_value=10**30)


@given(FRACTIONS)
def test_round_up_is_the_least_double_not_below(value: Fraction) -> None:
    rounded = round_up(value)
    assert Fraction(math.nextafter(rounded, 0.0)) < value <= Fraction(rounded)


@given(FRACTIONS)
def test_root_up_is_the_least_double_whose_square_is_not_below(value: Fraction) -> None:
    root = root_up(value)
    assert Fraction(math.nextafter(root, 0.0)) ** 2 < value <= Fraction(root) ** 2


def test_roots_beyond_the_range_of_their_squares() -> None:
    assert root_up(Fraction(10) ** 600) == 1e300
    assert root_up(Fraction(4) ** -500) == 2.0**-500
    assert root_up(Fraction(9)) == 3.0


def test_round_up_lifts_what_underflows_and_refuses_what_overflows() -> None:
    assert round_up(Fraction(1, 10**400)) == math.ulp(0.0)
    with pytest.raises(AccountingError, match="larger sigma"):
        round_up(Fraction(10**309))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_ranges_of_numbers(value: float) -> None:
    with pytest.raises(AccountingError, match="expected x"):
        positive("x", value)
    with pytest.raises(AccountingError, match="expected x"):
        non_negative("x", value)


def test_zero_is_not_negative_and_not_positive() -> None:
    assert non_negative("x", 0) == 0.0
    with pytest.raises(AccountingError):
        positive("x", 0.0)


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None])
def test_whole_numbers_are_ints(value: object) -> None:
    with pytest.raises(AccountingError, match="whole number of at least 1"):
        whole("x", value, at_least=1)  # type: ignore[arg-type]
