"""The name that a user probably meant: the nearest of the existing ones."""

import difflib
from collections.abc import Iterable
from typing import Final

LIKENESS: Final = 0.66  # of 1: "Ruhedruk" and "Ruhedruck" are .94 alike
LONGEST: Final = 200  # characters: the comparison's time grows with their square
MOST: Final = 10_000  # names that are compared


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name of `known` that is most like `name`, whatever its case; None if none is.

    Source: Ratcliff-Obershelp likeness, Python's difflib.
    """
    listed = [one for one in known if len(one) <= LONGEST][:MOST]
    folded = {one.casefold(): one for one in reversed(listed)}
    found = difflib.get_close_matches(name[:LONGEST].casefold(), folded, n=1, cutoff=LIKENESS)
    return folded[found[0]] if found else None


def meant(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` to end a message with, or nothing."""
    found = nearest(name, known)
    shown = found if found is None or found.isprintable() else ascii(found)
    return "" if shown is None else f"; did you mean {shown}?"
