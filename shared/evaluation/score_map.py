"""Scores shifted and stretched into probabilities, and the best cut: off the released calibration.

A model that was clipped and noised ranks well and is no probability (docs/adr/0004). What the
federation released of its hold-outs, observed against predicted rates, says by how much: two
numbers, and with them from which score a unit is better called a case than not. Post-processing of
what every delivery holds (a card's `metrics`): nothing more is released, and whoever recomputes the
metrics recomputes this (Dwork-Roth 2014, proposition 2.1).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Z95: Final = 1.96
MOST_TURNS: Final = 50
CLOSE: Final = 1e-9
STEPS: Final = 1024  # of a log-odd: as the place of an alert is told
PRIOR_SPREAD: Final = 1.0  # of the slope around 1: few points do not tell a slope
LEAST_SLOPE: Final = 0.05
STEEPEST: Final = 500.0  # exp of more overflows
LEAST_UNITS: Final = 1.0
MOST_UNITS: Final = 2.0**41  # of a study, and noise
SLIGHT: Final = 1e-6  # a rate that is distinct from 0 and 1


class Cut(StrEnum):
    """By what a cut is chosen."""

    F1 = "f1"
    BUDGET = "budget"


@dataclass(frozen=True)
class ScoreMap:
    """What scores of a finished model mean, as its hold-outs said.

    Attributes:
        slope, intercept: probability is 1 / (1 + exp(-(slope * score + intercept))).
        f1: F1 at the best cut, as far as the points resolve it.
        units, positives: of all hold-outs, as released.
        cuts: score (log-odds) from which a unit is called a case, by what it is chosen by; a
            multiple of 2^-10.
    """

    slope: float
    intercept: float
    f1: float
    units: int
    positives: int
    cuts: Mapping[Cut, float]

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (units,)."""
        places = np.clip(self.slope * scores + self.intercept, -STEEPEST, STEEPEST)
        return 1.0 / (1.0 + np.exp(-places))

    @property
    def lines(self) -> tuple[str, str]:
        """What a score means, and the cuts, for people."""
        meaning = (
            f"a score of .5 (log-odds 0) means {self.meant_by(0.5):.3f}: probabilities are scores "
            f"stretched {self.slope:.2f} times and shifted by {self.intercept:+.2f} log-odds"
        )
        cuts = (
            f"best cut by F1 (about {self.f1:.2f}): score {self.cuts[Cut.F1]:+.2f}; for the alert "
            f"budget: score {self.cuts[Cut.BUDGET]:+.2f}"
        )
        return meaning, cuts

    def meant_by(self, probability: float) -> float:
        """Return how likely a unit is to which the model itself gives this probability."""
        return float(self.probabilities(np.array([log_odds(probability)]))[0])


def score_map(metrics: Mapping[str, Any] | None) -> ScoreMap | None:
    """Read the map off released metrics.

    Args:
        metrics: as `evaluate` writes them; None where noise hid them.

    Returns:
        None where there is nothing to read it from.

    Formal Guarantees:
        A function of what was released: no record is read, and nothing is spent.

    Edge cases:
        | calibration | result |
        |---|---|
        | no point, or nobody positive in any | none |
        | one point | scores are shifted, and not stretched |
        | higher scores not more often positive | none: a flipped map would mislead |
        | what no evaluation says: rate or budget beyond 0 and 1, nobody, above 2^41 units | none |
        | a point that noise blurs | counts for as many units as its interval is worth |

    Sources: Platt 1999 (the two numbers); Lipton, Elkan and Naryanaswamy 2014, theorem 1 (the cut
    that is best by F1 lies where the probability is half of the best F1).
    """
    points = list(metrics["calibration"]) if metrics else []
    if metrics is None or not any(point["observed"] > 0 for point in points):
        return None
    if not all(map(_is_possible, points)) or not 0 < metrics["alert_budget"] < 1:
        return None
    places = np.array([log_odds(point["predicted"]) for point in points])
    rates = np.array([point["observed"] for point in points], dtype=np.float64)
    worth = np.array([_worth(point) for point in points])
    slope, intercept = _fitted(places, rates, worth)
    if slope < LEAST_SLOPE:
        return None
    f1 = _best_f1(rates, np.array([point["units"] for point in points]))
    best = (log_odds(f1 / 2) - intercept) / slope
    budget = _within(places, points, metrics["alert_budget"])
    units, positives = (round(metrics[name]["value"]) for name in ("units", "positives"))
    cuts = {Cut.F1: _on_grid(best), Cut.BUDGET: _on_grid(budget)}
    return ScoreMap(slope, intercept, f1, units, positives, cuts)


