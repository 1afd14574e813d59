"""Risk models behind one interface: parameters in, one bounded integer sum out."""

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.model_sections import MlpSection, VectorSection
from fieldfare.shared.models.additive import AdditiveModel
from fieldfare.shared.models.interface import GridVectors, RiskModel, UnitSums
from fieldfare.shared.models.linear import LinearModel
from fieldfare.shared.models.network import NetworkModel
from fieldfare.shared.study import Study

__all__ = [
    "AdditiveModel",
    "GridVectors",
    "LinearModel",
    "NetworkModel",
    "RiskModel",
    "UnitSums",
    "model_for",
    "slot_values",
]


def model_for(study: Study) -> RiskModel:
    """Return the model that a study declares.

    The choice is a closed one: code is never named by a study from outside.
    """
    if isinstance(study.model, MlpSection):
        from fieldfare.shared.models.mlp import MlpModel  # noqa: PLC0415 -- torch takes seconds

        return MlpModel.of(study, study.model)
    if isinstance(study.rows, VectorSection) and study.rows.hidden:
        wide = study.rows
        return NetworkModel(wide.columns, wide.hidden, study.privacy.clipping_norm)
    if study.rows is not None:
        return LinearModel(study.rows.columns, clipping_norm=study.privacy.clipping_norm)
    return AdditiveModel(study.features, clipping_norm=study.privacy.clipping_norm)


def slot_values(study: Study, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64 (entries,): the bias, then what each slot of the features adds to a score.

    Of the additive model its parameters; of a network what a slot adds alone, beside nothing else.
    """
    if not isinstance(study.model, MlpSection):
        return parameters
    from fieldfare.shared.models.mlp import MlpModel  # noqa: PLC0415 -- torch takes seconds

    return np.concatenate([parameters[:1], MlpModel.of(study, study.model).slot_values(parameters)])
