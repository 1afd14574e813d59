"""The budget of a member whose people changed nothing, and what amounts are worth in it.

`institution init` writes these limits. A coordinator knows no member's own: it says a price by
these, and each institution's `review` says it by its own.
"""

import math
from fractions import Fraction
from typing import Final

from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for, mu2_for

USUAL_DELTA: Final = 1e-5
USUAL_STUDY: Final = 1.0  # epsilon of one study, all its runs
USUAL_YEAR: Final = 2.0  # of all studies in any 365 days
_PICOMU2: Final = 10**12


def usual_limit(epsilon: float) -> int:
    """Return so much epsilon at the usual delta in 1e-12 mu^2, rounded down as a ledger does."""
    return math.floor(Fraction(mu2_for(epsilon=epsilon, delta=USUAL_DELTA, xi=XI_LIMIT)) * _PICOMU2)


def usual_worth(picomu2: int) -> float:
    """Return the epsilon at the usual delta that so much mu^2 is worth by itself; 0 of nothing."""
    if picomu2 <= 0:
        return 0.0
    return epsilon_for(delta=USUAL_DELTA, mu2=picomu2 / _PICOMU2, xi=XI_LIMIT)
