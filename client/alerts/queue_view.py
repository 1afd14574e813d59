"""The queue of alerts as a person asks for it: filters that are a URL's query, pages, counts.

Alerts come by tier, which is how many independent published families are evidence, and then by
rank. A sample from below the line is among them, and nothing tells it from the others: no row has
a rank, a score or a probability; a sampled alert stands at a random place of its tier; and the
lowest tier is that of the alerts from the top, "so many families or fewer", without their names,
since a sampled alert mostly has fewer than any of those.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qsl, urlencode

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.alerts.acts import History, holder_of, standing
from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.feedback import alert_status
from fieldfare.client.alerts.tables import PLACE_COLUMNS
from fieldfare.client.scoring.evidence import FAMILIES
from fieldfare.client.scoring.selection import SelectionReason
from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.study.toml import problem_lines

DUE_DAYS: Final = 14
PAGE: Final = 50
SOON_DAYS: Final = 3
MOST_QUERY: Final = 2_000  # characters of a URL's query
NOBODY: Final = "nobody"
_STATE: Final = 7  # place in a row
HOLDER: Final = 9
_ALL: Final = (*FAMILIES, "TEXT", "VECTOR")
_FAMILY_BIT: Final[Mapping[str, int]] = {name: 1 << at for at, name in enumerate(_ALL)}
AGES: Final = (7, 30, 90)
LISTED: Final = "(SELECT value FROM json_each(?))"
_FIELDS: Final = (
    ("holder", 16),
    ("opened", 15),
    ("due", 15),
    ("state", 2),
    ("tier", 4),
    ("families", 10),
)
_STATES: Final = ("new", "in_review", "second_review", "closed")
_DAY_0: Final = date(1990, 1, 1).toordinal()
PLACES: Final = tuple(line.split()[0] for line in PLACE_COLUMNS.replace("\n", "").split(","))


class QueueState(StrEnum):
    """Where alerts stand; `open` is all but closed ones."""

    OPEN = "open"
    NEW = "new"
    IN_REVIEW = "in_review"
    SECOND_REVIEW = "second_review"
    CLOSED = "closed"
    ALL = "all"


class DueFilter(StrEnum):
    """When an alert is due."""

    ANY = "any"
    OVERDUE = "overdue"
    SOON = "soon"


_DUE: Final = {
    DueFilter.OVERDUE: 0,
    DueFilter.SOON: SOON_DAYS + 1,
}  # days from today, that one left out


class QueueFilter(BaseModel):
    """What a person wants to see; a saved view is nothing but its text.

    Attributes:
        tier: of so many families; None: every tier.
        assigned: to this person, or `nobody`; empty: whoever has it.
        family: is evidence of it.
        older: opened so many days ago, or earlier.
        after: the alert after which the page begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: QueueState = QueueState.OPEN
    tier: int | None = Field(default=None, ge=0, le=len(_ALL))
    assigned: str = Field(default="", max_length=128)
    due: DueFilter = DueFilter.ANY
    family: Literal["", *_ALL] = ""  # type: ignore[valid-type]
    older: int = Field(default=0, ge=0, le=36_500)
    after: str = Field(default="", max_length=64, pattern=r"^[0-9a-z]*$")

    @classmethod
    def parse(cls, query: str) -> Self:
        """Read a URL's query.

        Raises:
            UsageError: says what is wrong, never what was found.
        """
        if len(query) > MOST_QUERY:
            raise UsageError(f"expected a query of at most {MOST_QUERY} characters, found more")
        pairs = parse_qsl(query, keep_blank_values=True)
        if len({name for name, _ in pairs}) != len(pairs):
            raise UsageError("expected each name of a query once, found one twice")
        try:
            return cls.model_validate(dict(pairs))
        except ValidationError as error:
            lines = (line.partition(", found")[0] for line in problem_lines(error))
            raise UsageError("\n".join(lines)) from None

    def query(self, **changes: object) -> str:
        """Return it, with some changes, as a URL's query: in order, without what is usual.

        A change begins at the first page again.
        """
        changed = self.model_copy(update={"after": "", **changes}) if changes else self
        return urlencode(changed.model_dump(mode="json", exclude_defaults=True))


