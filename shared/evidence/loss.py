"""The privacy loss of a plan, or of what was spent of it, in every form that others compare by.

Gaussian DP, zero-concentrated DP, epsilon at several deltas; beside any number of colluders, with
all masks failing, and for a person who is known several times. Every figure comes from
`shared/privacy` and the plan; nothing is accounted for here in another way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from fieldfare.shared.privacy.accountant import epsilon_if_masks_fail, mu_squared
from fieldfare.shared.privacy.delta import largest_delta
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.plan import PICOMU2, Plan, ReleaseTerms

USUAL_DELTAS: Final = (1e-5, 1e-6)
TIMES_BEYOND: Final = 3  # how often more than M the same person is looked at


@dataclass(frozen=True)
class LossAt:
    """One total in Gaussian DP, zCDP and epsilon.

    Attributes:
        mu2: mu^2, dimensionless.
        epsilons: epsilon at each delta, in the order of the deltas.
    """

    mu2: float
    epsilons: tuple[float, ...]

    @property
    def mu(self) -> float:
        """Gaussian DP: how far a unit moves the mean, in standard deviations."""
        return math.sqrt(self.mu2)

    @property
    def rho(self) -> float:
        """Zero-concentrated DP: mu^2 / 2 (Bun-Steinke 2016, arXiv 1605.02065, Prop. 1.6)."""
        return self.mu2 / 2


@dataclass(frozen=True)
class ColludersLoss:
    """The loss beside so many colluders, planned and spent.

    Attributes:
        colluders: institutions that pool what they know with the coordinator.
        within: the study's promise allows for so many.
    """

    colluders: int
    within: bool
    planned: LossAt
    spent: LossAt


@dataclass(frozen=True)
class PrivacyLoss:
    """The whole statement.

    Attributes:
        deltas: at which epsilons hold, the study's first.
        planned, spent: as the study promises, and as was debited.
        beside: for each number of colluders from 0 to all but one.
        unmasked: planned, if every mask failed; `unmasked_spent` bounds that of what was spent.
        times: planned, for a person who is that many units.
    """

    deltas: tuple[float, ...]
    planned: LossAt
    spent: LossAt
    beside: tuple[ColludersLoss, ...]
    unmasked: LossAt
    unmasked_spent: LossAt
    times: tuple[tuple[int, LossAt], ...]


def deltas_of(plan: Plan) -> tuple[float, ...]:
    """Return the deltas of the statement: the study's, then usual ones, 1 / (10 units), falling."""
    own, units = plan.study.privacy.delta, plan.study.records.units
    others = {*USUAL_DELTAS, largest_delta(units)} - {own}
    return (own, *sorted(others, reverse=True))


def loss_at(mu2: float, deltas: Sequence[float]) -> LossAt:
    """Return a total in every form; nothing spent is nothing lost."""
    epsilons = [epsilon_for(delta=one, mu2=mu2, xi=XI_LIMIT) if mu2 else 0.0 for one in deltas]
    return LossAt(mu2, tuple(epsilons))


def privacy_loss(plan: Plan, spent: int, institutions: int) -> PrivacyLoss:
    """Return the loss of a plan and of what was spent of it.

    Args:
        plan: of the study.
        spent: in 1e-12 mu^2, of the institution that spent most.
        institutions: that take part in every sum.

    Raises:
        AccountingError: too few institutions for the study's collusion tolerance.
    """
    deltas, paid = deltas_of(plan), spent / PICOMU2
    privacy = plan.study.privacy
    beside = tuple(
        _beside(plan, paid, institutions, count, deltas) for count in range(institutions)
    )
    return PrivacyLoss(
        deltas=deltas,
        planned=loss_at(plan.mu2, deltas),
        spent=loss_at(paid, deltas),
        beside=beside,
        unmasked=_unmasked(plan, institutions, deltas),
        unmasked_spent=_alone(plan, paid, 0.0, institutions, deltas),
        times=tuple(
            (count, loss_at(plan.mu2 * (count / privacy.multiplicity) ** 2, deltas))
            for count in range(1, privacy.multiplicity + TIMES_BEYOND + 1)
        ),
    )


