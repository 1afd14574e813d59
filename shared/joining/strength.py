"""The strength of a study's signal in its noise: one public number that trials are told apart by.

Under clipping a unit adds at most C, and all sums of one run together carry noise of C / mu on each
entry, however C is chosen. What the rarer class can add is its number of units times C; over d
entries the noise has length C sqrt(d) / mu. Their ratio is

    strength = units of the rarer class in training * mu / (M sqrt(d) sqrt(n / (n - t)))

with mu from (epsilon, delta), M the multiplicity, and the excess of n shares where t of them may be
an attacker's (docs/design.md, "Noise").
"""

import math
from dataclasses import dataclass, replace
from typing import Self

from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import mu2_for
from fieldfare.shared.protocol.plan import Plan


@dataclass(frozen=True)
class PublicNumbers:
    """What is known in public of a study, as far as it decides what can be learned.

    Attributes:
        kind: of the model.
        units: of all institutions in training.
        prevalence: share of positives.
        entries: of a sum.
        epsilon, delta: the promise.
        multiplicity: M.
        institutions: n.
        tolerance: t.
    """

    kind: str
    units: float
    prevalence: float
    entries: int
    epsilon: float
    delta: float
    multiplicity: int
    institutions: int
    tolerance: int

    @classmethod
    def of(cls, plan: Plan, institutions: int | None = None) -> Self:
        """Read them off a plan; without a number of institutions the study's least counts."""
        study = plan.study
        return cls(
            kind=study.model.kind,
            units=study.training_units,
            prevalence=study.records.prevalence,
            entries=plan.training.vectors.entries,
            epsilon=study.privacy.epsilon,
            delta=study.privacy.delta,
            multiplicity=study.privacy.multiplicity,
            institutions=institutions or study.aggregation.minimum_institutions,
            tolerance=study.privacy.collusion_tolerance,
        )

    def at(self, *, epsilon: float | None = None, cases: float = 1.0) -> Self:
        """Return the same at another epsilon, or with a share of the cases among the same units."""
        return replace(
            self,
            epsilon=self.epsilon if epsilon is None else epsilon,
            prevalence=self.prevalence * cases,
        )

    @property
    def cases(self) -> float:
        """Positive units in training, of all institutions."""
        return self.units * self.prevalence

    @property
    def strength(self) -> float:
        """The signal in the noise, without a unit.

        Raises:
            AccountingError: an epsilon that leaves nothing to spend.
        """
        rarer = self.units * min(self.prevalence, 1 - self.prevalence)
        mu = math.sqrt(mu2_for(epsilon=self.epsilon, delta=self.delta, xi=XI_LIMIT))
        excess = math.sqrt(self.institutions / (self.institutions - self.tolerance))
        return rarer * mu / (self.multiplicity * math.sqrt(self.entries) * excess)
