"""A kept model, checked again and read: the start of scoring, tuning and evaluation."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.institution.building import Institution
from fieldfare.client.institution.kept_models import KeptModel, find_model
from fieldfare.client.institution.model_standing import standing_of_model
from fieldfare.client.institution.studies import kept_study
from fieldfare.client.institution.tuned_models import tuned_model
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.model_file import model_from_bytes
from fieldfare.shared.study import Study

# What lists the highest ranks of some kinds of model; `score` ranks with every kind.
COMMANDS: Final = {"text": "texts", "vector": "vectors"}


@dataclass(frozen=True, eq=False)
class UsableModel:
    """A delivered model, ready to score with.

    Attributes:
        study: whose features the parameters are about.
        parameters: float64 (entries,).
        verified: how far it was verified, in words.
        tuned: whether the parameters were tuned here.
    """

    kept: KeptModel
    study: Study
    parameters: NDArray[np.float64]
    verified: str
    tuned: bool = False


def usable_model(institution: Institution, text: str, kind: str | None = None) -> UsableModel:
    """Find, check and read the model that a person means.

    Args:
        institution: whose models are searched.
        text: a run, or first digits of its study.
        kind: the one that the caller can rank with; None: any.

    Raises:
        UsageError: none or several fit, or another kind of model.
        ProtocolError: its signature or hashes do not hold: it must not be used.
    """
    kept = find_model(institution.home, text)
    standing = standing_of_model(kept, institution.roster)
    if standing.card is None:
        raise ProtocolError(f"{kept.folder}: {standing.words}")
    study = kept_study(institution.home, kept.study, institution.roster).study
    if kind is not None and study.model.kind != kind:
        raise UsageError(
            f"{study.name}: expected a model of kind {kind}, found {study.model.kind}: use "
            f"fieldfare institution {COMMANDS.get(study.model.kind, 'score')}"
        )
    parameters = model_from_bytes(kept.read().model, study, kept.run)
    return UsableModel(kept, study, parameters, standing.words)


def as_tuned(institution: Institution, model: UsableModel) -> UsableModel:
    """Return the same model as it was tuned here.

    Raises:
        UsageError: it was not, or the file is of another model.
    """
    found = tuned_model(institution.home, model.kept, model.study, model.parameters)
    if found is None:
        raise UsageError(
            f"--tuned: expected a tuning of run {model.kept.run}, found none: make one with "
            f"`fieldfare institution tune --model {model.kept.run}`"
        )
    return replace(model, parameters=np.array(found.parameters), tuned=True)
