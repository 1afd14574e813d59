"""The entries of a customer with an alert, read for a statement.

Read once, when `score` runs, for customers with an alert and for nobody else; of another
customer's records no row is kept. Each entry says which of the published indicators that fire on
this customer count it (client/typologies/counted.py).
"""

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.kept_entries import Entry, KeptEntries
from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import RowFilter, last_day, load_table, table_in
from fieldfare.client.typologies.counted import marks
from fieldfare.client.typologies.extract import confined_connection, prepared

MOST_KEPT: Final = 1_000  # of one customer: the latest
_CUSTOMERS: Final = 2_000  # read at once: their entries are in memory together


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
        only = RowFilter("customer_id", tuple(wanted))
        for name in ("customers", "accounts", "transactions"):
            if name == "transactions":
                held = connection.execute("SELECT account_id FROM accounts").fetchall()
                only = RowFilter("account_id", tuple(account for (account,) in held))
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
