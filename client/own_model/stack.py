"""The own best model, and the stack at home: shared and own models weighed on own units.

Weights are those of a logistic regression, none below 0, on scores of models that had not seen
the unit (Wolpert 1992; Breiman 1996, "Stacked regressions"). The shared model did see own training
units: what it can remember of one is bounded, of all together it is not (docs/adr/0035 says what
that was worth). The stack is taken whole, with the shared model and without: choosing between it
and its parts by few labels costs more than it saves (docs/adr/0035).

All parts but the trees have the same parameters, and so has their sum: the stack is one vector of
parameters and one forest of all trees, whose reasons add up exactly (docs/adr/0035). Nothing of it
leaves, and it costs no privacy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_fits import (
    SumFits,
    SumModel,
    TreeFits,
    check_fits,
    in_log_odds,
    shifted,
    weighed,
)
from fieldfare.client.own_model.own_grid import (
    ChosenModel,
    Grid,
    Labels,
    Vector,
    choose,
    folds_of,
    own_grid,
    thinned,
)
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import AdditiveModel, LinearModel, model_for
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT
from fieldfare.shared.study.study import Study

ADDITIVE: Final = "own additive"
TREES: Final = "own boosting"
FOREST: Final = "own forest"
SHARED_PARTS: Final = ("shared", "tuned", "warm")


def is_stackable(study: Study) -> bool:
    """Tell whether scores of a study's model are sums of features, or linear in a row."""
    return isinstance(model_for(study), AdditiveModel | LinearModel)


def _weights(parts: Mapping[str, ChosenModel[SumModel]], labels: Labels) -> Vector:
    return weighed(_columns(parts), labels)


def _columns(parts: Mapping[str, ChosenModel[SumModel]]) -> Vector:
    return np.column_stack([part.apart for part in parts.values()])


def _collapsed(
    parts: Mapping[str, ChosenModel[SumModel]], weights: Vector, shift: float
) -> ChosenModel[SumModel]:
    """Return one sum by feature that scores as the weighed parts do, and what it scores apart."""
    fitted = [part.fitted for part in parts.values()]
    model, parameters = fitted[0].model, fitted[0].parameters.copy()  # what follows entries: knots
    entries, forest = model.vectors.entries, None
    parameters[:entries] = 0.0
    parameters[0] = weights[0]
    for weight, part in zip(weights[1:].tolist(), fitted, strict=True):
        parameters[:entries] += weight * part.parameters[:entries]
        if part.forest is not None and weight:
            forest = part.forest.times(weight).plus(forest)
    made = SumModel(model, np.clip(parameters, -PARAMETER_LIMIT, PARAMETER_LIMIT), forest)
    apart = _columns(parts) @ weights[1:] + weights[0] + shift
    return ChosenModel(apart, shifted(made, shift))


# -- own models ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class OwnModels:
    """An institution's own models, each under the setting that own training units chose.

    Attributes:
        data: the units.
        shift: what to add to log-odds, where negatives were left out.
        folds: int64 (units,).
        additive: the study's model, regularised.
        trees, forest: boosting, and a random forest; none of texts and vectors.
    """

    data: EncodedUnits
    shift: float
    folds: NDArray[np.int64]
    additive: ChosenModel[SumModel]
    trees: ChosenModel[SumModel] | None
    forest: ChosenModel[SumModel] | None

    @classmethod
    def of(cls, study: Study, data: EncodedUnits, start: Vector, grid: Grid | None = None) -> Self:
        """Fit and choose.

        Args:
            study: whose features the units have; of features, texts or vectors.
            data: training units, held-out ones left out, at least a positive and a negative for
                each fold.
            start: float64 (entries,), the shared model: of it nothing but knots is used here.
            grid: None: the one that ships.

        Raises:
            RecordsError: units of another study.
        """
        check_fits(study, data)
        grid = grid or own_grid()
        data, shift = thinned(data, grid)
        folds, sums = folds_of(data.labels, grid), SumFits(study, grid, start)
        trees, grown, forest = TreeFits(study, grid, start), None, None
        if study.rows is None:
            grown = choose(trees.own, data, folds)
            forest = in_log_odds(choose(trees.average, data, folds), data.labels)
        return cls(data, shift, folds, choose(sums.own, data, folds), grown, forest)

    @property
    def parts(self) -> dict[str, ChosenModel[SumModel]]:
        """The models by name."""
        parts = {ADDITIVE: self.additive, TREES: self.trees, FOREST: self.forest}
        return {name: part for name, part in parts.items() if part is not None}

    def best(self) -> ChosenModel[SumModel]:
        """Return the best that an institution has without anybody else: the own models' stack."""
        return _collapsed(self.parts, _weights(self.parts, self.data.labels), self.shift)


def own_best(study: Study, data: EncodedUnits, start: Vector, grid: Grid | None = None) -> SumModel:
    """Return an institution's own best model, however few its labels are.

    With fewer positives (or negatives) than folds nothing can be chosen: it is the additive model
    under its strongest pull.

    Args:
        study: of features, texts or vectors.
        data: training units.
        start: float64 (entries,), whose knots are used.
        grid: None: the one that ships.
    """
    grid = grid or own_grid()
    positives = int(data.labels.sum())
    if min(positives, len(data) - positives) < grid.folds:
        return SumFits(study, grid, start).own(data)[0]
    return OwnModels.of(study, data, start, grid).best().fitted


# -- at home ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StackModel:
    """The stack of shared and own models, as one model.

    Attributes:
        model: a sum by feature.
        weights: of each part.
        apart: float64 (units,), scores of the own units out of fold.
    """

    model: SumModel
    weights: Mapping[str, float]
    apart: Vector


def at_home(study: Study, shared: Vector, own: OwnModels, grid: Grid | None = None) -> StackModel:
    """Weigh shared and own models on own training units.

    Args:
        study: of features, texts or vectors.
        shared: float64 (entries,).
        own: the institution's own models.
        grid: None: the one that ships.
    """
    grid = grid or own_grid()
    fits, data, model = SumFits(study, grid, shared), own.data, model_for(study)
    joined = (
        ChosenModel(model.scores(shared, data), SumModel(model, shared)),
        choose(fits.tuned, data, own.folds),
        choose(fits.warm, data, own.folds),
    )
    parts = own.parts | dict(zip(SHARED_PARTS, joined, strict=True))
    weights = _weights(parts, data.labels)
    named = dict(zip(parts, weights[1:].tolist(), strict=True))
    made = _collapsed(parts, weights, own.shift)
    return StackModel(made.fitted, named, made.apart)
