"""Rows into units, where a unit may have several, among millions, without a set of all of them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import Positions, UnitTables

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


@dataclass(frozen=True)
class RowsPerUnit:
    """How many rows a unit of an institution has. About its records: never leaves.

    Attributes:
        largest: of one unit.
        median: over units; the lower one of two.
    """

    largest: int = 0
    median: int = 0

    @classmethod
    def of(
        cls, units: Texts, institutions: Texts | None, shared: NDArray[np.bool_]
    ) -> "RowsPerUnit":
        """Count; rows without an id are no unit's.

        Args:
            units: str (rows,).
            institutions: str (rows,), or None for one institution.
            shared: bool (rows,), as `shared_rows` returns it: the others are alone.
        """
        others = None if institutions is None else institutions[shared]
        several = sorted(Counter(_keys(units[shared], others)).values())
        alone = int(np.count_nonzero((units != "") & ~shared))
        whole = alone + len(several)
        if not whole:
            return cls()
        middle = (whole - 1) // 2 - alone
        return cls(several[-1] if several else 1, 1 if middle < 0 else several[middle])

    @property
    def words(self) -> str:
        """Say both, for this institution's people."""
        return f"rows of one unit: {self.largest:,} at most, {self.median:,} in the median"


NO_ROWS: Final = RowsPerUnit()


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


# -- grouping -------------------------------------------------------------------------------------


def rows_beside(
    units: Texts, institutions: Texts | None, fits: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return bool (rows,): rows that fit, of units that have a row which does not.

    Args:
        units: str (rows,).
        institutions: str (rows,), or None for one institution.
        fits: bool (rows,).
    """
    if fits.all():
        return ~fits
    owners = Grouping.of(units, institutions, 1).owners
    touched = np.zeros(len(units), dtype=np.bool_)
    touched[owners[~fits]] = True
    found: NDArray[np.bool_] = touched[owners] & fits
    return found


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class Grouping:
    """Which rows belong together.

    Attributes:
        owners: int64 (rows,), each row's unit; units are counted as they first appear.
        first: int64 (units,), the first row of each.
        kept: int64 (some,), rows that count, by unit and then as they stand.
        starts: int64 (units + 1,): where each unit's begin among those.
    """

    owners: NDArray[np.int64]
    first: NDArray[np.int64]
    kept: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, units: Texts, institutions: Texts | None, most: int) -> "Grouping":
        """Group rows by unit, and by institution where rows name it; keep the first `most`.

        Which rows of a unit count depends on that unit's rows alone.
        """
        keys: Iterable[Any] = (
            units if institutions is None else zip(units, institutions, strict=True)
        )
        numbers: dict[Any, int] = {}
        owners = np.fromiter(
            (numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(units)
        )
        rows = np.argsort(owners, kind="stable")  # stable: rows of a unit stay in their order
        counts = np.bincount(owners, minlength=len(numbers)).astype(np.int64)
        begins = np.cumsum(counts) - counts
        place = np.arange(len(rows)) - np.repeat(begins, counts)
        starts = np.concatenate([[0], np.cumsum(np.minimum(counts, most))]).astype(np.int64)
        return cls(owners, rows[begins], rows[place < most], starts)

    @property
    def beyond(self) -> int:
        """How many rows do not count."""
        return len(self.owners) - len(self.kept)

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 (units,): 1 where any row of a unit is positive, beyond R too."""
        found = np.zeros(len(self.first), np.uint8)
        np.maximum.at(found, self.owners, labels)
        return found

    def tables(self, positions: Positions) -> UnitTables:
        """Return the rows that count."""
        return UnitTables(self.starts, np.ascontiguousarray(positions[:, self.kept]))
