"""An invented world of people, banks, NGOs and a hotline; `making` says how it is made.

Nobody in it exists. Behaviour is at the level of published red flags; whoever
could be a victim is never labelled (docs/design.md, "The harm rules", rule 1), and the
look-alikes of rule 5 are labelled negatives.

The world, made: from a plan to blocks of statement lines, institution by institution.

Nobody in it exists. Statements stream: only one block of customers is in memory at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.habits import MINUTES, Months
from fieldfare.simulations.world.institutions import (
    Institutions,
    WorldInstitution,
    load_institutions,
)
from fieldfare.simulations.world.rings import Rings, draw_business, draw_rings, thinned
from fieldfare.simulations.world.scenarios import SCENARIO_NAMES
from fieldfare.simulations.world.society import (
    Concern,
    Customers,
    Engagements,
    FloatArray,
    IntArray,
    chosen,
    draw_customers,
    draw_lives,
    stream,
)
from fieldfare.simulations.world.statements import (
    TIED,
    Lines,
    Setting,
    Ties,
    business_lines,
    is_customer,
    joined,
    life_lines,
    mirrored,
    on_both,
    ordered,
    other_side,
    ring_lines,
    tie,
    tied,
)

# -- making ---------------------------------------------------------------------------------------

BLOCK: Final = 2048
"""Customers whose lines are made at once; part of what a seed means."""

LEAST_PEOPLE: Final = 100
MOST_PEOPLE: Final = 10_000_000
MOST_PREVALENCE: Final = 0.2
DEFAULT_PREVALENCE: Final = 0.005

VERSIONS: Final = (1, 2)
"""Rules by which worlds are made; the last is the default.

1 is frozen, tests hold the hashes of its tables: of payments between ordinary people one side alone
has a line, and banks that learn know every case. In 2 both have it (`statements`), and banks know
what they came to know (`observed`).
"""
DEFAULT_VERSION: Final = VERSIONS[-1]


@dataclass(frozen=True)
class WorldPlan:
    """The plan of a world; the same plan gives the same bytes.

    Attributes:
        people: persons; some are customers of two institutions.
        months: length of the window.
        institutions: who holds records.
        prevalence: share of people whose main account serves a ring.
        seed: the only source of chance.
        version: of the rules, one of `VERSIONS`.
        scenarios: of the rings; all of them, or some.
    """

    people: int
    months: Months
    institutions: Institutions
    prevalence: float
    seed: int
    version: int
    scenarios: tuple[str, ...] = SCENARIO_NAMES

    @classmethod
    def of(
        cls,
        *,
        people: int,
        months: int,
        seed: int,
        prevalence: float = DEFAULT_PREVALENCE,
        institutions: Institutions | None = None,
        version: int = DEFAULT_VERSION,
        scenarios: Sequence[str] = SCENARIO_NAMES,
    ) -> "WorldPlan":
        """Check and return a plan; of scenarios a number such as S1 is enough.

        Raises:
            UsageError: no such world can be.
        """
        chosen_ones = institutions or load_institutions()
        least = LEAST_PEOPLE * len(chosen_ones.of("bank"))
        if not least <= people <= MOST_PEOPLE:
            raise UsageError(f"expected {least} to {MOST_PEOPLE} people, found {people}")
        if not 0 <= prevalence <= MOST_PREVALENCE:
            raise UsageError(
                f"expected a prevalence from 0 to {MOST_PREVALENCE}, found {prevalence}"
            )
        if version not in VERSIONS:
            known = ", ".join(map(str, VERSIONS))
            raise UsageError(f"expected a world of version {known}, found {version}")
        named = tuple(one for one in SCENARIO_NAMES if {one, one.partition("_")[0]} & {*scenarios})
        if not len(named) == len(set(scenarios)) >= 1:
            raise UsageError(
                f"expected scenarios of {', '.join(SCENARIO_NAMES)}, found {', '.join(scenarios)}"
            )
        return cls(people, Months(months), chosen_ones, prevalence, seed, version, named)

    @property
    def holders(self) -> tuple[WorldInstitution, ...]:
        """Institutions with accounts: banks, then remittance firms."""
        return self.institutions.of("bank") + self.institutions.of("remittance")


@dataclass(frozen=True)
class Society:
    """All people and objects of a world except the lines of ordinary lives.

    Attributes:
        plan: the plan that it was made from.
        customers: of all institutions with accounts, by institution.
        rings: ground truth.
        lives: everyday lives and odd months, by customer.
        thin: how much of its life each account shows.
        ring_lines: what accounts do for rings, by customer and time.
        ties: who is on the other side of payments; None in version 1.
        payments: what customers see of others' payments to and from them, by customer and time;
            none in version 1. Payments of members of one ring are in `ring_lines`.
    """

    plan: WorldPlan
    customers: Customers
    rings: Rings
    lives: Engagements
    thin: FloatArray
    ring_lines: Lines
    ties: Ties | None
    payments: Lines

    @property
    def setting(self) -> Setting:
        """Return the inputs of ordinary lives' lines."""
        part = self.ties.part if self.ties else None
        home, scale = self.customers.home, self.customers.scale
        return Setting(self.plan.months, home, scale, self.thin, part)

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """Return which customers' accounts serve a ring: bool, by customer."""
        serves = np.zeros(len(self.customers), bool)
        serves[self.rings.customer] = True
        return serves

    def customers_of(self, holder: int) -> IntArray:
        """Return the indices of an institution's customers, ascending."""
        return np.flatnonzero(self.customers.holder == holder)


