"""Statements: habits become entries, one vectorised pass for each kind of line.

Every kind draws from its own stream (seed, kind), so a change in one habit
leaves the draws of the others alone; the same arguments give the same bytes.
Amounts are integers in minor units: their sums do not depend on order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.banks import BANKS
from fieldfare.simulations.world.draws import (
    MINUTES,
    amounts,
    by_pattern,
    draw_echoes,
    minutes_of_day,
)
from fieldfare.simulations.world.habits import KINDS, Habit, Kind
from fieldfare.simulations.world.population import (
    PATTERNS,
    Engagements,
    FloatArray,
    IntArray,
    Population,
    draw_population,
    indicator_kept,
)

_CITIES: Final = 60
_NOWHERE: Final = -1  # no city, or no counterparty
_FRESH: Final = 1 << 40  # ids above it are seen once
_RING_PAYEE: Final = 1 << 39
_CIRCLE: Final = 64  # ids set aside for each unit and circle


@dataclass(frozen=True, slots=True)
class World:
    """A world's records and its ground truth.

    Attributes:
        customers: one row per unit: unit string, institution string, label int8
            (1: serves a ring), persona string, ring int32 (null for everybody
            else). The last three are ground truth, never a model's input.
        entries: statement lines by unit, day and minute: unit string, day
            int16 (0 is the first), minute int16 of the day, direction and
            channel string, amount int64 in minor units, counterparty int64
            (null for cash), city int16 (null where a line has none).
        days: length of the window.
    """

    customers: pa.Table
    entries: pa.Table
    days: int


@dataclass(frozen=True, slots=True)
class _Entries:
    """Statement lines as columns; `at` is minutes since the window began."""

    unit: IntArray
    at: FloatArray
    kind: IntArray
    amount: IntArray
    counterparty: IntArray
    city: IntArray

    def take(self, keep: npt.NDArray[Any]) -> "_Entries":
        """Return the rows that an index or a mask chooses."""
        return _Entries(*(getattr(self, f.name)[keep] for f in fields(self)))


def make_world(
    *,
    seed: int,
    banks: Sequence[str] = BANKS,
    customers: int = 40_000,
    prevalence: float = 0.02,
    days: int = 60,
) -> World:
    """Make a seeded world of customers and their statements.

    Args:
        seed: the only source of chance; same arguments, same bytes.
        banks: names of the institutions, each with as many customers as the next.
        customers: units over all banks.
        prevalence: share of units that serve a ring, exact up to rounding.
        days: length of the statements.

    Raises:
        UsageError: where no such world exists.
    """
    _check(banks, customers, prevalence, days)
    people_rng = np.random.default_rng([seed, 0])
    population = draw_population(
        people_rng, banks=len(banks), customers=customers, prevalence=prevalence, days=days
    )
    home = people_rng.integers(_CITIES, size=customers)
    parts = [
        part
        for index in range(len(KINDS))
        for part in _lines(np.random.default_rng([seed, 1, index]), index, population, home)
    ]
    entries = _in_order(_concatenate(parts), days)
    names = pa.array([f"u{index:07d}" for index in range(customers)])
    return World(_customer_table(names, banks, population), _entry_table(names, entries), days)


def _check(banks: Sequence[str], customers: int, prevalence: float, days: int) -> None:
    if not banks or len(set(banks)) != len(banks):
        raise UsageError("expected one or more banks with different names")
    if customers < 100 * len(banks):
        raise UsageError(f"expected at least 100 customers a bank, found {customers} in all")
    if not 0 <= prevalence <= 0.2:  # noqa: PLR2004 (beyond it a bank runs out of customers)
        raise UsageError(f"expected a prevalence from 0 to 0.2, found {prevalence}")
    if not 7 <= days <= 366:  # noqa: PLR2004 (a week to a year)
        raise UsageError(f"expected 7 to 366 days, found {days}")


def _lines(
    rng: np.random.Generator, index: int, population: Population, home: IntArray
) -> list[_Entries]:
    """Return all lines of one kind, and the money that moves on from them."""
    name = list(KINDS)[index]
    who = population.engagements
    habits = [pattern.habits.get(name) for pattern in PATTERNS]
    rows = _occasions(rng, name, habits, who)
    first = _first_entries(rng, index, habits, who, rows, home)
    return [first, _echoes(rng, habits, who, rows, first, home)]


def _occasions(
    rng: np.random.Generator, name: str, habits: list[Habit | None], who: Engagements
) -> IntArray:
    """Return for each line the index of the engagement that causes it."""
    months = (who.end - who.start) / 30
    mean = by_pattern(habits, "monthly")[who.pattern] * months
    mean *= indicator_kept(rng, who.overlay)
    if KINDS[name].steady:
        counts = np.floor(mean + rng.random(mean.size)).astype(np.int64)
    else:
        # Gamma(2, 1/2): people differ more than a Poisson mean says.
        counts = rng.poisson(mean * who.strength * rng.gamma(2.0, 0.5, mean.size))
    return np.repeat(np.arange(mean.size), counts)


def _first_entries(
    rng: np.random.Generator,
    index: int,
    habits: list[Habit | None],
    who: Engagements,
    rows: IntArray,
    home: IntArray,
) -> _Entries:
    kind = list(KINDS.values())[index]
    pattern, unit = who.pattern[rows], who.unit[rows]

    def parameter(name: str) -> FloatArray:
        return np.asarray(by_pattern(habits, name)[pattern])

    return _Entries(
        unit=unit,
        at=_times(rng, kind, who, rows, parameter("night")),
        kind=np.full(rows.size, index),
        amount=amounts(rng, parameter("median"), parameter("spread"), parameter("even")),
        counterparty=_parties(rng, kind, unit, parameter("parties"), parameter("fresh"), index),
        city=_places(rng, kind, unit, home, parameter("away"), parameter("cities")),
    )


def _times(
    rng: np.random.Generator,
    kind: Kind,
    who: Engagements,
    rows: IntArray,
    night: FloatArray,
) -> FloatArray:
    """Return minutes since the window began; steady lines keep a rhythm."""
    start, length = who.start[rows], (who.end - who.start)[rows]
    if kind.steady:
        first = np.r_[True, rows[1:] != rows[:-1]] if rows.size else np.zeros(0, bool)
        turn = np.arange(rows.size) - np.maximum.accumulate(np.flatnonzero(first)[_rank(first)])
        counts = np.bincount(rows, minlength=who.unit.size)[rows]
        phase = rng.random(who.unit.size)[rows]
        day = start + length * (turn + phase) / np.maximum(counts, 1)
    else:
        day = start + length * rng.random(rows.size)
    minute = minutes_of_day(rng, night, who.night[rows])
    return np.asarray(np.floor(day) * MINUTES + minute)


def _rank(first: npt.NDArray[np.bool_]) -> IntArray:
    """Return for each row the number of the group that it is in."""
    return np.asarray(np.cumsum(first) - 1)


def _parties(
    rng: np.random.Generator,
    kind: Kind,
    unit: IntArray,
    parties: FloatArray,
    fresh: FloatArray,
    index: int,
) -> IntArray:
    """Return opaque counterparty ids: a small circle, and some never seen again."""
    if kind.channel == "cash":
        return np.full(unit.size, _NOWHERE)
    # The square makes some of a circle's members more frequent than others.
    member = np.floor(rng.random(unit.size) ** 2 * parties).astype(np.int64)
    known = _circle_id(unit, kind.circle, member)
    new = _FRESH * (index + 1) + np.arange(unit.size)
    return np.where(rng.random(unit.size) < fresh, new, known)


def _circle_id(unit: IntArray, circle: int, member: IntArray | int) -> IntArray:
    return np.asarray((unit * len(KINDS) + circle) * _CIRCLE + member)


def _places(
    rng: np.random.Generator,
    kind: Kind,
    unit: IntArray,
    home: IntArray,
    away: FloatArray,
    cities: FloatArray,
) -> IntArray:
    """Return home, or one of the unit's few other cities."""
    if not kind.placed:
        return np.full(unit.size, _NOWHERE)
    which = np.floor(rng.random(unit.size) * cities).astype(np.int64)
    elsewhere = (home[unit] + 1 + (7 * unit + 13 * which) % (_CITIES - 1)) % _CITIES
    return np.where(rng.random(unit.size) < away, elsewhere, home[unit])


