"""Scores that are sums of their reasons, to the last bit.

Each feature's table of contributions is rounded to multiples of 2^-28. Sums of such numbers are
exact in float64 in any order (docs/design.md, "Integers"), so a score equals its base plus its
contributions in any order of adding. Contributions are measured from the mean of the institution's
own units: a reason says how far a unit departs from the others here. Of a text or a vector there is
one, the row as a whole: its entries, hashes or directions, are no evidence each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.basis import Basis, Positions

GRID_BITS: Final = 28  # 1001 entries of 2e4 stay below 2^25, and 25 + 28 = 53


def on_grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to multiples of 2^-28."""
    return np.rint(values * (1 << GRID_BITS)) / (1 << GRID_BITS)


@dataclass(frozen=True, eq=False)
class ExactScores:
    """A model's tables on the grid.

    Attributes:
        base: score of a unit that is average in every feature.
        tables: float64 by position, one for each feature; mean 0 over the institution's units.
    """

    base: float
    tables: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, basis: Basis, parameters: NDArray[np.float64], positions: Positions) -> Self:
        """Prepare.

        Args:
            basis: of the study.
            parameters: float64 (entries,).
            positions: uint16 (features, units): whose mean is the reference; none means 0.
        """
        base, tables = float(on_grid(parameters[:1])[0]), []
        for table, column in zip(basis.tables(parameters), positions, strict=True):
            exact = on_grid(table)
            counts = np.bincount(column, minlength=len(table))
            total = counts.sum()
            mean = float(on_grid(np.array([counts @ exact / total if total else 0.0]))[0])
            base += mean
            tables.append(exact - mean)
        return cls(base, tuple(tables))

    def contributions(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units, features): the part of each feature in the score, in log-odds."""
        found = np.empty((positions.shape[1], len(self.tables)))
        for index, (table, column) in enumerate(zip(self.tables, positions, strict=True)):
            found[:, index] = table.take(column)
        return found

    def scores(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units,): base plus contributions, exactly."""
        total = np.full(positions.shape[1], self.base)
        for table, column in zip(self.tables, positions, strict=True):
            total += table.take(column)
        return total


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ExactRows:
    """Scores of units that are one row each, on the grid.

    Attributes:
        base: mean over the institution's units.
        parts: float64 (units,), the part that each unit's row adds.
    """

    base: float
    parts: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], shown: NDArray[np.bool_]) -> Self:
        """Prepare.

        Args:
            scores: float64 (units,), whose mean is the reference; none means 0.
            shown: bool (units,), which of them are ranked.
        """
        exact = on_grid(scores)
        mean = exact.mean() if len(exact) else 0.0
        base = float(on_grid(np.array([mean]))[0])
        return cls(base, exact[shown] - base)

    def contributions(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64 (places, 1), in log-odds."""
        return self.parts[places][:, None]

    def scores(self) -> NDArray[np.float64]:
        """Return float64 (units,): base plus contribution, exactly."""
        return self.base + self.parts


def ranks(
    scores: NDArray[np.float64], ties: Sequence[int] | NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return int64 (units,): 1 for the highest score.

    Args:
        scores: float64 (units,).
        ties: (units,), who is first among equals: a keyed hash of the id, so that neither the
            order of the file nor the id decides.
    """
    order = np.lexsort((np.asarray(ties), -scores))
    found = np.empty(len(scores), dtype=np.int64)
    found[order] = np.arange(1, len(scores) + 1)
    return found
