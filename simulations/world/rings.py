"""Rings of the world: scenario, time, accounts and institutions of each.

A ring's accounts lie at several banks, its centre usually at another one than those that
feed it, and at times at the remittance firm too: no institution sees all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.habits import LINES
from fieldfare.simulations.world.institutions import WorldInstitution
from fieldfare.simulations.world.scenarios import (
    MISSING_INDICATORS,
    ROLES,
    SCENARIO_NAMES,
    SCENARIOS,
)
from fieldfare.simulations.world.society import (
    INDEX,
    NOBODY,
    Customers,
    Engagements,
    FloatArray,
    IntArray,
    chosen,
)

ROLE_NAMES: Final = (*ROLES, "remitter")
_YEAR: Final = 365
_AT_FIRM: Final = 0.3  # of centres that send money through the remittance firm
_APART: Final = 0.85  # of centres that bank elsewhere than the first account that feeds them
_QUIET: Final = 0.12  # accounts that hardly serve their ring in this window
_SECOND_ROLE: Final = 0.2  # accounts that do a little of another role's business too
_LONGEST_BEFORE: Final = 150  # days that a ring may have gone on before the window
_SHORTEST: Final = 21


class Seat(NamedTuple):
    """One account of a ring before it is given to a customer."""

    ring: int
    role: str
    bank: int
    centre: bool


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings and the customers that serve them; ground truth.

    Attributes:
        scenario: index into `SCENARIOS` of each ring, int64.
        start, end: first day and the day after the last of each ring, float64; may lie
            outside the window.
        home: city of each ring, int64.
        customer: index of each member's customer, int64.
        ring: index of each member's ring, int64.
        role: index into `ROLE_NAMES` of each member, int64.
        payee: customer that each member's money moves on to, or -1, int64.
    """

    scenario: IntArray
    start: FloatArray
    end: FloatArray
    home: IntArray
    customer: IntArray
    ring: IntArray
    role: IntArray
    payee: IntArray


@dataclass(frozen=True, slots=True)
class Business:
    """The activity of rings: engagements on top of lives, and which of their lines are shown.

    Attributes:
        engagements: one row for each member and role, by unit.
        kept: engagements x `LINES`: whether the account shows this indicator at all, bool.
    """

    engagements: Engagements
    kept: npt.NDArray[np.bool_]


def draw_rings(
    rng: np.random.Generator,
    customers: Customers,
    holders: Sequence[WorldInstitution],
    count: int,
    days: int,
    scenarios: Sequence[str] = SCENARIO_NAMES,
) -> tuple[Rings, Customers]:
    """Draw rings until `count` people serve one; returns them and the customers with covers.

    Each ring follows one of `scenarios`.

    The life that a member's account shows besides is drawn again, and so are its devices.

    Raises:
        UsageError: a bank has fewer customers than rings want there.
    """
    scenario, start, end, seats = _draw_seats(rng, holders, count, days, scenarios)
    home = rng.integers(60, size=scenario.size)
    customer = _fill(rng, customers, seats)
    centre = np.full(scenario.size, NOBODY)
    for seat, who in zip(seats, customer, strict=True):
        if seat.centre:
            centre[seat.ring] = who
    ring = np.array([seat.ring for seat in seats], np.int64)
    role = np.array([ROLE_NAMES.index(seat.role) for seat in seats], np.int64)
    covered = _covered(rng, customers, customer, role, ring, home)
    joined = _at_the_firm(rng, covered, holders, centre)
    firm, rows = joined
    covered = _become(covered, rows, centre[firm])
    everybody = np.concatenate([customer, rows])
    rings = np.concatenate([ring, firm])
    payee = np.where(everybody == centre[rings], NOBODY, centre[rings]) if count else everybody
    payee[customer.size :] = NOBODY
    roles = np.concatenate([role, np.full(rows.size, len(ROLES))])
    return Rings(scenario, start, end, home, everybody, rings, roles, payee), covered


