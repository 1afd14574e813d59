"""The guarantee of a total mu^2: delta for an epsilon, epsilon for a delta.

A Gaussian release whose mean moves by mu standard deviations when one unit is
added or removed has the privacy profile (Balle-Wang 2018, Theorem 8)

    delta_BW(eps; mu) = Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu),

and mu^2 adds up under adaptive composition (Dong-Roth-Su 2019). `xi` carries
what discrete noise adds to that (docs/design.md, "Noise"): if each release's density
is within a factor e^(+-xi) of a Gaussian one, then for every event S

    P(S) - e^eps Q(S) <= e^xi [P'(S) - e^(eps - 2 xi) Q'(S)],

so delta(eps) <= e^xi delta_BW(eps - 2 xi; mu).

How it is computed. The textbook form subtracts two numbers that agree in most
of their digits when mu is small, also on a log scale. With x = eps/mu - mu/2
and the Mills ratio R = (1 - Phi)/phi,

    delta_BW = phi(x) [R(x) - R(x + mu)]             (used for mu >= 1)
             = phi(x) * integral of 1 - u R(u) over [x, x + mu]   (mu < 1),

which lose nothing: against arithmetic of 60 digits and more their error stays
below 5e-13 relative for mu from 1e-10 to 1e6, wherever the value is above 1e-298.
Every value is then raised by 1e-11 relative, so that rounding falls on the safe side.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.rounding import non_negative

_MARGIN: Final = 1.0 + 1e-11  # twenty times the largest error measured
_FLOOR: Final = 1e-299  # a smaller delta is reported as this one, never as zero
_FAR: Final = 37.0  # delta_BW <= Phi(-x), and Phi(-37) = 5.7e-300 is below the floor
_LEAST_DELTA: Final = 1e-290  # far enough above the floor to be told from it
_LARGEST_EXPONENT: Final = 700.0  # e^700 is a double; any xi near it means delta = 1
KEPT: Final = 1024  # answers of each question: one study's plan asks for the same many times over
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def delta_for(*, epsilon: float, mu2: float, xi: float = 0.0) -> float:
    """Return the delta that holds at `epsilon` for a total of `mu2`.

    Args:
        epsilon: privacy loss, in nats; finite, >= 0.
        mu2: sum of mu^2 over every release, dimensionless; >= 0, may be inf.
        xi: sum of `release_xi` over every release, in nats; finite, >= 0. Its
            limit is enforced by `check_xi`, where the releases are planned.

    Returns:
        A probability in [0, 1].

    Formal Guarantees:
        Never below e^xi delta_BW(epsilon - 2 xi; sqrt(mu2)), and above it by at
        most 2e-11 relative (or by 1e-299). Whatever was released, with mu_i and
        xi_i adding up to no more than `mu2` and `xi` also when each release was
        chosen after the last, is (epsilon, delta)-differentially private for
        one unit added or removed.

    Edge cases:
        | input                      | result                              |
        |----------------------------|-------------------------------------|
        | mu2 = 0, xi = 0            | 0 (nothing was released)            |
        | mu2 = 0, xi > 0            | e^xi max(0, 1 - e^(epsilon - 2 xi)) |
        | mu2 = inf                  | 1                                   |
        | true value below 1e-299    | 1e-299                              |
        | epsilon < 2 xi             | the same formula, which still holds |
        | NaN, negative, epsilon inf | AccountingError                     |

    Raises:
        AccountingError: an argument is out of range.

    Source: Balle-Wang 2018 (arXiv 1805.06530), Theorem 8; Dong-Roth-Su 2019
    (arXiv 1905.02383), Corollary 1; Smith-Thakurta 2022 for adaptive totals.
    """
    epsilon, xi, mu2 = non_negative("epsilon", epsilon), non_negative("xi", xi), _total(mu2)
    if math.isinf(mu2):
        return 1.0
    # One double lower whenever a subtraction happened at all: a smaller epsilon only adds delta.
    shifted = math.nextafter(epsilon - 2 * xi, -math.inf) if xi > 0 else epsilon
    factor = math.exp(min(xi, _LARGEST_EXPONENT))
    return min(1.0, factor * _hockey_stick(shifted, mu2) * _MARGIN)


def epsilon_for(*, delta: float, mu2: float, xi: float = 0.0) -> float:
    """Return the smallest epsilon that holds at `delta` for a total of `mu2`.

    Args:
        delta: failure probability, in [1e-290, 1).
        mu2: sum of mu^2 over every release, dimensionless; >= 0, may be inf.
        xi: sum of `release_xi` over every release, in nats; finite, >= 0.

    Returns:
        Epsilon in nats, >= 0, or inf.

    Formal Guarantees:
        `delta_for(epsilon=result, mu2=mu2, xi=xi) <= delta` was checked at the
        very double that is returned, and fails at the double before it.

    Edge cases:
        | input                              | result                       |
        |------------------------------------|------------------------------|
        | delta_for(epsilon=0) <= delta      | 0                            |
        | mu2 = 0, xi = 0                    | 0                            |
        | mu2 = inf                          | inf                          |
        | no finite epsilon could be checked | inf (fail closed)            |
        | delta = 0, delta < 1e-290          | AccountingError: Gaussian    |
        |                                    | noise has no pure guarantee  |
        | delta >= 1                         | AccountingError: says nothing|
        | NaN, negative                      | AccountingError              |

    Raises:
        AccountingError: an argument is out of range.

    Source: Balle-Wang 2018 (arXiv 1805.06530), Theorem 8, inverted by bisection.
    """
    return _smallest_epsilon(_probability(delta), _total(mu2), non_negative("xi", xi))


@lru_cache(maxsize=KEPT)
def _smallest_epsilon(delta: float, mu2: float, xi: float) -> float:
    def holds(epsilon: float) -> bool:
        return delta_for(epsilon=epsilon, mu2=mu2, xi=xi) <= delta

    if math.isinf(mu2):
        return math.inf
    if holds(0.0):
        return 0.0
    # Gaussian tail: delta_BW <= Phi(-x) <= e^(-x^2/2) / 2 with x = eps/mu - mu/2. The last
    # factor keeps the start of the search above its target where mu^2/2 swallows the rest.
    tail = math.sqrt(2.0 * (xi - math.log(delta)))
    good = (mu2 / 2 + math.sqrt(mu2) * tail + 4 * xi) * (1.0 + 1e-9)
    return _last_that_holds(holds, good, 0.0) if holds(good) else math.inf


def mu2_for(*, epsilon: float, delta: float, xi: float = 0.0) -> float:
    """Return the largest total mu^2 that keeps (epsilon, delta): the budget.

    Args:
        epsilon: privacy loss, in nats; finite, >= 0.
        delta: failure probability, in [1e-290, 1).
        xi: sum of `release_xi` over every release, in nats; finite, >= 0.

    Returns:
        mu^2, dimensionless, >= 0: 31 significant bits, rounded down, so that
        machines whose C libraries differ in a last digit agree on the budget.

    Formal Guarantees:
        `delta_for(epsilon=epsilon, mu2=result, xi=xi) <= delta`, and the largest
        mu^2 with that property is larger by less than 1e-9 relative.

    Edge cases:
        | input                           | result                           |
        |---------------------------------|----------------------------------|
        | epsilon = 0                     | mu^2 of total variation delta    |
        | too small for a double          | 0 (nothing may be released)      |
        | xi alone costs more than delta  | AccountingError                  |
        | budget above any double         | AccountingError                  |
        | delta < 1e-290, delta >= 1      | AccountingError                  |
        | NaN, negative, epsilon inf      | AccountingError                  |

    Raises:
        AccountingError: an argument is out of range, or no budget exists.

    Source: Balle-Wang 2018 (arXiv 1805.06530), Theorem 8, inverted by bisection.
    """
    return _largest_total(non_negative("epsilon", epsilon), _probability(delta), xi)


@lru_cache(maxsize=KEPT)
def _largest_total(epsilon: float, delta: float, xi: float) -> float:
    def holds(mu2: float) -> bool:
        return delta_for(epsilon=epsilon, mu2=mu2, xi=xi) <= delta

    if not holds(0.0):
        raise AccountingError(
            f"expected xi to leave room in delta = {delta!r}, found xi = {xi!r}; "
            "use a finer grid (a larger sigma/gamma)"
        )
    bad = 1.0
    while holds(bad):
        bad *= 4.0
    if math.isinf(bad):
        raise AccountingError(f"expected an epsilon with a finite budget, found {epsilon!r}")
    good = _last_that_holds(holds, 0.0, bad)
    mantissa, exponent = math.frexp(good * (1.0 - 2.0**-40))
    return math.ldexp(math.floor(math.ldexp(mantissa, 31)), exponent - 31)


def _total(mu2: float) -> float:
    """Refuse a mu^2 that is NaN or negative; inf stands for no protection at all."""
    if not mu2 >= 0:
        raise AccountingError(f"expected mu2 to be >= 0, found {mu2!r}")
    return float(mu2)


def _probability(delta: float) -> float:
    """Refuse a delta that no Gaussian release meets, or that promises nothing."""
    if not _LEAST_DELTA <= delta < 1:
        raise AccountingError(
            f"expected delta in [{_LEAST_DELTA}, 1), found {delta!r}; "
            "choose it well below one over the number of units"
        )
    return float(delta)


def _hockey_stick(epsilon: float, mu2: float) -> float:
    """delta_BW(epsilon; sqrt(mu2)) for any finite epsilon, before the margin."""
    if epsilon < 0:  # P and Q are mirror images, so the profile at -epsilon gives this one
        return -math.expm1(epsilon) + math.exp(epsilon) * _hockey_stick(-epsilon, mu2)
    if mu2 == 0:
        return 0.0
    mu = math.sqrt(mu2)
    x = (epsilon - mu2 / 2) / mu  # one rounding before the division: exact also for huge mu
    if x > _FAR:
        return _FLOOR
    value = _by_quadrature(x, mu) if mu < 1 else _by_ratio(x, mu)
    return max(value, _FLOOR)


def _by_quadrature(x: float, mu: float) -> float:
    """phi(x) times the integral of 1 - u R(u) over [x, x + mu], for mu < 1 and x >= -1/2.

    The integrand is positive and analytic, and 20 nodes on an interval shorter
    than one are exact to the last digits.
    """
    u = x + mu * (_NODES + 1.0) / 2
    integral = mu / 2 * float(_WEIGHTS @ (1.0 - u * _mills(u)))
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi) * integral


def _by_ratio(x: float, mu: float) -> float:
    """(1 - Phi(x)) (1 - R(x + mu) / R(x)), for mu >= 1."""
    # R(x) overflows to inf far on the left, where the ratio is nought in any case.
    near, far = _mills(np.array([x, x + mu]))
    return float(special.ndtr(-x) * (1.0 - far / near))


def _mills(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 - Phi(u)) / phi(u) elementwise, free of cancellation."""
    scaled: NDArray[np.float64] = special.erfcx(u / math.sqrt(2))
    return math.sqrt(math.pi / 2) * scaled


def _last_that_holds(holds: Callable[[float], bool], good: float, bad: float) -> float:
    """Bisect between `good` (holds) and `bad` (does not) down to neighbouring doubles."""
    while True:
        middle = good + (bad - good) / 2
        if middle in (good, bad):
            return good
        good, bad = (middle, bad) if holds(middle) else (good, middle)
