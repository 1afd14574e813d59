"""The form of an answer: cells with values and intervals, and a list of withheld cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

Z95: Final = NormalDist().inv_cdf(0.975)
LEAST_CELL: Final = 10.0  # noisy units below which a cell is held back
LEAST_SIGMAS: Final = 3.0  # and noise's own scale: max(10, 3 sigma)
COUNT: Final = "count"


@dataclass(frozen=True)
class Cell:
    """One number of an answer.

    Attributes:
        key: the cell's label along each of the answer's keys.
        measure: its kind: count, mean, sum, ...
        value: after post-processing; None where it was held back.
        low, high: 95 % interval for the value over the records that were asked; None likewise.
    """

    key: tuple[str, ...]
    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        name, kind: the question's.
        keys: names of the columns that cells are keyed by.
        cells: in the domain's order; one with an empty key where the answer is one number.
        sigma: standard deviation of the noise on one cell's count, or on the one number; in
            the number's own unit, where every institution added its share.
        suppressed: cells that were held back: noisy count below max(10, 3 sigma).
        institutions: how many are in the sum, never who.
        mu2: the question's share of what the release cost.
        alarms: months of a trend that stand out.
    """

    name: str
    kind: str
    keys: tuple[str, ...]
    cells: tuple[Cell, ...]
    sigma: float
    suppressed: int
    institutions: int
    mu2: float = 0.0
    alarms: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the documented form of results.json: numbers, or lists where there are cells."""
        single = len(self.cells) == 1 and not self.cells[0].key
        values = [cell.value for cell in self.cells]
        intervals = [None if c.low is None else [c.low, c.high] for c in self.cells]
        data: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "value": values[0] if single else values,
            "interval": intervals[0] if single else intervals,
            "sigma": self.sigma,
            "suppressed": self.suppressed,
            "institutions": self.institutions,
            "mu2": self.mu2,
        }
        if not single:
            data |= {
                "keys": list(self.keys),
                "cells": [list(cell.key) for cell in self.cells],
                "measures": [cell.measure for cell in self.cells],
            }
        if self.kind == "trend":
            data["alarms"] = list(self.alarms)
        return data


def least_count(sigma: float) -> float:
    """Return the noisy count below which a cell is held back."""
    return max(LEAST_CELL, LEAST_SIGMAS * sigma)


def count_cell(key: tuple[str, ...], raw: float, value: float, sigma: float) -> Cell:
    """Return a count's cell, held back where it is small; the interval is the noisy count's."""
    if raw < least_count(sigma):
        return Cell(key, COUNT, None)
    return Cell(key, COUNT, value, max(0.0, raw - Z95 * sigma), max(0.0, raw + Z95 * sigma))


def held_back(cells: tuple[Cell, ...]) -> int:
    """Count the cells that were held back."""
    return sum(cell.value is None for cell in cells)


def non_negative(counts: Values) -> Values:
    """Return the non-negative counts of the same total that are nearest (Michelot 1986).

    Args:
        counts: float64 (cells,).

    Returns:
        float64 (cells,); zeros where the total is at or below zero.
    """
    total = float(counts.sum())
    if total <= 0:
        return np.zeros_like(counts)
    falling = np.sort(counts)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(counts) + 1)
    last = int(np.flatnonzero(falling > excess)[-1])
    result: Values = np.maximum(counts - excess[last], 0.0)
    return result


def fieller(upper: float, lower: float, spread: Values, correlated: float = 0.0) -> Values | None:
    """Return the 95 % interval of a ratio of two noisy sums (Fieller 1954).

    Args:
        upper: the noisy numerator.
        lower: the noisy denominator.
        spread: float64 (2,), variance of each one's noise.
        correlated: their covariance.

    Returns:
        float64 (2,), or None where the denominator cannot be told from zero.
    """
    square = Z95**2
    a = lower**2 - square * spread[1]
    b = -2 * (upper * lower - square * correlated)
    c = upper**2 - square * spread[0]
    root = b * b - 4 * a * c
    if a <= 0 or root < 0:
        return None
    half = float(np.sqrt(root))
    return np.array([(-b - half) / (2 * a), (-b + half) / (2 * a)])


def table_rows(answer: Answer) -> list[Mapping[str, Any]]:
    """Return one row for each cell, the same keys in every row of any answer."""
    return [
        {
            "question": answer.name,
            "kind": answer.kind,
            "keys": list(answer.keys),
            "cell": list(cell.key),
            "measure": cell.measure,
            "value": cell.value,
            "low": cell.low,
            "high": cell.high,
            "sigma": answer.sigma,
            "suppressed": cell.value is None,
            "institutions": answer.institutions,
            "alarm": bool(cell.key) and cell.key[0] in answer.alarms,
        }
        for cell in answer.cells
    ]