def _draw_seats(
    rng: np.random.Generator,
    holders: Sequence[WorldInstitution],
    count: int,
    days: int,
    scenarios: Sequence[str],
) -> tuple[IntArray, FloatArray, FloatArray, list[Seat]]:
    scenario: list[int] = []
    spells: list[tuple[float, float]] = []
    seats: list[Seat] = []
    while len(seats) < count:
        start = rng.uniform(-_LONGEST_BEFORE, max(days - _SHORTEST, 1))
        end = max(start + rng.uniform(60, 420), min(_SHORTEST, days))
        index = rng.choice(len(SCENARIOS), p=_mix(start, scenarios))
        seats += _seats(rng, holders, len(scenario), index)
        scenario.append(int(index))
        spells.append((start, end))
    starts, ends = np.array(spells).reshape(-1, 2).T
    # The last ring may lose accounts, so that prevalence is exact; its centre stays.
    return np.array(scenario, np.int64), starts, ends, seats[:count]


def _mix(day: float, scenarios: Sequence[str]) -> FloatArray:
    """Return the scenarios' probabilities on a day: they drift; of others than named none."""
    part = float(np.clip(day / _YEAR, 0.0, 1.0))
    weights = np.array(
        [(s.share + (s.later - s.share) * part) * (s.name in scenarios) for s in SCENARIOS]
    )
    return np.asarray(weights / weights.sum())


def _seats(
    rng: np.random.Generator, holders: Sequence[WorldInstitution], ring: int, scenario: int
) -> list[Seat]:
    """Return a ring's seats, the centre first."""
    plan = SCENARIOS[scenario]
    others = [
        role
        for role, (fewest, most) in plan.others.items()
        for _ in range(rng.integers(fewest, most + 1))
    ]
    banks = [index for index, one in enumerate(holders) if one.kind == "bank"]
    places = [int(rng.choice(banks, p=_pull(holders, banks, role))) for role in others]
    pull = _pull(holders, banks, plan.centre)
    if places and len(banks) > 1 and rng.random() < _APART:
        pull = np.where(np.array(banks) == places[0], 0.0, pull)
    middle = int(rng.choice(banks, p=pull / pull.sum()))
    seats = [Seat(ring, plan.centre, middle, centre=True)]
    return seats + [Seat(ring, r, b, centre=False) for r, b in zip(others, places, strict=True)]


def _pull(holders: Sequence[WorldInstitution], banks: Sequence[int], role: str) -> FloatArray:
    """Return how much each bank attracts a role; a bank that wants none gets hardly any."""
    pull = np.array([holders[b].size * max(holders[b].roles.get(role, 1.0), 1e-6) for b in banks])
    return np.asarray(pull / pull.sum())


def _fill(rng: np.random.Generator, customers: Customers, seats: Sequence[Seat]) -> IntArray:
    """Give every seat to another customer of its bank."""
    customer = np.empty(len(seats), np.int64)
    bank = np.array([seat.bank for seat in seats], np.int64)
    for index in np.unique(bank):
        mine = np.flatnonzero(bank == index)
        free = np.flatnonzero((customers.holder == index) & customers.main)
        if mine.size > free.size:
            raise UsageError(
                f"expected at most {free.size} of a bank's customers in rings, found {mine.size}; "
                "lower the prevalence"
            )
        customer[mine] = rng.choice(free, mine.size, replace=False)
    return customer


def _covered(
    rng: np.random.Generator,
    customers: Customers,
    customer: IntArray,
    role: IntArray,
    ring: IntArray,
    home: IntArray,
) -> Customers:
    """Give members the lives, homes and devices that their roles show."""
    life, city = customers.life.copy(), customers.home.copy()
    device, share = customers.other_device.copy(), customers.other_share.copy()
    contact, opened = customers.contact.copy(), customers.opened.copy()
    for index, one in enumerate(ROLES.values()):
        mine = np.flatnonzero(role == index)
        weights = np.array(list(one.covers.values()))
        lives = np.array([INDEX[name] for name in one.covers])
        life[customer[mine]] = rng.choice(lives, mine.size, p=weights / weights.sum())
        shared = mine[rng.random(mine.size) < one.shared_device]
        device[customer[shared]] = customers.person.size + ring[shared]  # no person's own
        share[customer[shared]] = rng.uniform(0.3, 0.95, shared.size)
        young = mine[rng.random(mine.size) < one.young]
        opened[customer[young]] = -1 - rng.integers(0, 120, young.size)
        together = mine[rng.random(mine.size) < one.shared_device / 2]
        contact[customer[together]] = customers.person.size + ring[together]
    near = rng.random(customer.size) < 0.5  # noqa: PLR2004 (half live where the ring is)
    city[customer[near]] = home[ring[near]]
    persona = np.where(np.isin(np.arange(life.size), customer), life, customers.persona)
    return replace(
        customers,
        life=life,
        persona=persona,
        home=city,
        other_device=device,
        other_share=share,
        contact=contact,
        opened=opened,
    )


