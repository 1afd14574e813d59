"""How often somebody may try: a bucket of turns for each key, which fills again with time."""

from collections import OrderedDict
from threading import Lock
from typing import Final

MOST_KEYS: Final = 10_000  # remembered; the one that tried longest ago is forgotten first


class Turns:
    """At most `burst` tries at once for a key, and one more every `every` seconds.

    A try is counted before it is made, so that many at the same time are no way round; who then
    succeeds gets all turns back.
    """

    def __init__(self, burst: int, every: float) -> None:
        """Begin with nobody having tried."""
        self._burst, self._every = burst, every
        self._lock = Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take a turn; return 0, or in how many seconds there is one again.

        Args:
            key: who tries.
            now: seconds of a clock that never goes back.
        """
        with self._lock:
            left, since = self._left.pop(key, (float(self._burst), now))
            left = min(self._burst, left + max(0.0, now - since) / self._every)
            wait = 0.0 if left >= 1 else (1 - left) * self._every
            self._left[key] = (left if wait else left - 1, now)
            if len(self._left) > MOST_KEYS:
                self._left.popitem(last=False)
        return wait

    def give_back(self, key: str) -> None:
        """Forget a key's tries: one of them was right."""
        with self._lock:
            self._left.pop(key, None)
