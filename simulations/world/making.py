"""An invented world of people, banks, NGOs and a hotline; `making` says how it is made.

Nobody in it exists. Behaviour is at the level of published red flags; whoever
could be a victim is never labelled (docs/design.md, "The harm rules", rule 1), and the
look-alikes of rule 5 are labelled negatives.

The world, made: from a plan to blocks of statement lines, institution by institution.

Nobody in it exists. Statements stream: only one block of customers is in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
    Lines,
    Setting,
    joined,
    life_lines,
    ring_lines,
)

# -- making ---------------------------------------------------------------------------------------

BLOCK: Final = 2048
"""Customers whose lines are made at once; part of what a seed means."""

LEAST_PEOPLE: Final = 100
MOST_PEOPLE: Final = 10_000_000
MOST_PREVALENCE: Final = 0.2
DEFAULT_PREVALENCE: Final = 0.005


@dataclass(frozen=True)
class WorldPlan:
    """The plan of a world; the same plan gives the same bytes.

    Attributes:
        people: persons; some are customers of two institutions.
        months: length of the window.
        institutions: who holds records.
        prevalence: share of people whose main account serves a ring.
        seed: the only source of chance.
    """

    people: int
    months: Months
    institutions: Institutions
    prevalence: float
    seed: int

    @classmethod
    def of(
        cls,
        *,
        people: int,
        months: int,
        seed: int,
        prevalence: float = DEFAULT_PREVALENCE,
        institutions: Institutions | None = None,
    ) -> "WorldPlan":
        """Check and return a plan.

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
        return cls(people, Months(months), chosen_ones, prevalence, seed)

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
    """

    plan: WorldPlan
    customers: Customers
    rings: Rings
    lives: Engagements
    thin: FloatArray
    ring_lines: Lines

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
    drawn = draw_customers(rng, plan.holders, plan.people)
    ring_rng = stream(plan.seed, Concern.RINGS)
    count = round(plan.prevalence * plan.people)
    rings, customers = draw_rings(ring_rng, drawn, plan.holders, count, days)
    thin = thinned(ring_rng, rings, len(customers))
    business = draw_business(ring_rng, rings, days)
    setting = Setting(plan.months, customers.home, customers.scale, thin)
    lines = ring_lines(lambda kind: stream(plan.seed, Concern.RING_LINES, kind), business, setting)
    # No member of a ring has an odd month besides: its lines would be taken for the ring's.
    lives = draw_lives(rng, customers, days)
    odd = lives.overlay & np.isin(lives.unit, rings.customer)
    return Society(plan, customers, rings, chosen(lives, ~odd), thin, lines)


def blocks(society: Society, holder: int) -> Iterator[CustomerBlock]:
    """Make an institution's statements, some customers at a time, in the order of customers."""
    rows = society.customers_of(holder)
    for number, first in enumerate(range(0, rows.size, BLOCK)):
        yield _block(society, rows[first : first + BLOCK], (holder, number))


def _block(society: Society, rows: IntArray, path: tuple[int, int]) -> CustomerBlock:
    plan, customers = society.plan, society.customers
    low, high = int(rows[0]), int(rows[-1]) + 1
    span = slice(*np.searchsorted(society.lives.unit, [low, high]))
    who = chosen(society.lives, np.arange(span.start, span.stop))
    setting = Setting(plan.months, customers.home, customers.scale, society.thin)
    lives = life_lines(lambda kind: stream(plan.seed, Concern.LINES, *path, kind), who, setting)
    mine = slice(*np.searchsorted(society.ring_lines.unit, [low, high]))
    serving = society.ring_lines.take(mine)
    return _merged(rows, lives, serving, plan.months)


def _merged(rows: IntArray, lives: Lines, serving: Lines, months: Months) -> CustomerBlock:
    """Return both sets of lines as one, in order; each line knows where it came from."""
    both = joined([lives, serving])
    origin = np.arange(len(both))
    length = months.days * MINUTES
    order = np.argsort(both.unit * length + both.at, kind="stable")
    return CustomerBlock(rows, both.take(order), origin[order] >= len(lives))
