"""A monthly series, and an alarm whose threshold accounts for the noise.

A month gives an alarm where its noisy count is above the mean of the months before it by more
than chance and noise explain. Both counts' chance (a Poisson count's variance is its mean) and
both counts' noise are in the limit, and so is how many months are looked at: a series without a
change gives any alarm at most as often as the question says (Bonferroni).
"""

from statistics import NormalDist

import numpy as np

from fieldfare.server.answer import Values


def alarms(counts: Values, sigma: float, *, window: int, false_alarm: float) -> list[int]:
    """Return the indices of months that stand out.

    Args:
        counts: float64 (months,), noisy, in order.
        sigma: noise on each.
        window: months that a month is compared with.
        false_alarm: most often that a series without a change gives any alarm.
    """
    looked_at = len(counts) - window
    limit = NormalDist().inv_cdf(1 - false_alarm / looked_at)
    found = []
    for month in range(window, len(counts)):
        before = float(counts[month - window : month].mean())
        variance = (max(before, 1.0) + sigma**2) * (1 + 1 / window)
        if counts[month] - before > limit * float(np.sqrt(variance)):
            found.append(month)
    return found
