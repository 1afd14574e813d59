"""Harmless readings: who decides about the money, told by the customer's own numbers.

Published red flags describe independent adult workers and survivors as well as they describe
victims: ranked by how many families fire, the former are reviewed 8 to 14 times as often as
others (docs/adr/0023). What tells them apart is whether somebody else decides: income that is
handed on, several persons' income in one account, no costs of an own life (AUSTRAC 2022; HTCDS
2.0, methods of control). Where a reading below holds, people look at everybody else first.

The numbers are indicators of the pack, read beside a model's features from the institution's own
records: a study need not have them. Bounds are our choice, no official cut-offs. Nothing here
reads what people are (harm rule 4), and nothing of it leaves.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sign:
    """One number within bounds, and what it says for a harmless reading.

    Attributes:
        feature: of the pack.
        low, high: bounds, both included.
        words: with the number, or with what is left of one.
    """

    feature: str
    low: float
    high: float
    words: str

    def said(self, value: float) -> str:
        """Return the sign in words."""
        return self.words.format(value=value, rest=1 - value)


@dataclass(frozen=True)
class Reading:
    """A harmless life: it holds where all of its signs do."""

    name: str
    signs: tuple[Sign, ...]


KEEPS: Final = Sign(
    "R21_kept", 4, np.inf, "the holder keeps what {value:.0f} others send in the busiest month"
)
STAYS: Final = Sign(
    "R04", 0, 0.2, "{rest:.0%} of what comes from people and in cash is there after a day"
)
SPREAD: Final = Sign(
    "R38_share", 0, 0.5, "no few persons pay in again and again (the two most: {value:.0%})"
)
OWN_LIFE: Final = Sign("R17_kinds", 4, 9, "{value:.0f} kinds of own living costs are paid")
SUPPORT: Final = Sign("R39_kept", 0.1, 1, "benefits come in and stay ({value:.0%} of all money in)")
NOT_ON: Final = Sign("R21", 0, 0.35, "no more than {value:.0%} of all money out goes to one person")

READINGS: Final = (
    Reading("works alone, keeps the income", (KEEPS, STAYS, SPREAD, OWN_LIFE)),
    Reading("lives on public support, keeps it", (SUPPORT, NOT_ON)),
)
SIGNS: Final = tuple(dict.fromkeys(sign for one in READINGS for sign in one.signs))
COLUMNS: Final = tuple(sign.feature for sign in SIGNS)
"""What is read beside a model's features, where the records have it."""

NONE_HOLDS: Final = 1
ONE_HOLDS: Final = 0


def signs_of(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return bool (units, signs): which hold; a missing number says nothing.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    low, high = (np.array([[getattr(one, end)] for one in SIGNS]) for end in ("low", "high"))
    return ((numbers >= low) & (numbers <= high)).T


def readings_of(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return bool (units, readings): which hold.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    there = signs_of(numbers)
    places = [[SIGNS.index(sign) for sign in one.signs] for one in READINGS]
    return np.stack([there[:, some].all(axis=1) for some in places], axis=1)


def tiers_of(numbers: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return int8 (units,): 1, or 0 for those whom people look at after everybody else.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    return np.where(readings_of(numbers).any(axis=1), ONE_HOLDS, NONE_HOLDS).astype(np.int8)
