"""A shared model fitted to one institution, on its own training units; stays inside.

Costs no privacy, as nothing of it leaves. Held-out units are never trained on, so that the
comparison (comparison.py) is honest.

- *scaled*: its own bias and scale, two numbers. Changes no rank: it makes probabilities.
- *stack*: shared and own models weighed on own units (stack.py); with fewer than 6 own positives
  the shared model alone.
- *own head*: of a network, the last layer fitted here on top of the shared hidden one, drawn to
  the shared last layer as far as own labels ask for it; it is the private head of personalisation.
- *own only*: of a network, no shared model at all, under the study's own steps; the model that it
  is compared with.

A network's shared body was learned by all, under the door; the head is fitted on own training
units, is kept here and never leaves, so it costs no privacy (Arivazhagan et al. 2019, "Federated
learning with personalization layers"; Collins et al. 2021). It is drawn to the shared head by a
Gaussian prior, whose spread own validation units choose: where they ask for nothing, the shared
head stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from fieldfare.client.own_model.forest import Forest
from fieldfare.client.own_model.own_grid import own_grid
from fieldfare.client.own_model.stack import OwnModels, at_home, is_stackable
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.models.interface import HeadedModel
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, plan_for
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
        """Return the penalised loss and its gradient."""
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


class FittingKind(StrEnum):
    """How a model was fitted here."""

    SCALED = "scaled"
    STACK = "stack at home"
    SHARED = "shared model alone"
    HEAD = "own head"


@dataclass(frozen=True, eq=False)
class TuningOutcome:
    """A model that was fitted here.

    Attributes:
        bias, scale: score' = bias + scale * score; of a stack 0 and 1.
        parameters: float64 (entries,), with them.
        units, positives: counts of the training units. They never leave.
        forest: trees of a stack, added to the score; None without any.
        weights: of a stack's parts.
        apart: float64 (units,), a stack's scores of the training units out of fold, or of those
            that it learned from where they were thinned; None of others.
    """

    kind: FittingKind
    bias: float
    scale: float
    parameters: Vector
    units: int
    positives: int
    forest: Forest | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    apart: Vector | None = None


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


def tune(study: Study, shared: Vector, data: EncodedUnits, kind: FittingKind) -> TuningOutcome:
    """Fit a shared model to an institution's training units.

    Args:
        study: whose features the parameters are about.
        shared: float64 (entries,).
        data: training units, held-out ones left out.
        kind: how far it may move.

    Raises:
        UsageError: a kind of model that is not fitted here, too few labels, or the shared model
            ranks the wrong way round (a stack leaves such a model out).
        RecordsError: units of another study.
    """
    if kind is FittingKind.SCALED or further(study) is FittingKind.HEAD:
        return _scaled(study, shared, data, kind)
    return stacked(study, shared, data, own_models(study, shared, data))


def own_models(study: Study, shared: Vector, data: EncodedUnits) -> OwnModels | None:
    """Return an institution's own models; None where its positives are too few for a stack.

    Raises:
        UsageError: too few negatives.
        RecordsError: units of another study.
    """
    positives, negatives = int(data.labels.sum()), int((data.labels == 0).sum())
    if negatives < LEAST_OF_A_CLASS:
        check_labels(data.labels)
    few = positives < max(own_grid().stack.least, own_grid().folds)
    return None if few else OwnModels.of(study, data, shared)


def stacked(
    study: Study, shared: Vector, data: EncodedUnits, own: OwnModels | None
) -> TuningOutcome:
    """Return the stack of shared and own models, or the shared model alone without own ones."""
    counts = (len(data), int(data.labels.sum()))
    if own is None:
        return TuningOutcome(FittingKind.SHARED, 0.0, 1.0, shared, *counts)
    made = at_home(study, shared, own)
    model = made.model
    return TuningOutcome(
        FittingKind.STACK, 0.0, 1.0, model.parameters, *counts, model.forest, made.weights,
        made.apart,
    )  # fmt: skip


def further(study: Study) -> FittingKind:
    """Return the part fitted beyond bias and scale: a network's last layer, else a stack.

    Raises:
        UsageError: a kind of model that is not fitted here.
    """
    if is_stackable(study):
        return FittingKind.STACK
    if isinstance(model_for(study), HeadedModel):
        return FittingKind.HEAD
    raise UsageError(
        f"{study.name}: expected a model of features, texts or vectors, found one of kind "
        f"{study.model.kind}, which is not tuned here: use it as it is"
    )


def _scaled(study: Study, shared: Vector, data: EncodedUnits, kind: FittingKind) -> TuningOutcome:
    """Fit bias and scale and, of a network, the head."""
    check_labels(data.labels)
    model = model_for(study)
    line = LogisticRegression(C=1e6, max_iter=1000)
    line.fit(model.scores(shared, data)[:, None], data.labels)
    bias, scale = float(line.intercept_[0]), float(line.coef_[0, 0])
    if scale <= 0:
        raise UsageError(
            "expected higher scores that are more often positive, found the opposite here: ask the "
            "coordinator what the model learned, and do not use it"
        )
    headed = model if isinstance(model, HeadedModel) else None
    outer = headed.head_places if headed else np.arange(model.vectors.entries)
    parameters = shared.copy()
    parameters[outer] *= scale
    parameters[0] += bias
    if headed and kind is not FittingKind.SCALED:
        parameters, kind = own_head(headed, parameters, data), FittingKind.HEAD
    parameters = np.clip(parameters, -PARAMETER_LIMIT, PARAMETER_LIMIT)
    return TuningOutcome(kind, bias, scale, parameters, len(data), int(data.labels.sum()))


def own_only(study: Study, data: EncodedUnits) -> Vector:
    """Train on one institution's units alone, without privacy, under the study's steps.

    The same as the baseline `alone` of a simulation, but for the first bias: an institution
    knows its own prevalence.

    Raises:
        UsageError: too few labels.
    """
    check_labels(data.labels)
    plan, model = plan_for(study.stepwise), model_for(study.stepwise)
    sums, ratio = model.prepare(data), plan.study.training_units / len(data)
    share = float(data.labels.mean())
    state = TrainingState.start(model.initial(float(np.log(share / (1 - share)))))
    for _ in range(plan.study.training.steps):
        state = next_state(plan, state, sums.plain_gradient(state.parameters) * ratio)
    return state.model