@dataclass(frozen=True)
class QueueItem:
    """One row of a queue.

    Attributes:
        tier: independent published families that are evidence, `or_fewer` where that is the
            lowest tier.
        families: their names; none in the lowest tier.
        age: days since it was opened; `due` in days, negative where it is overdue.
        holder: who took it; empty: nobody.
    """

    alert: str
    tier: int
    or_fewer: bool
    families: tuple[str, ...]
    age: int
    due: int
    state: str
    holder: str
    version: int


@dataclass(frozen=True)
class QueuePage:
    """A page of a queue.

    Attributes:
        following: the query of the next page; empty where this is the last.
        total: how many alerts there are on all pages.
        counts: by facet and value, how many there would be with that value instead.
    """

    items: tuple[QueueItem, ...]
    following: str
    total: int
    counts: Mapping[str, Mapping[str, int]]


# -- rows -----------------------------------------------------------------------------------------


def place_of(
    alert: Alert, row: tuple[int, int, bool], history: History, due_days: int
) -> tuple[Any, ...]:
    """Return an alert's row of `place`, but `packed`.

    Args:
        alert: the alert.
        row: its tier, its place there, and whether that tier is the lowest.
        history: of people's acts.
        due_days: how long people have.
    """
    tier, place, least = row
    opened = datetime.fromisoformat(alert.opened).date()
    bits = 0 if least else sum({_FAMILY_BIT[name] for name in alert.family_names})
    due = opened + timedelta(days=due_days)
    fixed = (alert.alert, -tier, place, least, bits, opened.isoformat(), due.isoformat())
    return apply_history(fixed, history)


def apply_history(row: tuple[Any, ...], history: History) -> tuple[Any, ...]:
    """Return a row of `place`, but `packed`, as it is after people's acts."""
    state = alert_status(standing(history)).state
    return (*row[:_STATE], state, state != "closed", holder_of(history), len(history))


def pack_counts(row: tuple[Any, ...], holder: int) -> int:
    """Return what is counted of a row in one number, below 2^62.

    Args:
        row: of `place`, without this number.
        holder: number of the person who took the alert; 0: nobody.
    """
    _, rest, _, _, families, opened, due, state, *_ = row
    days = (date.fromisoformat(one).toordinal() - _DAY_0 for one in (opened, due))
    found = 0
    for (_, bits), value in zip(
        _FIELDS, (holder, *days, _STATES.index(state), -rest, families), strict=True
    ):
        found = found << bits | min(max(value, 0), (1 << bits) - 1)
    return found


def places(alerts: Sequence[Alert], draw: Callable[[], float]) -> dict[str, tuple[int, int, bool]]:
    """Return the tier and the place of each alert of one scoring, and whether it is the lowest.

    Args:
        alerts: as this scoring chose them.
        draw: returns numbers from 0 to 1, evenly and unforeseeably; of sampled alerts' places.
    """
    top = [one for one in alerts if one.selected is SelectionReason.ALERT]
    counts = [one.families for one in top or alerts]
    floor = (min if top else max)(counts, default=0)
    ranks: dict[int, list[int]] = {}
    for one in sorted(top, key=lambda one: one.rank):
        ranks.setdefault(max(one.families, floor), []).append(one.rank)
    found = {}
    for one in alerts:
        tier = max(one.families, floor)
        place = 2 * one.rank
        if (
            one.selected is not SelectionReason.ALERT
        ):  # behind none, some or all of those from the top
            there = ranks.get(tier, [])
            behind = int(draw() * (len(there) + 1))
            place = 2 * there[behind - 1] + 1 if behind else 0
        found[one.alert] = (tier, place, tier == floor)
    return found


# -- queries --------------------------------------------------------------------------------------

_COLUMNS: Final = "alert, rest, least, families, opened, due, state, holder, version"


