"""The clock of everything that is deployed; the core takes the time as an argument."""

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from fieldfare.shared.errors import LedgerError

LARGEST_STEP: Final = timedelta(days=1)
UNSET: Final = 0x40  # STA_UNSYNC: no program sets the clock by a better one


def utc_now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


def since_boot() -> float:
    """Return seconds that no setting of the clock changes, with those in suspension (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Timex(ctypes.Structure):
    """The beginning of Linux' `struct timex` (adjtimex(2)), and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("largest_error", ctypes.c_long),
        ("likely_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 64),
    )


def kept_within() -> float | None:
    """Return within how many seconds the kernel says that this clock is right; None: it says not.

    Infinity where no program sets it by a better one, as NTP does.
    """
    found = _Timex()  # modes 0: it is read, and nothing is set
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    except (AttributeError, OSError):  # another system than Linux
        return None
    if state < 0:
        return None
    return float("inf") if found.status & UNSET else found.largest_error / 1e6


class SteadyClock:
    """A clock that is refused once it was set by more than a day while this process runs.

    A budget's window follows the clock: a year ahead is a year's budget anew.
    """

    def __init__(
        self,
        clock: Callable[[], datetime] = utc_now,
        elapsed: Callable[[], float] = since_boot,
    ) -> None:
        """Take the present of `clock` as right, and `elapsed` for the seconds that pass."""
        self._clock, self._elapsed = clock, elapsed
        self._began, self._zero = clock(), elapsed()

    def __call__(self) -> datetime:
        """Return the present.

        Raises:
            LedgerError: the clock was set.
        """
        now = self._clock()
        expected = self._began + timedelta(seconds=self._elapsed() - self._zero)
        if abs(now - expected) > LARGEST_STEP:
            raise LedgerError(
                f"expected a clock near {expected:%Y-%m-%d %H:%M} UTC, found {now:%Y-%m-%d %H:%M}: "
                "it was set while this process ran, and budgets are measured by it; set it right, "
                "or, if it was wrong before, start again"
            )
        return now
