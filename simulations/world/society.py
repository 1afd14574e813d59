"""The people of the world: their institutions, their personas and their habits.

A person has a main bank; some have a second bank or the remittance firm as well. That two
customers are one person is latent: it stands in the truth and in no institution's files.

Opaque keys, as an institution's own keyed hash would give them, but fast: made-up ids only.

Each institution's keys are mixed with its own salt, so nothing joins across institutions.
A mixer is no cryptography; there is nobody here to protect.

Chance by concern: each part of the world draws from a stream of its own.

A change in one concern (or block of customers, or kind of line) leaves the draws of all
others alone, and the same seed gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldfare.simulations.world.institutions import WorldInstitution
from fieldfare.simulations.world.personas import EPISODES, ORDINARY, PERSONAS, REMITTER, SENDING
from fieldfare.simulations.world.scenarios import ROLES

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CITIES: Final = 60
CITIES_A_REGION: Final = 10
NOBODY: Final = -1
_AWAY_REGION: Final = 4  # from this region on, local time is an hour ahead
_HOUR: Final = 60
_SENDERS: Final = {"migrant_sending_home": 0.5, "pay_to_rent": 0.05}
_SENDER: Final = 0.012  # all others at the remittance firm
_SHARED_HOME: Final = {"student": 0.45, "migrant_sending_home": 0.4, "survivor_rebuilding": 0.7}
_SHARED_DEVICE: Final = {"family": 0.2, "carer_or_accountant": 0.5, "student": 0.03}

PATTERNS: Final = (*PERSONAS, *EPISODES, SENDING, *(r.pattern for r in ROLES.values()), REMITTER)
"""Every pattern; an engagement names one by its index here."""

INDEX: Final = {pattern.name: index for index, pattern in enumerate(PATTERNS)}
_SECOND: Final = INDEX["second_account"]


@dataclass(frozen=True, slots=True)
class Engagements:
    """The patterns that people follow, with strength and time; one row each.

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
    overlay: BoolArray


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers of banks and the remittance firm, by institution: arrays of one row each.

    Attributes:
        person: whose; a person may be several customers. int64.
        holder: index of the institution among those with accounts, int64.
        life: index into `PATTERNS` of the life that the account shows, int64.
        persona: index into `PATTERNS` of who the person is, int64.
        home: city, int64.
        scale: how much they earn and spend against the habits' amounts, float64.
        device: own device, int64; `other_device`: another person's, or -1;
            `other_share`: share of orders that it gives, float64.
        contact: phone or address; the same for those who share one, int64.
        several: has a second account there, bool.
        opened: day of the first account, before the window (negative), int64.
        main: the person's main bank relation, bool.
    """

    person: IntArray
    holder: IntArray
    life: IntArray
    persona: IntArray
    home: IntArray
    scale: FloatArray
    device: IntArray
    other_device: IntArray
    other_share: FloatArray
    contact: IntArray
    several: BoolArray
    opened: IntArray
    main: BoolArray

    def __len__(self) -> int:
        """Return how many customers there are."""
        return int(self.person.size)

    def take(self, rows: npt.NDArray[Any]) -> "Customers":
        """Return the customers that an index or a mask chooses."""
        return Customers(*(getattr(self, f.name)[rows] for f in fields(self)))


def draw_customers(
    rng: np.random.Generator, holders: Sequence[WorldInstitution], people: int, at_two_banks: float
) -> Customers:
    """Deal people to banks, lives to people, and some people to a second institution.

    Args:
        rng: the only source of chance.
        holders: institutions with accounts: banks, then remittance firms.
        people: how many persons.
        at_two_banks: share of those who are no business and bank at a second bank as well.
    """
    banks = [index for index, one in enumerate(holders) if one.kind == "bank"]
    bank = _main_banks(rng, [holders[index].size for index in banks], people)
    persona = _personas(rng, [holders[index] for index in banks], bank)
    home = rng.integers(CITIES, size=people)
    person = np.arange(people)
    second = _second_banks(rng, persona, bank, banks, at_two_banks)
    senders = _senders(rng, persona, [i for i, one in enumerate(holders) if one.kind != "bank"])
    who = np.concatenate([person, second[0], senders[0]])
    holder = np.concatenate([np.array(banks)[bank], second[1], senders[1]])
    life = np.concatenate(
        [persona, np.full(second[0].size, _SECOND), np.full(senders[0].size, INDEX["sending"])]
    )
    scale, contact, devices = _traits(rng, persona)
    opened = -1 - np.floor(rng.exponential(1500, who.size)).astype(np.int64)
    order = np.lexsort((who, holder))
    return Customers(
        person=who,
        holder=holder,
        life=life,
        persona=persona[who],
        home=home[who],
        scale=scale[who],
        device=devices[0][who],
        other_device=devices[1][who],
        other_share=devices[2][who],
        contact=contact[who],
        several=rng.random(who.size) < 0.1,  # noqa: PLR2004 (a tenth)
        opened=opened,
        main=np.arange(who.size) < people,
    ).take(order)


def _main_banks(rng: np.random.Generator, sizes: Sequence[float], people: int) -> IntArray:
    """Return each person's main bank; sizes are exact up to rounding."""
    leaning = np.array(sizes)
    ends = np.rint(np.cumsum(leaning) / leaning.sum() * people).astype(np.int64)
    return rng.permutation(np.repeat(np.arange(leaning.size), np.diff(ends, prepend=0)))