def _at_the_firm(
    rng: np.random.Generator,
    customers: Customers,
    holders: Sequence[WorldInstitution],
    centre: IntArray,
) -> tuple[IntArray, IntArray]:
    """Return which rings' centres use a remittance firm, and the customers they are there."""
    firms = [index for index, one in enumerate(holders) if one.kind == "remittance"]
    rings = np.flatnonzero((centre >= 0) & (rng.random(centre.size) < _AT_FIRM))
    free = np.flatnonzero(np.isin(customers.holder, firms) & ~customers.main)
    rings = rings[: free.size // 2]
    return rings, rng.choice(free, rings.size, replace=False) if rings.size else rings


def _become(customers: Customers, rows: IntArray, who: IntArray) -> Customers:
    """Return customers in which the person behind some rows is the person behind others."""
    changed: dict[str, Any] = {}
    for name in ("person", "persona", "home", "scale", "device", "other_device", "other_share"):
        values = getattr(customers, name).copy()
        values[rows] = values[who]
        changed[name] = values
    contact = customers.contact.copy()
    contact[rows] = contact[who]
    return replace(customers, **changed, contact=contact)


def thinned(rng: np.random.Generator, rings: Rings, customers: int) -> FloatArray:
    """Return how much of its life each customer's account shows: 1, or less in a ring."""
    thin = np.ones(customers)
    ranges = np.array([*(role.thin for role in ROLES.values()), (0.5, 1.1)])
    low, high = ranges[rings.role].T
    thin[rings.customer] = rng.uniform(low, high)
    return thin


def draw_business(rng: np.random.Generator, rings: Rings, days: int) -> Business:
    """Draw how strongly each member serves its ring, when in the window, and what it shows."""
    size = rings.customer.size
    first = INDEX[next(iter(ROLES))]
    pattern = np.where(rings.role < len(ROLES), first + rings.role, INDEX["remitter"])
    strength = np.where(rng.random(size) < _QUIET, 0.15, 1.0) * rng.gamma(6.0, 1 / 6.0, size)
    second = np.flatnonzero((rng.random(size) < _SECOND_ROLE) & (rings.role < len(ROLES)))
    other = (rings.role[second] + rng.integers(1, len(ROLES), second.size)) % len(ROLES)
    who = np.concatenate([np.arange(size), second])
    late = rng.uniform(0.0, 0.5, who.size) * (rng.random(who.size) < 0.3)  # noqa: PLR2004 (some join later)
    start = np.clip(rings.start[rings.ring[who]], 0, days)
    end = np.clip(rings.end[rings.ring[who]], start, days)
    style = rng.normal(0.0, 0.6, rings.scenario.size)  # of the night, one per ring
    engagements = Engagements(
        unit=rings.customer[who],
        pattern=np.concatenate([pattern, first + other]),
        strength=np.concatenate([strength, rng.uniform(0.1, 0.4, second.size)]),
        start=start + late * (end - start),
        end=end,
        night=style[rings.ring[who]],
        payee=rings.payee[who],
        overlay=np.ones(who.size, bool),
    )
    missing = rng.uniform(*MISSING_INDICATORS, size=who.size)
    kept = rng.random((who.size, len(LINES))) >= missing[:, None]
    order = np.argsort(engagements.unit, kind="stable")
    return Business(chosen(engagements, order), kept[order])
