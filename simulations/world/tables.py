"""The world's lines and customers as canonical records: one institution's files, in Arrow.

What an institution lacks is left out: a column that it never records is absent, which is
not the same as empty; payments over a channel that it does not offer are not there.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldfare.client.records.canonical_bank import (
    Account,
    AgeBand,
    Customer,
    IncomeBand,
    Transaction,
)
from fieldfare.client.records.canonical_tables import arrow_schema
from fieldfare.simulations.world.habits import LINES, MINUTES, NUMBER, START
from fieldfare.simulations.world.institutions import WorldInstitution
from fieldfare.simulations.world.personas import PERSONAS, Persona
from fieldfare.simulations.world.society import (
    CITIES,
    CITIES_A_REGION,
    PATTERNS,
    Customers,
    ahead,
    keys,
    mixed,
)
from fieldfare.simulations.world.statements import Lines, is_customer, is_merchant

CURRENCY: Final = "XTS"  # ISO 4217: the code for testing
COUNTRY: Final = "XA"  # ISO 3166-1: for private use, as those that follow
ABROAD: Final = ("XB", "XC", "XD", "XE", "XF")
CITY_NAMES: Final = tuple(f"city-{index:02d}" for index in range(CITIES))
REGION_NAMES: Final = tuple(f"region-{index + 1}" for index in range(CITIES // CITIES_A_REGION))

EPOCH_DAYS: Final = (START - date(1970, 1, 1)).days
_SECOND: Final = 1_000_000  # in microseconds
_OUTSIDE: Final = 4  # banks that are none of the world's institutions
_ACCOUNTS: Final = 2  # ids set aside for each customer
_KINDS: Final = list(LINES.values())
_SECONDS: Final = 0x5EC0
_MEMOS: Final = {
    "payroll": "salary",
    "wages": "salary",
    "benefit": "benefit",
    "invoice": "goods",
    "p2p_in": "transfer",
    "p2p_out": "transfer",
    "rent": "rent",
    "utilities": "utilities",
    "subscription": "subscription",
    "savings": "transfer",
    "tax": "tax",
    "tuition": "tuition",
    "ads": "ad_classified",
    "agency": "agency_fee",
}
_SECOND_ACCOUNT: Final = ("savings", "cash_in", "p2p_in", "coins")
_AGES: Final = {
    "any": ("18-24", "25-34", "35-49", "50-64", "65+"),
    "young": ("18-24", "18-24", "25-34"),
    "adult": ("18-24", "25-34", "25-34", "35-49", "35-49", "50-64", "65+"),
    "older": ("50-64", "65+"),
}


@dataclass(frozen=True, slots=True)
class Books:
    """One institution's way of writing things down.

    Attributes:
        one: the institution.
        salt: of its keys.
        names: of all account holders, by holder index, for counterparties' institutions.
        two_sided: whoever has an account at one of `names` is one of its customers, and a payment
            between customers has one moment (version 2).
    """

    one: WorldInstitution
    salt: int
    names: tuple[str, ...]
    two_sided: bool = False

    def lack(self, column: str) -> float:
        """Return for what share of its records a column is missing."""
        return float(self.one.lacks.get(column, 0.0))


def _by_kind(values: list[str | None], kind: npt.NDArray[Any]) -> Any:
    return pa.array(values, pa.string()).take(pa.array(kind))


def shown(lines: Lines, one: WorldInstitution) -> npt.NDArray[np.bool_]:
    """Return which lines an institution has: not those of channels that it does not offer."""
    offered = np.array([kind.channel not in one.unseen for kind in _KINDS])
    return np.asarray(offered[lines.kind])


def transaction_ids(books: Books, first: int, size: int) -> Any:
    """Return the ids of an institution's transactions from number `first` on."""
    return keys(np.arange(first, first + size), books.salt ^ 0x7478)


def customer_ids(books: Books, rows: npt.NDArray[np.int64]) -> Any:
    """Return the ids that an institution knows customers by."""
    return keys(rows, books.salt ^ 0x63)


