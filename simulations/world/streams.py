"""Chance by concern: each part of the world draws from a stream of its own.

A change in one concern (or block of customers, or kind of line) leaves the draws of all
others alone, and the same seed gives the same bytes.
"""

from enum import IntEnum
from typing import Final

import numpy as np

_WORLD: Final = 6  # apart from the demo's streams of the same seed


class Concern(IntEnum):
    """What is drawn; numbers are part of what a seed means, so they never change."""

    PEOPLE = 0
    RINGS = 1
    RING_LINES = 2
    LINES = 3
    COVERAGE = 4
    LABELS = 5
    CASES = 6
    SIGNALS = 7


def stream(seed: int, concern: Concern, *path: int) -> np.random.Generator:
    """Return the generator of one concern; `path` tells its parts apart (block, kind)."""
    return np.random.default_rng([seed, _WORLD, concern, *path])
