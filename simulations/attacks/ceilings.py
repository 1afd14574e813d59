"""How much an attack found, and the most that any attack can find under mu-Gaussian privacy.

A unit that is in or out by a fair coin is told by a test between two distributions. Where releases
are mu-GDP none does better than between N(0, 1) and N(mu, 1) (Dong, Roth and Su 2019, arXiv
1905.02383, definition 2.6 and equation 6):

    TPR at FPR a     Phi(Phi^-1(a) + mu)
    TPR - FPR        2 Phi(mu / 2) - 1        at the best threshold
    AUROC            Phi(mu / sqrt 2)         the area under the first line

Ceilings bound what is true of an attack; what is measured scatters around that, by its interval.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, rankdata

from fieldfare.simulations.attacks.finding import MeasuredFigure

AREA: Final = "AUROC"
ADVANTAGE: Final = "TPR - FPR"
END: Final = 0.05 / 4  # of a share of units found: two ends of those in, two of others
SHARE_END: Final = 0.05 / 4  # the same of two shares with one threshold

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


def best_area(mu: float) -> float:
    """Return the largest AUROC of any attack on mu-GDP releases; mu may be inf."""
    return float(norm.cdf(mu / math.sqrt(2)))


def best_advantage(mu: float) -> float:
    """Return the largest TPR - FPR of any attack on mu-GDP releases; mu may be inf."""
    return 2 * float(norm.cdf(mu / 2)) - 1


def best_found(mu: float, rate: float) -> float:
    """Return the largest share found where `rate` of others are accused; mu may be inf."""
    return float(norm.cdf(norm.ppf(rate) + mu))


def told(scores: Vector, inside: Mask, mu: float) -> tuple[MeasuredFigure, MeasuredFigure]:
    """Return the AUROC and the advantage of an attack, each beside its ceiling.

    Args:
        scores: float64 (trials,), higher where the unit is thought to be in; at 0 and above it is
            said to be.
        inside: bool (trials,): whether it was, by a fair coin.
        mu: of everything that the attacker sees; inf where nothing protects.
    """
    return area(scores, inside, mu), advantage(scores, inside, mu)


def area(scores: Vector, inside: Mask, mu: float | None = None) -> MeasuredFigure:
    """Return the AUROC of members over others, with its 95 % interval (DeLong 1988).

    Where the two do not overlap at all, DeLong's interval has no width; the rule of three for the
    smaller side takes its place.

    Args:
        scores: float64 (units,), higher where membership is thought more probable.
        inside: bool (units,): who is a member.
        mu: of what is seen, for the ceiling; None: there is no ceiling beside it.
    """
    members, others = int(inside.sum()), int((~inside).sum())
    ranks = rankdata(scores)
    # Of each member the share of others below it, and of each other the share of members above.
    above = (ranks[inside] - rankdata(scores[inside])) / others
    below = 1 - (ranks[~inside] - rankdata(scores[~inside])) / members
    value = float(above.mean())
    error = math.sqrt(above.var(ddof=1) / members + below.var(ddof=1) / others)
    half = max(float(norm.ppf(0.975)) * error, _APART / min(members, others) if error == 0 else 0.0)
    return MeasuredFigure(
        name=AREA,
        value=value,
        interval=(max(0.0, value - half), min(1.0, value + half)),
        ceiling=None if mu is None else best_area(mu),
    )


_APART: Final = 3.0  # of n that all agree, at most 3 / n do otherwise, at 95 %


def advantage(scores: Vector, inside: Mask, mu: float) -> MeasuredFigure:
    """Return TPR - FPR at the threshold 0, which the attacker fixed before, with its interval.

    Each rate has Clopper and Pearson's interval at 97.5 %, so that both hold at 95 %.

    Args:
        scores: float64 (trials,); 0 and above says "in".
        inside: bool (trials,).
        mu: of what is seen, for the ceiling.
    """
    right, wrong = (rate_of(int((scores[one] >= 0).sum()), int(one.sum())) for one in (
        inside, ~inside,
    ))  # fmt: skip
    return MeasuredFigure(
        name=ADVANTAGE,
        value=right[0] - wrong[0],
        interval=(right[1] - wrong[2], right[2] - wrong[1]),
        ceiling=best_advantage(mu),
    )


def rate_of(found: int, count: int) -> tuple[float, float, float]:
    """Return a share, and the ends of its 97.5 % interval (Clopper and Pearson 1934)."""
    low = float(beta.ppf(SHARE_END, found, count - found + 1)) if found else 0.0
    high = float(beta.ppf(1 - SHARE_END, found + 1, count - found)) if found < count else 1.0
    return found / count, low, high


def found_at(scores: Vector, inside: Mask, rate: float, mu: float | None = None) -> MeasuredFigure:
    """Return the share of members found, where at most `rate` of these others are accused.

    The interval holds, at 95 % or more, the share found by a threshold that accuses `rate` of *all*
    others, which these do not tell exactly: the true share above the k-th largest of m others is
    Beta(k, m - k + 1) (David and Nagaraja 2003, "Order Statistics", section 2.5), that of members
    above a threshold has Clopper and Pearson's interval; each of four ends errs at 1.25 %.

    Args:
        scores: float64 (units,), higher where membership is thought more probable.
        inside: bool (units,): who is a member.
        rate: share of others.
        mu: of what is seen, for the ceiling; None: there is none beside it.
    """
    others, members = np.sort(scores[~inside])[::-1], scores[inside]
    count, places = len(others), np.arange(1, len(others) + 1)
    found = int((members > others[int(rate * count)]).sum())
    surely = beta.cdf(rate, places, count - places + 1)  # that no more are above the k-th
    strict, loose = np.flatnonzero(surely >= 1 - END), np.flatnonzero(surely <= END)
    low, high = 0.0, 1.0
    if len(strict) and (above := int((members > others[strict[-1]]).sum())):
        low = float(beta.ppf(END, above, len(members) - above + 1))
    if len(loose) and (above := int((members >= others[loose[0]]).sum())) < len(members):
        high = float(beta.ppf(1 - END, above + 1, len(members) - above))
    return MeasuredFigure(
        name=f"TPR at {100 * rate:g} %",
        value=found / len(members),
        interval=(low, high),
        ceiling=None if mu is None else best_found(mu, rate),
    )
