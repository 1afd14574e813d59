"""The interface of every risk model: parameters in, one bounded sum out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import EncodedUnits


@dataclass(frozen=True, kw_only=True)
class GridVectors:
    """The public facts about a unit's vector that sensitivity is computed from.

    Attributes:
        entries: length d of the vector (and of the sum).
        clipping_norm: L2 norm C that no unit's vector exceeds.
        gamma_bits: the sum lives on multiples of gamma = 2^-gamma_bits.
        rounded_entries: entries that rounding may move by gamma/2; 0 when vectors are
            exact on the grid (docs/design.md, "Integers": no rounding term).
    """

    entries: int
    clipping_norm: float
    gamma_bits: int
    rounded_entries: int


class UnitSums(Protocol):
    """One institution's training units, prepared for many steps."""

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return int64 (entries,): the sum of clipped unit gradients, in units of gamma."""
        ...

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        ...


class RiskModel(Protocol):
    """A model family, fixed by the study's public constants."""

    @property
    def vectors(self) -> GridVectors:
        """Public facts about a unit's gradient vector."""
        ...

    def initial(self, log_odds: float) -> NDArray[np.float64]:
        """Return the first parameters: bias at the public prevalence's log-odds."""
        ...

    def prepare(self, data: EncodedUnits) -> UnitSums:
        """Return the units ready for sums; a unit's vector depends on that unit alone."""
        ...

    def scores(self, parameters: NDArray[np.float64], data: EncodedUnits) -> NDArray[np.float64]:
        """Return float64 (units,): log-odds."""
        ...


@runtime_checkable
class HeadedModel(RiskModel, Protocol):
    """A network whose score is linear in the values of its last layer: an institution may refit it.

    Attributes:
        head_places: int64 (1 + width,): where the offset and then the heads stand among parameters.
    """

    @property
    def head_places(self) -> NDArray[np.int64]:
        """Where the offset and then the heads stand among the parameters."""
        ...

    def last_values(
        self, parameters: NDArray[np.float64], data: EncodedUnits
    ) -> NDArray[np.float64]:
        """Return float64 (units, width): the last layer's values, which the heads weigh."""
        ...


def check_count(data: EncodedUnits, limit: int) -> None:
    """Check that sums of so many units are exact.

    Raises:
        RecordsError: as many as `limit`, or more.
    """
    if len(data) >= limit:
        raise RecordsError(
            f"expected fewer than {limit} units for exact sums, found {len(data)}: "
            "split the population"
        )
