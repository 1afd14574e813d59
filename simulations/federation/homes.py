"""What each institution has by itself, and what the shared model is worth when used at home.

    alone    its own best model: additive and boosting, weighed by cross-validation
    at_home  the stack of that and the shared model, as `fieldfare institution tune` makes it

Both learn from the institution's own training units, without privacy, and stay there; its own
hold-out chooses nothing (client/own_model/stack.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_customers import HomeFits, Kinds, OwnCustomers
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.paired import HeldScores, HoldoutOrigin, paired_row
from fieldfare.client.own_model.stack import is_stackable
from fieldfare.client.own_model.tuning import TuningOutcome
from fieldfare.client.sums.coordinates import TurnedUnits
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.joining.rows import PairedRow
from fieldfare.shared.models import model_for, trained_model
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.beside import ALONE, SideProcess
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.population import RecordsChoice, load_population

AT_HOME: Final = "at_home"
_DEALT: Final = 15  # the stream of labels dealt anew

Models = dict[str, SumModel]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Homes:
    """Models by institution.

    Attributes:
        alone: the own best ones.
        at_home: the shared one used at home.
        tuned: how it was fitted there; empty where nobody asks.
        apart: float64 (training units,) out of fold, alone and at home; None where there are none.
    """

    alone: Models
    at_home: Models
    tuned: Mapping[str, TuningOutcome] = field(default_factory=dict)
    apart: Mapping[str, tuple[Vector | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnFits:
    """Every institution's own models: of a shared one they need the knots and nothing else.

    Attributes:
        training: units by institution, held-out ones left out.
        fits: by institution, in the same order; under way until they are asked for.
    """

    training: Mapping[str, EncodedUnits]
    fits: Callable[..., list[HomeFits]]

    @classmethod
    def begin(
        cls,
        study: Study,
        start: Vector,
        training: Mapping[str, EncodedUnits],
        both: SideProcess = ALONE,
    ) -> Self:
        """Begin to fit.

        Args:
            study: of features, texts or vectors.
            start: float64 (entries,), whose knots are used.
            training: units by institution, held-out ones left out.
            both: where they may be fitted.
        """
        each = [(study, start, data) for data in training.values()]
        return cls(training, both.begin_each(HomeFits.of, each))


def own_fits(
    study: Study, training: Mapping[str, EncodedUnits], both: SideProcess = ALONE
) -> Callable[[Vector], OwnFits]:
    """Begin to fit own models, and return what finds them by the shared one.

    Where the shared one decides the knots of own models, too, they wait for it.

    Args:
        study: of features, texts or vectors.
        training: units by institution, held-out ones left out.
        both: where they may be fitted.
    """
    if study.asks_for_knots:
        return lambda shared: OwnFits.begin(study, shared, training, both)
    begun = OwnFits.begin(study, model_for(study).initial(0.0), training, both)
    return lambda _: begun


def homes_of(
    own: OwnFits,
    shared: Vector,
    said: Callable[[int, int], None] = lambda *_: None,
    both: SideProcess = ALONE,
) -> Homes:
    """Use a shared model at home, at every institution.

    Args:
        own: its own models.
        shared: float64 (entries,), the shared model.
        said: told how many institutions are done, of how many.
        both: where work may be done.
    """
    many = 2 * len(own.training)
    fitted = own.fits(lambda done: said(done, many))
    fits = dict(zip(own.training, fitted, strict=True))
    each = [(one, shared) for one in fitted]
    made = both.share(HomeFits.tuned, each, lambda done: said(many // 2 + done, many))
    tuned = dict(zip(fits, made, strict=True))
    at_home = {name: fits[name].used(one) for name, one in tuned.items()}
    apart = {name: _whole(own.training[name], fits[name].apart, tuned[name].apart) for name in fits}
    return Homes({name: one.alone for name, one in fits.items()}, at_home, tuned, apart)


def _whole(data: EncodedUnits, *apart: Vector | None) -> tuple[Vector | None, ...]:
    """Return scores out of fold, those of thinned units left out."""
    return tuple(one if one is not None and len(one) == len(data) else None for one in apart)


def rows_of(
    homes: Homes,
    shared: SumModel,
    learned: Mapping[str, int],
    held: Mapping[str, EncodedUnits],
    terms: tuple[float, int],
) -> list[PairedRow]:
    """Compare models of a run on institutions' own held-out units.

    Args:
        homes: models by institution.
        shared: the shared model.
        learned: cases among the training units, by institution.
        held: held-out units by institution; those that lack a class are left out.
        terms: the share of units that are reviewed, and the seed of the resamples.
    """
    budget, seed = terms
    rows = []
    for place, (name, data) in enumerate(held.items()):
        if 0 < int(data.labels.sum()) < len(data):
            own, home = (models[name].scores(data) for models in (homes.alone, homes.at_home))
            scores = HeldScores(own, shared.scores(data), home)
            whose = HoldoutOrigin(name, seed, place, 1.0, learned[name])
            rows.append(paired_row(whose, data.labels, scores, budget))
    return rows


# -- learned again, from other training units --------------------------------------------------


@dataclass(frozen=True, eq=False)
class JointTrainer:
    """Learns a study's model from training units by institution, on this machine.

    Attributes:
        study: without groups: nothing is released here.
        seed: of the noise, as much as Fieldfare adds, from the fast seeded source.
    """

    study: Study
    seed: int

    @classmethod
    def of(cls, study: Study, seed: int) -> "JointTrainer":
        """Take a study.

        Raises:
            UsageError: its scores are no sums, so that nothing is weighed at home.
        """
        if not study.trains or not is_stackable(study):
            raise UsageError(
                f"{study.name}: expected a study of features, texts or vectors that trains, found "
                "another: what its model is worth at home is not measured here"
            )
        ungrouped = study.evaluation.model_copy(update={"groups": ()})
        return cls(study.model_copy(update={"evaluation": ungrouped}), seed)

    def shared(self, training: Mapping[str, EncodedUnits]) -> Vector:
        """Return float64 (entries,): learned by all under the study's privacy."""
        return self.trainer(training).federated()

    def pooled(self, training: Mapping[str, EncodedUnits]) -> Vector:
        """Return float64 (entries,): learned from all records in one place, without privacy."""
        return self.trainer(training).train(Baseline.CENTRAL)[""]

    def placebo(self, customers: Sequence[OwnCustomers]) -> Vector:
        """Return float64 (entries,): learned as `shared` from labels dealt anew within each.

        It knows nothing of who is a case: what it gains at home is more models, not joining.
        """
        dealt = {
            own.name: replace(
                own.training,
                labels=np.random.default_rng([self.seed, own.place, _DEALT]).permutation(
                    own.training.labels
                ),
            )
            for own in customers
        }
        return self.shared(dealt)

    def trainer(self, training: Mapping[str, EncodedUnits]) -> Trainer:
        """Return what learns from these training units under the study."""
        model = model_for(self.study)
        sums = {name: trained_model(self.study).prepare(data) for name, data in training.items()}
        counts = {name: len(data) for name, data in training.items()}
        study = self.study
        turned = {
            name: TurnedUnits(model, study.geometry, study.privacy.clipping_norm, data)
            for name, data in training.items()
            if study.geometry is not None
        }
        return Trainer(plan_for(study), sums, counts, self.seed, turned=turned)

    def rows(
        self, customers: Sequence[OwnCustomers], labels: float, *, beside: bool = False
    ) -> list[tuple[OwnCustomers, HeldScores, PairedRow]]:
        """Learn together, use it at home everywhere, and compare.

        Args:
            customers: of every institution.
            labels: what the rows say of them: the share that was kept.
            beside: whether to measure the same from a model without privacy too, and from one
                that knows nothing.
        """
        training = training_of(customers)
        shared = self.shared(training)
        others = (self.pooled(training), self.placebo(customers)) if beside else ()
        found, budget = [], self.study.evaluation.alert_budget
        for own in customers:
            scores = HomeFits.of(self.study, shared, own.training).scores(shared, own.held, *others)
            found.append((own, scores, own.row(labels, scores, budget)))
        return found


def training_of(customers: Sequence[OwnCustomers]) -> dict[str, EncodedUnits]:
    """Return training units by institution."""
    return {own.name: own.training for own in customers}


def customers_of(
    study: Study, choice: RecordsChoice, *, seed: int, columns: Mapping[str, str] | None = None
) -> list[OwnCustomers]:
    """Return every institution's labelled units, split as in a simulation of this seed.

    Args:
        study: the public plan.
        choice: where records are.
        seed: of split and partition.
        columns: the column of the kinds of each question; never an input.
    """
    population = load_population(study, choice, seed=seed)
    kinds: dict[str, dict[str, Any]] = {name: {} for name in population.records}
    for question, column in (columns or {}).items():
        audited = load_population(study, replace(choice, audit_column=column), seed=seed)
        for name, records in audited.records.items():
            out = audited.holdout[name]
            values: Kinds = np.array(records.audit, dtype=np.object_)
            kinds[name][question] = (values[~out], values[out])
    return [
        OwnCustomers(
            name, seed, place,
            records.select(~population.holdout[name]).data,
            records.select(population.holdout[name]).data,
            kinds[name],
        )
        for place, (name, records) in enumerate(population.records.items())
    ]  # fmt: skip
