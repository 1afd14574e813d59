"""The verdict on joining: one rule on the intervals, for all institutions and for each.

Joining costs privacy and work, so what it brings has to be shown: own customers, the shared model
used at home against the own best model, paired.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from fieldfare.shared.joining.rows import (
    PairedRow,
    Span,
    gain_in_found,
    gain_in_precision,
    shared_auroc,
    taught_in_precision,
)
from fieldfare.shared.pages.words import signed

LEAST_CASES: Final = 10  # held out, over all seeds: fewer show nothing
WORTH: Final = 0.02  # relative gain in average precision that is worth the work
GUESSING: Final = 0.5  # AUROC
LEAST_SEEDS: Final = 6  # of fewer that differ, intervals are too narrow for a yes (docs/adr/0029)

RULE: Final = (
    f"Yes: average precision on own customers gains at least {WORTH:.0%}, the whole interval of "
    "the gain is above 0, and that of cases found within the budget is not below 0; where a model "
    "that knows nothing was used at home too, the interval of the gain over that one is above 0. "
    "No: fewer "
    f"than {LEAST_CASES} held-out cases in all, or the gain is 0 or less, or its interval reaches "
    "0 and the shared model cannot be told from guessing (its interval of AUROC reaches .5). Not "
    f"worth it: all else. For one institution the same, but with fewer than {LEAST_CASES} held-out "
    "cases: too few to say. One simulated run decides nothing: its noise was drawn once. Yes "
    f"takes {LEAST_SEEDS} seeds and more: intervals over fewer are too narrow where seeds differ."
)


class Word(StrEnum):
    """What the rule says."""

    YES = "yes"
    NOT_WORTH = "not worth it"
    NO = "no"
    TOO_FEW = "too few to say"
    ONE_RUN = "one run does not decide"
    FEW_RUNS = "yes, but too few seeds"


class JoinVerdict(NamedTuple):
    """A verdict.

    Attributes:
        word: what the rule says.
        why: the reason, as the end of a sentence.
        gain: in average precision; None where nothing could be compared.
        found: in the share of own cases found within the budget.
    """

    word: Word
    why: str
    gain: Span | None
    found: Span | None


def verdict(rows: Sequence[PairedRow], *, one: bool = False, simulated: bool = True) -> JoinVerdict:
    """Say whether joining is worth it, by the rule of `RULE`.

    Args:
        rows: from all labels, of all institutions or of one, in every world.
        one: whether they are of one institution.
        simulated: whether seeds draw noise anew; an institution by itself has one model.
    """
    cases = sum(row.cases for row in rows)
    gain, found, guess = gain_in_precision(rows), gain_in_found(rows), shared_auroc(rows)
    if cases < LEAST_CASES or gain is None or found is None or guess is None:
        word = Word.TOO_FEW if one else Word.NO
        return JoinVerdict(word, f"only {cases} held-out cases: so few show nothing", None, None)
    word, why = _by_intervals(rows, gain, found, guess)
    seeds = len({row.seed for row in rows})
    if simulated and seeds == 1:
        word = Word.ONE_RUN
    elif simulated and word is Word.YES and seeds < LEAST_SEEDS:
        word = Word.FEW_RUNS
    return JoinVerdict(word, why, gain, found)


def _by_intervals(
    rows: Sequence[PairedRow], gain: Span, found: Span, guess: Span
) -> tuple[Word, str]:
    if gain.value <= 0:
        return Word.NO, "own customers gain nothing"
    if gain.low <= 0 and guess.low <= GUESSING:
        return Word.NO, "what the others teach drowns in the noise: no better than guessing"
    if found.high < 0:
        return Word.NOT_WORTH, "fewer cases are found within the budget"
    if gain.low <= 0:
        return Word.NOT_WORTH, f"the gain of {signed(gain.value)} may be chance"
    return _shown(rows, gain)


def _shown(rows: Sequence[PairedRow], gain: Span) -> tuple[Word, str]:
    """Say what a gain that is no chance is worth: what is more models only, and what is small."""
    taught = taught_in_precision(rows)
    if taught is not None and taught.low <= 0:
        said = f"a model that knows nothing may bring as much as the gain of {signed(gain.value)}"
        return Word.NOT_WORTH, said
    relative = gain.value / (mean_precision(rows) or 1.0)
    if relative < WORTH:
        return Word.NOT_WORTH, f"the gain is {relative:.1%}, less than {WORTH:.0%}"
    return Word.YES, f"own customers gain {relative:.0%} in average precision"


def mean_precision(rows: Sequence[PairedRow], model: str = "alone") -> float:
    """Return the mean average precision of a model over the rows that compare; 0 without any."""
    reached = [getattr(row, model) for row in rows if row.draws]
    return float(np.mean([one.precision for one in reached if one])) if any(reached) else 0.0
