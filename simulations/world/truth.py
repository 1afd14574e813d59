"""The truth of a world, as tables: roles of customers, lines of rings, links of cases.

For evaluation only. No institution has any of it, and nothing here may be a model's input.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fieldfare.simulations.world.cases import Cases, Signals, case_ids, signal_ids
from fieldfare.simulations.world.making import Society
from fieldfare.simulations.world.networks import ROLE_NAMES
from fieldfare.simulations.world.personas import LOOK_ALIKES
from fieldfare.simulations.world.scenarios import ROLES, SCENARIOS
from fieldfare.simulations.world.society import NOBODY, PATTERNS, IntArray
from fieldfare.simulations.world.tables import Books, customer_ids, date_array

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
    # one more entry, so that nobody's -1 finds a null
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
