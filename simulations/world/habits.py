"""The elements of a life in this world: habits and their patterns, draws, statement lines, months.

All parts of the world share the draws: amounts, times of day, and money that moves on. The figures
of statement lines (channel, merchant category, counterparty) are in `lines.toml`. The calendar is
arithmetic: months of real length, paydays that dodge weekends, seasons, drift; days count from
`START`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from fieldfare.shared.errors import UsageError

EchoTarget = Literal["same_party", "one_payee", "cash"]


@dataclass(frozen=True, slots=True)
class LineKind:
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
    """The frequency, amount, time, counterparty and place of one kind of line.

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
        others: share of cash that another person than the holder paid in.
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


def read_figures(name: str) -> dict[str, Any]:
    """Return the figures of a file of this world."""
    return tomllib.loads(files("fieldfare.simulations.world").joinpath(name).read_text("utf-8"))


def habits_of(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Habit]:
    """Return habits by kind of line, from a file's figures."""
    found = {}
    for name, each in figures.items():
        echo = Echo(**each["echo"]) if "echo" in each else None
        found[name] = Habit(**{**each, "echo": echo})
    return found


# -- draws ----------------------------------------------------------------------------------------

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MINUTES: Final = 1440  # a day
NIGHT_START: Final = 22 * 60
MORNING: Final = 6 * 60
_NIGHT_LENGTH: Final = 8 * 60
EVEN: Final = 2000  # minor units: even amounts are multiples of 20.00


def by_pattern(habits: Sequence[Habit | None], name: str) -> FloatArray:
    """Return one habit parameter as an array over patterns (0 where a habit is absent)."""
    return np.array([0.0 if habit is None else getattr(habit, name) for habit in habits])


def amounts(
    rng: np.random.Generator, median: FloatArray, spread: FloatArray, even: FloatArray
) -> IntArray:
    """Return log-normal amounts in minor units; some are multiples of 20.00."""
    raw = np.rint(100 * median * np.exp(spread * rng.standard_normal(median.size)))
    rounded = np.maximum(np.rint(raw / EVEN), 1) * EVEN
    chosen = np.where(rng.random(median.size) < even, rounded, np.maximum(raw, 1))
    return np.asarray(chosen.astype(np.int64))


def minutes_of_day(rng: np.random.Generator, night: FloatArray, shift: FloatArray) -> FloatArray:
    """Return times of day: at night (22:00 to 06:00) with that share, its log-odds shifted."""
    odds = night / (1 - night) * np.exp(shift)
    at_night = rng.random(night.size) < odds / (1 + odds)
    within = rng.random(night.size)
    late = (NIGHT_START + np.floor(within * _NIGHT_LENGTH)) % MINUTES
    daytime = MORNING + np.floor(within * (MINUTES - _NIGHT_LENGTH))
    return np.where(at_night, late, daytime)


@dataclass(frozen=True, slots=True)
class Echoes:
    """Lines that are followed by another, and how.

    Attributes:
        picked: index of each such line, int64.
        part: share of its amount that moves on, float64.
        lag: minutes until then, float64.
        to: `habits.EchoTarget` of each.
    """

    picked: IntArray
    part: FloatArray
    lag: FloatArray
    to: npt.NDArray[np.str_]


def draw_echoes(
    rng: np.random.Generator, habits: Sequence[Habit | None], pattern: npt.NDArray[Any]
) -> Echoes:
    """Draw which lines are followed by money that moves on; `pattern` is each line's."""
    echo = [None if habit is None else habit.echo for habit in habits]
    share = np.array([0.0 if e is None else e.share for e in echo])
    picked = np.flatnonzero(rng.random(pattern.size) < share[pattern])
    mine = pattern[picked]
    hours, low, high = (
        np.array([0.0 if e is None else getattr(e, name) for e in echo])[mine]
        for name in ("hours", "low", "high")
    )
    part = low + (high - low) * rng.random(picked.size)
    lag = np.floor(60 * hours * rng.random(picked.size))
    return Echoes(picked, part, lag, np.array(["" if e is None else e.to for e in echo])[mine])


