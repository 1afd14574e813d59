"""Units of several rows each, as features encode them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class UnitTables:
    """The rows of some units, unit after unit.

    Attributes:
        starts: int64 (units + 1,): where each unit's rows begin.
        positions: uint16 (features, rows).
    """

    starts: NDArray[np.int64]
    positions: NDArray[np.uint16]

    def __len__(self) -> int:
        """Count the units."""
        return len(self.starts) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 (units,): rows of each."""
        found: NDArray[np.int64] = np.diff(self.starts)
        return found

    def select(self, mask: NDArray[np.bool_]) -> "UnitTables":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        counts = self.counts
        kept = np.ascontiguousarray(self.positions[:, np.repeat(mask, counts)])
        return UnitTables(_starts(counts[mask]), kept)

    @classmethod
    def joined(cls, parts: Sequence["UnitTables"]) -> "UnitTables":
        """Return all units of `parts`, in order."""
        counts = np.concatenate([part.counts for part in parts])
        positions = np.concatenate([part.positions for part in parts], axis=1)
        return cls(_starts(counts), np.ascontiguousarray(positions))


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
