"""Risk models behind one interface: parameters in, one bounded integer sum out."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.advice import told
from fieldfare.shared.models.additive import AdditiveModel
from fieldfare.shared.models.interface import GridVectors, RiskModel, UnitSums
from fieldfare.shared.models.linear import LinearModel
from fieldfare.shared.models.vector_network import NetworkModel
from fieldfare.shared.study.model_sections import MlpSection, VectorSection
from fieldfare.shared.study.study import Study

if TYPE_CHECKING:
    from fieldfare.shared.models.custom_module import ModuleModel
    from fieldfare.shared.models.feature_network import MlpModel

__all__ = [
    "AdditiveModel",
    "GridVectors",
    "LinearModel",
    "NetworkModel",
    "RiskModel",
    "UnitSums",
    "model_for",
    "network_for",
    "slot_values",
]


def model_for(study: Study) -> RiskModel:
    """Return the model that a study declares.

    The choice is a closed one: a module that a study names is one that is allowed here.
    """
    if isinstance(study.model, MlpSection):
        return network_for(study, study.model)
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
    model = network_for(study, study.model)
    return np.concatenate([parameters[:1], model.slot_values(parameters)])


def network_for(study: Study, section: MlpSection) -> "MlpModel | ModuleModel":
    """Return the network that a study declares: its own layers, or a module that is allowed here.

    Raises:
        PackageError: torch or Opacus, or a named module, is not installed or not allowed here.
        StudyError: a named module that cannot be clipped.
    """
    norm = study.privacy.clipping_norm
    try:
        if section.module is None or section.package is None:
            from fieldfare.shared.models.feature_network import MlpModel  # noqa: PLC0415 -- torch: seconds

            return MlpModel.of(study, section)
        from fieldfare.shared.models.custom_module import ModuleModel  # noqa: PLC0415 -- Opacus too
    except ModuleNotFoundError as error:
        raise told(error) from None
    return ModuleModel(study.features, section.module, section.package, section.rows, norm)
