"""A network's last layer, fitted to one institution on top of the shared hidden layer.

The shared body was learned by all, under the door; the head is fitted on own training units, is
kept here and never leaves, so it costs no privacy (Arivazhagan et al. 2019, "Federated learning
with personalization layers"; Collins et al. 2021). It is drawn to the shared head by a Gaussian
prior, whose spread own validation units choose: where they ask for nothing, the shared head stays.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fieldfare.shared.basis import EncodedUnits
from fieldfare.shared.models.interface import HeadedModel

Values = NDArray[np.float64]

SPREADS: Final = (0.02, 0.1, 0.5, 2.5)  # log-odds for each hidden value of 1
VALIDATION: Final = 4  # every fourth unit of a class chooses the spread
MOST_STEPS: Final = 200  # of L-BFGS


def own_head(model: HeadedModel, prior: Values, data: EncodedUnits) -> Values:
    """Fit offset and heads; the hidden layer stays as it is shared.

    Args:
        model: the network.
        prior: float64 (entries,), where the head is drawn to.
        data: own training units of both classes, held-out ones left out.

    Returns:
        float64 (entries,): `prior` with another offset and other heads; `prior` itself where no
        spread is better on the validation units.
    """
    places = model.head_places
    values, start = model.last_values(prior, data), prior[places]
    inputs = np.concatenate([np.ones((len(data), 1)), values], axis=1)
    labels = data.labels.astype(np.float64)
    chosen = _validation(data.labels)
    best, spread = _loss(start, inputs[chosen], labels[chosen]), 0.0
    for tried in SPREADS:
        head = _fitted(inputs[~chosen], labels[~chosen], start, tried)
        found = _loss(head, inputs[chosen], labels[chosen])
        if found < best:
            best, spread = found, tried
    made = prior.copy()
    if spread:
        made[places] = _fitted(inputs, labels, start, spread)
    return made


def _validation(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for value in (0, 1):
        chosen[np.flatnonzero(labels == value)[::VALIDATION]] = True
    return chosen


def _loss(head: Values, inputs: Values, labels: Values) -> float:
    scores = inputs @ head
    return float((np.logaddexp(0.0, scores) - labels * scores).mean())


def _fitted(inputs: Values, labels: Values, prior: Values, spread: float) -> Values:
    """Minimise log loss + |head - prior|^2 / (2 spread^2)."""
    weight = 1.0 / spread**2

    def objective(head: Values) -> tuple[float, Values]:
        moved, scores = head - prior, inputs @ head
        loss = float((np.logaddexp(0.0, scores) - labels * scores).sum())
        back = np.exp(-np.logaddexp(0.0, -scores)) - labels
        return loss + 0.5 * weight * float(moved @ moved), inputs.T @ back + weight * moved

    found = minimize(objective, prior, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS})
    return np.asarray(found.x, dtype=np.float64)
