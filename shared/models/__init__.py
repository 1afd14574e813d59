"""Risk models behind one interface: parameters in, one bounded integer sum out."""

from fieldfare.shared.model_sections import VectorSection
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
]


def model_for(study: Study) -> RiskModel:
    """Return the model that a study declares.

    The choice is a closed one: code is never named by a study from outside.
    """
    if isinstance(study.rows, VectorSection) and study.rows.hidden:
        section = study.rows
        return NetworkModel(section.columns, section.hidden, study.privacy.clipping_norm)
    if study.rows is not None:
        return LinearModel(study.rows.columns, clipping_norm=study.privacy.clipping_norm)
    return AdditiveModel(study.features, clipping_norm=study.privacy.clipping_norm)
