"""A shared model fitted to one institution, on its own training units; stays inside.

Costs no privacy, as nothing of it leaves. Held-out units are never trained on, so that the
comparison (comparison.py) is honest.

- *scaled*: an own bias and scale, two numbers. Changes no rank: it makes probabilities.
- *corrected*: further, an own additive correction, drawn to the shared model by a Gaussian prior
  (a maximum a posteriori estimate): where an institution has little to say, the shared model
  stands.
- *own head*: of a network, the last layer fitted here on top of the shared hidden one, drawn to
  the shared last layer as far as own labels ask for it; it is the private head of personalisation.
- *own only*: no shared model at all, under the study's own steps; the model that it is compared
with.

A network's last layer, fitted to one institution on top of the shared hidden layer.

The shared body was learned by all, under the door; the head is fitted on own training units, is
kept here and never leaves, so it costs no privacy (Arivazhagan et al. 2019, "Federated learning
with personalization layers"; Collins et al. 2021). It is drawn to the shared head by a Gaussian
prior, whose spread own validation units choose: where they ask for nothing, the shared head stays.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Basis, EncodedUnits
from fieldfare.shared.models import AdditiveModel, LinearModel, RiskModel, model_for
from fieldfare.shared.models.interface import HeadedModel
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.study.study import Study

Values = NDArray[np.float64]

SPREADS: Final = (0.02, 0.1, 0.5, 2.5)  # log-odds for each hidden value of 1
VALIDATION: Final = 4  # every fourth unit of a class chooses the spread
MOST_HEAD_STEPS: Final = 200  # of L-BFGS


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

    found = minimize(
        objective, prior, jac=True, method="L-BFGS-B", options={"maxiter": MOST_HEAD_STEPS}
    )
    return np.asarray(found.x, dtype=np.float64)


# -- tuning ---------------------------------------------------------------------------------------

Vector = NDArray[np.float64]

LEAST_OF_A_CLASS: Final = 20  # training labels of each class
PRIOR_SPREAD: Final = 0.5  # log-odds: how far a slot may move before the data must insist
MOST_STEPS: Final = 100  # of L-BFGS
STEEPEST: Final = 500.0  # exp of more overflows


class FittingKind(StrEnum):
    """How a model was fitted here."""

    SCALED = "scaled"
    CORRECTED = "corrected"
    HEAD = "own head"


@dataclass(frozen=True, eq=False)
class Tuned:
    """A model that was fitted here.

    Attributes:
        bias, scale: score' = bias + scale * score.
        parameters: float64 (entries,), with them and any correction.
        units, positives: counts of the training units. They never leave.
    """

    kind: FittingKind
    bias: float
    scale: float
    parameters: Vector
    units: int
    positives: int


def check_labels(labels: NDArray[np.uint8]) -> None:
    """Refuse to fit on too little.

    Raises:
        UsageError: fewer than 20 of a class.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < LEAST_OF_A_CLASS:
        raise UsageError(
            f"expected {LEAST_OF_A_CLASS} training labels of each class, found {positives} "
            f"positive and {len(labels) - positives} negative: use the shared model as it is"
        )


def tune(study: Study, shared: Vector, data: EncodedUnits, kind: FittingKind) -> Tuned:
    """Fit a shared model to an institution's training units.

    Args:
        study: whose features the parameters are about.
        shared: float64 (entries,).
        data: training units, held-out ones left out.
        kind: how far it may move.

    Raises:
        UsageError: too few labels, or the shared model ranks the wrong way round here.
    """
    check_labels(data.labels)
    model = model_for(study)
    scores = model.scores(shared, data)
    line = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], data.labels)
    bias, scale = float(line.intercept_[0]), float(line.coef_[0, 0])
    if scale <= 0:
        raise UsageError(
            "expected higher scores that are more often positive, found the opposite here: ask the "
            "coordinator what the model learned, and do not use it"
        )
    outer = _outer(study, model)
    parameters = shared.copy()
    parameters[outer] *= scale
    parameters[0] += bias
    if kind is not FittingKind.SCALED:
        parameters = _further(model, parameters, data)
        kind = further(study)
    parameters = np.clip(parameters, -PARAMETER_LIMIT, PARAMETER_LIMIT)
    return Tuned(kind, bias, scale, parameters, len(data), int(data.labels.sum()))


def further(study: Study) -> FittingKind:
    """Return the part fitted beyond bias and scale: a network's last layer, else a correction."""
    return FittingKind.HEAD if isinstance(model_for(study), HeadedModel) else FittingKind.CORRECTED


def _outer(study: Study, model: RiskModel) -> NDArray[np.int64]:
    """Return the places of the parameters that a score is linear in.

    Raises:
        UsageError: a kind of model that cannot be tuned.
    """
    if isinstance(model, AdditiveModel):
        return np.arange(Basis(study.features).entries)
    if isinstance(model, LinearModel):
        return np.arange(model.vectors.entries)
    if isinstance(model, HeadedModel):
        return model.head_places
    raise UsageError(
        f"{study.name}: expected a model of features, texts or vectors, found one of kind "
        f"{study.model.kind}, which is not tuned here: use it as it is"
    )


def _further(model: RiskModel, prior: Vector, data: EncodedUnits) -> Vector:
    if isinstance(model, HeadedModel):
        return own_head(model, prior, data)
    return _corrected(model, prior, data)


def _corrected(model: RiskModel, prior: Vector, data: EncodedUnits) -> Vector:
    """Minimise log loss + |parameters - prior|^2 / (2 spread^2)."""
    sums = model.prepare(data)
    weight = 1.0 / PRIOR_SPREAD**2

    def objective(parameters: Vector) -> tuple[float, Vector]:
        moved = parameters - prior
        scores = np.clip(model.scores(parameters, data), -STEEPEST, STEEPEST)
        loss = float((np.logaddexp(0.0, scores) - data.labels * scores).sum())
        gradient, found = weight * moved, sums.plain_gradient(parameters)
        gradient[: len(found)] += found  # what follows are knots, and fixed
        return loss + 0.5 * weight * float(moved @ moved), gradient

    found = minimize(objective, prior, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS})
    parameters: Vector = np.asarray(found.x, dtype=np.float64)
    return parameters


def own_only(study: Study, data: EncodedUnits) -> Vector:
    """Train on one institution's units alone, without privacy, under the study's steps.

    The same as the baseline `alone` of a simulation, but for the first bias: an institution
    knows its own prevalence.

    Raises:
        UsageError: too few labels.
    """
    check_labels(data.labels)
    study = study.stepwise
    share = float(data.labels.mean())
    model = model_for(study)
    sums, ratio = model.prepare(data), study.training_units / len(data)
    state = TrainingState.start(model.initial(float(np.log(share / (1 - share)))))
    for _ in range(study.training.steps):
        state = next_state(study, state, sums.plain_gradient(state.parameters) * ratio)
    return state.model
