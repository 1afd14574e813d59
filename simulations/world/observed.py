"""Labels as the institutions know them: late, incomplete and partly wrong.

A bank learns of a quarter of the accounts that serve a ring, a month to a year after the
ring began there; a few others are reported and cleared later. That a report exists is
itself secret (docs/design.md, "The harm rules", rule 7): these files are records like all others.

The truth of a world, as tables: roles of customers, lines of rings, links of cases.

For evaluation only. No institution has any of it, and nothing here may be a model's input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldfare.simulations.world.cases import Cases, Signals, case_ids, signal_ids
from fieldfare.simulations.world.making import Society
from fieldfare.simulations.world.personas import LOOK_ALIKES, Persona
from fieldfare.simulations.world.rings import ROLE_NAMES
from fieldfare.simulations.world.scenarios import ROLES, SCENARIOS
from fieldfare.simulations.world.society import NOBODY, PATTERNS, IntArray
from fieldfare.simulations.world.tables import Books, customer_ids, date_array

SOURCES: Final = ("analyst", "str_filed", "le_confirmed", "ngo_confirmed", "cleared")
_FOUND: Final = (0.45, 0.35, 0.12, 0.08)  # of true ones, by source
_CONFIDENCE: Final = (0.6, 0.7, 0.95, 0.9, 0.8)
_LAG: Final = (30, 365)  # days
LATEST: Final = _LAG[1]
"""Days after a window: what is ever known of it is known by then."""
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
"""An institution's `labels.parquet`. As of a day, use rows with `observed_at` up to it."""


@dataclass(frozen=True, slots=True)
class ObservedLabels:
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
        """Return the rows as a table; `ids` are the institution's own customer ids."""
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
) -> ObservedLabels:
    """Draw one institution's knowledge of its customers.

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
    right = ObservedLabels(
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
    mistaken = ObservedLabels(rows[wrong], ones, ones, day + 30, day)
    later = np.flatnonzero(rng.random(wrong.size) < _CLEARED_SHARE)
    cleared = ObservedLabels(
        rows[wrong[later]],
        np.full(later.size, SOURCES.index("cleared")),
        np.zeros(later.size, np.int64),
        day[later] + 30 + rng.integers(*_CLEARED, size=later.size),
        day[later],
    )
    return _sorted([right, mistaken, cleared])


def _sorted(parts: list[ObservedLabels]) -> ObservedLabels:
    names = ObservedLabels.__slots__
    columns = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    order = np.lexsort((columns["customer"], columns["observed"]))
    return ObservedLabels(**{n: values[order] for n, values in columns.items()})


# -- truth ----------------------------------------------------------------------------------------

PARTIES: Final = (*(role.party for role in ROLES.values()), "controller")
"""Who the holder of an account of each role is, by index into `ROLE_NAMES`."""


def tables(
    society: Society,
    cases: Cases,
    signals: Signals,
    books: Sequence[Books],
    salts: Mapping[str, int],
) -> dict[str, Any]:
    """Return the tables of the truth by name: customers, rings, cases, signals."""
    return {
        "customers": customer_truth(society, books),
        "rings": ring_truth(society),
        "cases": _case_truth(society, cases, books, salts),
        "signals": _signal_truth(society, signals, cases, salts),
    }


def _names(values: Sequence[str], place: IntArray) -> Any:
    return pa.array(list(values), pa.string()).take(pa.array(place, mask=place < 0))


def _ids(society: Society, books: Sequence[Books], rows: IntArray) -> Any:
    """Return what each customer's own institution calls it; null for no customer."""
    holder = society.customers.holder[np.maximum(rows, 0)]
    ids = np.empty(rows.size, object)
    for index, one in enumerate(books):
        mine = np.flatnonzero((holder == index) & (rows >= 0))
        ids[mine] = customer_ids(one, rows[mine]).to_numpy(zero_copy_only=False)
    return pa.array(ids, pa.string())


