"""Rates of groups with intervals, from counts that may carry noise, and what they let one say.

A share of few units says little, and a share of noisy counts says less. Every rate comes with a
95 % interval that includes both, and a group is called treated worse, or no worse, only where
the whole interval says so.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Z: Final = 1.959963984540054  # a standard normal is within it 95 times in 100
MANY_TIMES: Final = 2.0  # from there on, a group is called treated worse
LEAST_SIGMAS: Final = 4.0  # a count below so many sigma of its noise is no denominator


@dataclass(frozen=True)
class Interval:
    """A value, such as a share or a count, and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the documented form of results.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class CountNoise:
    """Independent noise on the cells that a part and its whole add up.

    Attributes:
        sigma: standard deviation of the noise in one cell, in units.
        part: cells that the part adds up.
        rest: further cells of the whole.
    """

    sigma: float = 0.0
    part: int = 1
    rest: int = 1


EXACT: Final = CountNoise()


class Verdict(StrEnum):
    """What an interval lets one say of a group's rate beside everybody's."""

    MORE = "more than twice"
    NO_MORE = "no more than twice"
    TOO_FEW = "too few to say"


def rate_of(part: float, whole: float, noise: CountNoise = EXACT) -> Interval | None:
    """Return the share of `whole` that is `part`; None where it cannot be told at all.

    Args:
        part: units of the part, as counted (with noise: also below 0 or beyond the whole).
        whole: units of the whole, the part included.
        noise: on both.

    Formal Guarantees:
        The interval holds every r for which `part - r * whole` is within Z standard deviations
        of 0, with the variance that r implies: s^2 (a (1 - r)^2 + b r^2) + whole r (1 - r), for
        a and b noisy cells. Without noise it is the score interval (Wilson 1927); with noise it
        is Fieller's (1954) for a ratio whose denominator is uncertain too.

    Edge cases:
        | counts | result |
        |---|---|
        | whole at or below 0, or lost in its noise | None |
        | part below 0, or beyond the whole | read as none, or as all |
        | a denominator so uncertain that every r is possible | None |
    """
    spread = noise.sigma * math.sqrt(noise.part + noise.rest)
    if whole <= LEAST_SIGMAS * spread or whole <= 0:
        return None
    found, square = min(max(part, 0.0), whole), Z * Z
    above, other = noise.sigma**2 * noise.part, noise.sigma**2 * noise.rest
    # A quadratic in r, which is at or below zero inside the interval.
    leading = whole * whole + square * (whole - above - other)
    half = -found * whole + square * (above - whole / 2)
    last = found * found - square * above
    inside = half * half - leading * last
    if leading <= 0 or inside < 0:
        return None
    reach, value = math.sqrt(inside), found / whole
    low, high = ((-half - reach) / leading, (-half + reach) / leading)
    return Interval(value, min(max(low, 0.0), value), max(min(high, 1.0), value))


def verdict(rate: Interval | None, overall: Interval | None) -> Verdict:
    """Say whether a group's rate is more than twice that of all units, as far as both are known."""
    if rate is None or overall is None:
        return Verdict.TOO_FEW
    if rate.low > MANY_TIMES * overall.high:
        return Verdict.MORE
    return Verdict.NO_MORE if rate.high <= MANY_TIMES * overall.low else Verdict.TOO_FEW


def percents(rate: Interval | None) -> str:
    """Write a rate and its interval for people, such as `2.1 % (0.4 to 3.9)`."""
    if rate is None:
        return "too few to say"
    value, low, high = (f"{100 * one:.3g}" for one in (rate.value, rate.low, rate.high))
    return f"{value} % ({low} to {high})"
