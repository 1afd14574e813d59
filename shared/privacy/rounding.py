"""Numbers that a privacy claim rests on: checked, and rounded to the safe side.

Roundings here go through exact rational arithmetic (every double is a
fraction), so they need no error analysis and give the same bits on every
machine: a custodian and an auditor who recompute a debit agree exactly.

A rule's inputs are checked here too. Anything that is not a finite number in
its range raises `AccountingError`: a claim that cannot be computed is refused,
never guessed.
"""

import math
from fractions import Fraction

from fieldfare.shared.errors import AccountingError

# Twice the bits of a double and some more: the integer root below is then
# within 2^-64 of the real root, so at most one double lies between them.
_ROOT_BITS = 130


def positive(name: str, value: float | Fraction) -> float:
    """Return `value` as a float if it is finite and above zero.

    Raises:
        AccountingError: `value` is NaN, infinite, zero or negative.
    """
    if not (math.isfinite(value) and value > 0):
        raise AccountingError(f"expected {name} to be finite and > 0, found {value!r}")
    return float(value)


def non_negative(name: str, value: float) -> float:
    """Return `value` as a float if it is finite and not below zero.

    Raises:
        AccountingError: `value` is NaN, infinite or negative.
    """
    if not (math.isfinite(value) and value >= 0):
        raise AccountingError(f"expected {name} to be finite and >= 0, found {value!r}")
    return float(value)


def whole(name: str, value: int, *, at_least: int) -> int:
    """Return `value` if it is an int (not a bool) of `at_least` that size.

    Raises:
        AccountingError: `value` is another type or too small.
    """
    if type(value) is not int or value < at_least:
        raise AccountingError(
            f"expected {name} to be a whole number of at least {at_least}, found {value!r}"
        )
    return value


def round_up(value: Fraction) -> float:
    """Return the least double that is not below `value`.

    Raises:
        AccountingError: `value` is above the largest double.
    """
    try:
        nearest = float(value)
    except OverflowError as error:
        raise AccountingError(
            "expected a number that a double can hold, found a larger one; "
            "use a larger sigma or a smaller clipping norm"
        ) from error
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def root_up(value: Fraction) -> float:
    """Return the least double whose square is not below `value` (which is > 0).

    Raises:
        AccountingError: the root is above the largest double.
    """
    shift = _ROOT_BITS - (value.numerator.bit_length() - value.denominator.bit_length())
    shift += shift % 2  # an even power of two has an exact root
    above = math.isqrt(math.floor(value * Fraction(2) ** shift)) + 1
    root = round_up(Fraction(above) / Fraction(2) ** (shift // 2))
    lower = math.nextafter(root, 0.0)
    return lower if Fraction(lower) ** 2 >= value else root
