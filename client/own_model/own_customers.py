"""One institution's own customers: its own best model against the shared one used at home.

Everything is learned from its own training units and measured on its own held-out units; the
shared model is given. A simulation calls this for each institution, an institution for itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.paired import (
    HeldScores,
    HoldoutOrigin,
    Mask,
    Vector,
    kind_row,
    paired_row,
)
from fieldfare.client.own_model.stack import OwnModels, own_best
from fieldfare.client.own_model.tuning import TuningOutcome, own_models, stacked
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.joining.rows import KindRow, PairedRow
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study

RARE: Final = 6  # own cases of a role; with fewer it is rare here
NEWCOMER: Final = (0, 10, 50)  # labelled cases that somebody new has
SHARES: Final = (1.0, 0.5, 0.25, 0.1)  # of the labelled cases
_STREAM: Final = 2**18  # far from those that deal rows and draw noise

Kinds = NDArray[np.object_]  # str (units,): a role or a scenario; "" where none is known


@dataclass(frozen=True, eq=False)
class HomeFits:
    """What one institution makes of its training units, without anybody else.

    Attributes:
        study: of features, texts or vectors.
        data: the training units.
        own: its own models; None where labels are too few to weigh them by.
        alone: its own best model.
        apart: float64 (units,), what that scores training units out of fold; None where labels are
            too few.
    """

    study: Study
    data: EncodedUnits
    own: OwnModels | None
    alone: SumModel
    apart: Vector | None = None

    @classmethod
    def of(cls, study: Study, start: Vector, data: EncodedUnits) -> Self:
        """Fit own models.

        Args:
            study: of features, texts or vectors.
            start: float64 (entries,), a shared model: of it nothing but knots is used.
            data: training units, held-out ones left out.
        """
        try:
            own = own_models(study, start, data)
        except UsageError:  # too few negatives: nothing to weigh by
            own = None
        if own is None:
            return cls(study, data, own, own_best(study, data, start))
        best = own.best()
        return cls(study, data, own, best.fitted, best.apart)

    def tuned(self, shared: Vector) -> TuningOutcome:
        """Return a shared model (float64 (entries,)) as it is fitted to this institution."""
        return stacked(self.study, shared, self.data, self.own)

    def used(self, made: TuningOutcome) -> SumModel:
        """Return what was fitted here as a model that scores."""
        return SumModel(model_for(self.study), made.parameters, made.forest)

    def at_home(self, shared: Vector) -> SumModel:
        """Return a shared model (float64 (entries,)) as it is used here."""
        return self.used(self.tuned(shared))

    def scores(
        self,
        shared: Vector,
        held: EncodedUnits,
        pooled: Vector | None = None,
        placebo: Vector | None = None,
    ) -> HeldScores:
        """Return scores of held-out units by each model.

        Args:
            shared: float64 (entries,).
            held: held-out units.
            pooled: float64 (entries,), a model of all records without privacy, if there is one.
            placebo: float64 (entries,), a model that knows nothing, if there is one.
        """
        return HeldScores(
            alone=self.alone.scores(held),
            shared=model_for(self.study).scores(shared, held),
            at_home=self.at_home(shared).scores(held),
            pooled=None if pooled is None else self.at_home(pooled).scores(held),
            placebo=None if placebo is None else self.at_home(placebo).scores(held),
        )


@dataclass(frozen=True, eq=False)
class OwnCustomers:
    """One institution's labelled units.

    Attributes:
        name: of the institution.
        seed: of the world, or of the split.
        place: of the institution among all.
        training, held: units.
        kinds: of training and of held-out units, by question ("rare", "left out"); a question
            without them cannot be answered.
    """

    name: str
    seed: int
    place: int
    training: EncodedUnits
    held: EncodedUnits
    kinds: Mapping[str, tuple[Kinds, Kinds]] = field(default_factory=dict)

    def with_share(self, share: float) -> "OwnCustomers":
        """Return the same with a share of the labelled training units; the others are left out.

        A smaller share's units are among a larger one's.
        """
        drawn = np.random.default_rng([self.seed, self.place, _STREAM])
        keep = drawn.random(len(self.training)) < share
        return self.without((self.training.labels == 1) & ~keep)

    def with_cases(self, count: int) -> "OwnCustomers":
        """Return the same with so many labelled training units, or all where there are fewer."""
        cases = np.flatnonzero(self.training.labels == 1)
        drawn = np.random.default_rng([self.seed, self.place, _STREAM]).permutation(cases)
        gone = np.zeros(len(self.training), dtype=np.bool_)
        gone[drawn[count:]] = True
        return self.without(gone)

    def without(self, gone: Mask) -> "OwnCustomers":
        """Return the same without some training units, bool (units,)."""
        kinds = {key: (learned[~gone], held) for key, (learned, held) in self.kinds.items()}
        return replace(self, training=self.training.select(~gone), kinds=kinds)

    def unseen(self, kind: str) -> "OwnCustomers":
        """Return the same without training cases of a scenario."""
        return self.without((self.kinds["left out"][0] == kind) & (self.training.labels == 1))

    def row(self, labels: float, scores: HeldScores, budget: float) -> PairedRow:
        """Return what each model reaches on the held-out units; of 0 labels there is no own one."""
        learned = int(self.training.labels.sum())
        whose = HoldoutOrigin(self.name, self.seed, self.place, labels, learned)
        scores = scores if labels else replace(scores, alone=None)
        return paired_row(whose, self.held.labels, scores, budget)

    def rare(self, scores: HeldScores, budget: float) -> Iterator[KindRow]:
        """Yield rows of roles with few own training cases and at least one held-out case."""
        if "rare" not in self.kinds:
            return
        learned, held = self.kinds["rare"]
        for kind in sorted(set(held[self.held.labels == 1].tolist()) - {""}):
            count = int(((learned == kind) & (self.training.labels == 1)).sum())
            if count < RARE:
                yield self._kind_row("rare", kind, count, scores, budget)

    def left_out(self, kind: str, scores: HeldScores, budget: float) -> KindRow:
        """Return the row of a scenario that models did not see here."""
        return self._kind_row("left out", kind, 0, scores, budget)

    def scenarios(self) -> list[str]:
        """Return the scenarios of held-out cases."""
        if "left out" not in self.kinds:
            return []
        return sorted(set(self.kinds["left out"][1][self.held.labels == 1].tolist()) - {""})

    def _kind_row(
        self,
        question: Literal["rare", "left out"],
        kind: str,
        learned: int,
        scores: HeldScores,
        budget: float,
    ) -> KindRow:
        empty: dict[str, Any] = dict.fromkeys(
            ("cases", "alone", "at_home", "both", "alone_at", "at_home_at", "both_at"), 0
        )
        row = KindRow(
            institution=self.name, seed=self.seed, question=question, kind=kind, learned=learned,
            **empty,
        )  # fmt: skip
        of_kind = (self.kinds[question][1] == kind) & (self.held.labels == 1)
        return kind_row(row, self.held.labels, of_kind, scores, budget)


def here(
    study: Study, shared: Vector, own: OwnCustomers, budget: float
) -> tuple[list[PairedRow], list[KindRow]]:
    """Compare with a shared model that was delivered, from fewer and fewer own labels.

    The shared model stays as it is: it has learned from all of them, under privacy.

    Args:
        study: of features, texts or vectors.
        shared: float64 (entries,).
        own: labelled units of this institution.
        budget: share of units that are reviewed.

    Returns:
        Rows from each share and for a newcomer; rows of rare roles and left-out scenarios.
    """
    rows, kinds = [], []
    for share in SHARES:
        part = own.with_share(share)
        scores = HomeFits.of(study, shared, part.training).scores(shared, own.held)
        rows.append(part.row(share, scores, budget))
        if share == 1.0:
            kinds += list(part.rare(scores, budget))
    for count in NEWCOMER:
        if count <= int(own.training.labels.sum()):
            part = own.with_cases(count)
            scores = HomeFits.of(study, shared, part.training).scores(shared, own.held)
            rows.append(part.row(float(count), scores, budget))
    for kind in own.scenarios():
        part = own.unseen(kind)
        scores = HomeFits.of(study, shared, part.training).scores(shared, own.held)
        kinds.append(part.left_out(kind, scores, budget))
    return rows, kinds
