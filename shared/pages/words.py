"""Numbers and strangers' names as pages and screens write them. Plain ASCII, names excepted."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final

from fieldfare.shared.terminal.texts import listed

LARGE: Final = 1000  # from where people want no decimals
MOST_CODES: Final = 12  # a study may name more banks than fit on a screen
COVERS: Final = (
    "It covers what an institution's own records hold about a unit: a customer's own statement, a "
    "case's own file."
)
COVERS_NOT: Final = (
    "What the statements of others say of the same person, as payer or payee, is not covered."
)
"""What the promise for a unit hides, and what not: said wherever the promise is."""


def covers(left_out_banks: Sequence[str]) -> str:
    """Return a study's covered payments in words, by the banks whose customers are left out."""
    if not left_out_banks:
        return f"{COVERS} {COVERS_NOT}"
    return (
        "It covers the person: every institution leaves out payments with customers of "
        f"{banks_shown(left_out_banks)} (docs/typologies.md says what that does not reach)."
    )


def banks_shown(codes: Sequence[str]) -> str:
    """Write bank codes; of many the first."""
    return listed(codes, MOST_CODES)


def plain(value: Any) -> Any:
    """Copy `value` with control, format and surrogate characters in its strings made harmless.

    Names come from strangers: an escape sequence must not reach a terminal, nor a
    direction override a page. Line breaks become spaces; the rest becomes U+FFFD.
    """
    if isinstance(value, str):
        spaced = re.sub(r"\s+", " ", value)
        return "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in spaced)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def unit_words(column: str | None) -> tuple[str, str]:
    """Return what units are called, one and several: account, accounts; `unit` where none is given.

    Args:
        column: that names them: account, customer_id.
    """
    word = re.sub(r"[ _-]?(id|key|number)$", "", (column or "").strip().lower()).replace("_", " ")
    usable = re.fullmatch(r"[a-z][a-z ]{1,23}", word) and not word.endswith("s")
    if not usable or word in {"index", "row"}:
        word = "unit"
    return word, re.sub("y$", "ie", word) + "s"


def decimals(value: float | None, places: int = 3) -> str:
    """Write a number with fixed decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{places}f}"


def signed(value: float | None, places: int = 3) -> str:
    """Write a difference with its sign; a dash where there is none."""
    return "-" if value is None else f"{value:+.{places}f}"


def number(value: float | None, digits: int = 4) -> str:
    """Write a number for people: whole from a thousand on; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Write a share as percent with one decimal; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f}%"


def odds_factor(epsilon: float) -> str:
    """Write e^epsilon as a bound, rounded up: 2.72, 12.5, 149, more than a million."""
    factor = math.exp(min(epsilon, 700.0))
    if factor >= 1e6:  # noqa: PLR2004
        return "more than a million"
    digits = max(0, 2 - int(math.log10(factor)))
    return f"{math.ceil(factor * 10**digits) / 10**digits:,.{digits}f}"


def one_in(delta: float) -> str:
    """Write a small probability as one in so many."""
    return "0" if delta <= 0 else f"1 in {1 / delta:,.0f}"


def best_guess(mu2: float) -> str:
    """Write how often of 100 the best attacker is right, from an even start.

    Under mu-Gaussian privacy the best test of "in" against "out" is right with
    probability Phi(mu / 2) (Dong, Roth and Su 2019). Rounded up: it is a bound.
    """
    return f"{math.ceil(100 * NormalDist().cdf(math.sqrt(mu2) / 2))}"
