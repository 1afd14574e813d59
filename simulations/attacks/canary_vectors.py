"""The auditor's own arithmetic: what each canary adds to each kind of release, and to no other.

Written anew, without the software's sums: public facts are taken from it (parameters that a
request carries, coordinates that follow from moments, edges of score bins), and nothing that reads
a record. All figures are multiples of a grid and far below 2^53 of its steps: sums are exact.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.evaluation.group_cells import CELLS
from fieldfare.shared.evaluation.score_table import inner_edges
from fieldfare.shared.features.public_start import CURVE_STEPS
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import started_model
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import GUARD_CLIP, SIDES, Plan
from fieldfare.simulations.attacks.canary_study import FEATURES, LABELS, AuditForm, Canaries

RESIDUAL_BITS: Final = 20
GUARD_BITS: Final = 20

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CanaryVectors:
    """What each canary adds to one sum: its weight times (a few entries, and a shift of all).

    Attributes:
        weights: float64 (canaries,); 0 where the sum is over the other side's units.
        slots: int64 (canaries, few): where its entries are.
        pattern: float64 (canaries, few): what stands there; None: ones.
        shift: float64 (entries,), of coordinates that are centred; None: zeros.
    """

    weights: Vector
    slots: Sums
    pattern: Vector | None = None
    shift: Vector | None = None

    def added(self, weights: Vector, entries: int) -> Vector:
        """Return float64 (entries,): the vectors, each times another weight, added up."""
        each = weights * self.weights
        flat = np.repeat(each, self.slots.shape[1])
        if self.pattern is not None:
            flat = flat * self.pattern.ravel()
        total = np.bincount(self.slots.ravel(), weights=flat, minlength=entries)
        return np.asarray(total if self.shift is None else total + self.shift * each.sum())

    def along(self, left: Vector) -> Vector:
        """Return float64 (canaries,): the scalar product of each vector with another."""
        found = self._marked(left)
        if self.shift is not None:
            found = found + self.shift @ left
        return np.asarray(self.weights * found)

    @property
    def squared(self) -> Vector:
        """float64 (canaries,): squared lengths."""
        pattern = np.ones(self.slots.shape) if self.pattern is None else self.pattern
        found = (pattern**2).sum(axis=1)
        if self.shift is not None:
            found = found + 2 * self._marked(self.shift) + self.shift @ self.shift
        return np.asarray(self.weights**2 * found)

    def _marked(self, left: Vector) -> Vector:
        found = left[self.slots]
        return np.asarray((found if self.pattern is None else found * self.pattern).sum(axis=1))


@dataclass(eq=False)
class OwnArithmetic:
    """What each canary adds to the releases of one study.

    Attributes:
        canaries: the only records.
        plan: of the study.
        form: of the study.
        differs: the largest entry by which a sum before its noise was another, in that kind's C.
    """

    canaries: Canaries
    plan: Plan
    form: AuditForm
    differs: dict[ReleaseKind, float] = field(default_factory=dict)

    def check(self, kind: ReleaseKind, exact: Vector, known: Vector) -> None:
        """Keep by how much the software's sum before noise is another."""
        norm = self.plan.terms(kind).vectors.clipping_norm
        far = float(np.abs(exact - known).max()) / norm
        self.differs[kind] = max(self.differs.get(kind, 0.0), far)

    @property
    def most(self) -> float:
        """The largest entry of any kind by which a sum differed, in C."""
        return max(self.differs.values(), default=0.0)

    def vectors(
        self, kind: ReleaseKind, parameters: Vector, geometry: Geometry | None = None
    ) -> CanaryVectors:
        """Return what each canary adds to a release that carries these parameters."""
        found = self._of_everybody(kind, parameters, geometry)
        side = SIDES[kind]
        if side is Side.ALL:
            return found
        reads = self.canaries.held if side is Side.HOLDOUT else ~self.canaries.held
        return CanaryVectors(
            np.where(reads, found.weights, 0.0), found.slots, found.pattern, found.shift
        )

    def _of_everybody(
        self, kind: ReleaseKind, parameters: Vector, geometry: Geometry | None
    ) -> CanaryVectors:
        drawn, ones = self.canaries, np.ones(len(self.canaries.units))
        match kind:
            case ReleaseKind.TRAINING:
                return self._training(parameters, geometry)
            case ReleaseKind.MOMENTS:
                return CanaryVectors(ones, drawn.slots)
            case ReleaseKind.GUARD:
                nowhere = np.zeros((len(ones), 1), dtype=np.int64)
                return CanaryVectors(self._gains(parameters), nowhere)
            case ReleaseKind.QUERY:  # one table: a unit's one entry is 1
                return CanaryVectors(ones, (drawn.levels[:, :1] * LABELS + drawn.labels[:, None]))
            case ReleaseKind.EVALUATION:
                edges = inner_edges(self.plan.study)
                bins = np.searchsorted(edges, self._scores(parameters), side="right")
                return CanaryVectors(ones, (bins + (len(edges) + 1) * drawn.labels)[:, None])
            case _:  # groups: one grouping, whose cells weigh 1
                alerts = self._scores(parameters[:-1]) >= parameters[-1]
                cells = CELLS * drawn.segments + 2 * drawn.labels + alerts
                return CanaryVectors(ones, cells[:, None])

    def _scores(self, parameters: Vector) -> Vector:
        scores = np.zeros(len(self.canaries.units))
        for column in self.canaries.slots.T:
            scores += parameters[column]
        return scores

    def _gains(self, both: Vector) -> Vector:
        """Return float64 (canaries,): by how much less is lost than at the start, cut to +-C."""
        model = started_model(self.plan.study)
        if model is None:
            return np.zeros(len(self.canaries.units))
        labels = self.canaries.labels
        scores = [self._scores(model.delivered(half)) for half in np.split(both, 2)]
        trained, start = (np.logaddexp(0.0, one) - labels * one for one in scores)
        cut = np.clip(start - trained, -GUARD_CLIP, GUARD_CLIP)
        return np.asarray(np.trunc(cut * 2.0**GUARD_BITS) / 2.0**GUARD_BITS)

    def _training(self, parameters: Vector, geometry: Geometry | None) -> CanaryVectors:
        slots, pattern, shift = self.canaries.slots, None, None
        if self.form is AuditForm.START:
            pattern = self._curves
            slots = np.broadcast_to(np.arange(1 + FEATURES), slots.shape)
            scores = np.asarray((parameters[slots] * pattern).sum(axis=1))
        elif geometry is None:
            scores = self._scores(parameters)
        else:
            scores = self._scores(geometry.plain(parameters))
            shift = -np.ldexp(
                np.concatenate([[0], geometry.mean]).astype(np.float64), -geometry.bits
            )
        shape = CanaryVectors(np.ones(len(scores)), slots, pattern, shift)
        exact = np.trunc((1 / (1 + np.exp(-scores)) - self.canaries.labels) * 2.0**RESIDUAL_BITS)
        most = self._caps(shape.squared)
        return CanaryVectors(
            np.clip(exact, -most, most) / 2.0**RESIDUAL_BITS, slots, pattern, shift
        )

    def _caps(self, squared: Vector) -> Vector:
        """Return the largest whole residuals, in steps of 2^-20, that keep each vector within C."""
        norm = self.plan.training.vectors.clipping_norm
        square = round(norm * 2**RESIDUAL_BITS) ** 2
        different, places = np.unique(squared, return_inverse=True)
        grid = [int(one * 2**RESIDUAL_BITS) for one in different]
        found = [math.isqrt((square << RESIDUAL_BITS) // one) for one in grid]
        return np.array(found, dtype=np.float64)[places]

    @property
    def _curves(self) -> Vector:
        """float64 (canaries, 16): 1 for the bias, then each feature's public curve at its level."""
        model = started_model(self.plan.study)
        if model is None:
            return np.ones(self.canaries.slots.shape)
        flat = np.concatenate([[CURVE_STEPS], *model.start.curves_for(model.features)])
        return np.asarray(flat[self.canaries.slots] / CURVE_STEPS)
