"""Noise that is drawn before it is asked for, so that no reply takes the time of its draw.

The exact sampler takes longer for some values than for others (Jin and others, S&P 2022). What it
draws in a reply, a coordinator's clock could read. So a thread draws while the custodian waits: for
the next releases of runs that were opened here, by length and scale. It is all in memory alone,
never counted, logged or kept, and lost at a restart.

Only the operating system's noise is drawn ahead. What another source gives, as a simulation's or a
recording's, follows from the order in which it is asked: that stays the order of the releases.
"""

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import suppress
from threading import Lock, Thread
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.protocol.messages import Request
from fieldfare.shared.protocol.plan import Plan

Noise = NDArray[np.int64]
Draw = tuple[int, float]  # entries, and scale in units of gamma

ATTEMPTS: Final = 2  # of a step, whose noise is there before they are asked for
MOST_RUNS: Final = 8  # of different studies; a ninth takes the place of the one idle longest
MOST_ENTRIES: Final = 2**22  # of all draws together: 32 MiB


def coming_draws(plan: Plan, request: Request) -> Mapping[Draw, int]:
    """Return how many draws of which length and scale a run's next release of each kind takes.

    Later questions are left out: how long their answer is, they say themselves.

    Args:
        plan: of the request's study.
        request: that was admitted; its participants and its step are taken for those to come.
    """
    found: Counter[Draw] = Counter()
    for terms in plan.releases:
        if terms is not plan.allowance and request.step < terms.first_step + terms.steps:
            draw = terms.vectors.entries, terms.share(request.n, request.t)
            found[draw] += ATTEMPTS * max(1, terms.local_steps)
    return found


class NoiseStock:
    """An institution's noise, drawn ahead where it can be."""

    def __init__(self, source: NoiseSource) -> None:
        """Draw from `source`: ahead, where it is the operating system's."""
        self._source = source
        self._asking = Lock()  # the source, by one thread at a time
        self._lock = Lock()  # what follows
        self._expected: dict[str, Mapping[Draw, int]] = {}  # by study; the newest stands last
        self._drawn: dict[Draw, list[Noise]] = {}
        self._thread = Thread()  # the one that draws ahead, while something is missing

    def expect(self, study: str, draws: Mapping[Draw, int]) -> None:
        """Draw ahead, from now on, what a study's run needs; wipe what none needs any more.

        Args:
            study: the study's id; what its runs needed before is forgotten.
            draws: how many of each length and scale (`coming_draws`); empty: none.
        """
        if not isinstance(self._source, ExactNoise):
            return
        with self._lock:
            self._expected.pop(study, None)
            if draws:
                self._expected[study] = draws
            if len(self._expected) > MOST_RUNS:
                del self._expected[next(iter(self._expected))]
            self._wipe()
            if self._missing() is not None and not self._thread.is_alive():
                self._thread = Thread(target=self._fill, daemon=True)  # which holds up no exit
                with suppress(RuntimeError):  # no thread is left: replies draw
                    self._thread.start()

    def draws(self, entries: int, scale: float, count: int) -> Generator[Noise, None, None]:
        """Give int64 (entries,) noise, `count` times; each is zeros when the next is asked for.

        Formal Guarantees:
            Each is a draw of its own from the source, given to nobody before or after: what is
            drawn ahead leaves the stock as it is taken. It was drawn without a look at any record
            or request but for the length and scale, which are those of this very call.

        Edge cases:
            | stock | answer |
            |---|---|
            | has a draw of this length and scale | that one, in a time that does not depend on it |
            | has none | drawn now, after the one that is being drawn ahead, whose time shows then |
            | source of simulated or recorded noise | drawn now, always |
            | the iterator is closed | the last one is zeros |

        Raises:
            AccountingError: `scale` is none that the source draws.
        """
        for _ in range(count):
            noise = self._take((entries, scale))
            try:
                yield noise
            finally:
                noise.fill(0)

    def _take(self, draw: Draw) -> Noise:
        with self._lock:
            if drawn := self._drawn.get(draw):
                return drawn.pop(0)
        return self._sample(draw)

    def _sample(self, draw: Draw) -> Noise:
        with self._asking:
            return self._source.sample(*draw)

    def _fill(self) -> None:
        """Draw what is missing, one after the other; ends when nothing is."""
        while True:
            with self._lock:
                self._wipe()
                draw = self._missing()
                if draw is None:
                    self._thread = Thread()
                    return
            noise = self._sample(draw)
            with self._lock:
                self._drawn.setdefault(draw, []).append(noise)

    def _count_wanted(self) -> Counter[Draw]:
        return sum((Counter(draws) for draws in self._expected.values()), Counter[Draw]())

    def _missing(self) -> Draw | None:
        """Return what is drawn next, in the order of the runs."""
        held = sum(entries * len(drawn) for (entries, _), drawn in self._drawn.items())
        for draw, count in self._count_wanted().items():
            if len(self._drawn.get(draw, ())) < count and held + draw[0] <= MOST_ENTRIES:
                return draw
        return None

    def _wipe(self) -> None:
        """Overwrite what no run needs any more, as when others take part."""
        wanted = self._count_wanted()
        for draw, drawn in self._drawn.items():
            unneeded = drawn[wanted[draw] :]
            del drawn[wanted[draw] :]  # first: zeros are never held, whatever fails
            for noise in unneeded:
                noise.fill(0)
        self._drawn = {draw: drawn for draw, drawn in self._drawn.items() if drawn}
