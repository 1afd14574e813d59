"""Rows into units, where a unit may have several."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.duplicates import Texts
from fieldfare.shared.basis import Positions
from fieldfare.shared.unit_tables import UnitTables


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
