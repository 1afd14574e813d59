"""Harmless readings: who decides about the money, told by the customer's own numbers.

Published red flags describe independent adult workers, survivors, honest employers and whoever
sends money home as well as they describe exploitation: ranked by the score alone, farm contractors
are reviewed 20 times as often as others (docs/adr/0023, 0074). What tells them apart is whether
somebody else decides: income that is handed on, several persons' income in one account, wages that
go back, no living costs (AUSTRAC 2022; HTCDS 2.0, methods of control). Where a reading
of readings.toml holds, people look at everybody else first.

The numbers are indicators of the pack, read beside a model's features from the institution's own
records: a study need not have them. Bounds are our choice, no official cut-offs. Nothing here
reads what people are (harm rule 4), and nothing of it leaves.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources
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


_TABLES: Final = tomllib.loads(
    (resources.files("fieldfare.client.scoring") / "readings.toml").read_text(encoding="utf-8")
)
_SIGNS: Final = {name: Sign(**said) for name, said in _TABLES["signs"].items()}
READINGS: Final = tuple(
    Reading(name, tuple(_SIGNS[sign] for sign in signs.split()))
    for name, signs in _TABLES["readings"].items()
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
