"""Evidence for and against a unit's score, for many units at once.

No single indicator suffices (harm rule 2): evidence is counted by independent families, and the
counter-evidence is always shown beside it. Only a published indicator that fires is evidence, and
only by numbers above what is usual here. A model may also read an absence (no telephone bill at
all), a part of an indicator whose own number is not in the study, or what nobody published: these
raise a score, and are no evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.scoring.alert import LEAST_EVIDENCE
from fieldfare.client.scoring.indicators import FAMILIES, PERSONAS, family_of, indicator_of
from fieldfare.client.typologies.typology import Family

LEAST_LIKENESS: Final = 0.5  # share of what raises a score that a persona's life explains
MOST_PERSONAS: Final = 2
NOBODY: Final = -1
NOT_SAID: Final = -1  # whether an indicator fires, where nothing published says it


@dataclass(frozen=True, eq=False)
class Published:
    """The results of the published rules on units' values.

    Attributes:
        fires: int8 (units, features): 1 where a feature's indicator fires, 0 where not, -1 where
            nothing says it: no indicator, or the number that fires it is not in the study.
        above: bool (units, features): values above the median here; never where missing.
    """

    fires: NDArray[np.int8]
    above: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Counted:
    """The evidence of units.

    Attributes:
        features: bool (units, features), whose numbers are evidence.
        families: bool (units, families), which raise the score by such numbers.
    """

    features: NDArray[np.bool_]
    families: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A study's features by family, indicator and persona.

    Attributes:
        families: those that occur, in order.
        members: float64 (features, families), 1 where a feature belongs to a family.
        overlaps: float64 (features, personas), 1 where a persona's life fires a feature.
        firsts: int64 (features,), place of the first feature of a feature's indicator; -1: none.
        at_least: float64 (features,), that one's value from which the indicator fires.
    """

    families: tuple[str, ...]
    members: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    firsts: NDArray[np.int64]
    at_least: NDArray[np.float64]

    @classmethod
    def of(cls, features: Sequence[str], named: Mapping[str, Family]) -> Self:
        """Sort features by family; `named` is what the institution says beyond the names."""
        found = [family_of(name, named) for name in features]
        families = tuple(family for family in FAMILIES if family in found)
        members = np.array([[float(f == family) for family in families] for f in found])
        overlaps = np.zeros((len(features), len(PERSONAS)))
        firsts = np.full(len(features), NOT_SAID, np.int64)
        at_least = np.full(len(features), np.nan)
        places = {name: place for place, name in enumerate(features)}
        for row, name in enumerate(features):
            indicator = indicator_of(name)
            if indicator is not None:
                overlaps[row] = [indicator.id in persona.overlaps for persona in PERSONAS]
                firsts[row] = places.get(indicator.id, NOT_SAID)
                at_least[row] = indicator.at_least
        return cls(families, members, overlaps, firsts, at_least)

    @classmethod
    def of_row(cls, family: str) -> Self:
        """Return the evidence of one row: one family, and nothing published about it."""
        return cls(
            (family,), np.ones((1, 1)), np.zeros((1, len(PERSONAS))),
            np.full(1, NOT_SAID, np.int64), np.full(1, np.nan),
        )  # fmt: skip

    @property
    def indicators(self) -> NDArray[np.int64]:
        """Int64: places of the features by which an indicator of the study fires or does not."""
        return np.flatnonzero(self.firsts == np.arange(len(self.firsts)))

    def published(self, values: NDArray[np.float32], medians: NDArray[np.float32]) -> Published:
        """Return what the published rules say; what is missing fires not.

        Args:
            values: float32 (features, units), as in the records.
            medians: float32 (features,), what is usual here; NaN where nobody has a value.
        """
        fires = np.full(values.shape[::-1], NOT_SAID, np.int8)
        for row in np.flatnonzero(self.firsts >= 0):
            fires[:, row] = values[self.firsts[row]] >= np.float32(self.at_least[row])
        return Published(fires, (values > medians[:, None]).T)

    def counted(self, contributions: NDArray[np.float64], said: Published) -> Counted:
        """Return what is evidence (harm rule 2).

        A feature's number is where it raises the score, its indicator fires as published, and
        both it and the number that fires are above the median here. A family is where such
        numbers outweigh what lowers the score within it by `LEAST_EVIDENCE`: what else raises the
        score adds nothing.

        Args:
            contributions: float64 (units, features), on the grid, so that sums are exact.
            said: of the same units.
        """
        rare = said.above & said.above[:, np.maximum(self.firsts, 0)]
        features = (contributions > 0) & (said.fires == 1) & rare
        kept = np.where(features, contributions, np.minimum(contributions, 0.0)) @ self.members
        there = features.astype(np.float64) @ self.members > 0
        families = there & (kept >= LEAST_EVIDENCE)
        return Counted(features & (families @ self.members.T > 0), families)

    def of_indicators(self, features: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return bool (units, indicators): whether any feature of an indicator is in `features`.

        Args:
            features: bool (units, features).
        """
        owned = self.firsts[:, None] == self.indicators
        found: NDArray[np.bool_] = features.astype(np.float64) @ owned.astype(np.float64) > 0
        return found

    def lowering(self, contributions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return bool (units, families): whose features together lower it as much."""
        return contributions @ self.members <= -LEAST_EVIDENCE

    def look_alikes(self, contributions: NDArray[np.float64], said: Published) -> NDArray[np.int64]:
        """Return int64 (units, 2): personas whose life explains most of what raises; -1: none.

        A hint to look for what tells them apart, never a finding. An absence is nobody's life:
        values at or below the median, or of an indicator that fires not, are like no persona.
        """
        up = np.maximum(contributions, 0.0)
        total = up.sum(axis=1, keepdims=True)
        alike = np.where((said.fires != 0) & said.above, up, 0.0) @ self.overlaps
        share = np.divide(alike, total, out=np.zeros((len(up), len(PERSONAS))),
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
