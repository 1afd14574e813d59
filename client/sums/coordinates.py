"""Training units in coordinates that come with a run: their moments, and their turned sums.

Everything here stays inside, as all raw sums do.
"""

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.geometry.moments import first_moment_sum, moment_sum
from fieldfare.shared.geometry.unit_vectors import UnitVectors, unit_vectors
from fieldfare.shared.geometry.whitened import WhitenedSums
from fieldfare.shared.models import RiskModel
from fieldfare.shared.study.geometry_section import GeometrySection

Values = NDArray[np.float64]


class TurnedUnits:
    """One institution's training units, for a study that trains in other coordinates.

    Norms in a run's coordinates are computed once: its coordinates and knots do not change.
    """

    def __init__(
        self, model: RiskModel, given: GeometrySection, clipping_norm: float, units: EncodedUnits
    ) -> None:
        """Hold the units of training, and of nothing else."""
        self._model, self._given, self._clipping_norm = model, given, clipping_norm
        self._units = units
        self._turned: tuple[str, bytes, WhitenedSums] | None = None

    def moments(self, parameters: Values) -> NDArray[np.int64]:
        """Return int64 (entries,): the raw sum of moments, in units of gamma.

        Args:
            parameters: that training starts at, with the knots that were asked for.

        Formal Guarantees:
            Adding or removing one unit moves it by at most C (`moment_vectors`,
            `first_moment_vectors`), whatever the others; labels are not read.

        Raises:
            ProtocolError: parameters that do not end with knots of these features.
        """
        vectors = self._vectors(parameters)
        if self._given.whitened:
            return moment_sum(vectors, self._units)
        return first_moment_sum(vectors, self._units)

    def on(self, geometry: Geometry, parameters: Values) -> WhitenedSums:
        """Return the units in these coordinates, on the knots that parameters end with.

        Formal Guarantees:
            Caps are computed in these coordinates, so that the bound of C holds for any.

        Raises:
            ProtocolError: coordinates of other vectors, or parameters without these knots.
        """
        knots = parameters[len(geometry.mean) + 1 :].tobytes()
        kept = self._turned
        if kept is None or (kept[0], kept[1]) != (geometry.hash, knots):
            vectors = self._vectors(parameters)
            turned = WhitenedSums.prepare(vectors, geometry, self._clipping_norm, self._units)
            self._turned = kept = (geometry.hash, knots, turned)
        return kept[2]

    def _vectors(self, parameters: Values) -> UnitVectors:
        return unit_vectors(self._model, parameters)
