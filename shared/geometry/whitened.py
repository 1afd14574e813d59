"""A model that learns in other coordinates: residuals summed as ever, the sum turned, exactly."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.geometry.unit_vectors import Caps, UnitVectors, Whole
from fieldfare.shared.models.clipping import CLIPPING_BITS, RESIDUAL_STEPS
from fieldfare.shared.models.interface import UnitSums


def whitened_caps(squared_norms: Whole, clipping_norm: float, gamma_bits: int) -> Caps:
    """Return int32 (units,): the largest residual, in units of 2^-20, that keeps a unit within C.

    Args:
        squared_norms: int64 (units,): q = 1 + |z|^2 in units of 2^-2(gamma_bits - 20).
        clipping_norm: C, a multiple of 2^-10.
        gamma_bits: of the sum.

    Formal Guarantees:
        cap^2 * q <= (C * 2^gamma_bits)^2 in Python's integers, so the unit's part of the sum,
        residual * (1, z), has norm at most C exactly.

    Edge cases:
        | input | result |
        |---|---|
        | norm so small that C allows a residual above 1 | capped at 2^20: none is larger |
        | norm so large that C allows none | 0: the unit adds nothing |
    """
    steps = int(clipping_norm * (1 << CLIPPING_BITS))
    limit = steps**2 << (2 * (gamma_bits - CLIPPING_BITS))
    caps = (min(RESIDUAL_STEPS, math.isqrt(limit // one)) for one in squared_norms.tolist())
    return np.fromiter(caps, np.int32, len(squared_norms))


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class WhitenedSums:
    """Units of one institution in other coordinates, with their caps, computed once.

    Attributes:
        geometry: the coordinates.
        plain: the units in their own, each residual clipped to its cap in the geometry's.
    """

    geometry: Geometry
    plain: UnitSums

    @classmethod
    def prepare(
        cls, vectors: UnitVectors, geometry: Geometry, clipping_norm: float, data: EncodedUnits
    ) -> "WhitenedSums":
        """Return the units ready for sums; their norms are computed in chunks, once a run.

        Raises:
            ProtocolError: a geometry of other vectors, or whose norms may leave 63 bits.
        """
        geometry.check_reach(vectors)
        caps = np.empty(len(data), dtype=np.int32)
        for part, columns in vectors.columns(data):
            norms = geometry.squared_norms(columns)
            caps[part] = whitened_caps(norms, clipping_norm, geometry.gamma_bits)
        return cls(geometry, vectors.sums(data, caps))

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return int64 (entries,): the sum of clipped unit gradients in units of 2^-gamma_bits.

        [sum r, A (sum r x - m sum r)], the gradient by the parameters in these coordinates.

        Args:
            parameters: float64 (entries, and knots that were asked for), in these coordinates.

        Formal Guarantees:
            Adding or removing one unit moves the result by at most C * 2^gamma_bits in L2,
            exactly, whatever A and m, the order, the chunking or the other units: a unit adds
            r (1, z) with r capped by its own |z|, and all else is whole numbers modulo 2^64.

        Edge cases:
            | input | result |
            |---|---|
            | no units | zeros |
            | one unit, one class | as any other: no refusal depends on records |
            | more units than the public number admits | wraps silently, as the ring does |

        Source: docs/design.md, "Integers"; clipping as in Abadi et al. 2016, section 3.
        """
        return self.geometry.turned(self.plain.gradient_sum(self.geometry.plain(parameters)))

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        return self.geometry.turned_plain(
            self.plain.plain_gradient(self.geometry.plain(parameters))
        )
