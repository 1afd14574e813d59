"""Public score bins: how evaluation turns a hold-out unit into one cell.

A unit contributes one count to one cell of (label, bin), so its vector has norm 1
whatever its score. Bins are evenly spaced in log-odds around the public prevalence:
public constants, the same at every party.

From which score a unit is an alert: read off the released table of scores, and off nothing else.

Post-processing: every party with the table finds the same place, so that no coordinator can choose
another one (docs/design.md, "Recomputation"). A logarithm, an isotonic regression and normal
quantiles may differ in their last bits between machines: the place is a multiple of 2^-10, and its
neighbours are as good.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fieldfare.shared.study.study import Study

BELOW_PREVALENCE: Final = 5.5  # log-odds: where the lowest bin ends
ABOVE_PREVALENCE: Final = 5.0  # log-odds: where the highest bin starts


def prevalence_log_odds(study: Study) -> float:
    """Return log(p / (1 - p)) of the public prevalence.

    A logarithm is not the same to the last bit on every machine: it is computed once,
    at the start of a run, and travels in the first parameters (docs/design.md, "Recomputation").
    """
    prevalence = study.records.prevalence
    return math.log(prevalence / (1 - prevalence))


def inner_edges(study: Study) -> NDArray[np.float64]:
    """Return float64 (bins - 1,): increasing log-odds between neighbouring bins."""
    centre = prevalence_log_odds(study)
    return np.linspace(
        centre - BELOW_PREVALENCE, centre + ABOVE_PREVALENCE, study.evaluation.score_bins - 1
    )


def bin_of(scores: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return int64 (units,): each score's bin, elementwise; bin 0 is the lowest."""
    return np.searchsorted(edges, scores, side="right")


# -- alert cut ------------------------------------------------------------------------------------

STEPS: Final = 1024  # of a log-odd: the place of an alert is told to a thousandth
HALF_A_UNIT: Final = 0.5  # fewer above an edge are none: of none no quantile is known
NEIGHBOURS: Final = (0, 1, -1)  # steps by which two machines may differ

Counts = NDArray[np.float64]


def project(counts: Counts) -> Counts:
    """Return non-negative counts of the same total whose cumulative sums are nearest, row by row.

    Bounded isotonic regression of the cumulative sums, from the highest scores down. Curves are
    made of cumulative sums; setting each negative bin right by itself instead (clipping, or the
    nearest counts bin by bin) would leave the positive half of the noise of every empty bin,
    and where a ranking is good there are many empty bins above the first mistake.

    Args:
        counts: float64 (rows, bins), lowest scores first.

    Returns:
        float64 (rows, bins).

    Edge cases:
        | row | result |
        |---|---|
        | total at or below zero | zeros |
        | all non-negative | unchanged, up to rounding |

    Source: Barlow, Bartholomew, Bremner, Brunk 1972, section 1.2; clipping an isotonic
    regression gives the bounded one.
    """
    # Loads 35 MB, which who only shows a budget has no use for.
    from scipy.optimize import isotonic_regression  # noqa: PLC0415

    above = np.cumsum(counts[:, ::-1], axis=1)
    totals = np.maximum(above[:, -1:], 0.0)
    rising = [isotonic_regression(row).x for row in above]
    bounded = np.clip(np.reshape(rising, counts.shape), 0.0, totals)
    bounded[:, -1:] = totals
    result: Counts = np.diff(bounded, axis=1, prepend=0.0)[:, ::-1]
    return result


def alert_threshold(study: Study, noisy: Counts) -> float:
    """Return the log-odds above which the alert budget's share of the units lies.

    Args:
        study: bins and budget.
        noisy: float64 (2 * bins,), the released table: negatives by bin, then positives.

    Returns:
        A multiple of 2^-10. Within a bin, shares are taken to run as between two points of a
        normal distribution: evenly spread units would put the threshold far too high, because
        bins are wide and scores thin out towards the top.

    Edge cases:
        | table | result |
        |---|---|
        | nobody left under the noise | the highest edge: few are above it |
        | the budget ends in an outer bin, which has no end | within one further bin's width |
    """
    edges = inner_edges(study)
    width = edges[1] - edges[0]
    ends = np.concatenate([[edges[0] - width], edges, [edges[-1] + width]])
    counts = project(noisy.reshape(2, -1)).sum(axis=0)[::-1]  # highest scores first
    above = np.cumsum(counts)
    if above[-1] <= 0:
        return _on_grid(float(edges[-1]))
    shares, wanted = above / above[-1], study.evaluation.alert_budget
    place = int(np.searchsorted(shares, wanted, side="left"))
    before = shares[place - 1] if place else 0.0
    high, low = ends[len(counts) - place], ends[len(counts) - place - 1]
    least = min(0.5, HALF_A_UNIT / above[-1])
    top, aim, bottom = -ndtri(np.clip([before, wanted, shares[place]], least, 1.0 - least))
    reach = (aim - bottom) / (top - bottom) if top > bottom else 0.5
    return _on_grid(float(low + (high - low) * min(max(reach, 0.0), 1.0)))


def thresholds_near(study: Study, noisy: Counts) -> Iterator[float]:
    """Yield the threshold of a table, and its neighbours that another machine may have found."""
    found = alert_threshold(study, noisy)
    for steps in NEIGHBOURS:
        yield found + steps / STEPS


def with_threshold(model: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return float64 (entries + 1,): the parameters and threshold that a count by group binds."""
    return np.append(model, threshold)


def _on_grid(log_odds: float) -> float:
    return round(log_odds * STEPS) / STEPS
