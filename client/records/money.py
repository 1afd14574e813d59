"""Amounts of money in minor units, by currency (ISO 4217)."""

import re
from collections.abc import Mapping
from typing import Final

_USUAL: Final = 2
_OTHERS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS: Final[Mapping[str, int]] = {
    currency: digits for digits, listed in _OTHERS.items() for currency in listed.split()
}
_AMOUNT: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{0,5}))?")  # ISO 20022: 18 digits, 5 decimals


def minor_digits(currency: str) -> int:
    """Return how many decimals a currency's minor unit has."""
    return _DIGITS.get(currency, _USUAL)


def minor_units(text: str, currency: str) -> int | None:
    """Return an amount in minor units; None where it is no amount of that currency."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        return None
    digits, decimals = minor_digits(currency), (found[2] or "").rstrip("0")
    if len(decimals) > digits:
        return None
    return int(found[1] + decimals.ljust(digits, "0"))