def _beside(
    plan: Plan, paid: float, institutions: int, colluders: int, deltas: Sequence[float]
) -> ColludersLoss:
    """Return the loss where so many subtract their own noise: n - c shares of it are left.

    Where sums may be of fewer institutions, n is the number that loses most. What was spent is
    taken to have grown as the kind of release did that grew most: a bound.
    """
    together = numbers_together(plan, institutions, colluders)
    grown = {
        terms.kind: max(cost_beside(plan, terms, n, colluders) for n in together)
        for terms in plan.releases
    }
    costs = SideCosts.of(
        (terms.side, grown[terms.kind] * (terms.steps + terms.spare)) for terms in plan.releases
    )
    most = max(Fraction(grown[terms.kind], terms.cost) for terms in plan.releases)
    return ColludersLoss(
        colluders=colluders,
        within=colluders <= plan.study.privacy.collusion_tolerance,
        planned=loss_at(costs.total / PICOMU2, deltas),
        spent=loss_at(float(most) * paid, deltas),
    )


def numbers_together(plan: Plan, institutions: int, colluders: int) -> range:
    """Return of how many institutions sums may be that so many colluders and one more are in.

    All of them where a study fixes who takes part; else also fewer, down to its minimum, and then a
    share of the noise is larger but fewer shares are left beside the same colluders.
    """
    aggregation = plan.study.aggregation
    if aggregation.fixed:
        return range(institutions, institutions + 1)
    least = max(aggregation.minimum_institutions, colluders + 1)
    return range(min(least, institutions), institutions + 1)


def cost_beside(plan: Plan, terms: ReleaseTerms, institutions: int, colluders: int) -> int:
    """Return what one release costs beside so many colluders, in 1e-12 mu^2, rounded up.

    Each institution adds sigma / sqrt(n - t), so n - c of them leave sigma sqrt((n-c)/(n-t)); in
    local mode each adds all of sigma, whoever colludes (docs/design.md, "Noise").
    """
    tolerance = plan.study.privacy.collusion_tolerance
    if terms.sensitivity is None or terms.local_steps or colluders == tolerance:
        return terms.cost
    left = (institutions - colluders) / (institutions - tolerance)
    cost = mu_squared(terms.sensitivity, sigma=terms.sigma * math.sqrt(left))
    return math.ceil(Fraction(cost) * PICOMU2)


def _unmasked(plan: Plan, institutions: int, deltas: Sequence[float]) -> LossAt:
    """Return the plan's loss if every mask failed: of the side that loses more."""
    local = _costs(plan, local=True)
    masked = _costs(plan, local=False)
    sides = (
        (masked.all + masked.training, local.all + local.training),
        (masked.all + masked.holdout, local.all + local.holdout),
    )
    found = [_alone(plan, shared / PICOMU2, own / PICOMU2, institutions, deltas)
             for shared, own in sides]  # fmt: skip
    return max(found, key=lambda one: one.mu2)


def _costs(plan: Plan, *, local: bool) -> SideCosts:
    """Return the planned costs of releases with, or without, all of the noise in each reply."""
    return SideCosts.of(
        (terms.side, terms.cost * (terms.steps + terms.spare))
        for terms in plan.releases
        if bool(terms.local_steps) is local
    )


def _alone(
    plan: Plan, shared: float, own: float, institutions: int, deltas: Sequence[float]
) -> LossAt:
    """Return the loss of replies seen alone, of which `own` carry all of sigma already."""
    tolerance = plan.study.privacy.collusion_tolerance
    epsilons = [
        epsilon_if_masks_fail(
            mu2=shared,
            alone_mu2=own,
            participants=institutions,
            collusion_tolerance=tolerance,
            delta=delta,
        )
        if shared + own
        else 0.0
        for delta in deltas
    ]
    return LossAt(own + shared * (institutions - tolerance), tuple(epsilons))