def _echoes(
    rng: np.random.Generator,
    habits: list[Habit | None],
    who: Engagements,
    rows: IntArray,
    first: _Entries,
    home: IntArray,
) -> _Entries:
    """Return the money that moves on: same party, one payee, or cash at home."""
    follow = draw_echoes(rng, habits, who.pattern[rows])
    source, to = first.take(follow.picked), follow.to
    ring = who.payee[rows[follow.picked]]
    payee = np.where(
        ring >= 0, _RING_PAYEE + ring, _circle_id(source.unit, _payee_circle(), _CIRCLE - 1)
    )
    return _Entries(
        unit=source.unit,
        at=source.at + follow.lag,
        kind=_echo_kind(source.kind, to),
        amount=np.maximum(np.rint(source.amount * follow.part), 1).astype(np.int64),
        counterparty=np.select(
            [to == "same_party", to == "one_payee"], [source.counterparty, payee], _NOWHERE
        ),
        city=np.where(to == "cash", home[source.unit], _NOWHERE),
    )


def _payee_circle() -> int:
    return KINDS["p2p_out"].circle


def _echo_kind(source: IntArray, to: npt.NDArray[np.str_]) -> IntArray:
    """Return what an echo is: cash out, a payment on, or a payment back."""
    number = {name: index for index, name in enumerate(KINDS)}
    came_in = np.array([kind.direction == "in" for kind in KINDS.values()])
    back = np.where(came_in[source], number["p2p_out"], number["p2p_in"])
    return np.where(to == "cash", number["cash_out"], back)


