"""Statements of the world: habits become lines, by kind of line and block of customers.

Lines are arrays of plain numbers; `tables` writes them as canonical records. Times are
local minutes since the window began. Amounts are integers in minor units.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
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
from fieldfare.simulations.world.personas import EVERYBODY, Persona
from fieldfare.simulations.world.rings import Business
from fieldfare.simulations.world.scenarios import ROLES
from fieldfare.simulations.world.society import (
    CITIES,
    INDEX,
    PATTERNS,
    Engagements,
    FloatArray,
    IntArray,
    ahead,
    mixed,
)

NOWHERE: Final = -1  # no city, or no counterparty
MERCHANTS: Final = 1 << 36  # ids from here to the next are merchants, shared by all customers
PARTIES: Final = 1 << 40  # ids of circles: the same few people, employers, landlords
FRESH: Final = 1 << 52  # ids above are seen once
MERCHANTS_A_CITY: Final = 64
ONCE: Final = 32  # instead of a circle: seen once
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
        part: patterns x `LINES`: share of a habit's lines that its holder draws, float64; the
            others come from whoever pays or is paid. None: all.
    """

    months: Months
    home: IntArray
    scale: FloatArray
    thin: FloatArray
    part: FloatArray | None = None


def life_lines(
    streams: Streams, who: Engagements, setting: Setting, kinds: Sequence[int] | None = None
) -> Lines:
    """Draw the lines of lives and odd months; `streams` gives a generator for each kind.

    With `kinds` only those are drawn, as they are among all, and the money that moves on from them.
    """
    parts = [
        part
        for index in (range(len(LINES)) if kinds is None else kinds)
        for part in _lines(streams(index), index, who, setting, None)
    ]
    return ordered(joined(parts), setting.months)


def ring_lines(streams: Streams, business: Business, setting: Setting) -> Lines:
    """Draw accounts' payments for rings, on both sides where both are accounts of the world."""
    lines = business_lines(streams, business, setting)
    return ordered(joined([lines, mirrored(lines)]), setting.months)


def business_lines(streams: Streams, business: Business, setting: Setting) -> Lines:
    """Draw accounts' payments for rings as the accounts that make them see them."""
    parts = [
        part
        for index in range(len(LINES))
        for part in _lines(
            streams(index), index, business.engagements, setting, business.kept[:, index]
        )
    ]
    return joined(parts)


def joined(parts: Sequence[Lines]) -> Lines:
    """Return all lines of several sets, one after another."""
    return Lines(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Lines)))


def ordered(lines: Lines, months: Months) -> Lines:
    """Return the lines inside the window by unit and time; ties keep their order."""
    length = months.days * MINUTES
    inside = lines.take((lines.at >= 0) & (lines.at < length))
    moment = inside.unit.astype(np.int64) * length + inside.at  # columns may be small: `_small`
    return inside.take(np.argsort(moment, kind="stable"))


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
    if setting.part is not None:
        mean *= setting.part[who.pattern, index]
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


def is_customer(party: IntArray) -> npt.NDArray[np.bool_]:
    """Return which parties are customers of the world's institutions, known by their index."""
    return np.asarray((party >= 0) & (party < MERCHANTS))


def circle_of(party: IntArray) -> IntArray:
    """Return the circle that a party belongs to: -1 for others, `ONCE` for those seen once."""
    inside = (party - PARTIES) // _CIRCLE % ONCE
    return np.where(party >= FRESH, ONCE, np.where(party >= PARTIES, inside, NOWHERE))


def _circle_id(unit: IntArray, circle: int, member: IntArray | int) -> IntArray:
    return np.asarray(PARTIES + (unit * ONCE + circle) * _CIRCLE + member)


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


