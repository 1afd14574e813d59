"""A limit on lines of one kind that a peer can cause: lines beyond it are counted.

Whoever can reach a door can knock as often as it likes, and every knock would leave a line that is
flushed to the disk. Beyond a limit in each window the lines of a kind are counted instead: the
caller may write one line when counting begins, and writes one with the number when the window is
over. Time is an argument, in seconds of any clock that does not go back; a caller with several
threads brings its own lock.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

WINDOW_SECONDS: Final = 60.0

FloodKind = TypeVar("FloodKind", bound=Hashable)


@dataclass(frozen=True)
class WithheldLines(Generic[FloodKind]):
    """How many lines of a kind were not written, from when to when.

    Attributes:
        begun: when its window began.
        last: when the last of them came.
    """

    kind: FloodKind
    lines: int
    begun: float
    last: float


@dataclass
class _Window:
    begun: float
    last: float
    written: int = 0
    counted: int = 0


class Flood(Generic[FloodKind]):
    """The counts of written and of withheld lines, by kind, each in its present window."""

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        """Begin without a window; each lasts so many seconds."""
        self._seconds = seconds
        self._windows: dict[FloodKind, _Window] = {}

    def __len__(self) -> int:
        """Return how many kinds have a window."""
        return len(self._windows)

    def admits(self, kind: FloodKind, most: int, now: float) -> bool:
        """Say whether another line of a kind is written; counts it if not."""
        window = self._windows.setdefault(kind, _Window(now, now))
        if window.written < most:
            window.written += 1
            return True
        window.counted += 1
        window.last = now
        return False

    def begins(self, kind: FloodKind) -> bool:
        """Say whether the line that was just not admitted is the first of its window."""
        window = self._windows.get(kind)
        return window is not None and window.counted == 1

    def over(self, now: float, *, at_once: bool = False) -> list[WithheldLines[FloodKind]]:
        """Return each kind whose window is over and that has a count; forget the window.

        Args:
            now: the present.
            at_once: end all windows now, as before a stop.
        """
        ended = {
            kind: window
            for kind, window in self._windows.items()
            if at_once or now - window.begun >= self._seconds
        }
        for kind in ended:
            del self._windows[kind]
        return [
            WithheldLines(kind, window.counted, window.begun, window.last)
            for kind, window in ended.items()
            if window.counted
        ]

    def put_back(self, counted: WithheldLines[FloodKind]) -> None:
        """Take a count back that could not be written down."""
        fresh = _Window(counted.begun, counted.last)
        window = self._windows.setdefault(counted.kind, fresh)
        window.counted += counted.lines
