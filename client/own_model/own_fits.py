"""Fits on one institution's own training units: the study's model, and trees; stays inside.

- *own*: parameters of the study's model, drawn to nothing (maximum a posteriori); or trees
- *tuned*: drawn to the shared parameters
- *warm*: the study's own steps, started at the shared parameters

One thread, a fixed seed: the same units give the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_array, hstack, vstack
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.client.own_model.forest import Forest
from fieldfare.client.own_model.own_grid import (
    ChosenModel,
    Grid,
    Labels,
    Vector,
    log_losses,
    own_log_odds,
)
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import WEIGHT_STEPS, Basis, EncodedUnits
from fieldfare.shared.features.rows import ROW_STEPS
from fieldfare.shared.models import AdditiveModel, LinearModel, RiskModel, model_for
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, plan_for
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.study.study import Study

MOST_STEPS: Final = 100  # of L-BFGS
CLOSE: Final = 1e-8  # relative change of the loss at which it stops
STEEPEST: Final = 500.0  # exp of more overflows


@dataclass(frozen=True, eq=False)
class SumModel:
    """A score that is a sum by feature: the study's model, and trees beside it.

    Attributes:
        model: of the study.
        parameters: float64 (entries,), as the study's model has them.
        forest: None where there is none.
    """

    model: RiskModel
    parameters: Vector
    forest: Forest | None = None

    def scores(self, data: EncodedUnits) -> Vector:
        """Return float64 (units,): log-odds."""
        found = self.model.scores(self.parameters, data)
        return found if self.forest is None else found + self.forest.scores(data)


def check_fits(study: Study, data: EncodedUnits) -> None:
    """Check that units were encoded under this study.

    Raises:
        RecordsError: another number of features.
    """
    if study.rows is None and len(data.positions) != len(study.features):
        raise RecordsError(
            f"expected units of {len(study.features)} features, found {len(data.positions)}: "
            "read the records under the model's own study"
        )


# -- the study's model by sums ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SumFits:
    """Fits of the study's model, by features or rows.

    Attributes:
        start: float64 (entries,): the shared model, or another whose knots are used.
    """

    study: Study
    grid: Grid
    start: Vector

    @property
    def model(self) -> "AdditiveModel | LinearModel":
        """The study's model, whose score is linear in its parameters."""
        found = model_for(self.study)
        if not isinstance(found, AdditiveModel | LinearModel):
            raise TypeError("expected a model that is linear in its parameters")
        return found

    def own(self, data: EncodedUnits) -> list[SumModel]:
        """Draw parameters to nothing, at every spread."""
        return self._drawn(self._scaled(own_log_odds(data.labels), 0.0), data)

    def tuned(self, data: EncodedUnits) -> list[SumModel]:
        """Draw parameters to the shared ones, under its own bias and scale, at every spread."""
        scores = self.model.scores(self.start, data)
        bias, scale = weighed(scores[:, None], data.labels).tolist()
        return self._drawn(self._scaled(bias, scale), data)

    def warm(self, data: EncodedUnits) -> list[SumModel]:
        """Take the study's steps from the shared parameters, and stop after each count."""
        model, plan = self.model, plan_for(self.study.stepwise)
        sums, ratio = model.prepare(data), plan.study.training_units / max(1, len(data))
        state, found = TrainingState.start(self.start), []
        for step in range(1, max(self.grid.warm.steps) + 1):
            state = next_state(plan, state, sums.plain_gradient(state.parameters) * ratio)
            if step in self.grid.warm.steps:
                found.append(SumModel(model, state.parameters))
        return found

    def _scaled(self, bias: float, scale: float) -> Vector:
        made, entries = self.start.copy(), self.model.vectors.entries
        made[:entries] *= scale
        made[0] += bias
        return made

    def _drawn(self, prior: Vector, data: EncodedUnits) -> list[SumModel]:
        """Fit at every spread, each fit beginning where the one before it ended."""
        model, inputs = self.model, self.inputs(data)
        spreads = self.grid.spreads.rows if self.study.rows else self.grid.spreads.features
        found, begin, entries = [], prior, inputs.shape[1]
        for spread in spreads:
            pull = np.full(entries, 1.0 / spread**2)
            pull[0] = 0.0  # the bias moves freely
            begin = begin.copy()  # what follows the entries are knots: they stay
            begin[:entries] = _least_loss(inputs, data.labels, prior[:entries], pull, begin)
            found.append(SumModel(model, np.clip(begin, -PARAMETER_LIMIT, PARAMETER_LIMIT)))
        return found

    def inputs(self, data: EncodedUnits) -> Any:
        """Return a CSR array (units, entries): what each parameter is multiplied with."""
        ones = csr_array(np.ones((len(data), 1)))
        if data.rows is not None:
            return hstack([ones, vstack([part / ROW_STEPS for _, part in _sparse(data)])], "csr")
        basis = Basis(self.study.features).with_knots_in(self.start)
        parts = [
            csr_array(fold / WEIGHT_STEPS)[column]
            for fold, column in zip(basis.folds, data.positions, strict=True)
        ]
        return hstack([ones, *parts], "csr")


