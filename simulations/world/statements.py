"""Statements of the world: habits become lines, by kind of line and block of customers.

Lines are arrays of plain numbers; `tables` writes them as canonical records. Times are
local minutes since the window began. Amounts are integers in minor units.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fieldfare.simulations.world.habits import (
    LINES,
    MINUTES,
    NUMBER,
    OTHER_SIDE,
    Habit,
    Line,
    Months,
    amounts,
    by_pattern,
    draw_echoes,
    minutes_of_day,
)
from fieldfare.simulations.world.rings import Business
from fieldfare.simulations.world.scenarios import ROLES
from fieldfare.simulations.world.society import (
    CITIES,
    INDEX,
    PATTERNS,
    Engagements,
    FloatArray,
    IntArray,
)

NOWHERE: Final = -1  # no city, or no counterparty
MERCHANTS: Final = 1 << 36  # ids from here to the next are merchants, shared by all customers
PARTIES: Final = 1 << 40  # ids of circles: the same few people, employers, landlords
FRESH: Final = 1 << 52  # ids above are seen once
MERCHANTS_A_CITY: Final = 64
_CIRCLES: Final = 32
_CIRCLE: Final = 64  # ids set aside for each unit and circle
_OWN_PAYEE: Final = _CIRCLE - 1
_AVERAGE_MONTH: Final = 365.25 / 12
_BETWEEN: Final = 0.25  # sigma of the log of what steady lines amount to, between people
_PAYDAYS: Final = 2  # a month, at most

Streams = Callable[[int], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Lines:
    """Statement lines as columns.

    Attributes:
        unit: index of the customer, int64.
        at: local minutes since the window began, int64.
        kind: index into `LINES`, int64.
        amount: minor units, int64.
        party: opaque id of the other side, below `MERCHANTS` a customer's index; -1 for cash.
        city: where it happened, int64; -1 where the kind has no place.
        others: cash that another person paid in, or a booking for several, bool.
    """

    unit: IntArray
    at: IntArray
    kind: IntArray
    amount: IntArray
    party: IntArray
    city: IntArray
    others: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many lines there are."""
        return int(self.unit.size)

    def take(self, keep: npt.NDArray[Any] | slice) -> "Lines":
        """Return the rows that an index, a mask or a slice chooses."""
        return Lines(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Setting:
    """The inputs of lines besides engagements; arrays of one row per customer.

    Attributes:
        months: the window.
        home: city, int64.
        scale: factor of all amounts, float64.
        thin: how much of its life an account shows, float64.
    """

    months: Months
    home: IntArray
    scale: FloatArray
    thin: FloatArray


def life_lines(streams: Streams, who: Engagements, setting: Setting) -> Lines:
    """Draw the lines of lives and odd months; `streams` gives a generator for each kind."""
    parts = [
        part
        for index in range(len(LINES))
        for part in _lines(streams(index), index, who, setting, None)
    ]
    return ordered(joined(parts), setting.months)


def ring_lines(streams: Streams, business: Business, setting: Setting) -> Lines:
    """Draw accounts' payments for rings, on both sides where both are accounts of the world."""
    parts = [
        part
        for index in range(len(LINES))
        for part in _lines(
            streams(index), index, business.engagements, setting, business.kept[:, index]
        )
    ]
    lines = joined(parts)
    return ordered(joined([lines, _mirrored(lines)]), setting.months)


def joined(parts: Sequence[Lines]) -> Lines:
    """Return all lines of several sets, one after another."""
    return Lines(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Lines)))


def ordered(lines: Lines, months: Months) -> Lines:
    """Return the lines inside the window by unit and time; ties keep their order."""
    length = months.days * MINUTES
    inside = lines.take((lines.at >= 0) & (lines.at < length))
    return inside.take(np.argsort(inside.unit * length + inside.at, kind="stable"))


def _lines(
    rng: np.random.Generator,
    index: int,
    who: Engagements,
    setting: Setting,
    kept: npt.NDArray[np.bool_] | None,
) -> list[Lines]:
    """Return all lines of one kind, and the money that moves on from them."""
    name = list(LINES)[index]
    habits = [pattern.habits.get(name) for pattern in PATTERNS]
    mean = by_pattern(habits, "monthly")[who.pattern]
    mean *= np.where(who.overlay, 1.0, setting.thin[who.unit])
    if kept is not None:
        mean *= kept
    rows, turn, day = _occasions(rng, LINES[name], mean, who, setting.months)
    first = _first(rng, index, habits, who, (rows, turn, day), setting)
    echo = _moved_on(rng, habits, who, rows, first, setting)
    return [first, echo]


