"""Harmless readings: who decides about the money, told by the customer's own numbers.

Published red flags describe independent adult workers, survivors, honest employers and whoever
sends money home as well as they describe exploitation: ranked by the score alone, farm contractors
are reviewed 20 times as often as others (docs/adr/0023, 0074). What tells them apart is whether
somebody else decides: income that is handed on, several persons' income in one account, wages that
go back, no living costs (AUSTRAC 2022; HTCDS 2.0, methods of control). Where a reading
below holds, people look at everybody else first.

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
        missing: holds where there is no number, and nowhere else.
    """

    feature: str
    low: float
    high: float
    words: str
    missing: bool = False

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
    "R04", 0, 0.25, "{rest:.0%} of what comes from people and in cash is there after a day"
)
HALF_STAYS: Final = Sign("R04", 0, 0.5, STAYS.words)
SPREAD: Final = Sign(
    "R38_share", 0, 0.5, "no few persons pay in again and again (the two most: {value:.0%})"
)
NEW_PAYERS: Final = Sign(
    "R36_in_again", 0, 0.4, "most who pay in do so once ({value:.0%} of payments: again)"
)
SAME_PAYERS: Final = Sign(
    "R36_in_again", 0.45, 1, "{value:.0%} of payments in are from who paid before"
)
FEW_PAY_ONCE: Final = Sign("R01_once_share", 0, 0.65, "few pay in once and never again")
EVEN_SUMS: Final = Sign("R23", 0.75, 1, "{value:.0%} of what people pay in are even sums")
BUYERS: Final = Sign("R36_in_again", 0, 0.2, NEW_PAYERS.words)
OWN_LIFE: Final = Sign("R17_kinds", 4, 9, "{value:.0f} kinds of own living costs are paid")
FULL_LIFE: Final = Sign("R17_kinds", 5, 9, OWN_LIFE.words)
RUNNING_COSTS: Final = Sign("R17_kinds", 3, 9, "{value:.0f} kinds of running costs are paid")
BILLS: Final = Sign("R17", 0, 0.8, "{rest:.0%} of all money out is rent, bills, telephone and tax")
OWN_PHONE: Final = Sign("R16_payments", 3, 40, "the own telephone is paid every month")
PHONE: Final = Sign("R16_payments", 2, 40, "a telephone is paid ({value:.0f} times in ninety days)")
SUPPORT: Final = Sign("R39_kept", 0.1, 1, "benefits come in and stay ({value:.0%} of all money in)")
NOT_ON: Final = Sign("R21", 0, 0.35, "no more than {value:.0%} of all money out goes to one person")
HARDLY_ON: Final = Sign("R21", 0, 0.1, NOT_ON.words)
NOT_PASSED_ON: Final = Sign(
    "R37_share", 0, 0.5, "no more than {value:.0%} of what comes in is handed on to one person"
)
NO_FEW_PAYERS: Final = Sign(
    "R38", 0, 4, "no two people pay in again and again ({value:.0f} times beside the most frequent)"
)
BOTH_WAYS: Final = Sign(
    "R36", 3, np.inf, "{value:.0f} people pay the holder and are paid by the holder"
)
NO_BUSINESS: Final = Sign("R25_ratio", 0, 0, "the holder is no business", missing=True)
PAYS_WAGES: Final = Sign(
    "R25_ratio", 0.02, np.inf, "wages are paid: {value:.0%} of what the business takes"
)
PAY_STAYS: Final = Sign("R26", 0, 0.07, "{rest:.0%} of wages stay with those who are paid them")
MOST_PAY_STAYS: Final = Sign("R26", 0, 0.12, PAY_STAYS.words)
OWN_PAY_STAYS: Final = Sign("R26", 0, 0.02, "{rest:.0%} of the wages stay with the holder")
PAID_WAGES: Final = Sign("R27", 1, np.inf, "wages come in")
DECLARED: Final = Sign("R18", 0, 0.05, "hardly anything comes in beside wages and benefits")
NO_FEES: Final = Sign("R28", 0, 0, "no agency or recruiter is paid")
FAMILY_ABROAD: Final = Sign("R29", 1, 3, "money abroad goes to no more than {value:.0f}")
HARDLY_ABROAD: Final = Sign("R29", 0, 1, "hardly any money goes abroad")
NONE_ABROAD: Final = Sign("R29", 0, 0, "no money goes abroad")
NO_ADVERTISING: Final = Sign("R13", 0, 1, "there is no regular advertising")
STAYS_AWAY: Final = Sign("R07_payments", 1, np.inf, "lodging is paid")
LIVES_AT_HOME: Final = Sign("R07_payments", 0, 1, "hardly any lodging is paid")
CITIES: Final = Sign("R31", 2, np.inf, "the holder pays in {value:.0f} cities")

