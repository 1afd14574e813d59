"""A limit on the log lines of one kind that a peer can cause; a count replaces the others.

Whoever has the socket can ask as often as it likes, and every question leaves a line that is
flushed to the disk. Beyond a limit in each window the lines of a kind are counted instead: one
line when counting begins, and one with the number once the window is over.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, TypeVar

WINDOW_SECONDS: Final = 60.0

Kind = TypeVar("Kind", bound=Hashable)


@dataclass
class _Window:
    began: float
    written: int = 0
    counted: int = 0


class Flood(Generic[Kind]):
    """How many lines of each kind were written in the present window, and how many were not."""

    def __init__(self, monotonic: Callable[[], float], seconds: float = WINDOW_SECONDS) -> None:
        """Measure windows of so many seconds by `monotonic`."""
        self._monotonic = monotonic
        self._seconds = seconds
        self._lock = Lock()
        self._windows: dict[Kind, _Window] = {}

    def admits(self, kind: Kind, most: int) -> bool:
        """Say whether another line of a kind is written; counts it if not."""
        with self._lock:
            window = self._windows.setdefault(kind, _Window(self._monotonic()))
            if window.written < most:
                window.written += 1
                return True
            window.counted += 1
            return False

    def begins(self, kind: Kind) -> bool:
        """Say whether the line that was just not admitted is the first of its window."""
        with self._lock:
            window = self._windows.get(kind)
            return window is not None and window.counted == 1

    def over(self, *, at_once: bool = False) -> list[tuple[Kind, int]]:
        """Return each kind whose window is over, with how many lines were counted; forget it.

        Args:
            at_once: end all windows now, as before a stop.
        """
        now = self._monotonic()
        with self._lock:
            ended = [
                kind
                for kind, window in self._windows.items()
                if at_once or now - window.began >= self._seconds
            ]
            found = [(kind, self._windows.pop(kind).counted) for kind in ended]
        return [(kind, counted) for kind, counted in found if counted]

    def put_back(self, kind: Kind, counted: int) -> None:
        """Take a count back that could not be written down."""
        with self._lock:
            window = self._windows.setdefault(kind, _Window(self._monotonic()))
            window.counted += counted