def customer_truth(society: Society, books: Sequence[Books]) -> Any:
    """Return one row per customer of an institution with accounts.

    Columns: institution, customer_id; person (two customers with one number are one person);
    persona; look_alike; label int8 (1: the account serves a ring); role, party_role, ring,
    scenario (null where label is 0).
    """
    customers, rings = society.customers, society.rings
    rows = np.arange(len(customers))
    member = np.full(rows.size, NOBODY)
    member[rings.customer] = np.arange(rings.customer.size)
    # one more entry, so that an absent person's -1 finds a null
    role, ring = (np.append(values, NOBODY)[member] for values in (rings.role, rings.ring))
    scenario = np.append(rings.scenario, NOBODY)[ring]
    alike = {p.name for p in LOOK_ALIKES}
    look_alike = np.array([p.name in alike for p in PATTERNS])[customers.persona]
    return pa.table(
        {
            "institution": _names([one.one.name for one in books], customers.holder),
            "customer_id": _ids(society, books, rows),
            "person": pa.array(customers.person),
            "persona": _names([p.name for p in PATTERNS], customers.persona),
            "look_alike": pa.array(look_alike & (member < 0)),
            "label": pa.array((member >= 0).astype(np.int8)),
            "role": _names(ROLE_NAMES, role),
            "party_role": _names(PARTIES, role),
            "ring": pa.array(ring, mask=ring < 0),
            "scenario": _names([s.name for s in SCENARIOS], scenario),
        }
    )


def ring_truth(society: Society) -> Any:
    """Return one row per ring: ring, scenario, first and last day, how many accounts and where."""
    rings = society.rings
    size = rings.scenario.size
    pairs = np.unique(np.stack([rings.ring, society.customers.holder[rings.customer]]), axis=1)
    return pa.table(
        {
            "ring": pa.array(np.arange(size)),
            "scenario": _names([s.name for s in SCENARIOS], rings.scenario),
            "first_day": date_array(np.floor(rings.start).astype(np.int64)),
            "last_day": date_array(np.ceil(rings.end).astype(np.int64) - 1),
            "accounts": pa.array(np.bincount(rings.ring, minlength=size)),
            "institutions": pa.array(np.bincount(pairs[0], minlength=size)),
        }
    )


def _case_truth(
    society: Society, cases: Cases, books: Sequence[Books], salts: Mapping[str, int]
) -> Any:
    """Return the latent links of cases: to a ring and to a customer of a bank, or null."""
    names = [one.name for one in society.plan.institutions.of("ngo")]
    holder = society.customers.holder[np.maximum(cases.customer, 0)]
    return pa.table(
        {
            "institution": _names(names, cases.ngo),
            "case_id": _by_owner(case_ids, [salts[name] for name in names], cases.ngo),
            "ring": pa.array(cases.ring, mask=cases.ring < 0),
            "customer_institution": _names(
                [one.one.name for one in books], np.where(cases.customer < 0, NOBODY, holder)
            ),
            "customer_id": _ids(society, books, cases.customer),
        }
    )


def _signal_truth(
    society: Society, signals: Signals, cases: Cases, salts: Mapping[str, int]
) -> Any:
    """Return which contacts are about which NGO's case, or null."""
    institutions = society.plan.institutions
    hotlines = [one.name for one in institutions.of("hotline")]
    ngos = [one.name for one in institutions.of("ngo")]
    ids = _by_owner(case_ids, [salts[name] for name in ngos], cases.ngo)
    ngo = np.append(cases.ngo, NOBODY)[signals.case]
    return pa.table(
        {
            "institution": _names(hotlines, signals.hotline),
            "signal_id": _by_owner(signal_ids, [salts[n] for n in hotlines], signals.hotline),
            "case_institution": _names(ngos, ngo),
            "case_id": ids.take(pa.array(signals.case, mask=signals.case < 0)),
        }
    )


def _by_owner(ids: Any, salts: Sequence[int], owner: IntArray) -> Any:
    """Return ids as each row's own institution makes them."""
    found = np.empty(owner.size, object)
    for index, salt in enumerate(salts):
        mine = np.flatnonzero(owner == index)
        found[mine] = ids(salt, mine).to_numpy(zero_copy_only=False)
    return pa.array(found, pa.string())
