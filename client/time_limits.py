"""Time limits of many calls, kept by one thread.

A thread for each limit, as `threading.Timer` starts one, costs a call about a millisecond and lets
a caller create a thread with every call.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Thread


class TimeLimits:
    """Ends what has taken too long; at most one limit for each key at a time."""

    def __init__(self) -> None:
        """Keep no limit yet."""
        self._changed = Condition()
        self._limits: dict[object, tuple[float, Callable[[], object]]] = {}
        self._closed = False

    def set(self, key: object, seconds: float, end: Callable[[], object]) -> None:
        """Call `end` in so many seconds, in place of an earlier limit of `key`."""
        due = time.monotonic() + seconds
        with self._changed:
            self._limits[key] = (due, end)
            if due <= min(other for other, _ in self._limits.values()):
                self._changed.notify()

    def clear(self, key: object) -> None:
        """Forget the limit of `key`, if it has one."""
        with self._changed:
            self._limits.pop(key, None)

    def run(self) -> None:
        """End what is due, until closed."""
        while not self._closed:
            for end in self._due():
                end()

    def close(self) -> None:
        """End nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _due(self) -> list[Callable[[], object]]:
        """Wait for the next limit; returns what is due then."""
        with self._changed:
            next_due = min((due for due, _ in self._limits.values()), default=None)
            wait = None if next_due is None else next_due - time.monotonic()
            if not self._closed and (wait is None or wait > 0):
                self._changed.wait(wait)
            now = time.monotonic()
            keys = [key for key, (due, _) in self._limits.items() if due <= now]
            return [self._limits.pop(key)[1] for key in keys]


@contextmanager
def time_limits() -> Iterator[TimeLimits]:
    """Keep time limits in a thread of their own."""
    limits = TimeLimits()
    thread = Thread(target=limits.run, name="time limits", daemon=True)
    thread.start()
    try:
        yield limits
    finally:
        limits.close()
        thread.join()
