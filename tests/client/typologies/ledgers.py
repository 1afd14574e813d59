"""Hand-made ledgers: for each indicator one on which it fires, and its look-alike.

A ledger is one customer's ninety days. Ages are whole days before the as-of date; amounts are
minor units. Every expected number was worked out by hand from what stands beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import count
from typing import Any

import pyarrow as pa

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import LoadedTable, arrow_schema
from fieldfare.client.typologies.extract import Extract, confined_connection, prepared

AS_OF = date(2026, 3, 31)
HOME = "Port Alder"
WEEKS = range(0, 90, 7)
MONTHS = (5, 35, 65)

Row = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """One customer: what is declared about it, and its entries."""

    rows: list[Row]
    customer: Row = field(default_factory=dict)
    account: Row = field(default_factory=dict)


def on(ages: Iterable[int], hour: float = 12, **fields: Any) -> list[Row]:
    """One entry for each age, at an hour of the day."""
    return [{"age": age, "hour": hour, **fields} for age in ages]


def p2p_in(ages: Iterable[int], parties: Sequence[str], amount: int = 6_100, **f: Any) -> list[Row]:
    """Person-to-person money in, from one party after the other."""
    rows = on(ages, direction="in", channel="P2P", amount_minor=amount, **f)
    return [{**row, "counterparty_key": parties[i % len(parties)]} for i, row in enumerate(rows)]


def out(ages: Iterable[int], channel: str, amount: int = 5_000, **f: Any) -> list[Row]:
    """Money out."""
    return on(ages, direction="out", channel=channel, amount_minor=amount, **f)


def card(ages: Iterable[int], mcc: str, amount: int = 5_000, **f: Any) -> list[Row]:
    """A card payment at a kind of merchant."""
    return out(ages, "POS", amount, mcc=mcc, **f)


def cash_in(ages: Iterable[int], amount: int = 20_000, **f: Any) -> list[Row]:
    """Cash put in."""
    return on(ages, direction="in", channel="CASH_DEP", amount_minor=amount, **f)


def wages(ages: Iterable[int] = range(3, 90, 14), amount: int = 150_000, **f: Any) -> list[Row]:
    """Wages into the account."""
    given = {"counterparty_key": "employer", "counterparty_type": "business", **f}
    return on(ages, hour=8, direction="in", channel="PAYROLL", amount_minor=amount, **given)


def benefits(ages: Iterable[int], amount: int) -> list[Row]:
    """What a public body pays."""
    return on(ages, direction="in", channel="ACH", amount_minor=amount, counterparty_type="gov")


def people(number: int, prefix: str = "p") -> list[str]:
    """Names of different counterparties."""
    return [f"{prefix}{i}" for i in range(number)]


HOUSE = [
    *out(MONTHS, "ACH", 120_000, mcc="6513"),
    *out(MONTHS, "ACH", 12_000, mcc="4900"),
    *card(WEEKS, "5411", 9_000, merchant_city=HOME),
]
"""A home: rent, utilities, groceries. 3 x 1,320 and 13 x 90 currency units."""

BUSINESS = {"kind": "business", "employee_band": "5-9"}
MIDDLE = {"declared_income_band": "25-50"}  # its middle: 37,500 a year


def tickets(ages: Iterable[int], number: int, city: str) -> list[Row]:
    """Distance transport for several travellers."""
    return out(ages, "ECOM", 9_000 * number, mcc="4112", ticket_count=number, merchant_city=city)


def paid_by(
    channel: str, ages: Iterable[int], parties: Sequence[str], amount: int, **f: Any
) -> list[Row]:
    """Payments out, one to each party on each day."""
    given = {"counterparty_type": "person", **f}
    return [
        row
        for party in parties
        for row in out(ages, channel, amount, counterparty_key=party, **given)
    ]


# id: (ledger, what the first feature is there)
FIRES: dict[str, tuple[Ledger, float | None]] = {
    # fourteen strangers in the last thirty days
    "R01": (Ledger(p2p_in(range(1, 29, 2), people(14))), 14),
    # nine of twelve at half past eleven in the evening
    "R02": (Ledger([*p2p_in(range(9), people(9), hour=23.5), *p2p_in(range(3), people(3))]), 0.75),
    # ten a month at night, one a month before
    "R03": (
        Ledger(
            [*out(range(0, 30, 3), "ATM_WD", hour=2), *out(range(100, 270, 30), "ATM_WD", hour=23)]
        ),
        9,
    ),
    # a hundred in, ninety out on the same day, ten times
    "R04": (
        Ledger(
            [
                *p2p_in(range(0, 60, 6), people(10), 10_000),
                *out(range(0, 60, 6), "ATM_WD", 9_000, hour=20),
            ]
        ),
        0.9,
    ),
    # four cities in, one other out
    "R05": (
        Ledger(
            [
                *cash_in([3], terminal_city="A"),
                *cash_in([9], terminal_city="B"),
                *cash_in([20], terminal_city="C"),
                *cash_in([22], terminal_city="D"),
                *out([4, 10, 21], "ATM_WD", terminal_city=HOME),
            ]
        ),
        4,
    ),
    "R06": (Ledger(cash_in(range(0, 24, 4), conductor_is_holder=False)), 6),
    # one night each in four cities within a fortnight
    "R07": (
        Ledger(
            [
                row
                for age, city in ((1, "A"), (4, "B"), (8, "C"), (12, "D"))
                for row in card([age], "7011", 9_000, merchant_city=city)
            ]
        ),
        4,
    ),
    # three hotels in the home city
    "R08": (
        Ledger(
            [
                row
                for age, place in ((1, "h1"), (9, "h2"), (20, "h3"))
                for row in card([age], "7011", merchant_city=HOME, merchant_key=place)
            ]
        ),
        3,
    ),
    "R09": (Ledger(tickets([2, 8, 15, 23], 3, "A")), 4),
    # fourteen rides in a week, one in each of the twelve others: mean 2
    "R10": (Ledger([*card([*range(7), *range(7)], "4121"), *card(range(10, 91, 7), "4121")]), 12),
    # four meals on each day of a week
    "R11": (Ledger(card([*range(7)] * 4, "5814", 1_200)), 28),
    # six purchases beside three hotel nights
    "R12": (Ledger([*card([2, 4, 9, 12, 16, 20, 25], "5977"), *card([3, 10, 17], "7011")]), 6),
    "R13": (Ledger(out(range(0, 28, 3), "ECOM", 1_200, mcc="7311")), 10),
    # four purchases, each two hours after a prepaid card was loaded
    "R14": (
        Ledger(
            [
                *out([3, 9, 15, 40], "PREPAID_LOAD", hour=10),
                *out([3, 9, 15, 40], "VASP_OUT", 2_500, hour=12),
            ]
        ),
        4,
    ),
    "R15": (Ledger(out(range(0, 28, 4), "PREPAID_LOAD")), 7),
    "R16": (Ledger(paid_by("ACH", [10], people(5, "line"), 3_000, mcc="4814")), 5),
    # 1,800.00 out, all of it cash
    "R17": (Ledger(out(range(36), "ATM_WD", 5_000)), 1),
    # eleven times 1,000.00, the largest of them left out: 10,000 x 365/90 over 37,500
    "R18": (
        Ledger(p2p_in(range(0, 88, 8), people(11), 100_000), MIDDLE),
        10_000 * 365 / 90 / 37_500,
    ),
    # eighteen times 200.00 in ninety days
    "R19": (Ledger(cash_in(range(0, 90, 5))), 1_200),
    "R20": (
        Ledger([row for i in range(5) for row in out([i], "ECOM", device_key=f"device{i}")]),
        5,
    ),
    # nine of ten to one person
    "R21": (
        Ledger([*paid_by("P2P", range(9), ["boss"], 9_000), *card([3], "5411", 9_000)]),
        0.9,
    ),
    "R22": (Ledger(cash_in([1, 2, 3, 5], 950_000)), 4),
    # nine of twelve are multiples of twenty
    "R23": (
        Ledger([*p2p_in(range(9), people(9), 8_000), *p2p_in(range(3), people(3), 7_350)]),
        0.75,
    ),
    # 18 of 24 takings after eleven
    "R24": (
        Ledger([*cash_in(range(18), hour=23), *cash_in(range(6), hour=15)], BUSINESS),
        0.75,
    ),
    # 1,000 of 5 x 4,500 that five employees would earn
    "R25": (
        Ledger([*cash_in(range(30), 30_000), *paid_by("PAYROLL", [5], ["w1"], 225_000)], BUSINESS),
        0.9,
    ),
    # every wage of 1,000 comes back by half within two days
    "R26": (
        Ledger(
            [
                *paid_by("PAYROLL", MONTHS, ["w1", "w2"], 100_000),
                *p2p_in([age - 2 for age in MONTHS for _ in range(2)], ["w1", "w2"], 50_000),
            ],
            BUSINESS,
        ),
        0.5,
    ),
    # four wages into one account on a day
    "R27": (Ledger(paid_by("PAYROLL", [5, 5, 5, 5, 35], ["w1"], 100_000), BUSINESS), 4),
    "R28": (Ledger(out([3, 30, 44, 60], "ACH", 80_000, mcc="7361")), 4),
    "R29": (
        Ledger(
            [
                row
                for i in range(6)
                for row in out(
                    [i * 9],
                    "WIRE",
                    30_000,
                    counterparty_key=f"abroad{i}",
                    counterparty_country="XB",
                )
            ]
        ),
        6,
    ),
    # 800 of 1,000 through platforms that name nobody
    "R30": (
        Ledger(
            [
                *on(
                    range(8),
                    direction="in",
                    channel="ACH",
                    amount_minor=10_000,
                    counterparty_type="platform",
                ),
                *p2p_in([3, 5], people(2), 10_000),
            ]
        ),
        0.8,
    ),
    "R31": (
        Ledger(
            [
                row
                for i, city in enumerate("ABCDEF")
                for row in card([i * 3], "5814", merchant_city=city)
            ]
        ),
        6,
    ),
    "R32": (Ledger([*cash_in([4], branch_items=2), *cash_in([9], branch_items=5)]), 5),
    # opened forty days ago: twelve strangers, all of it gone on the same day
    "R33": (
        Ledger(
            [*p2p_in(range(12), people(12), 8_000), *out(range(12), "ATM_WD", 8_000, hour=20)],
            account={"opened": AS_OF - timedelta(40)},
        ),
        12,
    ),
    # 9,000 of jewellery, 10,000 from people: 9,000 x 365/90 over 37,500
    "R34": (
        Ledger(
            [*p2p_in(range(20), people(5), 50_000), *card([3, 30, 60], "5944", 300_000)], MIDDLE
        ),
        9_000 * 365 / 90 / 37_500,
    ),
    # nine of ten payments of 100, and one of 2,000
    "R35": (
        Ledger(
            [
                *paid_by("P2P", range(5, 230, 25), ["p"], 10_000),
                *paid_by("WIRE", [1], ["q"], 200_000),
            ]
        ),
        0.9 * 0.95,
    ),
    # six people, over half a year
    "R36": (
        Ledger([*p2p_in(range(0, 180, 30), people(6)), *paid_by("P2P", [3], people(8), 3_000)]),
        6,
    ),
    # twelve times a hundred in, and ninety of it to one person on the next day
    "R37": (
        Ledger(
            [
                *p2p_in(range(5, 65, 5), people(12), 10_000),
                *paid_by("P2P", range(4, 64, 5), ["boss"], 9_000),
            ]
        ),
        12,
    ),
    # two people, twelve times each
    "R38": (Ledger(p2p_in(range(24), people(2))), 12),
    # three benefits of 500, of which 450 are drawn on the next day
    "R39": (
        Ledger(
            [
                *benefits(MONTHS, 50_000),
                *out((4, 34, 64), "ATM_WD", 45_000),
            ]
        ),
        0.9,
    ),
}

BENIGN: dict[str, tuple[Ledger, float | None]] = {
    # flatmates pay their shares, and are paid
    "R01": (
        Ledger([*p2p_in(range(1, 29, 2), people(14)), *paid_by("P2P", [10], people(14), 2_000)]),
        0,
    ),
    # a tutor, in the daytime
    "R02": (Ledger(p2p_in(range(24), people(8), hour=16)), 0),
    # a night nurse: ten a month, as ever
    "R03": (Ledger(out(range(0, 270, 3), "ATM_WD", hour=2)), 0),
    # pay day to rent: what arrives are wages
    "R04": (
        Ledger([*wages([3, 33, 63], 160_000), *out([3, 33, 63], "WIRE", 150_000, hour=20)]),
        None,
    ),
    # parents pay in at home for a student elsewhere
    "R05": (
        Ledger(
            [
                *cash_in([3, 33, 63], terminal_city="Home"),
                *out([4, 10, 21], "ATM_WD", terminal_city="Campus"),
            ]
        ),
        1,
    ),
    # a sister pays in for somebody in hospital, the holder does otherwise
    "R06": (
        Ledger(
            [
                *cash_in([4, 9], conductor_is_holder=False),
                *cash_in(range(0, 28, 4), conductor_is_holder=True),
            ]
        ),
        2,
    ),
    # a travelling nurse: a fortnight here, a fortnight there
    "R07": (
        Ledger(
            [
                *wages(),
                *card([1, 8], "7011", merchant_city="A"),
                *card([15, 22], "7011", merchant_city="B"),
            ]
        ),
        1,
    ),
    # a survivor in one hotel for five weeks
    "R08": (
        Ledger(card(range(0, 35, 2), "7011", merchant_city=HOME, merchant_key="h1")),
        1,
    ),
    # a family of four, there and back
    "R09": (Ledger(tickets([12, 20], 4, "A")), 2),
    # twice a day to work, every working week
    "R10": (Ledger(card([*range(91)] * 2, "4121")), 0),
    # a student, once a day
    "R11": (Ledger(card(range(91), "5814", 1_200)), 7),
    # a beautician's supplies
    "R12": (Ledger(card(range(0, 88, 2), "5977")), 0),
    # a landlord between tenants
    "R13": (Ledger(out([20, 23], "ECOM", 2_500, mcc="7311")), 2),
    # a saver, every Tuesday out of wages
    "R14": (Ledger([*wages(), *out(WEEKS, "VASP_OUT", 2_500)]), 0),
    # gifts in December, on two days
    "R15": (
        Ledger([*out([9] * 6, "POS", 2_500, mcc="5947"), *out([14] * 3, "PREPAID_LOAD"), *HOUSE]),
        2,
    ),
    # a family plan is one bill
    "R16": (Ledger(paid_by("ACH", MONTHS, ["plan"], 16_000, mcc="4814")), 1),
    # a second account, little used
    "R17": (Ledger(out([3, 40, 70], "ATM_WD", 20_000)), None),
    # an inheritance
    "R18": (
        Ledger(
            [*wages(), *on([40], direction="in", channel="WIRE", amount_minor=4_000_000)], MIDDLE
        ),
        0,
    ),
    # a waiter banks tips beside a wage
    "R19": (Ledger([*wages(), *cash_in(WEEKS, 15_000)]), 0),
    # a couple: two telephones and a computer
    "R20": (
        Ledger([row for i in range(30) for row in out([i], "ECOM", device_key=f"d{i % 3}")]),
        3,
    ),
    # rent to a private landlord: 3 x 500 of 4,000
    "R21": (
        Ledger([*paid_by("P2P", MONTHS, ["landlord"], 50_000), *card(range(25), "5411", 10_000)]),
        0.375,
    ),
    # a shop's real takings
    "R22": (Ledger(cash_in(range(7), 950_000)[:3] + cash_in(range(4), 1_230_000)), 0),
    # three flatmates, three shares: too few to say
    "R23": (Ledger(p2p_in([3, 3, 3, 33, 33, 33, 63, 63, 63], people(3), 40_000)), None),
    # a late kitchen: eight of twenty-four after ten
    "R24": (Ledger([*cash_in(range(8), hour=22.5), *cash_in(range(16), hour=18)], BUSINESS), 1 / 3),
    # contractors, paid by transfer: 5 x 4,500
    "R25": (
        Ledger(
            [*cash_in(range(40), 90_000), *paid_by("ACH", MONTHS, people(5, "w"), 150_000)],
            BUSINESS,
        ),
        0,
    ),
    # a canteen: 40 of each 1,000
    "R26": (
        Ledger(
            [
                *paid_by("PAYROLL", MONTHS, ["w1", "w2"], 100_000),
                *p2p_in([age - 2 for age in MONTHS for _ in range(2)], ["w1", "w2"], 4_000),
            ],
            BUSINESS,
        ),
        0.04,
    ),
    # spouses share an account
    "R27": (Ledger(paid_by("PAYROLL", [5, 5, 35, 35], ["couple"], 100_000), BUSINESS), 2),
    # visa fees to a government, one placement
    "R28": (
        Ledger(
            [
                *out(
                    [3, 30, 44], "ACH", 60_000, counterparty_type="gov", memo_category="agency_fee"
                ),
                *out([20], "ACH", 80_000, mcc="7361"),
            ]
        ),
        1,
    ),
    # mother and brother, every month
    "R29": (
        Ledger(
            [
                row
                for party in ("mother", "brother")
                for row in out(
                    MONTHS, "MSB", 25_000, counterparty_key=party, counterparty_country="XB"
                )
            ]
        ),
        2,
    ),
    # a marketplace names itself
    "R30": (
        Ledger(
            on(
                WEEKS,
                direction="in",
                channel="ACH",
                amount_minor=30_000,
                counterparty_type="platform",
                counterparty_key="market",
            )
        ),
        0,
    ),
    # a trucker: meals and fuel in the same six cities
    "R31": (
        Ledger(
            [
                row
                for i, city in enumerate("ABCDEF")
                for mcc in ("5814", "5541")
                for row in card([i * 3], mcc, merchant_city=city)
            ]
        ),
        0,
    ),
    # an interpreter
    "R32": (Ledger(cash_in([4, 9], branch_items=1)), 1),
    # a newcomer: wages, and two friends' money that stays
    "R33": (
        Ledger(
            [*wages([3, 17, 31]), *p2p_in([20, 22], people(2), 5_000)],
            account={"opened": AS_OF - timedelta(40)},
        ),
        0,
    ),
    # a ring out of wages
    "R34": (Ledger([*wages(), *card([3], "5944", 400_000)], MIDDLE), 0),
    # a rent that rose by a tenth, half of the time each
    "R35": (
        Ledger(
            [
                *paid_by("P2P", range(125, 250, 25), ["p"], 90_000),
                *paid_by("P2P", range(0, 125, 25), ["p"], 100_000),
            ]
        ),
        0.5 * 0.1,
    ),
    # three friends share costs
    "R36": (
        Ledger([*p2p_in(range(0, 180, 30), people(3)), *paid_by("P2P", [3], people(4), 3_000)]),
        3,
    ),
    # somebody who works alone keeps the money, and pays a private landlord three times
    "R37": (
        Ledger(
            [
                *p2p_in(range(7, 67, 5), people(12), 10_000),
                *paid_by("P2P", MONTHS, ["landlord"], 50_000),
                *HOUSE,
            ]
        ),
        0,
    ),
    # ten clients, three visits each; a flatmate pays as often as she is paid
    "R38": (
        Ledger(
            [
                *p2p_in(range(0, 90, 3), people(10)),
                *p2p_in(range(20), ["mate"]),
                *paid_by("P2P", range(20), ["mate"], 2_000),
            ]
        ),
        3,
    ),
    # in recovery: the same benefits, and little of them is drawn
    "R39": (
        Ledger(
            [
                *benefits(MONTHS, 50_000),
                *out((4, 34, 64), "ATM_WD", 5_000),
                *HOUSE,
            ]
        ),
        0.1,
    ),
}


def extract_of(ledgers: dict[str, Ledger], columns: Iterable[str] | None = None) -> Extract:
    """Prepare ledgers as customers of one institution, each under its name.

    Args:
        ledgers: by customer id.
        columns: the columns that the institution has; all by default.
    """
    numbers = count()
    customers = [
        {"customer_id": name, "kind": "person", **one.customer} for name, one in ledgers.items()
    ]
    accounts = [{"account_id": f"acc-{name}", "customer_id": name, "home_city": HOME,
                 "country": "XA", "opened": date(2020, 1, 1), **one.account}
                for name, one in ledgers.items()]  # fmt: skip
    rows = [transaction_of(row, f"acc-{name}", next(numbers))
            for name, one in ledgers.items() for row in one.rows]  # fmt: skip
    connection = confined_connection()
    tables = {}
    records = {"transactions": rows, "accounts": accounts, "customers": customers}
    for name, model in TABLES.items():
        arriving = pa.Table.from_pylist(records[name], schema=arrow_schema(model))
        connection.register("arriving", arriving)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arriving")
        connection.unregister("arriving")
        every = frozenset(model.model_fields)
        kept = every if columns is None else every & {
            column.partition(".")[2] for column in columns if column.startswith(f"{name}.")
        }  # fmt: skip
        tables[name] = LoadedTable(len(records[name]), frozenset(kept), frozenset())
    return prepared(connection, tables, AS_OF)


def transaction_of(row: Row, account: str, number: int) -> Row:
    """One entry as a canonical transaction; `number` tells it from the others."""
    fields = {key: value for key, value in row.items() if key not in {"age", "hour"}}
    hours, minutes = divmod(round(row["hour"] * 60), 60)
    moment = datetime.combine(AS_OF - timedelta(row["age"]), time(hours, minutes))
    return {"txn_id": f"t{number}", "account_id": account, "ts_utc": moment, "tz_offset_min": 0,
            "currency": "XAC", "counterparty_type": "unknown", "is_attempted": False,
            **fields}  # fmt: skip
