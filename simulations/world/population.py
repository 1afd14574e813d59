"""Who banks where: customers, their personas, and rings that span several banks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fieldfare.simulations.world import banks as leanings
from fieldfare.simulations.world import people, rings

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

PATTERNS: Final = (*people.ORDINARY, *people.LOOK_ALIKES, *people.EPISODES, *rings.SCENARIOS)
"""Every pattern; an engagement names one by its index here."""

_PERSONAS: Final = len(people.ORDINARY) + len(people.LOOK_ALIKES)
_FIRST_SCENARIO: Final = _PERSONAS + len(people.EPISODES)
_RING_SIZE: Final = 9
_RING_BANKS: Final = 3
_MISSING: Final = 0.2  # of a scenario's indicators, in each member

_QUIET: Final = 0.1  # members whose account hardly serves the ring in this window


@dataclass(frozen=True, slots=True)
class Engagements:
    """Who follows which pattern, how strongly and when; one row each.

    Attributes:
        unit: index of the customer, int64.
        pattern: index into `PATTERNS`, int64.
        strength: multiplies the habits' monthly means, float64.
        start, end: first day and the day after the last, float64.
        night: shift of the log-odds of night, float64.
        payee: ring number if money moves on to the ring's payee, else -1.
        overlay: True for scenarios and episodes, False for personas.
    """

    unit: IntArray
    pattern: IntArray
    strength: FloatArray
    start: FloatArray
    end: FloatArray
    night: FloatArray
    payee: IntArray
    overlay: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Population:
    """Customers (arrays of one row per unit) and what they are engaged in."""

    bank: IntArray
    persona: IntArray
    ring: IntArray
    engagements: Engagements


@dataclass(frozen=True, slots=True)
class _Members:
    """Ring members: unit, ring and main scenario (index into `rings.SCENARIOS`)."""

    unit: IntArray
    ring: IntArray
    scenario: IntArray


def draw_population(
    rng: np.random.Generator, *, banks: int, customers: int, prevalence: float, days: int
) -> Population:
    """Deal customers to banks, personas to customers, and rings across banks.

    Banks differ on purpose: in prevalence, in the scenarios they see and in
    their look-alikes, so what one bank can learn alone is lopsided.
    """
    bank = rng.permutation(np.repeat(np.arange(banks), _sizes(banks, customers)))
    members = _draw_members(rng, bank, banks, round(prevalence * customers))
    cover = np.empty(customers, np.int64)
    for index in range(banks):
        here = np.flatnonzero(bank == index)
        cover[here] = rng.choice(_PERSONAS, here.size, p=_persona_shares(index))
    for index, scenario in enumerate(rings.SCENARIOS):
        these = members.unit[members.scenario == index]
        cover[these] = rng.choice(_PERSONAS, these.size, p=_cover_shares(scenario.name))
    persona, ring = cover.copy(), np.full(customers, -1)
    persona[members.unit] = _FIRST_SCENARIO + members.scenario
    ring[members.unit] = members.ring
    engagements = _join(
        _lives(rng, cover, ring, days),
        _episodes(rng, np.flatnonzero((ring < 0) & (cover < len(people.ORDINARY))), days),
        _scenarios(rng, members, days),
    )
    return Population(bank, persona, ring, engagements)


def scenario_mix(bank: int) -> FloatArray:
    """Return the probability of each scenario at a bank: the leaning, rotated."""
    return np.roll(np.array(leanings.SCENARIO_LEANING), bank)


def _sizes(banks: int, customers: int) -> IntArray:
    """Return how many customers each bank has: shares in turn, rounding to the last."""
    leaning = np.resize(np.array(leanings.SIZE_LEANING), banks)
    ends = np.rint(np.cumsum(leaning) / leaning.sum() * customers).astype(np.int64)
    return np.asarray(np.diff(ends, prepend=0))


def _persona_shares(bank: int) -> FloatArray:
    """Each persona's share at a bank; look-alikes lean, the ordinary fill the rest."""
    ordinary = np.array([p.share for p in people.ORDINARY])
    leaning = np.roll(np.array(leanings.LOOK_ALIKE_LEANING), 3 * bank)
    alike = np.array([p.share for p in people.LOOK_ALIKES]) * leaning
    shares = np.concatenate([ordinary / ordinary.sum() * (1 - alike.sum()), alike])
    return np.asarray(shares / shares.sum())


def _cover_shares(scenario: str) -> FloatArray:
    """Each persona's share among the covers of a scenario."""
    shares = rings.COVER_SHARES[scenario]
    return np.array([shares.get(pattern.name, 0.0) for pattern in PATTERNS[:_PERSONAS]])