@dataclass(frozen=True)
class CustomerBlock:
    """Some customers of one institution with all their lines, in order.

    Attributes:
        rows: indices of the customers.
        lines: what their statements say.
        served: which lines serve a ring: ground truth.
    """

    rows: IntArray
    lines: Lines
    served: npt.NDArray[np.bool_]


def make_society(plan: WorldPlan) -> Society:
    """Draw people, customers, rings, and rings' payments.

    Raises:
        UsageError: a bank has too few customers for so many rings.
    """
    days = plan.months.days
    rng = stream(plan.seed, Concern.PEOPLE)
    two = plan.institutions.at_two_banks
    drawn = draw_customers(rng, plan.holders, plan.people, two)
    ring_rng = stream(plan.seed, Concern.RINGS)
    count = round(plan.prevalence * plan.people)
    rings, customers = draw_rings(ring_rng, drawn, plan.holders, count, days, plan.scenarios)
    thin = thinned(ring_rng, rings, len(customers))
    business = draw_business(ring_rng, rings, days)
    setting = Setting(plan.months, customers.home, customers.scale, thin)
    # No member of a ring has an odd month besides: its lines would be taken for the ring's.
    lives = draw_lives(rng, customers, days)
    odd = lives.overlay & np.isin(lives.unit, rings.customer)
    known = (plan, customers, rings, chosen(lives, ~odd), thin)
    streams = partial(stream, plan.seed, Concern.RING_LINES)
    if plan.version == 1:
        lines = ring_lines(streams, business, setting)
        return Society(*known, lines, None, lines.take(slice(0)))
    return _two_sided(known, business_lines(streams, business, setting))


def _two_sided(
    known: tuple[WorldPlan, Customers, Rings, Engagements, FloatArray], lines: Lines
) -> Society:
    """Return a society in which both sides of a payment have its line."""
    plan, customers, _, lives, thin = known
    home, months = customers.home, plan.months
    salt = int(stream(plan.seed, Concern.TIES).integers(1 << 62))
    ties = tie(lives, Setting(months, home, customers.scale, thin), lines, salt)
    lines = on_both(lines, home, months)
    within = is_customer(lines.party)
    named = tied(lines, ties, home, months)
    served = ordered(joined([named, mirrored(lines.take(within), home)]), months)
    society = Society(*known, served, ties, served.take(slice(0)))
    ordinary = (
        _life_lines(society, rows, path, TIED)
        for holder in range(len(plan.holders))
        for rows, path in _blocks(society, holder)
    )
    seen = other_side(chain([named.take(~within)], ordinary), home, months)
    return replace(society, payments=seen)


def blocks(society: Society, holder: int) -> Iterator[CustomerBlock]:
    """Make an institution's statements, some customers at a time, in the order of customers."""
    for rows, path in _blocks(society, holder):
        lives = _life_lines(society, rows, path)
        others = [_of(lines, rows) for lines in (society.payments, society.ring_lines)]
        yield _merged(rows, lives, others, society.plan.months)


def _blocks(society: Society, holder: int) -> Iterator[tuple[IntArray, tuple[int, int]]]:
    rows = society.customers_of(holder)
    for number, first in enumerate(range(0, rows.size, BLOCK)):
        yield rows[first : first + BLOCK], (holder, number)


def _of(lines: Lines, rows: IntArray) -> Lines:
    """Return the lines of a block of customers; `lines` are in order."""
    return lines.take(slice(*np.searchsorted(lines.unit, [int(rows[0]), int(rows[-1]) + 1])))


def _life_lines(
    society: Society, rows: IntArray, path: tuple[int, int], kinds: Sequence[int] | None = None
) -> Lines:
    """Draw a block's lines of ordinary lives; the same again, whenever they are asked for."""
    span = np.searchsorted(society.lives.unit, [int(rows[0]), int(rows[-1]) + 1])
    who = chosen(society.lives, np.arange(*span))
    streams = partial(stream, society.plan.seed, Concern.LINES, *path)
    lines = life_lines(streams, who, society.setting, kinds)
    if society.ties is None:
        return lines
    return tied(lines, society.ties, society.customers.home, society.plan.months)


def _merged(rows: IntArray, lives: Lines, others: Sequence[Lines], months: Months) -> CustomerBlock:
    """Return all lines as one set, in order; the last of `others` serve a ring."""
    every = joined([lives, *others])
    origin = np.arange(len(every))
    length = months.days * MINUTES
    order = np.argsort(every.unit * length + every.at, kind="stable")
    served = origin[order] >= len(every) - len(others[-1])
    return CustomerBlock(rows, every.take(order), served)
