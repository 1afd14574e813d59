"""A lower bound of epsilon from one run with many canaries, whatever the noise is.

Each canary is in or out by a fair coin. Somebody who sees what was released guesses some of the
coins. Under (epsilon, delta) differential privacy the number of right guesses is at most that of as
many tosses of a coin that falls right with probability e^epsilon / (1 + e^epsilon), but for a
correction in delta (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846, theorem 5.2; the
computation is that of its appendix D). More right guesses than so refute the epsilon.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

CONFIDENCE: Final = 0.95
GUESSED: Final = 0.1  # of the canaries, from each end: fixed before anybody looks
LEAST_CANARIES: Final = 20  # fewer guesses bound nothing
MOST_EPSILON: Final = 100.0
HALVINGS: Final = 40


@dataclass(frozen=True)
class OneRun:
    """A lower bound of epsilon from one run.

    Attributes:
        epsilon: it is at least this, at 95 %.
        canaries: with a coin each.
        guesses: made, the surest from both ends.
        right: of them.
    """

    epsilon: float
    canaries: int
    guesses: int
    right: int


def one_run(scores: NDArray[np.float64], coins: NDArray[np.bool_], delta: float) -> OneRun | None:
    """Guess the highest tenth "in" and the lowest tenth "out"; None with too few canaries.

    Args:
        scores: float64 (canaries,), from what was released and from nothing about the coins.
        coins: bool (canaries,): which are in.
        delta: of the claim.
    """
    if len(scores) < LEAST_CANARIES:
        return None
    each, order = int(GUESSED * len(scores)), np.argsort(scores, kind="stable")
    right = int(coins[order[-each:]].sum() + (~coins[order[:each]]).sum())
    low, high = 0.0, MOST_EPSILON
    if chance_of_right(len(scores), 2 * each, right, low, delta) > 1 - CONFIDENCE:
        return OneRun(0.0, len(scores), 2 * each, right)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        refuted = chance_of_right(len(scores), 2 * each, right, middle, delta) <= 1 - CONFIDENCE
        low, high = (middle, high) if refuted else (low, middle)
    return OneRun(low, len(scores), 2 * each, right)


def chance_of_right(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return the most that the chance of so many right guesses may be under (epsilon, delta).

    Formal Guarantees:
        Coins are independent and fair, and guesses depend on the output alone: then at least
        `right` of `guesses` are right with at most this probability (theorem 5.2).

    Edge cases:
        | input | result |
        |---|---|
        | no guess is right | 1 |
        | delta 0 | the tail of a binomial |
        | epsilon so large that every guess may be right | 1, or that of the correction |
    """
    if right == 0:
        return 1.0
    rate = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, rate))
    below = np.arange(1, right + 1)
    sums = np.cumsum(binom.pmf(right - below, guesses, rate))
    return min(1.0, tail + float((sums / below).max()) * delta * 2 * canaries)
