"""Defects of the door, put in on purpose: an audit that finds none of them finds nothing."""

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.sums.coordinates import TurnedUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.geometry.whitened import WhitenedSums
from fieldfare.shared.models import UnitSums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.simulations.federation.noise_audit import WatchedSums

HALF: Final = 0.5

Sums = NDArray[np.int64]


class DoorDefect(Enum):
    """What may be wrong at every institution of an audited run."""

    NONE = "none"
    HALF_SIGMA = "half-sigma"
    NO_CLIP = "no-clip"
    ALL_SHARE = "all-share"  # each draws sigma / sqrt(n) where it owes sigma / sqrt(n - t)
    SAME_NOISE = "same-noise"  # a step that is tried again gets the noise of the first attempt
    BARE_EVALUATION = "bare-evaluation"
    HALF_QUERY = "half-query"
    HALF_GUARD = "half-guard"
    BOTH_SIDES = "both-sides"

    @property
    def words(self) -> str:
        """What it is, for a screen."""
        return _WORDS[self]


_WORDS: Final = {
    DoorDefect.NONE: "nothing put in",
    DoorDefect.HALF_SIGMA: "half of sigma in every release",
    DoorDefect.NO_CLIP: "no unit is clipped",
    DoorDefect.ALL_SHARE: "sigma shared out over n members instead of n - t",
    DoorDefect.SAME_NOISE: "a second attempt uses the noise of the first",
    DoorDefect.BARE_EVALUATION: "an evaluation without noise",
    DoorDefect.HALF_QUERY: "half of sigma in the answers alone",
    DoorDefect.HALF_GUARD: "half of sigma in the guard alone",
    DoorDefect.BOTH_SIDES: "moments of held-out units too, at the price of one side",
}


@dataclass
class FaultyNoise:
    """One institution's source with a defect.

    A release's kind is told by the length of its vector and by its noise; a vector of a length
    that no release has is of no kind.
    """

    source: NoiseSource
    defect: DoorDefect
    plan: Plan
    participants: int
    drawn: list[tuple[Sums, float]] = field(default_factory=list)

    @property
    def protection(self) -> Protection:
        """Return the source's."""
        return self.source.protection

    def sample(self, entries: int, scale: float) -> Sums:
        """Return int64 (entries,) noise, wrong in the one way."""
        kind = self._kind(entries, scale)
        if self.defect is DoorDefect.BARE_EVALUATION and kind is ReleaseKind.EVALUATION:
            return np.zeros(entries, dtype=np.int64)
        training = kind is ReleaseKind.TRAINING
        if self.defect is DoorDefect.SAME_NOISE and training and len(self.drawn) == 1:
            first, before = self.drawn[0]
            self.drawn.append((first, before))
            return np.asarray(np.rint(first * (scale / before)), dtype=np.int64)
        found = self.source.sample(entries, scale * self._factor(kind))
        if training:
            self.drawn.append((found.copy(), scale))  # what is used is wiped
        return found

    def _kind(self, entries: int, scale: float) -> ReleaseKind | None:
        tolerance = self.plan.study.privacy.collusion_tolerance
        fits = [terms for terms in self.plan.releases if terms.vectors.entries == entries]
        fits.sort(key=lambda one: abs(one.share(self.participants, tolerance) - scale))
        return fits[0].kind if fits else None

    def _factor(self, kind: ReleaseKind | None) -> float:
        tolerance = self.plan.study.privacy.collusion_tolerance
        match self.defect:
            case DoorDefect.HALF_SIGMA:
                return HALF
            case DoorDefect.HALF_QUERY:
                return HALF if kind is ReleaseKind.QUERY else 1.0
            case DoorDefect.HALF_GUARD:
                return HALF if kind is ReleaseKind.GUARD else 1.0
            case DoorDefect.ALL_SHARE:
                return math.sqrt((self.participants - tolerance) / self.participants)
            case _:
                return 1.0


@dataclass(frozen=True)
class UnclippedUnits:
    """An institution's units of which none is clipped."""

    units: UnitSums
    gamma_bits: int

    def gradient_sum(self, parameters: NDArray[np.float64]) -> Sums:
        """Return int64 (entries,): the plain sum of gradients, on the grid."""
        plain = self.plain_gradient(parameters)
        return np.rint(np.ldexp(plain, self.gamma_bits)).astype(np.int64)

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (entries,), as the units themselves say it."""
        return self.units.plain_gradient(parameters)


class BothSides(TurnedUnits):
    """An institution's units whose moments are summed over both sides."""

    def __init__(self, training: TurnedUnits, held: TurnedUnits) -> None:
        """Hold the two sides' own."""
        self._training, self._held = training, held

    def moments(self, parameters: NDArray[np.float64]) -> Sums:
        """Return int64 (entries,): the raw sum of moments of all units."""
        return self._training.moments(parameters) + self._held.moments(parameters)

    def on(self, geometry: Geometry, parameters: NDArray[np.float64]) -> WhitenedSums:
        """Return the training units in these coordinates, as they should be."""
        return self._training.on(geometry, parameters)


def with_defect(sums: WatchedSums, defect: DoorDefect) -> WatchedSums:
    """Return an institution's sums, wrong where that is the defect."""
    given = sums.study.geometry
    if defect is DoorDefect.BOTH_SIDES and sums.turned is not None and given is not None:
        norm = sums.study.privacy.clipping_norm
        held = TurnedUnits(sums.model, given, norm, sums.holdout)
        return replace(sums, turned=BothSides(sums.turned, held))
    if defect is not DoorDefect.NO_CLIP:
        return sums
    bits = sums.model.vectors.gamma_bits
    return replace(sums, training=UnclippedUnits(sums.training, bits))