def _personas(
    rng: np.random.Generator, banks: Sequence[WorldInstitution], bank: IntArray
) -> IntArray:
    persona = np.empty(bank.size, np.int64)
    for index, one in enumerate(banks):
        here = np.flatnonzero(bank == index)
        weights = np.array([p.share * one.lives.get(p.name, 1.0) for p in PERSONAS])
        persona[here] = rng.choice(len(PERSONAS), here.size, p=weights / weights.sum())
    return persona


def _second_banks(
    rng: np.random.Generator, persona: IntArray, bank: IntArray, banks: Sequence[int], share: float
) -> tuple[IntArray, IntArray]:
    """Return who banks at a second bank as well, and where."""
    personal = np.array([not p.business for p in PERSONAS])[persona]
    who = np.flatnonzero((rng.random(persona.size) < share) & personal)
    if len(banks) == 1:
        who = who[:0]
    shift = rng.integers(1, max(len(banks), 2), who.size)
    return who, np.array(banks)[(bank[who] + shift) % len(banks)]


def _senders(
    rng: np.random.Generator, persona: IntArray, firms: Sequence[int]
) -> tuple[IntArray, IntArray]:
    """Return who sends money through a remittance firm, and which."""
    rate = np.array([_SENDERS.get(p.name, _SENDER) for p in PERSONAS])[persona]
    who = np.flatnonzero(rng.random(persona.size) < rate)
    if not firms:
        return who[:0], who[:0]
    return who, np.array(firms)[rng.integers(len(firms), size=who.size)]


def _traits(
    rng: np.random.Generator, persona: IntArray
) -> tuple[FloatArray, IntArray, tuple[IntArray, IntArray, FloatArray]]:
    """Return how much each person spends, where they are reached, and whose devices they use."""
    size = persona.size
    scale = rng.lognormal(0.0, 0.3, size)
    homes = np.array([_SHARED_HOME.get(p.name, 0.02) for p in PERSONAS])[persona]
    contact = _shared(rng, homes, size)
    shares = np.array([_SHARED_DEVICE.get(p.name, 0.01) for p in PERSONAS])[persona]
    other = _shared(rng, shares, size)
    borrowed = other != np.arange(size)
    share = np.where(borrowed, rng.uniform(0.1, 0.7, size), 0.0)
    return scale, contact, (np.arange(size), np.where(borrowed, other, NOBODY), share)


