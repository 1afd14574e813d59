"""What every process of a test was started with, as any user of the machine can read it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.system.left_behind import MARK

EVERY: Final = 0.04  # seconds between two looks
LOOKS: Final = 5  # at one process: its arguments are another's until it has become itself


@contextmanager
def watched_arguments() -> Iterator[set[bytes]]:
    """Collect arguments and environments of this test's processes, also of those that end soon."""
    found, ended = set[bytes](), threading.Event()
    mark = f"{MARK}={os.environ[MARK]}".encode()

    def look() -> None:
        looked: dict[str, int] = {}
        while not ended.wait(EVERY):
            there = {one.name for one in Path("/proc").glob("[0-9]*")}
            looked = {one: count for one, count in looked.items() if one in there}
            for one in there - {str(os.getpid())}:
                if looked.setdefault(one, 0) < LOOKS:
                    looked[one] += 1
                    found.update(_told(Path("/proc") / one, mark))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _told(process: Path, mark: bytes) -> set[bytes]:
    try:
        told = {(process / "environ").read_bytes(), (process / "cmdline").read_bytes()}
    except OSError:  # it has ended, or is another user's
        return set()
    return told if any(mark in one for one in told) else set()
