"""Whom people look at: the top of the ranking as far as they can, and a sample below the line.

The sample (5 % of the queue) is drawn at random from those that
were not chosen: without it the cases that the model misses would stay unknown, and the next study
would be trained on the choices of this one.
"""

import csv
import io
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import UsageError

BELOW_LINE_SHARE: Final = 0.05
HEADER: Final = ("unit", "reason")


class Selected(StrEnum):
    """Why a unit is looked at."""

    ALERT = "alert"
    BELOW_LINE = "below_line"
    NO = "no"


@dataclass(frozen=True)
class AlertBudget:
    """How many alerts people can look at.

    Attributes:
        units: a number; or
        share: a share of all units. One of them.
        below_line: further units at random, as a share of the alerts.
    """

    units: int | None = None
    share: float | None = None
    below_line: float = BELOW_LINE_SHARE

    def alerts(self, units: int) -> int:
        """Return how many alerts there are among `units`; at least one where there is anybody."""
        wanted = self.units if self.units is not None else round((self.share or 0.0) * units)
        return min(units, max(1, wanted))

    def drawn_below(self, alerts: int) -> int:
        """Return how many are drawn below the line."""
        return math.ceil(self.below_line * alerts)


def choose(
    ranks: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    budget: AlertBudget,
    generator: np.random.Generator,
) -> NDArray[np.int8]:
    """Return int8 (units,): 1 alert, 2 drawn below the line, 0 neither.

    Args:
        ranks: int64 (units,), 1 for the highest score.
        eligible: bool (units,); the others are never chosen, and do not use up the budget.
        budget: how many.
        generator: draws the sample; nobody can foresee it where it comes from the system.
    """
    chosen = np.zeros(len(ranks), dtype=np.int8)
    candidates = np.flatnonzero(eligible)
    if not len(candidates):
        return chosen
    candidates = candidates[np.argsort(ranks[candidates], kind="stable")]
    alerts = min(len(candidates), budget.alerts(len(ranks)))  # a share is one of everybody
    chosen[candidates[:alerts]] = 1
    below = candidates[alerts:]
    drawn = min(len(below), budget.drawn_below(alerts))
    chosen[generator.choice(below, size=drawn, replace=False)] = 2
    return chosen


def parse_suppression(text: str, name: str) -> dict[str, str]:
    """Read the units that are never alerted, with reasons: CSV with the header `unit,reason`.

    An alert about a survivor in recovery, or a customer under protection, can harm.

    Raises:
        UsageError: another header, a row without a unit or a reason, or a unit twice; says the
            row's number and never a value.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or tuple(cell.strip() for cell in rows[0]) != HEADER:
        raise UsageError(f"{name}: expected the header unit,reason, found another first line")
    found: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=1):
        if not row:
            continue
        cells = [cell.strip() for cell in row]
        if len(cells) != len(HEADER) or not all(cells):
            raise UsageError(f"{name}: expected a unit and a reason in row {number}; complete it")
        if cells[0] in found:
            raise UsageError(f"{name}: expected each unit once, found one again in row {number}")
        found[cells[0]] = cells[1]
    return found