class QueueReader:
    """The queue in one store."""

    def __init__(self, database: Database, fresh: Sequence[tuple[Any, ...]] = ()) -> None:
        """Read a store.

        Args:
            database: the store's.
            fresh: rows of `place` that stand for older ones: of acts that were not collected.
        """
        self._database, self._from = database, "place"
        self._fresh = [row[0] for row in fresh]
        if fresh:
            self._persons = self._numbers({row[HOLDER] for row in fresh})
            rows = [(*row, pack_counts(row, self._persons.get(row[HOLDER], 0))) for row in fresh]
            database.rows("PRAGMA temp_store = MEMORY")
            database.rows(f"CREATE TEMP TABLE fresh ({PLACE_COLUMNS}) STRICT")
            database.many(f"INSERT INTO fresh VALUES ({', '.join('?' * len(PLACES))})", rows)
            self._from = (
                "(SELECT * FROM place WHERE alert NOT IN (SELECT alert FROM fresh) "
                "UNION ALL SELECT * FROM fresh)"
            )

    def _numbers(self, names: Collection[str] = ()) -> dict[str, int]:
        """Return persons' numbers; those whom the store does not know get numbers of their own."""
        known = dict(self._database.rows("SELECT name, number FROM person"))
        for name in sorted(set(names) - known.keys() - {""}):
            known[name] = max(known.values(), default=0) + 1
        return known

    def page(
        self, asked: QueueFilter, today: date, hidden: Collection[str] = (), most: int = PAGE
    ) -> QueuePage:
        """Return a page, and the counts beside it.

        Args:
            asked: what to show.
            today: the day by which alerts are due.
            hidden: alerts that nobody is shown.
            most: how many.
        """
        counts = self._counts(asked, today, hidden)
        items = self._items(asked, today, hidden, most + 1)
        more = len(items) > most
        items = items[:most]
        following = asked.model_copy(update={"after": items[-1].alert}).query() if more else ""
        total = counts.pop("total")["total"]
        return QueuePage(tuple(items), following, total, counts)

    def items(
        self, asked: QueueFilter, today: date, hidden: Collection[str] = (), most: int = PAGE
    ) -> list[QueueItem]:
        """Return the rows of a page alone."""
        return self._items(asked, today, hidden, most)

    def _items(
        self, asked: QueueFilter, today: date, hidden: Collection[str], most: int
    ) -> list[QueueItem]:
        wheres, values = _conditions(asked, today)
        if asked.after:
            key = f"SELECT rest, place, alert FROM {self._from} WHERE alert = ?"
            found = self._database.rows(key, asked.after)
            if found:
                wheres.append("(rest, place, alert) > (?, ?, ?)")
                values += found[0]
        if hidden:
            wheres.append(f"alert NOT IN {LISTED}")
            values.append(json.dumps(sorted(hidden)))
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        query = (
            f"SELECT {_COLUMNS} FROM {self._from} {where} ORDER BY rest, place, alert LIMIT {most}"
        )
        return [_item(row, today) for row in self._database.rows(query, *values)]

    def _counts(
        self, asked: QueueFilter, today: date, hidden: Collection[str]
    ) -> dict[str, dict[str, int]]:
        """Count by facets: each with the other filters as they are, and its own left out."""
        rows = self._database.rows(f"SELECT packed FROM {self._from}")
        number = len(rows)
        if hidden:
            query = f"SELECT packed FROM {self._from} WHERE alert IN {LISTED}"
            rows += self._database.rows(query, json.dumps(sorted(hidden)))
        signs = np.ones(len(rows))
        signs[number:] = -1  # nobody is shown them
        packs = np.fromiter((one for (one,) in rows), np.int64, len(rows))
        persons = self._persons if self._fresh else self._numbers()
        return _facets(packs, signs, persons, asked, today)