def _occasions(
    rng: np.random.Generator, line: Line, mean: FloatArray, who: Engagements, months: Months
) -> tuple[IntArray, IntArray, IntArray]:
    """Return for each line its engagement, its turn in the month, and its day."""
    if line.steady:
        return _steady(rng, line, mean, who, months)
    elapsed = months.elapsed(line)
    begun, over = (np.interp(t, np.arange(elapsed.size), elapsed) for t in (who.start, who.end))
    # Gamma(2, 1/2): people differ more than a Poisson mean says.
    rate = mean * who.strength * (over - begun) / _AVERAGE_MONTH
    rows = np.repeat(np.arange(mean.size), rng.poisson(rate * rng.gamma(2.0, 0.5, mean.size)))
    busy = begun[rows] + (over - begun)[rows] * rng.random(rows.size)
    day = np.interp(busy, elapsed, np.arange(elapsed.size))
    # rounding must not carry a line past the last day
    return rows, np.zeros(rows.size, np.int64), np.minimum(day.astype(np.int64), months.days - 1)


def _steady(
    rng: np.random.Generator, line: Line, mean: FloatArray, who: Engagements, months: Months
) -> tuple[IntArray, IntArray, IntArray]:
    """Lines on the same days of every month: pay, rent, bills."""
    active = np.flatnonzero(mean > 0)
    slots = np.ceil(mean[active]).astype(np.int64)
    most = int(slots.max(initial=0))
    shape = (active.size, months.count, most)
    turn = np.broadcast_to(np.arange(most), shape)
    chance = (mean[active] / np.maximum(slots, 1))[:, None, None]
    happens = (rng.random(shape) < chance) & (turn < slots[:, None, None])
    phase = rng.random(active.size)[:, None, None]
    paydays = np.minimum(slots, _PAYDAYS)[:, None, None]
    length = np.diff(months.starts)[None, :, None]
    within = ((turn % np.maximum(paydays, 1)) + phase) / np.maximum(paydays, 1) * length
    day = months.starts[:-1][None, :, None] + np.floor(within).astype(np.int64)
    if not line.online:
        day = months.working_day(day)
    where = np.nonzero(happens)
    rows, when = active[where[0]], day[where]
    inside = (when >= who.start[rows]) & (when < who.end[rows])
    return rows[inside], turn[where][inside], when[inside]


def _first(
    rng: np.random.Generator,
    index: int,
    habits: Sequence[Habit | None],
    who: Engagements,
    when: tuple[IntArray, IntArray, IntArray],
    setting: Setting,
) -> Lines:
    rows, turn, day = when
    line = list(LINES.values())[index]
    pattern, unit = who.pattern[rows], who.unit[rows]

    def parameter(name: str) -> FloatArray:
        return np.asarray(by_pattern(habits, name)[pattern])

    city = _places(rng, line, unit, setting.home, parameter("away"), parameter("cities"))
    party = _parties(rng, index, unit, city, turn, (parameter("parties"), parameter("fresh")))
    ours = _FROM_CENTRE[who.pattern[rows], index] & (who.payee[rows] >= 0)
    minute = minutes_of_day(rng, parameter("night"), who.night[rows])
    return Lines(
        unit=unit,
        at=day * MINUTES + minute.astype(np.int64),
        kind=np.full(rows.size, index),
        amount=_amounts(rng, index, who, rows, parameter, setting.scale),
        party=np.where(ours, who.payee[rows], party),
        city=city,
        others=rng.random(rows.size) < parameter("others"),
    )


def _amounts(
    rng: np.random.Generator,
    index: int,
    who: Engagements,
    rows: IntArray,
    parameter: Callable[[str], FloatArray],
    scale: FloatArray,
) -> IntArray:
    median = parameter("median")
    if index != NUMBER["cash_large"]:  # those keep just below what must be reported
        median = median * scale[who.unit[rows]]
    if list(LINES.values())[index].steady:
        median = median * np.exp(_BETWEEN * rng.standard_normal(who.unit.size))[rows]
    return amounts(rng, median, parameter("spread"), parameter("even"))