READINGS: Final = (
    Reading("works alone, keeps the income", (KEEPS, STAYS, SPREAD, OWN_LIFE, NO_BUSINESS)),
    Reading("lives on public support, keeps it", (SUPPORT, NOT_ON)),
    Reading(
        "employs people, who keep their wages",
        (PAYS_WAGES, PAY_STAYS, NEW_PAYERS, BILLS, OWN_LIFE, PHONE),
    ),
    Reading(
        "serves customers, with staff who keep their wages",
        (PAYS_WAGES, MOST_PAY_STAYS, NEW_PAYERS, RUNNING_COSTS, NO_FEES, NONE_ABROAD),
    ),
    Reading(
        "lives on wages, sends some home",
        (
            *(FAMILY_ABROAD, OWN_PAY_STAYS, OWN_LIFE, OWN_PHONE),
            *(HARDLY_ON, NO_ADVERTISING, NO_BUSINESS),
        ),
    ),
    Reading(
        "tours, keeps the income",
        (STAYS_AWAY, CITIES, HALF_STAYS, FULL_LIFE, NEW_PAYERS, NO_FEW_PAYERS, NOT_ON, NONE_ABROAD),
    ),
    Reading(
        "travels for an employer",
        (STAYS_AWAY, CITIES, PAID_WAGES, DECLARED, OWN_LIFE, HARDLY_ON, NO_ADVERTISING),
    ),
    Reading(
        "shares costs with the same people",
        (
            *(BOTH_WAYS, NOT_PASSED_ON, NOT_ON, OWN_LIFE),
            *(NO_ADVERTISING, NONE_ABROAD, LIVES_AT_HOME),
        ),
    ),
    Reading("keeps a circle's savings", (SAME_PAYERS, FEW_PAY_ONCE, EVEN_SUMS, NOT_ON)),
    Reading(
        "sells to many, keeps the income",
        (KEEPS, HALF_STAYS, BUYERS, OWN_LIFE, HARDLY_ABROAD, LIVES_AT_HOME, NO_BUSINESS),
    ),
)
SIGNS: Final = tuple(dict.fromkeys(sign for one in READINGS for sign in one.signs))
COLUMNS: Final = tuple(dict.fromkeys(sign.feature for sign in SIGNS))
"""What is read beside a model's features, where the records have it."""

COLUMN_OF: Final = tuple(COLUMNS.index(sign.feature) for sign in SIGNS)
"""Of each sign, where its number stands in `COLUMNS`."""

FEWEST_SIGNS: Final = 2
_PLACES: Final = tuple([SIGNS.index(sign) for sign in one.signs] for one in READINGS)

NONE_HOLDS: Final = 1
ONE_HOLDS: Final = 0


def signs_of(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return bool (units, signs): which hold; a missing number says nothing but that it is missing.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    holding = [
        np.isnan(numbers[at])
        if one.missing
        else (numbers[at] >= one.low) & (numbers[at] <= one.high)
        for one, at in zip(SIGNS, COLUMN_OF, strict=True)
    ]
    return np.stack(holding, axis=1)


def readings_of(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return bool (units, readings): which hold.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    there = signs_of(numbers)
    return np.stack([there[:, some].all(axis=1) for some in _PLACES], axis=1)


def telling_signs_of(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return bool (units, signs): those that hold, of readings that hold or lack one of three.

    Most signs hold for most people, and say something beside the others alone.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    there = signs_of(numbers)
    telling = np.zeros_like(there)
    for some in _PLACES:
        near = there[:, some].sum(axis=1) >= max(len(some) - 1, FEWEST_SIGNS)
        telling[:, some] |= near[:, None]
    return telling & there


def tiers_of(numbers: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return int8 (units,): 1, or 0 for those whom people look at after everybody else.

    Args:
        numbers: float32 (columns, units), by `COLUMNS`; NaN where missing.
    """
    return np.where(readings_of(numbers).any(axis=1), ONE_HOLDS, NONE_HOLDS).astype(np.int8)
