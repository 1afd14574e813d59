"""The money movements behind an alert: the customer's own entries, read again for a draft.

They are in the draft for a person to choose from and complete, and kept nowhere else. The other
side of an entry is a keyed hash, which says nothing to a FIU: a person looks it up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fieldfare.client.alerts.reports.facts import Movement
from fieldfare.client.records.canonical_tables import RowFilter, last_day, load_table, table_in
from fieldfare.client.records.money import minor_digits
from fieldfare.client.typologies.extract import confined_connection
from fieldfare.shared.errors import RecordsError

# Only one customer's accounts and their entries are in these tables.
_QUERY: Final = """
    SELECT t.txn_id, t.ts_utc, t.tz_offset_min, t.direction = 'out', t.account_id, t.amount_minor,
        t.currency, t.channel, a.country, t.counterparty_org, t.counterparty_country,
        coalesce(t.terminal_city, t.merchant_city), coalesce(t.is_attempted, false)
    FROM transactions AS t
    JOIN accounts AS a USING (account_id)
    WHERE t.reversal_of IS NULL
        AND CAST(t.ts_utc + to_minutes(coalesce(t.tz_offset_min, 0)) AS DATE)
            BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    ORDER BY t.ts_utc DESC, t.txn_id
"""
_BEFORE: Final = """
    SELECT max(CAST(ts_utc + to_minutes(coalesce(tz_offset_min, 0)) AS DATE)) AS day
    FROM transactions
    WHERE reversal_of IS NULL
        AND CAST(ts_utc + to_minutes(coalesce(tz_offset_min, 0)) AS DATE) < CAST($first AS DATE)
"""


@dataclass(frozen=True)
class Entries:
    """A customer's entries of a window.

    Attributes:
        last: the last day that was looked at.
        found: the latest first.
        before: the customer's last day with an entry before the window; None where there is none.
    """

    last: date
    found: tuple[Movement, ...]
    before: date | None


def entries(folder: Path, customer: str, days: int, *, last: date | None, today: date) -> Entries:
    """Return a customer's entries of some days; of nobody else a row is kept.

    Args:
        folder: canonical records.
        customer: the alert's unit.
        days: how many.
        last: the last day; None: the last that the records hold.
        today: what is dated later is a mistake, and no last day.

    Raises:
        RecordsError: the folder holds no canonical records, or not this customer.
    """
    transactions = table_in(folder, "transactions")
    until = last or last_day(transactions, today) or today
    first = until - timedelta(days=days - 1)
    with confined_connection() as connection:
        own = RowFilter("customer_id", (customer,))
        load_table(connection, "customers", table_in(folder, "customers"), own)
        if connection.execute("SELECT 1 FROM customers").fetchone() is None:
            raise RecordsError(
                f"{folder}: expected the customer of this alert in customers, found none; these "
                "are other records than those that were scored"
            )
        load_table(connection, "accounts", table_in(folder, "accounts"), own)
        held = connection.execute("SELECT account_id FROM accounts").fetchall()
        only = RowFilter("account_id", tuple(account for (account,) in held))
        load_table(connection, "transactions", transactions, only)
        bound = {"first": first, "last": until}
        found = tuple(_movements(connection.execute(_QUERY, bound).fetchall()))
        (before,) = connection.execute(_BEFORE, {"first": first}).fetchone() or (None,)
    return Entries(until, found, before)


def _movements(rows: Iterable[tuple[Any, ...]]) -> Iterable[Movement]:
    for reference, moment, offset, out, account, minor, currency, *rest in rows:
        amount = Decimal(minor).scaleb(-minor_digits(currency))
        yield Movement(reference, moment, offset, out, account, f"{amount:f}", currency, *rest)