def mirrored(lines: Lines, home: IntArray | None = None) -> Lines:
    """Return what customers of the world see of payments that others of them made.

    With `home`, the city of every customer, the moment is the same; else the local time is.
    """
    seen = lines.take(is_customer(lines.party))
    shift = 0 if home is None else ahead(home[seen.party]) - ahead(home[seen.unit])
    return Lines(
        unit=seen.party,
        at=seen.at + shift,
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


# -- payments between customers (version 2) -------------------------------------------------------
#
# A life's lines name friends, clients and employees; here some of them are customers. Which one
# follows from the name alone, so that a friend is always the same customer. The other side's
# statement has the payment too, of the same moment and amount, and its holder draws fewer of its
# own, so that the means of a life stay what `personas.toml` says.

KNOWN: Final = 0.35  # of the people on the other side, who are customers here
_LEAST: Final = 0.1  # of its own lines that a life draws, whatever the others pay it
_ROUNDS: Final = 40  # until both shares settle: each moves the other by less than half
_IN, _OUT, _WAGES = (NUMBER[name] for name in ("p2p_in", "p2p_out", "wages"))
_CIRCLES: Final = [LINES["p2p_in"].circle, LINES["wages"].circle, ONCE]

_HABITS: Final = [list(pattern.habits.items()) for pattern in PATTERNS]
TIED: Final = sorted(
    {_IN, _OUT, _WAGES}
    | {NUMBER[n] for each in _HABITS for n, h in each if h.echo is not None and h.echo.to != "cash"}
)
"""Kinds of line that name people, or that money moves on from to people."""

_OPEN: Final = np.array(
    [
        isinstance(p, Persona) and not p.business and p.habits["p2p_out"] == EVERYBODY["p2p_out"]
        for p in PATTERNS
    ]
)
"""Lives that pay people as everybody does: their holders are on the other side."""


@dataclass(frozen=True, slots=True)
class Ties:
    """Who is on the other side of a payment, and how much of its lines a life draws itself.

    Attributes:
        people: index of each such customer, int64.
        ends: cumulated weights of `people`, the last is 1, float64.
        part: patterns x `LINES`, as in `Setting`, float64.
        salt: of the choice among them.
    """

    people: IntArray
    ends: FloatArray
    part: FloatArray
    salt: int


def tie(lives: Engagements, setting: Setting, rings: Lines, salt: int) -> Ties:
    """Return who pays and is paid, by how much each life spends.

    Args:
        lives: everyday lives and odd months.
        setting: of all lines, without a `part`.
        rings: what accounts do for rings, as those that make the payments see it.
        salt: of the choice among people.
    """
    life = np.flatnonzero(~lives.overlay & _OPEN[lives.pattern])
    people, kind = lives.unit[life], lives.pattern[life]
    weight = lives.strength[life] * setting.thin[people]
    part = np.ones((len(PATTERNS), len(LINES)))
    if people.size:
        named = ~is_customer(rings.party)
        paid = [int((named & (rings.kind == index)).sum()) for index in (_IN, _OUT)]
        by_life = np.bincount(kind, weight, len(PATTERNS)) / weight.sum()
        _settle_parts(part, _rates(lives, setting), by_life, paid)
    ends = np.cumsum(weight)
    return Ties(people, ends / ends[-1:], part, salt)


def _rates(lives: Engagements, setting: Setting) -> tuple[FloatArray, FloatArray, float]:
    """Return how often each pattern is paid and pays by its habits, and what only moves on."""
    shown = np.where(lives.overlay, 1.0, setting.thin[lives.unit])
    months = lives.strength * shown * (lives.end - lives.start) / _AVERAGE_MONTH
    by_pattern = np.bincount(lives.pattern, months, len(PATTERNS))
    monthly = np.zeros((2, len(PATTERNS)))
    moving = np.zeros(len(PATTERNS))
    for index, habits in enumerate(_HABITS):
        for name, habit in habits:
            if NUMBER[name] in (_IN, _OUT):
                monthly[int(NUMBER[name] == _OUT), index] = habit.monthly
            if habit.echo is not None and habit.echo.to != "cash":
                moving[index] += habit.monthly * habit.echo.share
    return monthly[0] * by_pattern, monthly[1] * by_pattern, float((moving * by_pattern).sum())


def _settle_parts(
    part: FloatArray,
    rates: tuple[FloatArray, FloatArray, float],
    by_life: FloatArray,
    rings: list[int],
) -> None:
    """Set the shares of own lines so that own and others' are together what habits say."""
    paid, pays, moving = rates
    open_pays = float(pays[_OPEN].sum())
    for _ in range(_ROUNDS):
        others_pay = KNOWN * ((part[:, _IN] * paid).sum() + rings[0])
        part[_OPEN, _OUT] = max(_LEAST, 1 - others_pay / max(open_pays, 1e-9))
        are_paid = KNOWN * ((part[:, _OUT] * pays).sum() + rings[1] + moving)
        own = 1 - are_paid * by_life / np.maximum(paid, 1e-9)
        part[_OPEN, _IN] = np.clip(own, _LEAST, 1.0)[_OPEN]


def tied(lines: Lines, ties: Ties, home: IntArray, months: Months) -> Lines:
    """Return lines in which some of the people on the other side are customers.

    Args:
        lines: as drawn.
        ties: who may be.
        home: city of every customer; a payment outside the window on either side names nobody.
        months: the window.
    """
    named = np.isin(lines.kind, (_IN, _OUT, _WAGES)) & np.isin(circle_of(lines.party), _CIRCLES)
    rows = np.flatnonzero(named)
    place = mixed(lines.party[rows], ties.salt) / 2.0**64
    rows, place = rows[place < KNOWN], place[place < KNOWN] / KNOWN
    last = max(ties.people.size - 1, 0)
    found = ties.people[np.minimum(np.searchsorted(ties.ends, place, side="right"), last)]
    ours = (found != lines.unit[rows]) & _in_window(lines.take(rows), found, home, months)
    party = lines.party.copy()
    party[rows[ours]] = found[ours]
    return replace(lines, party=party)


def on_both(lines: Lines, home: IntArray, months: Months) -> Lines:
    """Return lines without payments to customers for whom they are outside the window."""
    ours = is_customer(lines.party)
    inside = _in_window(lines, np.where(ours, lines.party, lines.unit), home, months)
    return lines.take(inside | ~ours)


def _in_window(
    lines: Lines, party: IntArray, home: IntArray, months: Months
) -> npt.NDArray[np.bool_]:
    there = lines.at + ahead(home[party]) - ahead(home[lines.unit])
    inside = (there >= 0) & (there < months.days * MINUTES)
    return np.asarray(inside & (lines.at >= 0) & (lines.at < months.days * MINUTES))


def other_side(parts: Iterable[Lines], home: IntArray, months: Months) -> Lines:
    """Return what customers see of payments that others made, in order, in little memory."""
    seen = ordered(joined([_small(mirrored(lines, home)) for lines in parts]), months)
    small: Lines = _small(seen)
    return small


def _small(lines: Lines) -> Any:
    """Return the same lines, 23 bytes each."""
    whole, short = np.int32, np.int8
    return Lines(*[
        values.astype(kind)
        for values, kind in (
            (lines.unit, whole), (lines.at, whole), (lines.kind, short), (lines.amount, np.int64),
            (lines.party, whole), (lines.city, short), (lines.others, bool),
        )
    ])  # fmt: skip
