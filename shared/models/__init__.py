"""Risk models behind one interface: parameters in, one bounded integer sum out."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.advice import told
from fieldfare.shared.models.additive import AdditiveModel
from fieldfare.shared.models.interface import GridVectors, RiskModel, UnitSums
from fieldfare.shared.models.linear import LinearModel
from fieldfare.shared.models.network_facts import network_entries, network_vectors
from fieldfare.shared.study.model_sections import MlpSection, VectorSection
from fieldfare.shared.study.study import Study

if TYPE_CHECKING:
    from fieldfare.shared.models.custom_module import ModuleModel
    from fieldfare.shared.models.feature_network import MlpModel
    from fieldfare.shared.models.started import StartedModel

__all__ = [
    "AdditiveModel",
    "GridVectors",
    "LinearModel",
    "RiskModel",
    "UnitSums",
    "check_module",
    "gradient_vectors",
    "model_for",
    "network_for",
    "parameter_entries",
    "slot_values",
    "started_model",
    "trained_model",
]


def model_for(study: Study) -> RiskModel:
    """Return the model that a study declares, and that a finished run delivers.

    The choice is a closed one: a module that a study names is one that is allowed here.
    """
    if isinstance(study.model, MlpSection):
        return network_for(study, study.model)
    if isinstance(study.rows, VectorSection) and study.rows.hidden:
        from fieldfare.shared.models.vector_network import NetworkModel  # noqa: PLC0415 -- few have one

        wide = study.rows
        return NetworkModel(wide.columns, wide.hidden, study.privacy.clipping_norm)
    if study.rows is not None:
        return LinearModel(study.rows.columns, clipping_norm=study.privacy.clipping_norm)
    return AdditiveModel(study.features, clipping_norm=study.privacy.clipping_norm)


def started_model(study: Study) -> "StartedModel | None":
    """Return what a study trains from its public start; None where it starts from nothing."""
    start = study.public_start
    if start is None:
        return None
    from fieldfare.shared.models.started import StartedModel  # noqa: PLC0415 -- few have a start

    return StartedModel(study.features, clipping_norm=study.privacy.clipping_norm, start=start)


def trained_model(study: Study) -> RiskModel:
    """Return the model whose parameters a study's steps move: `model_for`, or multipliers."""
    return started_model(study) or model_for(study)


def slot_values(study: Study, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64 (entries,): the bias, then each slot's addition to a score, in log-odds.

    Of the additive model its parameters; of a network what a slot adds alone, beside nothing else.
    """
    if not isinstance(study.model, MlpSection):
        return parameters
    model = network_for(study, study.model)
    return np.concatenate([parameters[:1], model.slot_values(parameters)])


def network_for(study: Study, section: MlpSection) -> "MlpModel | ModuleModel":
    """Return the network that a study declares: its own layers, or a module that is allowed here.

    Raises:
        PackageError: torch or Opacus is not installed.
    """
    norm = study.privacy.clipping_norm
    try:
        if section.module is None or section.package is None or section.parameters is None:
            from fieldfare.shared.models.feature_network import MlpModel  # noqa: PLC0415 -- torch: seconds

            return MlpModel.of(study, section)
        from fieldfare.shared.models.custom_module import ModuleModel  # noqa: PLC0415 -- Opacus too
    except ModuleNotFoundError as error:
        raise told(error) from None
    named = (section.module, section.package, section.parameters)
    return ModuleModel(study.features, *named, section.rows, norm)


def parameter_entries(study: Study) -> int:
    """Count a model's parameters; of a network without loading what it computes with."""
    if isinstance(study.model, MlpSection):
        return network_entries(study.features, study.model)
    return len(model_for(study).initial(0.0))


def gradient_vectors(study: Study) -> GridVectors:
    """Return `trained_model(study).vectors`; of a network without loading what it computes with.

    Raises:
        PackageError: torch or Opacus, which its steps will need, is not installed here.
    """
    section = study.model
    if not isinstance(section, MlpSection):
        return trained_model(study).vectors
    for library in ("torch",) if section.module is None else ("torch", "opacus"):
        if not _installed(library):
            raise told(ModuleNotFoundError(name=library))
    return network_vectors(network_entries(study.features, section), study.privacy.clipping_norm)


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:
        return False


def check_module(study: Study) -> None:
    """Build the module that a study names, if it names one: for its author and the coordinator.

    Raises:
        PackageError: it is not installed or not allowed here.
        StudyError: it cannot be clipped, or is not as large as the study says.
    """
    if isinstance(study.model, MlpSection) and study.model.module is not None:
        model_for(study).initial(0.0)