def _draw_members(rng: np.random.Generator, bank: IntArray, banks: int, count: int) -> _Members:
    """Fill rings of about nine accounts at three banks each, until `count` is reached.

    The bank gives the scenario: a ring deposits where deposits are easy and
    books where cards are easy, so one ring looks different to each bank.
    """
    leaning = np.bincount(bank, minlength=banks) * np.resize(leanings.PREVALENCE_LEANING, banks)
    seats = rng.choice(banks, size=count, p=leaning / leaning.sum())
    unit = np.empty(count, np.int64)
    scenario = np.empty(count, np.int64)
    for index in range(banks):
        mine = np.flatnonzero(seats == index)
        unit[mine] = rng.choice(np.flatnonzero(bank == index), mine.size, replace=False)
        scenario[mine] = rng.choice(len(rings.SCENARIOS), mine.size, p=scenario_mix(index))
    return _Members(unit, _draw_rings(rng, seats, banks), scenario)


def _draw_rings(rng: np.random.Generator, seats: IntArray, banks: int) -> IntArray:
    """Return each member's ring: a ring keeps accounts at `_RING_BANKS` neighbouring banks."""
    count = max(1, round(seats.size / _RING_SIZE))
    home = np.arange(count) % banks
    ring = np.empty(seats.size, np.int64)
    for bank in range(banks):
        near = np.flatnonzero((bank - home) % banks < _RING_BANKS)
        mine = np.flatnonzero(seats == bank)
        ring[mine] = rng.choice(near if near.size else np.arange(count), mine.size)
    return ring


def _lives(rng: np.random.Generator, cover: IntArray, ring: IntArray, days: int) -> Engagements:
    """Everybody's everyday life; a ring's account shows a thinner one."""
    size = cover.size
    thin = np.where(ring >= 0, rng.uniform(0.5, 1.1, size), 1.0)
    return Engagements(
        unit=np.arange(size),
        pattern=cover,
        strength=thin * rng.lognormal(0.0, 0.2, size),
        start=np.zeros(size),
        end=np.full(size, float(days)),
        night=rng.normal(0.0, 0.6, size),
        payee=np.full(size, -1),
        overlay=np.zeros(size, bool),
    )


def _episodes(rng: np.random.Generator, ordinary: IntArray, days: int) -> Engagements:
    """Odd months of ordinary customers: at most one episode each."""
    shares = [pattern.share for pattern in people.EPISODES]
    drawn = rng.choice(len(shares) + 1, ordinary.size, p=[*shares, 1 - sum(shares)])
    unit = ordinary[drawn < len(shares)]
    start, end = _spell(rng, unit.size, days, shortest=0.25)
    return Engagements(
        unit=unit,
        pattern=_PERSONAS + drawn[drawn < len(shares)],
        strength=rng.gamma(3.0, 1 / 3.0, unit.size),
        start=start,
        end=end,
        night=rng.normal(0.0, 0.6, unit.size),
        payee=np.full(unit.size, -1),
        overlay=np.ones(unit.size, bool),
    )


def _scenarios(rng: np.random.Generator, members: _Members, days: int) -> Engagements:
    """Each member's main scenario, and for half of them a weaker second one."""
    size = members.unit.size
    second = np.flatnonzero(rng.random(size) < 0.5)  # noqa: PLR2004 (half of them)
    other = rng.integers(1, len(rings.SCENARIOS), second.size)
    scenario = np.concatenate(
        [members.scenario, (members.scenario[second] + other) % len(rings.SCENARIOS)]
    )
    quiet = np.where(rng.random(size) < _QUIET, 0.15, 1.0)
    strength = np.concatenate(
        [quiet * rng.gamma(8.0, 0.17, size), rng.uniform(0.1, 0.5, second.size)]
    )
    who = np.concatenate([np.arange(size), second])
    style = rng.normal(0.0, 0.6, int(members.ring.max(initial=0)) + 1)  # one per ring
    start, end = _spell(rng, who.size, days, shortest=0.6)
    return Engagements(
        unit=members.unit[who],
        pattern=_FIRST_SCENARIO + scenario,
        strength=strength,
        start=start,
        end=end,
        night=style[members.ring[who]],
        payee=members.ring[who],
        overlay=np.ones(who.size, bool),
    )


def _spell(
    rng: np.random.Generator, size: int, days: int, *, shortest: float
) -> tuple[FloatArray, FloatArray]:
    """Return random first and last days; at least `shortest` of the window."""
    length = days * rng.uniform(shortest, 1.0, size)
    start = rng.random(size) * (days - length)
    return start, start + length


def _join(*parts: Engagements) -> Engagements:
    return Engagements(
        unit=np.concatenate([p.unit for p in parts]),
        pattern=np.concatenate([p.pattern for p in parts]),
        strength=np.concatenate([p.strength for p in parts]),
        start=np.concatenate([p.start for p in parts]),
        end=np.concatenate([p.end for p in parts]),
        night=np.concatenate([p.night for p in parts]),
        payee=np.concatenate([p.payee for p in parts]),
        overlay=np.concatenate([p.overlay for p in parts]),
    )


def indicator_kept(
    rng: np.random.Generator, overlay: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which engagements show this kind at all: overlays miss a fifth of theirs."""
    return ~overlay | (rng.random(overlay.size) >= _MISSING)
