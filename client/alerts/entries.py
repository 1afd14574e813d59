"""The entries of a customer with an alert, as a person reads a statement.

Read once, when `score` runs, for customers with an alert and for nobody else; of another
customer's records no row is kept. Each entry says which of the published indicators that fire on
this customer count it (client/typologies/counted.py).
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.records.canonical.bank import TABLES
from fieldfare.client.records.canonical.tables import Only, last_day, load_table, table_in
from fieldfare.client.records.importers.base import minor_digits
from fieldfare.client.typologies.counted import marks
from fieldfare.client.typologies.extract import confined_connection, prepared
from fieldfare.shared.errors import UsageError

MOST_KEPT: Final = 1_000  # of one customer: the latest
_FORMAT: Final = 1
_CUSTOMERS: Final = 2_000  # read at once: their entries are in memory together


@dataclass(frozen=True)
class Entry:
    """One entry of a statement.

    Attributes:
        day, time: as clocks stood, 2026-03-31 and 22:05.
        out: whether money left the account.
        minor: amount in minor units of `currency`.
        party: the other side as the records know it, a keyed hash; None where they do not.
        kind: of the other side: person, business, platform, gov, unknown.
        place: town of a machine or a merchant.
        what: a kind of spending, such as lodging; None: none of those that indicators read.
        counted: indicators that fire on this customer and count this entry.
    """

    day: str
    time: str
    out: bool
    minor: int
    currency: str
    channel: str
    party: str | None
    kind: str
    place: str | None
    what: str | None
    counted: tuple[str, ...]

    @property
    def amount(self) -> Decimal:
        """In units of the currency."""
        return Decimal(self.minor).scaleb(-minor_digits(self.currency))


@dataclass(frozen=True)
class KeptEntries:
    """A customer's entries, the latest first.

    Attributes:
        until: the last day that was looked at.
        found: how many there were; more than `entries` where the oldest were left out.
    """

    until: str
    found: int
    entries: tuple[Entry, ...]

    def packed(self) -> bytes:
        """Return it as bytes to be kept."""
        rows = [tuple(vars(one).values()) for one in self.entries]
        data = {"format": _FORMAT, "until": self.until, "found": self.found, "entries": rows}
        return zlib.compress(json.dumps(data, separators=(",", ":")).encode())

    @classmethod
    def unpacked(cls, content: bytes) -> "KeptEntries":
        """Read what `packed` made.

        Raises:
            UsageError: a newer Fieldfare made it.
        """
        data = json.loads(zlib.decompress(content))
        if data["format"] != _FORMAT:
            raise UsageError(
                f"expected entries of format {_FORMAT}, found a newer one: use the Fieldfare that "
                "scored"
            )
        entries = tuple(Entry(*(*one[:-1], tuple(one[-1]))) for one in data["entries"])
        return cls(data["until"], data["found"], entries)


_QUERY: Final = """
    SELECT c.customer_id, strftime(e.moment, '%Y-%m-%d'), strftime(e.moment, '%H:%M'),
        e.direction = 'out', e.amount, e.currency, e.channel, coalesce(e.party, e.merchant),
        e.party_type, e.place, e.spend, {marks}
    FROM entry AS e
    JOIN customer AS c USING (unit)
    ORDER BY e.unit, e.moment DESC, e.amount DESC, e.channel, e.party
"""


def statements(
    folder: Path, alerts: Iterable[Alert], *, last: date | None, today: date
) -> Mapping[str, KeptEntries]:
    """Return the statements of customers with an alert, by alert.

    Args:
        folder: canonical records (docs/typologies.md).
        alerts: whose customers; one that the records do not have gets an empty statement.
        last: the last day to look at; None: the last that the records hold.
        today: what is dated later is a mistake, and no last day.

    Raises:
        RecordsError: the folder holds no canonical records, or they do not fit.
    """
    until = last or last_day(table_in(folder, "transactions"), today) or today
    wanted = {alert.unit: alert for alert in alerts}
    units, found = sorted(wanted), {}
    for start in range(0, len(units), _CUSTOMERS):
        some = units[start : start + _CUSTOMERS]
        found.update(_read(folder, {unit: wanted[unit] for unit in some}, until))
    return {wanted[unit].alert: found[unit] for unit in units}


def _read(folder: Path, wanted: Mapping[str, Alert], until: date) -> dict[str, KeptEntries]:
    fired = sorted({one for alert in wanted.values() for one in alert.fired})
    with confined_connection() as connection:
        tables = {}
        only = Only("customer_id", tuple(wanted))
        for name in ("customers", "accounts", "transactions"):
            if name == "transactions":
                held = connection.execute("SELECT account_id FROM accounts").fetchall()
                only = Only("account_id", tuple(account for (account,) in held))
            tables[name] = load_table(connection, name, table_in(folder, name), only)
        prepared(connection, {name: tables[name] for name in TABLES}, until)
        rows = connection.execute(_QUERY.format(marks=marks(fired))).fetchall()
    entries: dict[str, list[Entry]] = {unit: [] for unit in wanted}
    for unit, *fields in rows:
        entries[unit].append(_entry(fields, wanted[unit]))
    return {
        unit: KeptEntries(until.isoformat(), len(some), tuple(some[:MOST_KEPT]))
        for unit, some in entries.items()
    }


def _entry(fields: list[Any], alert: Alert) -> Entry:
    *plain, marked = fields
    return Entry(*(*plain, tuple(one for one in marked if one in alert.fired)))
