"""Tune a shared model here, and compare it with the institution's own model.

Own labels only, own hold-out only; nothing leaves. That it was tuned is logged, no figure is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.institution.open import Institution
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.score import Sources, budget_of, tables
from fieldfare.client.model_use.usable import TunedModel, UsableModel, keep_tuned, tuned_model
from fieldfare.client.records.encoding.units import holdout_mask
from fieldfare.client.scoring.comparison import Group, Quality, by_group, everybody, quality
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.client.scoring.tuning import FittingKind, check_labels, further, own_only, tune
from fieldfare.client.scoring.units import read_units
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study

SHARED: Final = "shared"
TUNED: Final = "tuned here"
ALONE: Final = "own only"
LEAST_HELD: Final = 5  # positives and negatives: less measures nothing


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class LocalLabels:
    """An institution's labelled units, split as in every study.

    Attributes:
        training, holdout: ready for sums.
        groups: str (units,) of the held-out, by audit column; never an input.
    """

    training: EncodedUnits
    holdout: EncodedUnits
    groups: Mapping[str, NDArray[np.object_]]


@dataclass(frozen=True)
class LocalEvaluation:
    """The result of a comparison; its figures are about records and never leave.

    Attributes:
        units, positives: held out.
        budget: alerts among the held-out units.
        tuning: how the tuned model came about.
        qualities: by model.
        everybody: the shared model's alerts over all units together.
        groups: the same by audit column and group.
    """

    units: int
    positives: int
    budget: int
    tuning: str
    qualities: Mapping[str, Quality]
    everybody: Group
    groups: Mapping[str, Sequence[Group]]


def local_labels(
    institution: Institution,
    study: Study,
    sources: Sources,
    environment: Mapping[str, str],
    audit: Sequence[str] = (),
) -> LocalLabels:
    """Read labelled units and split them by the institution's hold-out key.

    Raises:
        RecordsError, StudyError, UsageError: the records do not fit.
    """
    units = read_units(tables(institution, study, sources, environment), study, audit)
    units = units.select(units.labelled)
    key = load_holdout_key(institution.home)
    held = holdout_mask(units.units.to_pylist(), key=key, share=study.evaluation.holdout)
    groups = {
        name: np.array(column.to_pylist(), dtype=object)[held]
        for name, column in units.groups.items()
    }
    training, holdout = (units.select(mask).encoded() for mask in (~held, held))
    return LocalLabels(training, holdout, groups)


def tune_here(
    institution: Institution,
    journal: Journal,
    model: UsableModel,
    data: EncodedUnits,
    kind: FittingKind,
    *,
    user: str,
    now: datetime,
) -> TunedModel:
    """Fit the shared model to own training units and keep it.

    Raises:
        UsageError: too few labels.
        LedgerError: the log cannot be written: nothing is kept then.
    """
    tuned = tune(model.study, model.parameters, data, kind)
    made = TunedModel.of(model.kept, model.parameters, tuned, now)
    journal.append(Event.TUNED, user, study=model.study.id, run=model.kept.run)
    keep_tuned(institution.home, made)
    return made


def evaluate(
    institution: Institution,
    model: UsableModel,
    labels: LocalLabels,
    *,
    budget: int | None,
    seed: int,
) -> LocalEvaluation:
    """Compare shared, tuned and own-only models on the own hold-out.

    Args:
        institution: whose budget and tuning.
        model: the shared one, as delivered.
        labels: as `local_labels` gives them.
        budget: alerts among all units, if asked for here.
        seed: of the intervals' resamples; the same for every model.

    Raises:
        UsageError: too few labels to train on, or to measure with.
    """
    check_labels(labels.training.labels)
    _check_holdout(labels.holdout)
    study, held = model.study, labels.holdout
    parameters, tuning = _three(institution, model, labels.training)
    share = _share(budget_of(institution.settings, study, budget), labels)
    risk = model_for(study)
    scores = {name: risk.scores(one, held) for name, one in parameters.items()}
    qualities = {
        name: quality(found, held.labels, share, np.random.default_rng(seed))
        for name, found in scores.items()
    }
    groups = {
        name: by_group(scores[SHARED], held.labels, column, share)
        for name, column in labels.groups.items()
    }
    return LocalEvaluation(
        units=len(held),
        positives=int(held.labels.sum()),
        budget=share.alerts(len(held)),
        tuning=tuning,
        qualities=qualities,
        everybody=everybody(scores[SHARED], held.labels, share),
        groups=groups,
    )


def _three(
    institution: Institution, model: UsableModel, training: EncodedUnits
) -> tuple[dict[str, NDArray[np.float64]], str]:
    study = model.study
    kept = tuned_model(institution.home, model.kept, study, model.parameters)
    if kept is not None:
        tuned, how = np.array(kept.parameters), f"{kept.kind.value}, kept since {kept.time[:10]}"
    else:
        tuned = tune(study, model.parameters, training, FittingKind.CORRECTED).parameters
        how = f"{further(study).value}, made for this comparison"
    return {SHARED: model.parameters, TUNED: tuned, ALONE: own_only(study, training)}, how


def _share(budget: AlertBudget, labels: LocalLabels) -> AlertBudget:
    units = len(labels.training) + len(labels.holdout)
    return AlertBudget(share=budget.alerts(units) / units)


def _check_holdout(held: EncodedUnits) -> None:
    positives = int(held.labels.sum())
    if min(positives, len(held) - positives) < LEAST_HELD:
        raise UsageError(
            f"expected {LEAST_HELD} held-out labels of each class, found {positives} positive and "
            f"{len(held) - positives} negative: too few to measure anything"
        )