def _sparse(data: EncodedUnits) -> Iterator[tuple[slice, Any]]:
    for part, chunk in data.rows.chunks() if data.rows is not None else ():
        yield part, csr_array(chunk)


def _least_loss(inputs: Any, labels: Labels, prior: Vector, pull: Vector, begin: Vector) -> Vector:
    """Minimise log loss + pull (parameters - prior)^2 / 2.

    Args:
        inputs: CSR (units, entries).
        labels: uint8 (units,).
        prior: float64 (entries,), what parameters are drawn to.
        pull: float64 (entries,).
        begin: float64 (at least entries,).
    """
    turned = inputs.T.tocsr()

    def objective(parameters: Vector) -> tuple[float, Vector]:
        """Return the penalised loss and its gradient."""
        moved = parameters - prior
        scores = inputs @ parameters
        loss = float(log_losses(scores, labels).sum()) + 0.5 * float(pull @ (moved * moved))
        return loss, turned @ _residuals(scores, labels) + pull * moved

    terms = {"maxiter": MOST_STEPS, "ftol": CLOSE}
    found = minimize(objective, begin[: len(prior)], jac=True, method="L-BFGS-B", options=terms)
    return np.asarray(found.x, dtype=np.float64)


def weighed(columns: Vector, labels: Labels) -> Vector:
    """Return float64 (1 + columns,): bias and weights of least log loss, no weight below 0.

    Weights of k columns are drawn to 1 / k, with a spread of 1 / k: where labels are few they stay
    near their mean, also where a column tells the classes apart entirely.

    Args:
        columns: float64 (units, columns), log-odds.
        labels: uint8 (units,).
    """
    inputs = np.concatenate([np.ones((len(columns), 1)), columns], axis=1)

    def objective(weights: Vector) -> tuple[float, Vector]:
        """Return the penalised loss and its gradient."""
        scores = inputs @ weights
        moved = weights - start
        loss = float(log_losses(scores, labels).sum()) + 0.5 * float(pull @ (moved * moved))
        return loss, inputs.T @ _residuals(scores, labels) + pull * moved

    count = columns.shape[1]
    start = np.array([0.0, *[1.0 / count] * count])
    pull = np.array([0.0, *[float(count) ** 2] * count])
    bounds = [(None, None), *[(0.0, None)] * count]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, dtype=np.float64)


def _residuals(scores: Vector, labels: Labels) -> Vector:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -STEEPEST, STEEPEST))) - labels)


# -- trees -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TreeFits:
    """Fits of scikit-learn's boosting and random forest on positions."""

    study: Study
    grid: Grid
    start: Vector

    def own(self, data: EncodedUnits) -> list[SumModel]:
        """Grow trees at every number of leaves, and cut them after every number of rounds."""
        return [
            self._beside(forest.first(rounds))
            for forest in map(partial(self._grown, data), self.grid.boosting.leaves)
            for rounds in self.grid.boosting.rounds
        ]

    def average(self, data: EncodedUnits) -> list[SumModel]:
        """Grow a random forest; its scores are shares of cases."""
        terms = self.grid.forest
        grown = RandomForestClassifier(
            terms.trees,
            min_samples_leaf=terms.least_in_leaf,
            max_leaf_nodes=terms.leaves,
            max_samples=min(len(data), terms.draws),
            random_state=self.grid.seed,
        )
        grown.fit(data.positions.T.astype(np.float32), data.labels)
        return [self._beside(Forest.average(grown, data))]

    def _beside(self, forest: Forest) -> SumModel:
        model, nothing = model_for(self.study), self.start.copy()
        nothing[: model.vectors.entries] = 0.0
        return SumModel(model, nothing, forest)

    def _grown(self, data: EncodedUnits, leaves: int) -> Forest:
        terms = self.grid.boosting
        grown = HistGradientBoostingClassifier(
            learning_rate=terms.rate,
            max_iter=max(terms.rounds),
            max_leaf_nodes=leaves,
            min_samples_leaf=terms.least_in_leaf,
            l2_regularization=terms.ridge,
            early_stopping=False,
            random_state=self.grid.seed,
        )
        with threadpool_limits(1):
            grown.fit(data.positions.T.astype(np.float64), data.labels)
        return Forest.of(grown, data)


def in_log_odds(found: ChosenModel[SumModel], labels: Labels) -> ChosenModel[SumModel]:
    """Return trees that score shares with scores in log-odds: a line fitted out of fold."""
    mean, spread = float(found.apart.mean()), float(found.apart.std()) or 1.0
    bias, slope = (weighed((found.apart[:, None] - mean) / spread, labels) / [1.0, spread]).tolist()
    base, forest = bias - slope * mean, found.fitted.forest
    fitted = replace(found.fitted, forest=forest and forest.along(base, slope))
    return ChosenModel(base + slope * found.apart, fitted)


def shifted(found: SumModel, by: float) -> SumModel:
    """Return the same model with log-odds moved by a constant."""
    parameters = found.parameters.copy()
    parameters[0] += by
    return replace(found, parameters=parameters)
