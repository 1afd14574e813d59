"""Models of others that a simulation sets beside the federation's, and what their makers see.

They are no part of a study: whoever makes one sees more than a sum. They stand in `others` of
results.json, apart from `models`, each with what its maker sees.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.simulations.federation.baselines import Trainer
from fieldfare.simulations.federation.population import MeasuredUnits
from fieldfare.simulations.metrics import chances, measure

Scorer = Callable[[EncodedUnits], NDArray[np.float64]]


class MakerSight(Enum):
    """What whoever makes a model sees of institutions."""

    UPDATES = "every update"
    RECORDS = "every record"


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """What models of others are made of.

    Attributes:
        trainer: training units by institution as sums, with the study's steps, start and seed.
        training: the same units, encoded.
    """

    trainer: Trainer
    training: Mapping[str, EncodedUnits]


@dataclass(frozen=True)
class OtherModel:
    """A model of others, before it has learned.

    Attributes:
        called: on the command line and in results.
        sees: what its maker sees.
        promised: to whom its epsilon is a promise: "institution", "unit", or "" without privacy.
        epsilon: at the study's delta; infinite without privacy.
        fit: returns, once it has learned, what gives units' log-odds, float64 (units,). Raises
            FieldfareError where it cannot learn from them, or its library is not installed.
    """

    called: str
    sees: MakerSight
    promised: str
    epsilon: Callable[[TrainingInputs], float]
    fit: Callable[[TrainingInputs], Scorer]


def beside(
    other: OtherModel, given: TrainingInputs, test: MeasuredUnits, budget: float
) -> dict[str, Any]:
    """Return a row of `others` in results.json: what its maker sees, and its figures.

    Args:
        other: learns now.
        given: what it learns from.
        test: units that it is measured on.
        budget: share of units that are reviewed.

    Raises:
        FieldfareError: it cannot learn from these units, or its library is not installed.
    """
    scores, epsilon = chances(other.fit(given)(test.data)), other.epsilon(given)
    own = {
        name: measure(test.data.labels[mine], scores[mine], budget)
        for name in given.training
        if len(mine := test.of(name))
    }
    return {
        "name": other.called,
        "sees": other.sees.value,
        "epsilon": epsilon if math.isfinite(epsilon) else None,
        "promised": other.promised if math.isfinite(epsilon) else None,
        **measure(test.data.labels, scores, budget),
        "per_institution": {name: {"own": row} for name, row in own.items()},
    }
