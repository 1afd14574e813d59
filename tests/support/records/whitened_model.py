"""A whitened model as the plain ones are: for the suite of models, and beside an oracle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.geometry.unit_vectors import UnitVectors
from fieldfare.shared.geometry.whitened import WhitenedSums
from fieldfare.shared.models.additive import MAX_EXACT_UNITS, AdditiveModel
from fieldfare.shared.models.clipping import RESIDUAL_BITS
from fieldfare.shared.models.interface import GridVectors, check_count
from fieldfare.shared.models.linear import LinearModel


def turned_vectors(vectors: UnitVectors, fraction_bits: int, clipping_norm: float) -> GridVectors:
    """Return the facts of gradients in other coordinates: exact, so sensitivity is C.

    Args:
        vectors: of the units.
        fraction_bits: f, of the geometry.
        clipping_norm: C, a multiple of 2^-10, in these coordinates.
    """
    return GridVectors(
        entries=vectors.entries,
        clipping_norm=clipping_norm,
        gamma_bits=RESIDUAL_BITS + vectors.bits + fraction_bits,
        rounded_entries=0,
    )


@dataclass(frozen=True)
class WhitenedModel:
    """An additive or linear model that learns in other coordinates.

    Attributes:
        plain: the model; its clipping norm holds in these coordinates.
        units: the vectors of its units, on the knots that the geometry is about.
        geometry: the coordinates.
    """

    plain: AdditiveModel | LinearModel
    units: UnitVectors
    geometry: Geometry

    @property
    def vectors(self) -> GridVectors:
        """Public facts about a unit's gradient vector."""
        norm = self.plain.clipping_norm
        return turned_vectors(self.units, self.geometry.fraction_bits, norm)

    def initial(self, log_odds: float) -> NDArray[np.float64]:
        """Return the first parameters: zeros and the public log-odds, in any coordinates."""
        return self.plain.initial(log_odds)

    def prepare(self, data: EncodedUnits) -> WhitenedSums:
        """Return the units ready for sums.

        Raises:
            RecordsError: more units than exact float64 sums can carry (2^33).
            ProtocolError: a geometry of other vectors, or whose norms may leave 63 bits.
        """
        check_count(data, MAX_EXACT_UNITS)
        return WhitenedSums.prepare(self.units, self.geometry, self.plain.clipping_norm, data)

    def scores(self, parameters: NDArray[np.float64], data: EncodedUnits) -> NDArray[np.float64]:
        """Return float64 (units,): log-odds, as of the plain weights."""
        return self.plain.scores(self.geometry.plain(parameters), data)
