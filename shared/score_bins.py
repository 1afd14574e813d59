"""Public score bins: how evaluation turns a hold-out unit into one cell.

A unit contributes one count to one cell of (label, bin), so its vector has norm 1
whatever its score. Bins are evenly spaced in log-odds around the public prevalence:
public constants, the same at every party.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.study import Study

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