def _places(
    rng: np.random.Generator,
    line: Line,
    unit: IntArray,
    home: IntArray,
    away: FloatArray,
    cities: FloatArray,
) -> IntArray:
    """Return home, or one of the unit's few other cities."""
    if not line.placed:
        return np.full(unit.size, NOWHERE)
    which = np.floor(rng.random(unit.size) * cities).astype(np.int64)
    elsewhere = (home[unit] + 1 + (7 * unit + 13 * which) % (CITIES - 1)) % CITIES
    return np.where(rng.random(unit.size) < away, elsewhere, home[unit])


def _parties(
    rng: np.random.Generator,
    index: int,
    unit: IntArray,
    city: IntArray,
    turn: IntArray,
    circle: tuple[FloatArray, FloatArray],
) -> IntArray:
    """Return opaque ids: a small circle and some never seen again, or shops that all share."""
    line = list(LINES.values())[index]
    if line.party is None:
        return np.full(unit.size, NOWHERE)
    size, fresh = circle
    # The square makes some of a circle's members more frequent than others.
    member = np.floor(rng.random(unit.size) ** 2 * size).astype(np.int64)
    if line.steady:
        member = turn % np.maximum(size.astype(np.int64), 1)
    new = rng.random(unit.size) < fresh
    if is_merchant(line):
        own = (unit * 11 + member * 17) % (MERCHANTS_A_CITY - 1)
        any_other = rng.integers(MERCHANTS_A_CITY, size=unit.size)
        place = ((city + 1) * len(LINES) + index) * MERCHANTS_A_CITY
        return MERCHANTS + place + np.where(new, any_other, own)
    known = _circle_id(unit, line.circle, member)
    return np.where(new, rng.integers(FRESH, FRESH << 10, unit.size), known)


def is_merchant(line: Line) -> bool:
    """True where the other side is a shop, known by its merchant key, not an account."""
    return line.direction == "out" and line.channel in {"POS", "ECOM", "PREPAID_LOAD", "VASP_OUT"}


def _circle_id(unit: IntArray, circle: int, member: IntArray | int) -> IntArray:
    return np.asarray(PARTIES + (unit * _CIRCLES + circle) * _CIRCLE + member)


def _moved_on(
    rng: np.random.Generator,
    habits: Sequence[Habit | None],
    who: Engagements,
    rows: IntArray,
    first: Lines,
    setting: Setting,
) -> Lines:
    """Return the money that moves on: same party, one payee, or cash at home."""
    follow = draw_echoes(rng, habits, who.pattern[rows])
    source, to = first.take(follow.picked), follow.to
    payee = who.payee[rows[follow.picked]]
    own = _circle_id(source.unit, LINES["p2p_out"].circle, _OWN_PAYEE)
    cash = to == "cash"
    part = np.rint(source.amount * follow.part)
    return Lines(
        unit=source.unit,
        at=source.at + follow.lag.astype(np.int64),
        kind=np.where(cash, NUMBER["cash_out"], _BACK[source.kind]),
        # a machine gives notes
        amount=np.maximum(np.where(cash, np.rint(part / 2000) * 2000, part), 1).astype(np.int64),
        party=np.where(cash, NOWHERE, np.where(to == "same_party", source.party, _or(payee, own))),
        city=np.where(cash, setting.home[source.unit], NOWHERE),
        others=np.zeros(source.unit.size, bool),
    )


def _or(payee: IntArray, own: IntArray) -> IntArray:
    return np.where(payee >= 0, payee, own)


def _mirrored(lines: Lines) -> Lines:
    """Return what customers of the world see of payments that others of them made."""
    seen = lines.take((lines.party >= 0) & (lines.party < MERCHANTS))
    return Lines(
        unit=seen.party,
        at=seen.at,
        kind=_OTHER_SIDES[seen.kind],
        amount=seen.amount,
        party=seen.unit,
        city=np.full(len(seen), NOWHERE),
        others=np.zeros(len(seen), bool),
    )


def _centre_table() -> npt.NDArray[np.bool_]:
    table = np.zeros((len(PATTERNS), len(LINES)), bool)
    for role in ROLES.values():
        for name in role.from_centre:
            table[INDEX[role.pattern.name], NUMBER[name]] = True
    return table


_FROM_CENTRE: Final = _centre_table()
_BACK: Final = np.array(
    [NUMBER["p2p_out"] if line.direction == "in" else NUMBER["p2p_in"] for line in LINES.values()]
)
_OTHER_SIDES: Final = np.array([NUMBER[OTHER_SIDE.get(name, name)] for name in LINES])
