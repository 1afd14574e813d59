"""The accounting rule: the cost of a release, and the guarantee of a total.

Every release is a sum over privacy units, of integers on a grid, with discrete
Gaussian noise (docs/design.md, "Noise"). One number is accounted for, mu^2: it is
computed per release by `mu_squared`, it adds up over steps, queries, attempts
and runs, and `epsilon_for` turns the total into an epsilon for a given delta.

    Sensitivity --mu_squared--> mu^2 --add--> total --epsilon_for--> epsilon
    (epsilon, delta) --mu2_for--> total --divide--> mu^2 --sigma_for--> sigma

The parts: `sensitivity` (how far a unit moves a sum), `distributed_noise` (what
discrete noise in shares costs beside Gaussian noise), `gaussian_profile` (what a
total means). Nothing draws noise or keeps a total here: the ledger does that.
"""

import math
from fractions import Fraction

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.discrete_noise import (
    LEAST_GLOBAL_SCALE,
    LEAST_LOCAL_SCALE,
    XI_LIMIT,
    check_own_noise,
    check_xi,
    honest_participants,
    local_scale,
    release_xi,
    smoothing_gap,
)
from fieldfare.shared.privacy.gaussian import delta_for, epsilon_for, mu2_for
from fieldfare.shared.privacy.rounding import non_negative, positive, root_up, round_up
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity

__all__ = [
    "LEAST_GLOBAL_SCALE",
    "LEAST_LOCAL_SCALE",
    "XI_LIMIT",
    "NeighbouringRelation",
    "Sensitivity",
    "check_own_noise",
    "check_xi",
    "delta_for",
    "epsilon_for",
    "epsilon_if_masks_fail",
    "local_scale",
    "mu2_for",
    "mu_squared",
    "release_xi",
    "sigma_for",
    "smoothing_gap",
]


def mu_squared(sensitivity: Sensitivity, *, sigma: float) -> float:
    """Return the cost of one release in mu^2: l2^2 / (sigma^2 - 4 gamma^2).

    Args:
        sensitivity: of the sum, with the grid it lives on.
        sigma: parameter (in effect the standard deviation) of the noise on the
            honest sum, in the units of the sum; finite, > 2 gamma.

    Returns:
        mu^2, dimensionless, > 0: the least double not below the real value (of
        the double that `Sensitivity.l2` returns), the same on every machine.

    Formal Guarantees:
        With noise of at least `sigma` on the honest sum, the release is within
        a factor e^(+-`release_xi`) of a post-processed Gaussian release whose
        mean moves by at most mu standard deviations, so mu^2 adds up (Gaussian
        DP) over releases, also when each is chosen after seeing the last. Its
        worth in epsilon is `epsilon_for`.

    Edge cases:
        | input                         | result                |
        |-------------------------------|-----------------------|
        | sigma <= 2 gamma, NaN, inf    | AccountingError       |
        | mu^2 above any double         | AccountingError       |
        | mu^2 below any double         | the least double, > 0 |

    Raises:
        AccountingError: see the table.

    Source: docs/design.md, "Accounting"; Dong-Roth-Su 2019 (arXiv 1905.02383); the lost
    4 gamma^2 by smoothing (Micciancio-Regev 2007), see `distributed_noise`.
    """
    sigma = positive("sigma", sigma)
    spread = Fraction(sigma) ** 2 - 4 * Fraction(sensitivity.gamma) ** 2
    if spread <= 0:
        raise AccountingError(
            f"expected sigma > 2 gamma = {2 * sensitivity.gamma!r}, found {sigma!r}; "
            "use a finer grid"
        )
    return round_up(_squared_reach(sensitivity) / spread)


def sigma_for(sensitivity: Sensitivity, *, mu2: float | Fraction) -> float:
    """Return the smallest noise with which one release costs at most `mu2`.

    Args:
        sensitivity: of the sum, with the grid it lives on.
        mu2: mu^2 that one release may cost, dimensionless; finite, > 0. A debit in whole units
            is a fraction: no double need be it.

    Returns:
        sigma on the honest sum, in the units of the sum.

    Formal Guarantees:
        The real cost at `result` is at most `mu2`, exactly, and no smaller double
        will do; for a double, `mu_squared(sensitivity, sigma=result) <= mu2`. Same
        bits on every machine.

    Edge cases:
        | input                    | result                              |
        |--------------------------|-------------------------------------|
        | mu2 = 0, NaN, inf, < 0   | AccountingError                     |
        | mu2 very large           | sigma just above 2 gamma, which     |
        |                          | `local_scale` refuses later         |
        | sigma above any double   | AccountingError                     |

    Raises:
        AccountingError: see the table.

    Source: the inverse of `mu_squared`.
    """
    positive("mu2", mu2)
    spread = _squared_reach(sensitivity) / Fraction(mu2)
    return root_up(spread + 4 * Fraction(sensitivity.gamma) ** 2)


def epsilon_if_masks_fail(
    *,
    mu2: float,
    participants: int,
    collusion_tolerance: int,
    delta: float,
    alone_mu2: float = 0.0,
) -> float:
    """Return the epsilon that would remain if every mask failed.

    Each institution's reply would then be seen alone, with its own share of the
    noise only: mu sqrt(n - t) in place of mu.

    Args:
        mu2: sum of mu^2 over every release, dimensionless; >= 0, may be inf.
        participants: n, institutions named in the attempts.
        collusion_tolerance: t, colluders that the study allows for.
        delta: failure probability, in [1e-290, 1).
        alone_mu2: sum of mu^2 over releases in which each institution's own noise is all of
            sigma, beside those of `mu2`: seen alone they cost what they cost; >= 0.

    Returns:
        Epsilon in nats, or inf.

    Formal Guarantees:
        An upper bound for releases whose noise passed `local_scale` and whose
        total passed `check_xi`. A share of the noise loses the same 4 gamma^2
        from less variance, so mu^2 grows a little faster than by n - t: at
        least 256 (n - t) and 10^6 squared grid steps bound the excess, which is
        below 1e-4 up to 24 honest participants and never above 1/63.

    Edge cases:
        | input                         | result          |
        |-------------------------------|-----------------|
        | mu2 = 0                       | 0               |
        | mu2 = inf                     | inf             |
        | n - t < 2, t < 1, not whole   | AccountingError |
        | either NaN, < 0; delta as in  | AccountingError |
        | `epsilon_for`                 |                 |

    Raises:
        AccountingError: see the table.

    Source: docs/design.md, "Noise" (`study check`).
    """
    honest = honest_participants(participants, collusion_tolerance)
    if math.isinf(mu2):
        return epsilon_for(delta=delta, mu2=mu2)
    least_variance = max(LEAST_GLOBAL_SCALE**2, LEAST_LOCAL_SCALE**2 * honest)
    excess = 1 / (1 - Fraction(4 * honest, least_variance))
    shared = Fraction(non_negative("mu2", mu2)) * honest * excess
    alone = round_up(shared + Fraction(non_negative("alone_mu2", alone_mu2)))
    return epsilon_for(delta=delta, mu2=alone, xi=XI_LIMIT)


def _squared_reach(sensitivity: Sensitivity) -> Fraction:
    """l2^2, exactly that of the double that `Sensitivity.l2` returns."""
    return Fraction(sensitivity.l2(NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT)) ** 2
