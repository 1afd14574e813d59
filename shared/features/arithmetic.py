"""Logarithm, sine and arc out of + - * / and square roots: the same bits on every machine.

IEEE 754 rounds these five operations correctly; a library's logarithm or sine may differ in its
last bit from the next one's. Elementwise, so that no unit's value depends on another's.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_LN2_HIGH: Final = float.fromhex("0x1.62e42fee00000p-1")  # 20 zero bits: times an exponent exact
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_HALF: Final = 0.7071067811865476
_DEGREE: Final = float.fromhex("0x1.1df46a2529d39p-6")  # pi / 180
_HALVINGS: Final = 2  # of an arc, before its series


def _sine_terms(count: int) -> tuple[float, ...]:
    terms = [1.0]
    for n in range(1, count):
        terms.append(-terms[-1] / (2 * n * (2 * n + 1)))
    return tuple(terms)


_LOG_TERMS: Final = tuple(1.0 / (2 * n + 1) for n in range(12))
_ARC_TERMS: Final = tuple((-1.0) ** n / (2 * n + 1) for n in range(13))
_SINE_TERMS: Final = _sine_terms(14)


def natural_log(numbers: Numbers) -> Numbers:
    """Return float64 (units,): the natural logarithm of positive numbers, to 2 units in 2^-52.

    Source: log m = 2 (s + s^3/3 + ...) with s = (m - 1) / (m + 1), for m from sqrt(1/2) to
    sqrt(2) (Abramowitz-Stegun 1964, 4.1.27).
    """
    part, exponent = np.frexp(numbers)
    small = part < _SQRT_HALF
    part, exponent = np.where(small, 2.0 * part, part), exponent - small
    step = (part - 1.0) / (part + 1.0)
    near = 2.0 * step * _series(step * step, _LOG_TERMS)
    found: Numbers = exponent * _LN2_HIGH + (near + exponent * _LN2_LOW)
    return found


def sine(degrees: Numbers) -> Numbers:
    """Return float64 (units,): the sine of angles from -90 to 90 degrees."""
    angle = degrees * _DEGREE
    return angle * _series(angle * angle, _SINE_TERMS)


def arc(haversine: Numbers) -> Numbers:
    """Return float64 (units,): the angle, in radians, whose haversine is a number from 0 to 1.

    Source: the angle is 4 atan(t) with t = sqrt(h) / (1 + sqrt(1 - h)); atan t is twice the
    arctangent of t / (1 + sqrt(1 + t^2)) (Abramowitz-Stegun 1964, 4.4.34 and 4.4.42).
    """
    ratio = np.sqrt(haversine) / (1.0 + np.sqrt(1.0 - haversine))
    for _ in range(_HALVINGS):
        ratio = ratio / (1.0 + np.sqrt(1.0 + ratio * ratio))
    return 4.0 * 2.0**_HALVINGS * ratio * _series(ratio * ratio, _ARC_TERMS)


def _series(square: Numbers, terms: Sequence[float]) -> Numbers:
    """Return terms[0] + terms[1] x + ... by Horner's rule, each step rounded by itself."""
    total = np.full(np.shape(square), terms[-1])
    for term in reversed(terms[:-1]):
        total = total * square + term
    return total
