"""Labels as the institutions know them: late, incomplete and partly wrong.

A bank learns of a quarter of the accounts that serve a ring, a month to a year after the
ring began there; a few others are reported and cleared later. That a report exists is
itself secret (docs/design.md, "The harm rules", rule 7): these files are records like all others.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldfare.simulations.world.personas import Persona
from fieldfare.simulations.world.society import PATTERNS, IntArray
from fieldfare.simulations.world.tables import date_array

SOURCES: Final = ("analyst", "str_filed", "le_confirmed", "ngo_confirmed", "cleared")
_FOUND: Final = (0.45, 0.35, 0.12, 0.08)  # of true ones, by source
_CONFIDENCE: Final = (0.6, 0.7, 0.95, 0.9, 0.8)
_LAG: Final = (30, 365)  # days
_MISTAKEN: Final = 0.001  # of the others; look-alikes three times as often
_LOOK_ALIKE: Final = 3.0
_CLEARED: Final = (60, 240)  # days until a mistake is cleared
_CLEARED_SHARE: Final = 0.7

SCHEMA: Final = pa.schema(
    [
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("value", pa.int8(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("observed_at", pa.date32(), nullable=False),
        pa.field("effective_from", pa.date32(), nullable=False),
    ]
)
"""An institution's `labels.parquet`. As of a day, use rows with `observed_at` before it."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Observed labels: arrays of one row each.

    Attributes:
        customer: index of the customer, int64.
        source: index into `SOURCES`, int64.
        value: 1 for suspected or confirmed, 0 for cleared, int64.
        observed, effective: days of the window's calendar, int64; may lie outside it.
    """

    customer: IntArray
    source: IntArray
    value: IntArray
    observed: IntArray
    effective: IntArray

    def table(self, ids: Any) -> Any:
        """Return the rows as a table; `ids` are what the institution calls the customers."""
        confidence = np.array(_CONFIDENCE)[self.source]
        columns = {
            "subject_id": ids,
            "source": pa.array(SOURCES).take(pa.array(self.source)),
            "value": pa.array(self.value.astype(np.int8)),
            "confidence": pa.array(confidence),
            "observed_at": date_array(self.observed),
            "effective_from": date_array(self.effective),
        }
        return pa.table(columns, schema=SCHEMA)


def observe(
    rng: np.random.Generator,
    *,
    rows: IntArray,
    begun: npt.NDArray[np.float64],
    life: IntArray,
    seen: float,
    days: int,
) -> Labels:
    """Draw what one institution learns of its customers.

    Args:
        rng: the only source of chance.
        rows: indices of its customers.
        begun: day on which the account began to serve a ring; NaN for all others.
        life: index into `PATTERNS` of each customer's life.
        seen: probability that it ever learns of a true one.
        days: length of the window; mistakes happen within it.
    """
    true = np.flatnonzero(~np.isnan(begun))
    found = true[rng.random(true.size) < seen]
    since = begun[found].astype(np.int64)
    lag = rng.integers(_LAG[0], _LAG[1] + 1, found.size)
    right = Labels(
        rows[found],
        rng.choice(4, found.size, p=_FOUND),
        np.ones(found.size, np.int64),
        since + lag,
        since,
    )
    alike = np.array([isinstance(p, Persona) and p.look_alike for p in PATTERNS])[life]
    rate = _MISTAKEN * np.where(alike, _LOOK_ALIKE, 1.0) * np.isnan(begun)
    wrong = np.flatnonzero(rng.random(rows.size) < rate)
    day = rng.integers(days, size=wrong.size)
    ones = np.ones(wrong.size, np.int64)
    mistaken = Labels(rows[wrong], ones, ones, day + 30, day)
    later = np.flatnonzero(rng.random(wrong.size) < _CLEARED_SHARE)
    cleared = Labels(
        rows[wrong[later]],
        np.full(later.size, SOURCES.index("cleared")),
        np.zeros(later.size, np.int64),
        day[later] + 30 + rng.integers(*_CLEARED, size=later.size),
        day[later],
    )
    return _sorted([right, mistaken, cleared])


def _sorted(parts: list[Labels]) -> Labels:
    names = Labels.__slots__
    columns = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    order = np.lexsort((columns["customer"], columns["observed"]))
    return Labels(**{n: values[order] for n, values in columns.items()})
