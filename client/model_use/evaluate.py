"""Use a shared model at home, and compare it with the institution's own best model.

Also the page "Should we join?", as far as own records can answer it.

Own labels only, own hold-out only; nothing leaves. That it was tuned is logged, no figure is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.alerts.alert_queue import listed_members
from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.institution.institution import Institution
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.score import Sources, budget_of, tables
from fieldfare.client.model_use.usable import TunedModel, UsableModel, keep_tuned, tuned_model
from fieldfare.client.own_model.own_customers import Kinds, OwnCustomers, here
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.stack import is_stackable, own_best
from fieldfare.client.own_model.tuning import (
    FittingKind,
    TuningOutcome,
    further,
    own_models,
    own_only,
    stacked,
    tune,
)
from fieldfare.client.records.encoding.holdout import holdout_mask
from fieldfare.client.scoring.comparison import (
    FromCut,
    Group,
    Quality,
    by_group,
    everybody,
    from_cut,
    quality,
    recall,
)
from fieldfare.client.scoring.exclusion import group_columns, mask_of, members_by_column
from fieldfare.client.scoring.readings import ONE_HOLDS
from fieldfare.client.scoring.selection import AlertBudget, Members, left_out, queue_of
from fieldfare.client.scoring.units import ScorableUnits, read_units
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.joining.figures import Facts, Figures, figures
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study

SHARED: Final = "shared"
HOME: Final = "used at home"
ALONE: Final = "own best"
LEAST_HELD: Final = 5  # positives and negatives: less measures nothing


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class LocalLabels:
    """An institution's labelled units, split as in every study.

    Attributes:
        everyone: all of them, with their numbers.
        held: bool (units,): which are held out.
        excluded: the units of each group that the institution leaves out, by its name.
        training, holdout: ready for sums.
        groups: str (units,) of the held-out, by audit column; never an input.
        learned: the same of the training units.
    """

    everyone: ScorableUnits
    held: NDArray[np.bool_]
    excluded: Members
    training: EncodedUnits
    holdout: EncodedUnits
    groups: Mapping[str, NDArray[np.object_]]
    learned: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)

    def by(self, columns: Sequence[str]) -> "LocalLabels":
        """Return the same with the groups of some columns only."""
        return replace(self, groups={name: self.groups[name] for name in columns})


@dataclass(frozen=True)
class ExclusionPrice:
    """What it costs to leave a group out, on the hold-out.

    Attributes:
        units, positives: held-out ones of the group.
        recall: within the budget where this group alone is left out.
        without: where nobody is.
    """

    name: str
    units: int
    positives: int
    recall: float
    without: float


@dataclass(frozen=True)
class LocalEvaluation:
    """The result of a comparison; its figures are about records and never leave.

    Attributes:
        units, positives: held out.
        budget: alerts among the held-out units.
        tuning: how the tuned model came about.
        qualities: by model; who is excluded is not reviewed.
        ranked_by: the model whose alerts the groups are about: what `score` would use.
        everybody: its alerts over all units together.
        groups: the same by audit column and group.
        cuts: the shared model's alerts from each released cut on, by what it was chosen by.
        last: held-out units that come after all others, as a harmless reading fits them.
        by_score: recall within the budget if alerts followed the score alone.
        excluded: the price of each excluded group.
    """

    units: int
    positives: int
    budget: int
    tuning: str
    qualities: Mapping[str, Quality]
    ranked_by: str
    everybody: Group
    groups: Mapping[str, Sequence[Group]]
    cuts: Mapping[str, FromCut]
    last: int
    by_score: float
    excluded: tuple[ExclusionPrice, ...]


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
    rules = institution.settings.alerts.excluded
    asked = tuple(dict.fromkeys((*audit, *group_columns(rules))))
    units = read_units(tables(institution, study, sources, environment), study, asked)
    listed = listed_members(institution.home, institution.settings)
    excluded = {**listed, **members_by_column(rules, units)}
    units = units.select(units.labelled)
    key = load_holdout_key(institution.home)
    held = holdout_mask(units.units.to_pylist(), key=key, share=study.evaluation.holdout)
    learned, groups = (
        {name: np.array(units.groups[name].to_pylist(), dtype=object)[mask] for name in audit}
        for mask in (~held, held)
    )
    training, holdout = (units.select(mask).encoded() for mask in (~held, held))
    return LocalLabels(units, held, excluded, training, holdout, groups, learned)


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
    """Compare the shared model, its use at home and the own best model on the own hold-out.

    Args:
        institution: whose budget and tuning.
        model: the shared one, as delivered.
        labels: as `local_labels` gives them.
        budget: alerts among all units, if asked for here.
        seed: of the intervals' resamples; the same for every model.

    Raises:
        UsageError: too few labels to train on, or to measure with.
        RecordsError: units of another study.
    """
    _check_holdout(labels.holdout)
    study, held = model.study, labels.holdout
    models, tuning = _three(institution, model, labels.training)
    share = _share(budget_of(institution.settings, study, budget), labels)
    kept = tuned_model(institution.home, model.kept, study, model.parameters)
    ranked_by = SHARED if kept is None else HOME
    scores = {name: one.scores(held) for name, one in models.items()}
    tiers = labels.everyone.select(labels.held).tiers
    left = mask_of(labels.everyone, left_out(labels.excluded))[labels.held]
    queues = {name: queue_of(one, tiers, left) for name, one in scores.items()}
    qualities = {
        name: quality(scores[name], held.labels, share, np.random.default_rng(seed), queue)
        for name, queue in queues.items()
    }
    queue = queues[ranked_by]
    by_score = queue_of(scores[ranked_by], None, left)
    groups = {
        name: by_group(queue, held.labels, column, share) for name, column in labels.groups.items()
    }
    return LocalEvaluation(
        units=len(held),
        positives=int(held.labels.sum()),
        budget=share.alerts(len(held)),
        tuning=tuning,
        qualities=qualities,
        ranked_by=ranked_by,
        everybody=everybody(queue, held.labels, share),
        groups=groups,
        cuts={
            cut.value: from_cut(scores[SHARED], held.labels, score)
            for cut, score in (model.released.cuts if model.released else {}).items()
        },
        last=int((tiers == ONE_HOLDS).sum()),
        by_score=recall(by_score, held.labels, share),
        excluded=_prices(labels, queue_of(scores[ranked_by], tiers), share),
    )


def _prices(
    labels: LocalLabels, queue: NDArray[np.float64], budget: AlertBudget
) -> tuple[ExclusionPrice, ...]:
    held, everybody_in = labels.holdout, recall(queue, labels.holdout.labels, budget)
    found = []
    for name, members in labels.excluded.items():
        out = mask_of(labels.everyone, members)[labels.held]
        without = recall(np.where(out, -np.inf, queue), held.labels, budget)
        positives = int(held.labels[out].sum())
        found.append(ExclusionPrice(name, int(out.sum()), positives, without, everybody_in))
    return tuple(found)


# -- should we join? -------------------------------------------------------------------------------

KNOWS_NOT: Final = (
    "The delivered model learned from your labels too, so it is no model of the others alone, and "
    "with fewer own labels it stays as it is. A part of a gain may come from weighing more "
    "models, no matter who taught them. An institution by itself cannot know how the others fare, "
    "how large that part is, what all records in one pool would give, how far other noise would "
    "have changed the model, nor how soon a new scenario would show."
)


@dataclass(frozen=True)
class KindColumns:
    """Own columns that say of a case its role and its scenario; None: there is none."""

    role: str | None = None
    scenario: str | None = None

    @property
    def names(self) -> list[str]:
        """Those that there are."""
        return [name for name in (self.role, self.scenario) if name]


def should_join(
    institution: Institution,
    model: UsableModel,
    labels: LocalLabels,
    columns: KindColumns,
    *,
    budget: int | None,
    minutes: float,
    seed: int,
) -> Figures:
    """Return what own records say on joining, from all and from fewer own labels.

    Args:
        institution: whose budget.
        model: the shared one, as delivered.
        labels: as `local_labels` gives them, with the columns.
        columns: of roles and scenarios.
        budget: alerts among all units, if asked for here.
        minutes: of an analyst's work for an alert.
        seed: of choosing fewer labels, and of the resamples.

    Raises:
        UsageError: too few labels to measure with, or a model whose scores are no sums.
    """
    _check_holdout(labels.holdout)
    study = model.study
    if not is_stackable(study):
        raise UsageError(
            f"{study.name}: expected a model whose scores are sums of features, or of a row, found "
            f"one of kind {study.model.kind}: compare without --page"
        )
    share = _share(budget_of(institution.settings, study, budget), labels).share or 0.0
    kinds: dict[str, tuple[Kinds, Kinds]] = {
        question: (labels.learned[name], labels.groups[name])
        for question, name in (("rare", columns.role), ("left out", columns.scenario))
        if name
    }
    own = OwnCustomers("here", seed, 0, labels.training, labels.holdout, kinds)
    rows, of_kinds = here(study, model.parameters, own, share)
    facts = Facts.of(study, minutes=minutes, place="institution", unknown=_not_known(columns))
    return figures(facts.model_copy(update={"budget": share}), rows, of_kinds)


def _not_known(columns: KindColumns) -> tuple[str, ...]:
    said = [KNOWS_NOT]
    if columns.role is None:
        said.append("Roles that are rare here need a column of roles (--role-column).")
    if columns.scenario is None:
        said.append("A scenario never seen here needs a column of scenarios (--scenario-column).")
    return tuple(said)


def _three(
    institution: Institution, model: UsableModel, training: EncodedUnits
) -> tuple[dict[str, SumModel], str]:
    """Return the shared model, its use at home, the own best one; and how the second was made."""
    study, shared, risk = model.study, model.parameters, model_for(model.study)
    kept = tuned_model(institution.home, model.kept, study, shared)
    own = own_models(study, shared, training) if is_stackable(study) else None
    if kept is not None:
        home, how = SumModel(risk, np.array(kept.parameters), kept.trees(study)), _kept_words(kept)
    else:
        made = (
            stacked(study, shared, training, own)
            if is_stackable(study)
            else tune(study, shared, training, further(study))
        )
        home, how = SumModel(risk, made.parameters, made.forest), _made_words(made)
    if own is not None:
        alone = own.best().fitted
    elif is_stackable(study):
        alone = own_best(study, training, shared)
    else:
        alone = SumModel(risk, own_only(study, training))
    return {SHARED: SumModel(risk, shared), HOME: home, ALONE: alone}, how


def _kept_words(kept: TunedModel) -> str:
    return f"{kept.kind.value}, kept since {kept.time[:10]}"


def _made_words(made: TuningOutcome) -> str:
    return f"{made.kind.value}, made for this comparison"


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
