"""Bounded sums of one study over one institution's units: the only content of a release.

Everything here stays inside: a raw sum is handed to the door and to nothing else.
A unit is in training or in the hold-out, never both, by a keyed hash of its own id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits
from fieldfare.client.records.encoding.id_sketch import NO_IDS, IdSketch
from fieldfare.client.sums.coordinates import TurnedUnits
from fieldfare.client.sums.question_sums import question_sum
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode, StudyError
from fieldfare.shared.evaluation.group_cells import count_groups
from fieldfare.shared.evaluation.score_table import bin_of, inner_edges
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import (
    GridVectors,
    RiskModel,
    UnitSums,
    model_for,
    started_model,
    trained_model,
)
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import COUNT_GAMMA_BITS, GUARD_CLIP
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study


def count_cells(
    scores: NDArray[np.float64], labels: NDArray[np.uint8], edges: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Count units by (label, score bin), in units of 2^-20.

    Args:
        scores: float64 (units,), log-odds.
        labels: uint8 (units,), 0 or 1.
        edges: float64 (bins - 1,), public.

    Returns:
        int64 (2 * bins,): negatives by bin, then positives by bin.

    Formal Guarantees:
        Each unit adds 1 to one cell, so adding or removing a unit moves the counts by
        exactly 1 in L2, whatever its score. Counts are exact on the grid.

    Edge cases:
        | input | result |
        |---|---|
        | no units, one class only | zeros where nobody is |
        | a score that is not finite | cannot occur: parameters are finite and bounded |
    """
    bins = len(edges) + 1
    cells = bin_of(scores, edges) + bins * labels.astype(np.int64)
    return np.bincount(cells, minlength=2 * bins).astype(np.int64) << COUNT_GAMMA_BITS


