"""Parallel composition: what releases cost that read training units, hold-out units, or all.

A unit is on one side of a population for the whole of a study, by its id and a key. A release that
reads the other side's units does not depend on it, and costs it nothing. So a study costs what
reads all units, and the larger of the two sides (docs/design.md, "Accounting").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Self


class Side(Enum):
    """Whose units a release reads; the value is the field of `SideCosts`, and stands in ledgers."""

    ALL = "all"
    TRAINING = "training"
    HOLDOUT = "holdout"


@dataclass(frozen=True, kw_only=True)
class SideCosts:
    """mu^2 of one study's releases by the units that they read, in units of 1e-12.

    Formal Guarantees:
        Q, T and E are the sums of mu_i^2 of the releases that read all, training and hold-out
        units, for one unit (M = 1). A person is known as at most M units of the population of all
        institutions: a of them in training, b in hold-outs, a + b <= M, for the whole of the
        study. Their removal moves a sum that reads all by at most (a + b) C, one that reads
        training units by a C, one that reads hold-out units by b C, and any other by 0, whatever
        it depends on: parameters are fixed before it, so given all earlier outputs it has the same
        distribution with and without the person, and adaptive composition (Dong-Roth-Su 2019, Cor.
        3.3; filters: Smith-Thakurta 2022) adds mu_j^2 = 0. So the person loses

            (a + b)^2 Q + a^2 T + b^2 E <= (a + b)^2 (Q + max(T, E)) <= M^2 (Q + max(T, E))

        since a^2 + b^2 <= (a + b)^2 for counts. Debits hold M^2 already, so `total` is the right
        side. Linked features: removing a unit also changes at most K others by at most 2 C each, k
        of them in training and K - k in the hold-out. With a = [in training] + 2 k and b = 1 - [in
        training] + 2 (K - k), a + b = 1 + 2 K, the same line holds with 1 + 2 K for M.

        Over studies totals add up, not sides: another study's key or share may put a unit on the
        other side, so the sum of maxima is the bound, and the maximum of sums is none.

    Edge cases:
        | costs | total |
        |---|---|
        | none | 0 |
        | one side only, or sides not known | as if every release read all units |
        | a release on the smaller side | unchanged while it stays the smaller one |
    """

    all: int = 0
    training: int = 0
    holdout: int = 0

    @classmethod
    def of(cls, costs: Iterable[tuple[Side, int]]) -> Self:
        """Add up costs in units of 1e-12."""
        found = cls()
        for side, cost in costs:
            found = found.plus(side, cost)
        return found

    @property
    def total(self) -> int:
        """Q + max(T, E): what no unit loses more than."""
        return self.all + max(self.training, self.holdout)

    def plus(self, side: Side, cost: int) -> Self:
        """Return the costs with one more release."""
        return replace(self, **{side.value: getattr(self, side.value) + cost})

    def added(self, side: Side, cost: int) -> int:
        """Return by how much one more release raises the total; on the smaller side by 0."""
        return self.plus(side, cost).total - self.total

    def room(self, side: Side, limit: int) -> int:
        """Return what releases on a side may still cost under a limit of the total; at least 0."""
        both = max(self.training, self.holdout)
        taken = both if side is Side.ALL else getattr(self, side.value)
        return max(0, limit - self.all - taken)

    def and_also(self, other: "SideCosts") -> Self:
        """Return the costs of two parts of one study together."""
        return replace(
            self,
            all=self.all + other.all,
            training=self.training + other.training,
            holdout=self.holdout + other.holdout,
        )

    def without(self, spent: "SideCosts") -> Self:
        """Return what is left of planned costs, each at least 0."""
        return replace(
            self,
            all=max(0, self.all - spent.all),
            training=max(0, self.training - spent.training),
            holdout=max(0, self.holdout - spent.holdout),
        )

    def added_by(self, other: "SideCosts") -> int:
        """Return by how much other costs of the study raise the total."""
        return self.and_also(other).total - self.total


def largest(costs: Iterable[SideCosts]) -> SideCosts:
    """Return the largest costs of each side, of whoever has them: nobody spent more."""
    found = SideCosts()
    for one in costs:
        found = SideCosts(
            all=max(found.all, one.all),
            training=max(found.training, one.training),
            holdout=max(found.holdout, one.holdout),
        )
    return found


def total_of(studies: Mapping[str, SideCosts]) -> int:
    """Return the total of several studies: the sum of their totals."""
    return sum(one.total for one in studies.values())
