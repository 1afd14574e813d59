"""Draws that all parts of the world share: amounts, times of day, and money that moves on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fieldfare.simulations.world.habits import Habit

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
