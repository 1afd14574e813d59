"""Bars from a middle line, columns, and a star: geometry that a template draws, in SVG units."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

BARS: Final = 200.0  # units wide; the middle line is at half
COLUMN: Final = 10.0  # units wide, with its gap
COLUMNS_HIGH: Final = 60.0
STAR: Final = 240.0  # units wide and high
RADIUS: Final = 88.0
THICKEST: Final = 7.0


class ReasonBar(NamedTuple):
    """A bar from the middle line, to the right where it is positive."""

    x: float
    width: float


class WeekColumn(NamedTuple):
    """A column from the ground, and the part of it that counts."""

    x: float
    y: float
    height: float
    part_y: float
    part: float


class Spoke(NamedTuple):
    """A line from the middle of a star to `x`, `y`, so thick; its name stands at `label_y`."""

    x: float
    y: float
    thick: float
    label_y: float


def bars(values: Sequence[float]) -> list[ReasonBar]:
    """Return a bar for each value, the largest as long as there is room."""
    most = max(map(abs, values), default=0.0) or 1.0
    half = BARS / 2
    widths = [abs(one) / most * half for one in values]
    return [
        ReasonBar(round(half if one >= 0 else half - width, 2), round(width, 2))
        for one, width in zip(values, widths, strict=True)
    ]


def columns(counts: Sequence[tuple[int, int]]) -> list[WeekColumn]:
    """Return a column for each count, and for the part of it that counts."""
    most = max((whole for whole, _ in counts), default=0) or 1
    found = []
    for at, (whole, part) in enumerate(counts):
        high, low = (round(one / most * COLUMNS_HIGH, 2) for one in (whole, part))
        found.append(WeekColumn(at * COLUMN, COLUMNS_HIGH - high, high, COLUMNS_HIGH - low, low))
    return found


def spokes(weights: Sequence[float]) -> list[Spoke]:
    """Return lines in a star, clockwise from the top; heavier ones are thicker."""
    most, half = max(weights, default=0.0) or 1.0, STAR / 2
    found = []
    for at, weight in enumerate(weights):
        angle = 2 * math.pi * at / len(weights)
        x, y = half + RADIUS * math.sin(angle), half - RADIUS * math.cos(angle)
        thick = 1 + (THICKEST - 1) * weight / most
        label = y + (14 if y >= half else -8)
        found.append(Spoke(round(x, 1), round(y, 1), round(thick, 1), round(label, 1)))
    return found
