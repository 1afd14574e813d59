"""The calendar: months of real length, paydays that dodge weekends, seasons, drift.

Days count from `START`. Everything here is arithmetic; nothing is drawn.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.lines import Line, Rhythm

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

START: Final = date(2025, 1, 1)
MOST_MONTHS: Final = 24
_SATURDAY: Final = 5  # Monday is 0
_WEEKEND: Final[dict[Rhythm, float]] = {
    "flat": 1.0,
    "weekend": 1.7,
    "shopping": 1.3,
    "travel": 1.4,
    "term": 0.2,
}
_SEASONS: Final[dict[Rhythm, tuple[float, ...]]] = {
    "flat": (1.0,) * 12,
    "weekend": (0.9, 0.9, 1.0, 1.0, 1.05, 1.1, 1.1, 1.1, 1.0, 1.0, 0.95, 1.2),
    "shopping": (0.9, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.95, 1.0, 1.3, 1.9),
    "travel": (0.7, 0.8, 0.9, 1.0, 1.0, 1.3, 1.6, 1.5, 1.0, 0.9, 0.7, 1.0),
    "term": (2.4, 0.9, 0.3, 0.3, 0.3, 0.2, 0.2, 1.6, 3.2, 1.2, 0.3, 0.2),
}


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