def transactions(
    rng: np.random.Generator, lines: Lines, customers: Customers, books: Books, first: int
) -> Any:
    """Return lines as a table of canonical transactions, without the institution's gaps.

    Args:
        rng: seconds of the day, tickets, branch checklists and gaps.
        lines: all of one institution, shown, in order.
        customers: all customers.
        books: how it writes.
        first: number of the first line among its transactions.
    """
    columns = {
        **_money(rng, lines, customers, books, first),
        **_other_side(lines, customers, books),
        **_around(rng, lines, customers, books),
    }
    schema = arrow_schema(Transaction)
    present = [name for name in schema.names if name in columns and books.lack(name) < 1]
    columns = {name: _gapped(rng, columns[name], books.lack(name)) for name in present}
    return pa.table(columns, schema=pa.schema([schema.field(name) for name in present]))


def _gapped(rng: np.random.Generator, column: Any, lack: float) -> Any:
    if not lack:
        return column
    missing = pa.array(rng.random(len(column)) < lack)
    return pc.if_else(missing, pa.scalar(None, column.type), column)


def _money(
    rng: np.random.Generator, lines: Lines, customers: Customers, books: Books, first: int
) -> dict[str, Any]:
    size = len(lines)
    offset = ahead(customers.home[lines.unit])
    minute, second = lines.at - offset, rng.integers(60, size=size)
    if books.two_sided:  # the same on both statements, so it follows from what both know
        pair = mixed(lines.unit + lines.party, _SECONDS).astype(np.int64)
        known = (mixed(minute ^ pair, _SECONDS) % np.uint64(60)).astype(np.int64)
        second = np.where(is_customer(lines.party), known, second)
    second = minute * 60 + second
    moment = (EPOCH_DAYS * MINUTES * 60 + second) * _SECOND
    second_account = np.zeros(len(LINES), bool)
    second_account[[NUMBER[name] for name in _SECOND_ACCOUNT]] = True
    account = _ACCOUNTS * lines.unit + (customers.several[lines.unit] & second_account[lines.kind])
    return {
        "txn_id": transaction_ids(books, first, size),
        "org_id": pa.array([books.one.name]).take(pa.array(np.zeros(size, np.int8))),
        "account_id": keys(account, books.salt ^ 0x61),
        "ts_utc": pa.array(moment).cast(pa.timestamp("us")),
        "tz_offset_min": pa.array(offset),
        "booking_date": pa.array((EPOCH_DAYS + lines.at // MINUTES).astype(np.int32)).cast(
            pa.date32()
        ),
        "direction": _by_kind([kind.direction for kind in _KINDS], lines.kind),
        "amount_minor": pa.array(lines.amount),
        "currency": pa.array([CURRENCY]).take(pa.array(np.zeros(size, np.int8))),
        "channel": _by_kind([kind.channel for kind in _KINDS], lines.kind),
        "is_attempted": pa.array(np.zeros(size, bool)),
    }


def _other_side(lines: Lines, customers: Customers, books: Books) -> dict[str, Any]:
    """Merchants have a merchant's key, all others a counterparty's."""
    shop = np.array([is_merchant(kind) for kind in _KINDS])[lines.kind]
    person = ~shop & (lines.party >= 0)
    away = np.array([kind.abroad for kind in _KINDS])[lines.kind]
    at_random = mixed(lines.party, 0xC0) % np.uint64(len(ABROAD))
    foreign = pa.array(ABROAD).take(pa.array(at_random.astype(np.int64)))
    home = pa.scalar(COUNTRY)
    none = pa.scalar(None, pa.string())
    return {
        "merchant_key": keys(lines.party, books.salt ^ 0x6D, shop),
        "merchant_city": _city(np.where(shop, lines.city, -1)),
        "merchant_country": pc.if_else(pa.array(shop), home, none),
        "counterparty_key": keys(lines.party, books.salt ^ 0x70, person),
        "counterparty_type": _by_kind([kind.party or "unknown" for kind in _KINDS], lines.kind),
        "counterparty_org": _elsewhere(lines, customers, books),
        "counterparty_country": pc.if_else(
            pa.array(person), pc.if_else(pa.array(away), foreign, home), none
        ),
    }


def _elsewhere(lines: Lines, customers: Customers, books: Books) -> Any:
    """Return where the other side's account is: known for customers, else one of the many."""
    ours = is_customer(lines.party)
    people = np.array([kind.party == "person" and not kind.abroad for kind in _KINDS])[lines.kind]
    own = 0 if books.two_sided else len(books.names)
    guess = mixed(lines.party, 0x0B) % np.uint64(own + _OUTSIDE)
    if books.two_sided:
        people, guess = people | ours, guess + np.uint64(len(books.names))
    holder = np.where(ours, customers.holder[np.where(ours, lines.party, 0)], guess)
    names = pa.array([*books.names, *[f"outside-{index}" for index in range(_OUTSIDE)]])
    return names.take(pa.array(holder.astype(np.int64), mask=~(people & (lines.party >= 0))))


def _city(city: npt.NDArray[np.int64]) -> Any:
    return pa.array(CITY_NAMES).take(pa.array(city, mask=city < 0))


def _around(
    rng: np.random.Generator, lines: Lines, customers: Customers, books: Books
) -> dict[str, Any]:
    """The place, device, person and purpose of a payment."""
    kind, size = lines.kind, len(lines)
    cash = np.array([one.channel in {"CASH_DEP", "ATM_WD"} for one in _KINDS])[kind]
    counter = np.array([one.channel == "CASH_DEP" for one in _KINDS])[kind]
    online = np.array([one.online and one.direction == "out" for one in _KINDS])[kind]
    borrowed = rng.random(size) < customers.other_share[lines.unit]
    device = np.where(borrowed, customers.other_device[lines.unit], customers.device[lines.unit])
    travel = kind == NUMBER["travel"]
    tickets = 1 + np.where(lines.others, 1 + rng.poisson(0.7, size), rng.random(size) < 0.12)  # noqa: PLR2004 (an eighth of bookings are for two)
    items = np.where(lines.others, rng.binomial(4, 0.3, size), rng.random(size) < 0.04)  # noqa: PLR2004 (a tick by chance)
    memo = [_MEMOS.get(name) for name in LINES]
    codes = [one.mccs for one in _KINDS]
    return {
        "mcc": _mcc(lines, codes),
        "memo_category": _by_kind(memo, kind),
        "terminal_city": _city(np.where(cash, lines.city, -1)),
        "device_key": keys(device, books.salt ^ 0x64, online),
        "conductor_is_holder": pa.array(~lines.others, mask=~counter),
        "ticket_count": pa.array(tickets, mask=~travel),
        "branch_items": pa.array(items, pa.int64(), mask=~counter),
    }


def _mcc(lines: Lines, codes: list[tuple[str, ...]]) -> Any:
    """Return merchant category codes: each merchant keeps one of its kind's."""
    flat: list[str | None] = [code for group in codes for code in group]
    first = np.cumsum([0, *(len(group) for group in codes)])[:-1]
    many = np.array([len(group) for group in codes])[lines.kind]
    which = mixed(lines.party, 0x4D) % np.maximum(many, 1).astype(np.uint64)
    place = first[lines.kind] + which.astype(np.int64)
    return pa.array(flat).take(pa.array(np.where(many > 0, place, 0), mask=many == 0))


def accounts(customers: Customers, rows: npt.NDArray[np.int64], books: Books) -> Any:
    """Return the accounts of an institution's customers as canonical records."""
    several = np.flatnonzero(customers.several[rows])
    unit = np.concatenate([rows, rows[several]])
    number = np.concatenate([np.zeros(rows.size, np.int64), np.ones(several.size, np.int64)])
    home, size = customers.home[unit], unit.size
    business = _business(customers, unit)
    columns = {
        "account_id": keys(_ACCOUNTS * unit + number, books.salt ^ 0x61),
        "customer_id": customer_ids(books, unit),
        "type": pa.array(["current", "savings"]).take(pa.array(number)),
        "currency": pa.array([CURRENCY] * size),
        "opened": date_array(customers.opened[unit]),
        "status": pa.array(["open"] * size),
        "home_region": pa.array(REGION_NAMES).take(pa.array(home // CITIES_A_REGION)),
        "home_city": pa.array(CITY_NAMES).take(pa.array(home)),
        "country": pa.array([COUNTRY] * size),
        "signatory_count": pa.array(1 + (business & (unit % 3 == 0)).astype(np.int64)),
        "poa_count": pa.array((mixed(unit, 0x9A) % np.uint64(40) == 0).astype(np.int64)),
    }
    return _as_declared(columns, arrow_schema(Account))


def customer_table(
    rng: np.random.Generator, customers: Customers, rows: npt.NDArray[np.int64], books: Books
) -> Any:
    """Return an institution's customers as canonical records.

    Age band and region are for the fairness audit inside the institution (docs/design.md, "The harm
    rules", rule 4); nationality and gender are nowhere in the world.
    """
    lives = [p for p in PATTERNS if isinstance(p, Persona)]
    plain = PERSONAS[0]
    facts = [lives[i] if i < len(lives) else plain for i in range(len(PATTERNS))]
    # what a file says of a customer follows the life that the account shows
    mine = [facts[i] for i in customers.life[rows]]
    business = _business(customers, rows)
    income = (
        np.array([p.income for p in mine])
        * customers.scale[rows]
        * rng.lognormal(0, 0.2, rows.size)
    )
    band = np.searchsorted([10_000, 25_000, 50_000, 100_000, 250_000], income)
    ages = [
        None if p.business else _AGES[p.ages][int(draw * len(_AGES[p.ages]))]
        for p, draw in zip(mine, rng.random(rows.size), strict=True)
    ]
    employees = pa.array(["1-4", "5-9", "10-19"]).take(
        pa.array(rng.integers(3, size=rows.size), mask=~business)
    )
    columns = {
        "customer_id": customer_ids(books, rows),
        "kind": pa.array(["person", "business"]).take(pa.array(business.astype(np.int64))),
        "segment": pa.array([p.segment for p in mine]),
        "age_band": pa.array([None if age is None else AgeBand(age).value for age in ages]),
        "declared_income_band": pa.array([one.value for one in IncomeBand]).take(pa.array(band)),
        "employee_band": employees,
        "onboarding_channel": pa.array(["branch", "online"]).take(
            pa.array(rng.integers(2, size=rows.size))
        ),
        "region": pa.array(REGION_NAMES).take(pa.array(customers.home[rows] // CITIES_A_REGION)),
        "kyc_risk": pa.array(["low", "medium", "high"]).take(
            pa.array(rng.choice(3, rows.size, p=[0.8, 0.16, 0.04]))
        ),
        "contact_key": keys(customers.contact[rows], books.salt ^ 0x6B),
    }
    return _as_declared(columns, arrow_schema(Customer))


def _as_declared(columns: dict[str, Any], schema: Any) -> Any:
    """Return a table of the canonical columns that the world has, in the schema's order."""
    present = [name for name in schema.names if name in columns]
    return pa.table(columns, schema=pa.schema([schema.field(name) for name in present]))


def _business(customers: Customers, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    firm = np.array([isinstance(p, Persona) and p.business for p in PATTERNS])
    return np.asarray(firm[customers.life[rows]])


def date_array(day: npt.NDArray[np.int64]) -> Any:
    """Return days of the window as dates."""
    return pa.array((EPOCH_DAYS + day).astype(np.int32)).cast(pa.date32())


def as_date(day: int) -> date:
    """Return the date of a day of the window."""
    return START + timedelta(days=day)