def _is_possible(point: Mapping[str, float]) -> bool:
    rates = (point["predicted"], point["observed"])
    return all(0 <= rate <= 1 for rate in rates) and 0 < point["units"] <= MOST_UNITS


def log_odds(probability: float) -> float:
    """Return log(p / (1 - p)), of a rate that is neither 0 nor 1."""
    inside = min(max(probability, SLIGHT), 1 - SLIGHT)
    return math.log(inside / (1 - inside))


def _worth(point: Mapping[str, float]) -> float:
    """Return by how many units a rate of that spread would be known without noise."""
    spread = max(point["high"] - point["observed"], point["observed"] - point["low"]) / Z95
    rate, units = point["observed"], max(point["units"], LEAST_UNITS)
    chance = max(rate * (1 - rate), 1 / units)
    return min(units, chance / spread**2) if spread > 0 else units


def _fitted(
    places: NDArray[np.float64], rates: NDArray[np.float64], worth: NDArray[np.float64]
) -> tuple[float, float]:
    """Return slope and intercept: weighted logistic regression, the slope drawn to 1 (Newton)."""
    columns = np.stack([places, np.ones_like(places)], axis=1)
    drawn = np.diag([1 / PRIOR_SPREAD**2, CLOSE])
    whole = max(float(worth.sum()), LEAST_UNITS)
    mean = log_odds(float(worth @ rates) / whole) - float(worth @ places) / whole
    found = np.array([1.0, mean])
    for _ in range(MOST_TURNS):
        chances = 1 / (1 + np.exp(-np.clip(columns @ found, -STEEPEST, STEEPEST)))
        slope = columns.T @ (worth * (chances - rates)) + drawn @ (found - [1.0, found[1]])
        bend = (columns * (worth * chances * (1 - chances))[:, None]).T @ columns + drawn
        step = np.linalg.solve(bend, slope)
        step *= min(1.0, 2.0 / float(np.abs(step).max() or 1.0))  # no leap past the optimum
        found = found - step
        if float(np.abs(step).max()) < CLOSE:
            break
    return float(found[0]), float(found[1])


def _best_f1(rates: NDArray[np.float64], units: NDArray[np.float64]) -> float:
    """Return the best F1 of all cuts between points."""
    found = np.cumsum((rates * units)[::-1])
    return float((2 * found / (np.cumsum(units[::-1]) + found[-1])).max())


def _within(
    places: NDArray[np.float64], points: Sequence[Mapping[str, float]], budget: float
) -> float:
    """Return the score above which a share of the units lies: as between points of a normal."""
    units = np.array([max(point["units"], LEAST_UNITS) for point in points])
    above = (np.cumsum(units[::-1])[::-1] - units / 2) / units.sum()
    normal = NormalDist()
    aim = -normal.inv_cdf(budget)
    reached = np.array([-normal.inv_cdf(share) for share in above])
    if len(places) == 1:
        return float(places[0] + aim - reached[0])
    at = int(np.clip(np.searchsorted(reached, aim), 1, len(places) - 1))
    gap = reached[at] - reached[at - 1]
    share = (aim - reached[at - 1]) / gap if gap > 0 else 0.5
    return float(places[at - 1] + (places[at] - places[at - 1]) * share)


def _on_grid(place: float) -> float:
    return round(place * STEPS) / STEPS