def guard_sum(
    study: Study, parameters: NDArray[np.float64], units: EncodedUnits
) -> NDArray[np.int64]:
    """Sum by how much less log loss units have under what was trained than under its start.

    Args:
        study: with a public start.
        parameters: float64, multipliers as they were trained, then as they were at the start.
        units: of training.

    Returns:
        int64 (1,), in units of 2^-20.

    Formal Guarantees:
        A unit's difference is cut to +-C and truncated towards zero to the grid, so adding or
        removing one unit moves the sum by at most C exactly, whatever the two models are. It
        depends on that unit's own records alone.

    Edge cases:
        | input | result |
        |---|---|
        | no units | zero |
        | scores beyond the range of exp | a difference of +-C at most, finite |
    """
    model = started_model(study)
    if model is None:
        raise PolicyRefusal(RefusalCode.NOT_IN_PLAN, "expected a study with a public start")
    plain = model_for(study)
    scores = [plain.scores(model.delivered(half), units) for half in np.split(parameters, 2)]
    trained, start = (np.logaddexp(0.0, one) - units.labels * one for one in scores)
    gain = np.clip(start - trained, -GUARD_CLIP, GUARD_CLIP)
    steps = np.trunc(np.ldexp(gain, COUNT_GAMMA_BITS)).astype(np.int64)
    return np.array([steps.sum()], dtype=np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class StudySums(RunSums):
    """One institution's units, prepared for every release of one study.

    Without a repr: a traceback or a log line must not show records.
    """

    study: Study
    model: RiskModel
    training: UnitSums
    training_count: int
    holdout: EncodedUnits
    asked: AskedUnits | None = None
    groups: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)  # of the held-out
    turned: TurnedUnits | None = None  # where the study trains in other coordinates
    guarded: EncodedUnits | None = None  # training units again, where there is a public start
    split: str = ""  # names the key and the share by which units were held out
    ids: IdSketch = NO_IDS

    @classmethod
    def prepare(
        cls,
        study: Study,
        data: EncodedUnits,
        holdout: NDArray[np.bool_],
        asked: AskedUnits | None = None,
        *,
        split: str = "",
    ) -> "StudySums":
        """Split units by `holdout` (bool (units,)) and prepare their sums.

        Args:
            study: the public plan.
            data: all units.
            holdout: bool (units,).
            asked: all units as questions and groups see them; needed where the study has any.
            split: names the key and the share behind `holdout`, so that a ledger holds units to
                their sides; empty in simulations.

        Raises:
            StudyError: the study asks questions, and there is nothing to answer them from.
        """
        if (study.asks or study.groups) and asked is None:
            raise StudyError(
                "asked: expected the columns of the study's questions and groups, found none"
            )
        groups = {
            group.column: asked.values.codes[group.column][holdout]
            for group in study.groups
            if asked is not None
        }
        return cls.of_sides(
            study, data.select(~holdout), data.select(holdout), asked, groups, split=split
        )

    @classmethod
    def of_sides(
        cls,
        study: Study,
        training: EncodedUnits,
        held: EncodedUnits,
        asked: AskedUnits | None,
        groups: Mapping[str, NDArray[np.int32]],
        *,
        split: str = "",
    ) -> "StudySums":
        """Prepare the sums of units that were split already, without a copy of them.

        Args:
            study: the public plan.
            training: units of one side.
            held: units of the other.
            asked: units of both as questions see them; None where the study asks none.
            groups: by column, the codes of the held-out units.
            split: as of `prepare`.
        """
        model, turned = model_for(study), None
        prepared = trained_model(study).prepare(training)
        guarded = None if study.public_start is None else training
        if study.geometry is not None:
            turned = TurnedUnits(model, study.geometry, study.privacy.clipping_norm, training)
        rest = (asked, groups, turned, guarded, split)
        return cls(study, model, prepared, len(training), held, *rest)

    def vector(
        self, kind: ReleaseKind, parameters: NDArray[np.float64], geometry: Geometry | None = None
    ) -> NDArray[np.int64]:
        """Return int64 (entries,): as `RunSums.vector`."""
        if self.turned is not None and kind in {ReleaseKind.MOMENTS, ReleaseKind.TRAINING}:
            return _turned_sum(self.turned, kind, parameters, geometry)
        if kind is ReleaseKind.TRAINING:
            return self.training.gradient_sum(parameters)
        if kind is ReleaseKind.GUARD and self.guarded is not None:
            return guard_sum(self.study, parameters, self.guarded)
        if kind is ReleaseKind.EVALUATION:
            scores = self.model.scores(parameters, self.holdout)
            return count_cells(scores, self.holdout.labels, inner_edges(self.study))
        if kind is ReleaseKind.FAIRNESS:
            alerts = self.model.scores(parameters[:-1], self.holdout) >= parameters[-1]
            return count_groups(self.study.groups, self.groups, self.holdout.labels, alerts)
        raise PolicyRefusal(RefusalCode.NOT_IN_PLAN, f"{kind.value} sums no records")

    @property
    def gradients(self) -> GridVectors:
        """Public facts about a unit's vector of a training step."""
        return self.model.vectors

    def answers(self, questions: QuestionGroup) -> NDArray[np.int64]:
        """Return int64 (entries,): the raw sum of a group of questions over all units.

        Raises:
            PolicyRefusal: the study asks nothing.
        """
        if self.asked is None:
            raise PolicyRefusal(RefusalCode.NOT_IN_PLAN, "expected a study that asks questions")
        columns = self.study.asked_columns
        return question_sum(layout_for(questions, columns), columns, self.asked)


def _turned_sum(
    turned: TurnedUnits,
    kind: ReleaseKind,
    parameters: NDArray[np.float64],
    geometry: Geometry | None,
) -> NDArray[np.int64]:
    """Return the raw sum of moments, or of gradients in coordinates that follow from them."""
    code = RefusalCode.BAD_PARAMETERS
    if kind is ReleaseKind.TRAINING and geometry is None:
        raise PolicyRefusal(code, "expected the coordinates of this run, found none")
    try:
        if geometry is None:
            return turned.moments(parameters)
        return turned.on(geometry, parameters).gradient_sum(parameters)
    except ProtocolError as error:
        raise PolicyRefusal(code, str(error)) from None


# -- sums -----------------------------------------------------------------------------------------


__all__ = ["StudySums"]
