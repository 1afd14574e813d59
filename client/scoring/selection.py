"""Whom people look at: the top of the ranking as far as they can, and a sample below the line.

The sample (5 % of the queue) is drawn at random from those that
were not chosen: without it the cases that the model misses would stay unknown, and the next study
would be trained on the choices of this one.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fieldfare.client.records.sources.mapping import canonical_id
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.ties import dealt_ties
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.study.toml import Section

BELOW_LINE_SHARE: Final = 0.05
HEADER: Final = ("unit", "reason")
LISTED: Final = "suppression list"
MOST_LEVELS: Final = 256

Members = Mapping[str, frozenset[str]]

GroupName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ExcludedGroup(Section):
    """One group, by a column of the institution's own records, or by a list of units.

    Attributes:
        name: what screens and the log call it.
        column: of the records that are scored; no protected attribute (harm rule 4).
        levels: the column's values, as text, of those who are excluded.
        file: instead of both, a private file of units with the header `unit,reason`.
    """

    name: GroupName
    column: str = Field(default="", max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")
    levels: tuple[str, ...] = Field(default=(), max_length=MOST_LEVELS, strict=False)
    file: str = Field(default="", max_length=4096, pattern=r"^[^\x00]*$")

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.column) == bool(self.file) or bool(self.column) != bool(self.levels):
            raise ValueError("expected either column and levels, or file")
        if any(level != level.strip() or not level for level in self.levels):
            raise ValueError(
                "levels: expected texts without spaces around them, found others or an empty one: "
                "values are trimmed"
            )
        if is_protected(self.column):
            raise ValueError(
                f"column: expected one that says what is done for people, found {self.column}: "
                "what people are decides nothing (harm rule 4); name units in a file"
            )
        if self.name == LISTED:
            raise ValueError(
                f"name: expected another name than {LISTED}, which is a list of its own"
            )
        return self


def left_out(members: Members) -> frozenset[str]:
    """Return the units of any group."""
    return frozenset().union(*members.values())


class SelectionReason(StrEnum):
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
        """Return how many alerts there are among `units`.

        At least one where there is anybody, but for a budget of no unit: nobody is above a cut.
        """
        if self.units == 0:
            return 0
        wanted = self.units if self.units is not None else round((self.share or 0.0) * units)
        return min(units, max(1, wanted))

    def drawn_below(self, alerts: int) -> int:
        """Return how many are drawn below the line."""
        return math.ceil(self.below_line * alerts)


def review_order(
    scores: NDArray[np.float64],
    tiers: NDArray[np.int8] | None = None,
    ties: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Return int64 (units,): places in the order in which people look at units.

    The one place where a queue's order is made: scoring, comparisons and simulations ask here.

    Args:
        scores: float64 (units,), the higher the sooner.
        tiers: int8 (units,), of `readings.tiers_of`: the higher before every score;
            None: one tier.
        ties: (units,), the lower the sooner among equals; None: as an evaluation deals them,
            since as they stand a file that lists cases first would find them.
    """
    keys: list[NDArray[Any]] = [dealt_ties(len(scores)) if ties is None else ties, -scores]
    if tiers is not None:
        keys.append(-tiers.astype(np.int64))
    return np.lexsort(keys)


def queue_of(
    scores: NDArray[np.float64],
    tiers: NDArray[np.int8] | None = None,
    excluded: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return float64 (units,): the higher the sooner people look at it; -inf: never.

    Args:
        scores: float64 (units,), the higher the sooner.
        tiers: int8 (units,), of `readings.tiers_of`; None: one tier.
        excluded: bool (units,); None: nobody.
    """
    found = np.empty(len(scores))
    found[review_order(scores, tiers)] = -np.arange(len(scores), dtype=np.float64)
    if excluded is not None:
        found[excluded] = -np.inf
    return found


def alerted(queue: NDArray[np.float64], budget: AlertBudget) -> NDArray[np.bool_]:
    """Return bool (units,): the first of a queue, as many as the budget allows.

    Args:
        queue: float64 (units,), of `queue_of` or plain scores; -inf: never.
        budget: a share is one of all units, those who are never chosen among them.
    """
    chosen = np.zeros(len(queue), dtype=np.bool_)
    chosen[review_order(queue)[: budget.alerts(len(queue))]] = True
    return chosen & (queue > -np.inf)


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
        unit = canonical_id(cells[0])
        if unit in found:
            raise UsageError(f"{name}: expected each unit once, found one again in row {number}")
        found[unit] = cells[1]
    return found
