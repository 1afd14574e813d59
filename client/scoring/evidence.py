"""What speaks for a unit's score and what against it, for many units at once.

No single indicator suffices (harm rule 2): evidence is counted by independent families, and what
speaks against stands beside it always.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.scoring.indicators import FAMILIES, PERSONAS, family_of, indicator_of
from fieldfare.client.typologies.typology import Family

LEAST_EVIDENCE: Final = 0.2  # log-odds of a family: odds a fifth higher; less is no evidence
LEAST_LIKENESS: Final = 0.5  # share of what raises a score that a persona's life explains
MOST_PERSONAS: Final = 2
NOBODY: Final = -1


@dataclass(frozen=True, eq=False)
class Evidence:
    """A study's features by family and persona.

    Attributes:
        families: those that occur, in order.
        members: float64 (features, families), 1 where a feature belongs to a family.
        overlaps: float64 (features, personas), 1 where a persona's life fires a feature.
    """

    families: tuple[str, ...]
    members: NDArray[np.float64]
    overlaps: NDArray[np.float64]

    @classmethod
    def of(cls, features: Sequence[str], named: Mapping[str, Family]) -> Self:
        """Sort features by family; `named` is what the institution says beyond the names."""
        found = [family_of(name, named) for name in features]
        families = tuple(family for family in FAMILIES if family in found)
        members = np.array([[float(f == family) for family in families] for f in found])
        overlaps = np.zeros((len(features), len(PERSONAS)))
        for row, name in enumerate(features):
            indicator = indicator_of(name)
            if indicator is not None:
                overlaps[row] = [indicator.id in persona.overlaps for persona in PERSONAS]
        return cls(families, members, overlaps)

    def raising(self, contributions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return bool (units, families): whose features together raise the score enough.

        Args:
            contributions: float64 (units, features), on the grid, so that sums are exact.
        """
        return contributions @ self.members >= LEAST_EVIDENCE

    def lowering(self, contributions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return bool (units, families): whose features together lower it as much."""
        return contributions @ self.members <= -LEAST_EVIDENCE

    def look_alikes(self, contributions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return int64 (units, 2): personas whose life explains most of what raises; -1: none.

        A hint to look for what tells them apart, never a finding.
        """
        up = np.maximum(contributions, 0.0)
        total = up.sum(axis=1, keepdims=True)
        share = np.divide(up @ self.overlaps, total, out=np.zeros((len(up), len(PERSONAS))),
                          where=total > 0)  # fmt: skip
        best = np.argsort(-share, axis=1, kind="stable")[:, :MOST_PERSONAS]
        likely = np.take_along_axis(share, best, axis=1) >= LEAST_LIKENESS
        return np.where(likely, best, NOBODY)


def strongest(
    contributions: NDArray[np.float64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the highest contributions of each unit, highest first.

    Args:
        contributions: float64 (units, features); negate it for the lowest.
        most: how many.

    Returns:
        int64 and float64 (units, most or fewer): features, and what they add.
    """
    most = min(most, contributions.shape[1])
    if most < contributions.shape[1]:
        top = np.argpartition(-contributions, most - 1, axis=1)[:, :most]
    else:
        top = np.broadcast_to(np.arange(most), contributions.shape).copy()
    values = np.take_along_axis(contributions, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