# -- lines ----------------------------------------------------------------------------------------

PartyType = Literal["person", "business", "platform", "gov", "unknown"]
Rhythm = Literal["flat", "weekend", "shopping", "travel", "term"]


@dataclass(frozen=True, slots=True)
class Line(LineKind):
    """A kind of line with its further fields of a canonical transaction.

    Attributes:
        mccs: merchant category codes; a merchant keeps one of them. Empty: none.
        party: what the counterparty is; None for cash.
        rhythm: when in the week and the year it is frequent (`months.Months`).
        online: carries the key of the device that ordered it.
        abroad: goes to another country.
        drift: growth of its frequency in a month, as a share.
    """

    mccs: tuple[str, ...] = ()
    party: PartyType | None = "business"
    rhythm: Rhythm = "flat"
    online: bool = False
    abroad: bool = False
    drift: float = 0.0


_FILE: Final = read_figures("lines.toml")


def _line(
    *, mccs: Sequence[str] = (), party: PartyType | Literal[""] = "business", **facts: Any
) -> Line:
    return Line(mccs=tuple(mccs), party=party or None, **facts)


LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {name: _line(**one) for name, one in _FILE["line"].items()}
)
"""Every sort of statement line."""

NUMBER: Final[Mapping[str, int]] = MappingProxyType({name: i for i, name in enumerate(LINES)})
"""A line's index in `LINES`."""

OTHER_SIDE: Final[Mapping[str, str]] = MappingProxyType(_FILE["other_side"])
"""What the counterparty's own statement calls the same payment."""


# -- months ---------------------------------------------------------------------------------------

START: Final = date(2025, 1, 1)
MOST_MONTHS: Final = 24
_SATURDAY: Final = 5  # Monday is 0
_WEEKEND: Final[Mapping[Rhythm, float]] = _FILE["weekend"]
_SEASONS: Final[Mapping[Rhythm, Sequence[float]]] = _FILE["season"]


@dataclass(frozen=True)
class Months:
    """A window of whole months from `START`.

    Args:
        count: how many, 1 to 24.

    Raises:
        UsageError: another number of months.
    """

    count: int

    def __post_init__(self) -> None:
        """Refuse a window that no statement fits."""
        if not 1 <= self.count <= MOST_MONTHS:
            raise UsageError(f"expected 1 to {MOST_MONTHS} months, found {self.count}")

    @cached_property
    def starts(self) -> IntArray:
        """First day of every month, and the day after the last: int64, count + 1."""
        year, month = START.year, START.month
        firsts = [
            date(year + (month - 1 + m) // 12, (month - 1 + m) % 12 + 1, 1)
            for m in range(self.count + 1)
        ]
        return np.array([(first - START).days for first in firsts])

    @property
    def days(self) -> int:
        """Length of the window."""
        return int(self.starts[-1])

    def elapsed(self, line: Line) -> FloatArray:
        """Return the busy time before each day, in days of an average year: days + 1.

        Weekends, seasons and drift stretch it; a time drawn evenly in it falls
        where the line is frequent, and its length counts the lines.
        """
        day = np.arange(self.days)
        weekday = (START.weekday() + day) % 7
        month = np.searchsorted(self.starts, day, side="right") - 1
        calendar_month = (START.month - 1 + month) % 12
        factor = _WEEKEND[line.rhythm]
        weekly = np.where(weekday >= _SATURDAY, factor, 1.0) / ((5 + 2 * factor) / 7)
        season = np.array(_SEASONS[line.rhythm])
        weight = weekly * (season / season.mean())[calendar_month] * (1 + line.drift) ** month
        return np.concatenate([[0.0], np.cumsum(weight)])

    def working_day(self, day: IntArray) -> IntArray:
        """Return the same day, or the Monday after where it falls on a weekend."""
        weekday = (START.weekday() + day) % 7
        return np.asarray(day + np.where(weekday >= _SATURDAY, 7 - weekday, 0))
