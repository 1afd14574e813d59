"""The money movements behind an alert: the customer's own entries, read again when a draft is made.

They are in the draft for a person to choose from and complete, and kept nowhere else. The other
side of an entry is a keyed hash, which says nothing to a FIU: a person looks it up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fieldfare.client.records.canonical_tables import load_folder
from fieldfare.client.records.importers.money import minor_digits
from fieldfare.client.scoring.alert import Alert
from fieldfare.client.typologies.extract import sealed_connection
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import RecordsError

MOST: Final = 1_000  # of one draft; a person files what matters
USUAL_DAYS: Final = 90  # where no indicator that has a window speaks
# own: the accounts of one customer, and their entries
_QUERY: Final = """
    SELECT t.txn_id, t.ts_utc, t.tz_offset_min, t.direction = 'out', t.account_id, t.amount_minor,
        t.currency, t.channel, a.country, t.counterparty_org, t.counterparty_country,
        coalesce(t.terminal_city, t.merchant_city), coalesce(t.is_attempted, false)
    FROM transactions AS t
    JOIN accounts AS a USING (account_id)
    WHERE a.customer_id = $customer AND t.reversal_of IS NULL
        AND CAST(t.ts_utc + to_minutes(coalesce(t.tz_offset_min, 0)) AS DATE)
            BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    ORDER BY t.ts_utc DESC, t.txn_id
"""


@dataclass(frozen=True)
class Movement:
    """One entry of an own account.

    Attributes:
        moment: in UTC; `offset` is how many minutes local time is ahead, None where not known.
        out: whether money left the account.
        amount: in units of the currency, as a decimal text.
        country: of the own account; `other_bank` and `other_country` of the other side.
        place: the town of a machine or a merchant.
        attempted: it did not go through.
    """

    reference: str
    moment: datetime
    offset: int | None
    out: bool
    account: str
    amount: str
    currency: str
    channel: str
    country: str | None
    other_bank: str | None
    other_country: str | None
    place: str | None
    attempted: bool

    @property
    def local(self) -> datetime:
        """The moment as clocks stood; UTC where that is not known."""
        return self.moment + timedelta(minutes=self.offset or 0)


def window_days(alert: Alert) -> int:
    """Return the longest window of the indicators that are evidence of an alert."""
    windows = [
        one.typology.window_days for one in own_pack().indicators if one.id in alert.evidence
    ]
    return max(windows, default=USUAL_DAYS)


def movements(folder: Path, customer: str, last: date, days: int) -> tuple[Movement, ...]:
    """Return a customer's entries of the days up to `last`, the latest first.

    Args:
        folder: canonical records.
        customer: the alert's unit.
        last: the last day.
        days: how many.

    Raises:
        RecordsError: the folder holds no canonical records, or not this customer.
    """
    first = last - timedelta(days=days - 1)
    with sealed_connection() as connection:
        load_folder(connection, folder)
        known = connection.execute("SELECT 1 FROM customers WHERE customer_id = ?", [customer])
        if known.fetchone() is None:
            raise RecordsError(
                f"{folder}: the customer of this alert expected in customers, not found; these are "
                "other records than those that were scored"
            )
        bound = {"customer": customer, "first": first, "last": last}
        return tuple(_movements(connection.execute(_QUERY, bound).fetchall()))


def _movements(rows: Iterable[tuple[Any, ...]]) -> Iterable[Movement]:
    for reference, moment, offset, out, account, minor, currency, *rest in rows:
        amount = Decimal(minor).scaleb(-minor_digits(currency))
        yield Movement(
            reference, moment, offset, out, account, f"{amount:f}", currency, *rest
        )  # fmt: skip