def _conditions(asked: QueueFilter, today: date) -> tuple[list[str], list[object]]:
    wheres: list[str] = []
    values: list[object] = []

    def also(condition: str, *some: object) -> None:
        wheres.append(condition)
        values.extend(some)

    if asked.state is QueueState.OPEN:
        also("open = 1")
    elif asked.state is not QueueState.ALL:
        also("state = ?", asked.state.value)
    if asked.tier is not None:
        also("rest = ?", -asked.tier)
    if asked.assigned:
        also("holder = ?", "" if asked.assigned == NOBODY else asked.assigned)
    if asked.due is not DueFilter.ANY:
        also("due < ?", _until(asked.due, today))
    if asked.family:
        also("families & ? <> 0", _FAMILY_BIT[asked.family])
    if asked.older:
        also("opened <= ?", (today - timedelta(days=asked.older)).isoformat())
    return wheres, values


def _until(due: DueFilter, today: date) -> str:
    days = _DUE[due]
    return (today + timedelta(days=days)).isoformat()


def _facets(
    packs: NDArray[np.int64],
    signs: NDArray[np.float64],
    persons: Mapping[str, int],
    asked: QueueFilter,
    today: date,
) -> dict[str, dict[str, int]]:
    """Count by facets.

    Args:
        packs: int64 (rows,), `packed`.
        signs: float64 (rows,), 1, or -1 for a row that does not count.
        persons: numbers by name.
        asked: the filters.
        today: the present day.
    """
    fields, shift = {}, 0
    for name, bits in reversed(_FIELDS):
        fields[name] = (packs >> shift) & ((1 << bits) - 1)
        shift += bits
    values = dict(_values(fields, persons, today))
    wanted = {
        "state": asked.state.value,
        "tier": "" if asked.tier is None else str(asked.tier),
        "assigned": asked.assigned,
        "due": "" if asked.due is DueFilter.ANY else asked.due.value,
        "family": asked.family,
    }
    everybody = np.ones(len(packs), bool)
    nobody = ~everybody
    fits = {
        name: values[name].get(value, nobody) if value else everybody
        for name, value in wanted.items()
    }
    if asked.older:
        fits["older"] = fields["opened"] <= today.toordinal() - _DAY_0 - asked.older
    else:
        fits["older"] = everybody
    failed = sum((~one).astype(np.int8) for one in fits.values())
    found = {"total": {"total": int(signs[failed == 0].sum())}}
    for name, by_value in values.items():
        there = np.where((failed == 0) | ((failed == 1) & ~fits[name]), signs, 0.0)
        counts = {value: int(there @ one) for value, one in by_value.items()}
        found[name] = {value: count for value, count in counts.items() if count}
    return found


def _values(
    fields: Mapping[str, NDArray[np.int64]], persons: Mapping[str, int], today: date
) -> Iterator[tuple[str, dict[str, NDArray[np.bool_]]]]:
    """Yield facets, and for each value which rows have it."""
    state, closed = fields["state"], _STATES.index("closed")
    yield (
        "state",
        {
            **{name: state == at for at, name in enumerate(_STATES)},
            "open": state != closed,
            "all": state >= 0,
        },
    )
    tiers = np.unique(fields["tier"]).tolist()
    yield "tier", {str(tier): fields["tier"] == tier for tier in tiers}
    holder = fields["holder"]
    there = set(np.unique(holder).tolist())
    names = {NOBODY: 0, **persons}
    yield "assigned", {name: holder == at for name, at in names.items() if at in there}
    now = today.toordinal() - _DAY_0
    yield "due", {one.value: fields["due"] < now + day for one, day in _DUE.items()}
    families = fields["families"]
    yield "family", {name: families & bit != 0 for name, bit in _FAMILY_BIT.items()}
    yield "older", {str(age): fields["opened"] <= now - age for age in AGES}


def _item(row: tuple[object, ...], today: date) -> QueueItem:
    alert, rest, least, families, opened, due, state, holder, version = row
    names = tuple(name for name, bit in _FAMILY_BIT.items() if int(str(families)) & bit)
    return QueueItem(
        str(alert),
        -int(str(rest)),
        bool(least),
        names,
        (today - date.fromisoformat(str(opened))).days,
        (date.fromisoformat(str(due)) - today).days,
        str(state),
        str(holder),
        int(str(version)),
    )