def _concatenate(parts: list[_Entries]) -> _Entries:
    return _Entries(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(_Entries))
    )


def _in_order(entries: _Entries, days: int) -> _Entries:
    """Return the lines inside the window by unit and time; ties keep their order."""
    inside = entries.take(entries.at < days * MINUTES)
    key = inside.unit * (days * MINUTES) + inside.at.astype(np.int64)
    return inside.take(np.argsort(key, kind="stable"))


def _customer_table(names: pa.Array, banks: Sequence[str], population: Population) -> pa.Table:
    persona = [pattern.name for pattern in PATTERNS]
    return pa.table(
        {
            "unit": names,
            "institution": pa.array(list(banks)).take(pa.array(population.bank)),
            "label": pa.array((population.ring >= 0).astype(np.int8)),
            "persona": pa.array(persona).take(pa.array(population.persona)),
            "ring": pa.array(population.ring, pa.int32(), mask=population.ring < 0),
        }
    )


def _entry_table(names: pa.Array, entries: _Entries) -> pa.Table:
    """Return the lines as Arrow; repeated strings are dictionary-encoded."""
    kinds = list(KINDS.values())
    at = entries.at.astype(np.int64)

    def words(values: list[str]) -> pa.Array:
        distinct = sorted(set(values))
        codes = np.array([distinct.index(value) for value in values], np.int8)
        return pa.DictionaryArray.from_arrays(pa.array(codes[entries.kind]), distinct)

    return pa.table(
        {
            "unit": pa.DictionaryArray.from_arrays(pa.array(entries.unit.astype(np.int32)), names),
            "day": pa.array((at // MINUTES).astype(np.int16)),
            "minute": pa.array((at % MINUTES).astype(np.int16)),
            "direction": words([kind.direction for kind in kinds]),
            "channel": words([kind.channel for kind in kinds]),
            "amount": pa.array(entries.amount),
            "counterparty": pa.array(entries.counterparty, mask=entries.counterparty < 0),
            "city": pa.array(entries.city.astype(np.int16), mask=entries.city < 0),
        }
    )