def _shared(rng: np.random.Generator, rate: FloatArray, size: int) -> IntArray:
    """Return its own id for each person; those who share take one of a few others' ids."""
    sharing = np.flatnonzero(rng.random(size) < rate)
    own = np.arange(size)
    if sharing.size:
        hosts = sharing[rng.integers(sharing.size, size=max(1, sharing.size // 4))]
        own[sharing] = hosts[rng.integers(hosts.size, size=sharing.size)]
    return own


def draw_lives(rng: np.random.Generator, customers: Customers, days: int) -> Engagements:
    """Each person's everyday life and, for ordinary people, an odd month: one row each, by unit."""
    size = len(customers)
    ordinary = np.flatnonzero((customers.life < len(ORDINARY)) & customers.main)
    shares = [pattern.share for pattern in EPISODES]
    drawn = rng.choice(len(shares) + 1, ordinary.size, p=[*shares, 1 - sum(shares)])
    odd = ordinary[drawn < len(shares)]
    length = np.minimum(rng.uniform(20, 75, odd.size), days)
    start = rng.random(odd.size) * (days - length)
    unit = np.concatenate([np.arange(size), odd])
    order = np.argsort(unit, kind="stable")
    joined = Engagements(
        unit=unit,
        pattern=np.concatenate([customers.life, len(PERSONAS) + drawn[drawn < len(shares)]]),
        strength=np.concatenate([rng.lognormal(0, 0.2, size), rng.gamma(3.0, 1 / 3.0, odd.size)]),
        start=np.concatenate([np.zeros(size), start]),
        end=np.concatenate([np.full(size, float(days)), start + length]),
        night=rng.normal(0.0, 0.6, unit.size),
        payee=np.full(unit.size, NOBODY),
        overlay=np.arange(unit.size) >= size,
    )
    return chosen(joined, order)


def ahead(home: IntArray) -> IntArray:
    """Return by how many minutes local time at a city is ahead of UTC."""
    return np.where(home // CITIES_A_REGION >= _AWAY_REGION, _HOUR, 0)


def chosen(engagements: Engagements, rows: npt.NDArray[Any]) -> Engagements:
    """Return the engagements that an index or a mask chooses."""
    return Engagements(*(getattr(engagements, f.name)[rows] for f in fields(engagements)))


# -- keys -----------------------------------------------------------------------------------------

_HEX: Final = np.array([f"{byte:02x}".encode() for byte in range(256)], "S2")
_CHARACTERS: Final = 16


def mixed(ids: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.uint64]:
    """Return splitmix64 of id and salt (Steele, Lea, Flood 2014): no two ids collide."""
    z = ids.astype(np.uint64) + np.uint64(salt % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def keys(ids: npt.NDArray[np.int64], salt: int, valid: npt.NDArray[np.bool_] | None = None) -> Any:
    """Return a string array of 16 hex characters for each id; null where not `valid`."""
    digits = _HEX[mixed(ids, salt).astype(">u8").view(np.uint8)]
    offsets = np.arange(ids.size + 1, dtype=np.int32) * _CHARACTERS
    bitmap = (
        None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    )
    return pa.StringArray.from_buffers(
        ids.size, pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits.tobytes()), bitmap
    )


# -- streams --------------------------------------------------------------------------------------

_WORLD: Final = 6  # apart from the demo's streams of the same seed


class Concern(IntEnum):
    """The subject of a draw; numbers are part of a seed's meaning, so they never change."""

    PEOPLE = 0
    RINGS = 1
    RING_LINES = 2
    LINES = 3
    COVERAGE = 4
    LABELS = 5
    CASES = 6
    SIGNALS = 7
    TIES = 8


def stream(seed: int, concern: Concern, *path: int) -> np.random.Generator:
    """Return the generator of one concern; `path` tells its parts apart (block, kind)."""
    return np.random.default_rng([seed, _WORLD, concern, *path])
