"""Which rows share a unit, among millions, without a set of all of them."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[np.object_]  # str per unit


def shared_rows(
    units: Texts, institutions: Texts | None = None, *, hashed: Callable[[Any], int] = hash
) -> NDArray[np.bool_]:
    """Mark every row whose unit stands in another row of the same institution too.

    All of them, also the first: whether one is marked depends on rows of its own unit alone,
    and never on their order.

    Sorted hashes bring equal units together; only rows that share a hash are compared as
    texts, so a collision costs time and decides nothing. 24 bytes a row, whatever the ids.

    Across institutions a unit may return: that is the roster's M, not a fault of the file
    (docs/design.md, "One person, several units").

    Args:
        units: str (rows,); an empty one is no unit and never repeats.
        institutions: str (rows,), or None for one institution.
        hashed: equal for equal keys; Python's own is keyed, so nobody can choose ids that collide.

    Returns:
        bool (rows,).
    """
    hashes = np.fromiter(map(hashed, _keys(units, institutions)), np.int64, len(units))
    order = np.argsort(hashes, kind="stable")  # stable: rows of a hash stay in their order
    hashes = hashes[order]
    same = hashes[1:] == hashes[:-1]
    shared = np.zeros(len(units), dtype=np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    rows = order[shared]
    others = None if institutions is None else institutions[rows]
    found = np.zeros(len(units), dtype=np.bool_)
    last, begun = None, dict[Any, int]()
    keys = _keys(units[rows], others)
    for row, value, key in zip(rows.tolist(), hashes[shared].tolist(), keys, strict=True):
        if value != last:
            last, begun = value, {}
        if key in begun:
            found[row] = found[begun[key]] = True
        begun.setdefault(key, row)
    found[units == ""] = False
    return found


def named_rows(contents: Texts, institutions: Texts | None = None) -> Texts:
    """Return names for rows without an id: their content, and a number among equal ones.

    One row less takes one name away, the last of its content, and leaves all others as they are.

    Args:
        contents: str (rows,), equal for equal rows.
        institutions: str (rows,), or None for one institution; each counts for itself.

    Returns:
        str (rows,).
    """
    seen: Counter[Any] = Counter()
    names = np.empty(len(contents), dtype=np.object_)
    for row, key in enumerate(_keys(contents, institutions)):
        seen[key] += 1
        names[row] = f"row-{contents[row]}-{seen[key]}"
    return names


def _keys(units: Texts, institutions: Texts | None) -> Iterable[Any]:
    return units if institutions is None else zip(units, institutions, strict=True)
