"""Stop signals as something to wait for.

Handlers, not a blocked mask: libraries start threads of their own when they are imported,
those do not share a mask that is set later, and a signal that one of them takes ends the
process at once.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Stopped = Callable[[float], bool]


@contextmanager
def stop_signals() -> Iterator[Stopped]:
    """Take SIGTERM, SIGINT and SIGHUP; yields a wait of so many seconds that is true once one came.

    For the main thread only. A signal that this process was told to ignore (as under nohup)
    stays ignored. Afterwards the handlers are what they were.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)  # a handler must never wait
    taken = [s for s in STOP_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
    told: list[int] = []

    def stopped(seconds: float) -> bool:
        if not told and select.select([reading], [], [], seconds)[0]:
            told.extend(number for number in os.read(reading, 4096) if number in taken)
        return bool(told)

    # The interpreter writes a signal's number from whichever thread took it, so that the
    # main thread wakes; the handlers themselves have nothing to do.
    waker = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _heard) for number in taken}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(waker)
        os.close(reading)
        os.close(writing)


def _heard(number: int, frame: FrameType | None) -> None:
    del number, frame
