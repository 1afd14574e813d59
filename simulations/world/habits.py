"""The elements of a life in this world: kinds of statement lines, habits, patterns of habits."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

EchoTarget = Literal["same_party", "one_payee", "cash"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of statement line: direction, channel, and how it is dealt out.

    Attributes:
        direction: "in" or "out" of the account.
        channel: what the statement shows.
        circle: habits with one circle share counterparties (friends pay and are paid).
        placed: whether the line carries a city.
        steady: near-regular dates and counts (wages, bills) in place of random ones.
    """

    direction: Literal["in", "out"]
    channel: str
    circle: int
    placed: bool = False
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Echo:
    """Money that moves on: an entry followed by one in the other direction.

    Attributes:
        share: probability that an entry is followed.
        hours: the follow-up comes within this many hours.
        to: back to the same party, on to one fixed payee, or out as cash at home.
        low, high: part of the amount that moves on, uniform between the two.
    """

    share: float
    hours: float
    to: EchoTarget
    low: float = 0.8
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Habit:
    """How often, how much, when, with whom and where.

    Attributes:
        monthly: mean entries in 30 days.
        median: median amount, in currency units.
        spread: sigma of the log amount.
        night: share between 22:00 and 06:00.
        parties: size of the circle of regular counterparties.
        fresh: share of entries with a counterparty that is never seen again.
        even: share of amounts that are multiples of 20.
        away: share of entries outside the home city.
        cities: how many other cities.
        echo: money that moves on, or None.
        others: share of cash paid in by somebody else than the holder.
    """

    monthly: float
    median: float
    spread: float = 0.6
    night: float = 0.06
    parties: int = 3
    fresh: float = 0.2
    even: float = 0.2
    away: float = 0.05
    cities: int = 2
    echo: Echo | None = None
    others: float = 0.02


@dataclass(frozen=True, slots=True)
class Pattern:
    """A named set of habits; `share` is its part of the customers it applies to."""

    name: str
    share: float
    habits: Mapping[str, Habit]


def overlay(name: str, share: float, **habits: Habit) -> Pattern:
    """Return habits that come on top of a persona."""
    return Pattern(name, share, MappingProxyType(habits))
