"""Discrete Gaussian noise in shares: the variance of each share, and the cost over Gaussian noise.

Why discrete noise may be accounted for as Gaussian noise. Draw y from a normal
distribution of variance sigma^2 - 4 gamma^2 around the exact sum, then round y
to the grid by a discrete Gaussian of parameter 2 gamma around y. By Poisson
summation the outcome has the discrete Gaussian's probabilities up to a factor
e^(+-4 exp(-8 pi^2)) per entry, and rounding is post-processing: hence the
variance lost in `mu_squared` and the term 4 exp(-8 pi^2) in `release_xi`. The
sum of n - t local discrete Gaussians is one of the summed variance up to a
factor e^(+-tau) per entry: `smoothing_gap`. The factors multiply over entries
and releases; `delta_for` says what they do to delta.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Final

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.rounding import non_negative, positive, root_up, round_up, whole

XI_LIMIT: Final = 1e-15  # nats, over all releases of a population (docs/design.md, "Noise")
LEAST_LOCAL_SCALE: Final = 16  # grid steps of noise at one institution (docs/design.md, "Noise")
LEAST_GLOBAL_SCALE: Final = 1000  # grid steps of noise on the honest sum (docs/design.md, "Noise")

_LEAST_SCALE_OF_THEOREM: Final = 0.5  # Kairouz-Liu-Steinke 2021 assume it for tau
_UP: Final = 1.0 + 1e-9  # exp() of a few thousand is exact to 1e-12 relative


def local_scale(
    *, sigma: float, gamma: float, participants: int, collusion_tolerance: int
) -> float:
    """Return s_loc, the discrete Gaussian parameter that each institution draws with.

    Args:
        sigma: noise wanted on the honest sum, in the units of the sum.
        gamma: grid step, in the units of the sum.
        participants: n, institutions named in the attempt.
        collusion_tolerance: t, colluders that the study allows for; an absolute
            number, never rescaled to n.

    Returns:
        sigma / (gamma sqrt(n - t)), in grid steps, rounded up.

    Formal Guarantees:
        The n - t honest institutions' independent noises add up to a variance
        parameter of at least sigma^2. The result is large enough (16 grid steps
        locally, 1000 on the sum) for discrete noise to be accounted for as
        Gaussian noise at a cost of `release_xi`, which is then next to nothing.

    Edge cases:
        | input                              | result          |
        |------------------------------------|-----------------|
        | n - t < 2, t < 1, not whole        | AccountingError |
        | s_loc < 16 or sigma / gamma < 1000 | AccountingError |
        | sigma or gamma NaN, inf, <= 0      | AccountingError |
        | fewer than t collude               | more noise only |

    Raises:
        AccountingError: see the table.

    Source: docs/design.md, "Noise" (distributed noise; the pointwise rule).
    """
    honest = honest_participants(participants, collusion_tolerance)
    steps = Fraction(positive("sigma", sigma)) / Fraction(positive("gamma", gamma))
    squared = steps**2 / honest
    if steps < LEAST_GLOBAL_SCALE or squared < LEAST_LOCAL_SCALE**2:
        raise AccountingError(
            f"expected sigma of at least {LEAST_GLOBAL_SCALE} grid steps on the sum and "
            f"{LEAST_LOCAL_SCALE} at each institution, found sigma = {sigma!r}, gamma = {gamma!r}, "
            f"{honest} honest participants; use a finer grid"
        )
    return root_up(squared)


def check_own_noise(*, sigma: float, gamma: float) -> None:
    """Refuse noise that one institution draws in full where it is too fine for the grid.

    Args:
        sigma: noise on the institution's own sum, in the units of the sum.
        gamma: grid step, in the units of the sum.

    Formal Guarantees:
        After it, one discrete Gaussian of parameter sigma / gamma around the sum may be
        accounted for as Gaussian noise at a cost of `release_xi` with tau = 0: nothing is
        added up, so nothing differs from one discrete Gaussian. Whoever else takes part, and
        whether they collude, makes no difference.

    Edge cases:
        | input                         | result          |
        |-------------------------------|-----------------|
        | sigma / gamma < 1000          | AccountingError |
        | sigma or gamma NaN, inf, <= 0 | AccountingError |

    Raises:
        AccountingError: see the table.

    Source: docs/design.md, "Noise" (the pointwise rule).
    """
    steps = Fraction(positive("sigma", sigma)) / Fraction(positive("gamma", gamma))
    if steps < LEAST_GLOBAL_SCALE:
        raise AccountingError(
            f"expected sigma of at least {LEAST_GLOBAL_SCALE} grid steps, found sigma = {sigma!r}, "
            f"gamma = {gamma!r}; use a finer grid"
        )


@lru_cache(maxsize=64)  # asked again for every release; it has n - t terms
def smoothing_gap(*, participants: int, collusion_tolerance: int, local_scale: float) -> float:
    """Return tau, by how much a sum of discrete Gaussians is not one.

    Args:
        participants: n, institutions named in the attempt.
        collusion_tolerance: t, colluders that the study allows for.
        local_scale: s_loc, each institution's parameter in grid steps; >= 1/2.

    Returns:
        tau = 10 sum_{k=1}^{n-t-1} exp(-2 pi^2 s_loc^2 k / (k + 1)), in nats per
        entry, rounded up, never 0.

    Formal Guarantees:
        On every grid point, the probability of the sum of n - t discrete
        Gaussians and that of one discrete Gaussian of the summed variance
        parameter differ by a factor of at most e^(+-tau).

    Edge cases:
        | input                                | result            |
        |--------------------------------------|-------------------|
        | tau below any double (s_loc > 9 or so)| the least doubles |
        | s_loc < 1/2 (the theorem's premise)  | AccountingError   |
        | s_loc NaN or inf                     | AccountingError   |
        | n - t < 2, t < 1, not whole          | AccountingError   |

    Raises:
        AccountingError: see the table.

    Source: Kairouz-Liu-Steinke 2021 (arXiv 2102.06387), sums of discrete
    Gaussians and Proposition 14.
    """
    honest = honest_participants(participants, collusion_tolerance)
    if positive("local_scale", local_scale) < _LEAST_SCALE_OF_THEOREM:
        raise AccountingError(
            f"expected local_scale >= {_LEAST_SCALE_OF_THEOREM} grid steps, found {local_scale!r}; "
            "use a finer grid"
        )
    rate = -2.0 * (math.pi * local_scale) ** 2
    # Each term is lifted off zero: an exponential that underflows is still a cost.
    terms = (math.nextafter(math.exp(rate * k / (k + 1)) * _UP, 1.0) for k in range(1, honest))
    return 10.0 * math.fsum(terms) * _UP


def release_xi(*, entries: int, tau: float) -> float:
    """Return the addition of one release to xi: d (tau + 4 exp(-8 pi^2)).

    Args:
        entries: d, length of the released vector (every entry carries noise);
            >= 1. Not `Sensitivity.rounded_entries`, which may be smaller.
        tau: `smoothing_gap` of the release, in nats per entry; finite, >= 0.

    Returns:
        xi of the release in nats, rounded up, > 0. It adds up over releases.

    Formal Guarantees:
        The release's probabilities are within a factor e^(+-xi) of those of a
        post-processed Gaussian release of variance sigma^2 - 4 gamma^2.

    Edge cases:
        | input               | result          |
        |---------------------|-----------------|
        | tau = 0             | about 2e-34 * d |
        | tau NaN, inf, < 0   | AccountingError |
        | entries < 1         | AccountingError |

    Raises:
        AccountingError: see the table.

    Source: docs/design.md, "Noise"; Micciancio-Regev 2007, smoothing by Poisson summation.
    """
    whole("entries", entries, at_least=1)
    rounding = 4.0 * math.exp(-8.0 * math.pi**2) * _UP
    per_entry = Fraction(non_negative("tau", tau)) + Fraction(rounding)
    return round_up(entries * per_entry)


def check_xi(total: float) -> None:
    """Refuse a plan whose releases are too coarse to be accounted for as Gaussian.

    Args:
        total: sum of `release_xi` over every release planned, in nats.

    Formal Guarantees:
        After it, delta(eps) <= e^xi delta_BW(eps - 2 xi) with xi < 1e-15: epsilon
        and delta as printed do not show the difference.

    Edge cases:
        | input             | result          |
        |-------------------|-----------------|
        | total >= 1e-15    | AccountingError |
        | NaN, inf, < 0     | AccountingError |

    Raises:
        AccountingError: see the table.

    Source: docs/design.md, "Noise" (require xi < 1e-15).
    """
    if non_negative("xi", total) >= XI_LIMIT:
        raise AccountingError(
            f"expected xi < {XI_LIMIT} over all releases, found {total!r}; "
            "use a finer grid, fewer releases or fewer entries"
        )


def honest_participants(participants: int, collusion_tolerance: int) -> int:
    """Return n - t, refused below two: one honest institution would be seen alone.

    Raises:
        AccountingError: n - t < 2, t < 1, or either is not a whole number.
    """
    whole("collusion_tolerance", collusion_tolerance, at_least=1)
    whole("participants", participants, at_least=collusion_tolerance + 2)
    return participants - collusion_tolerance
