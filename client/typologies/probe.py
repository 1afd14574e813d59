"""A small made-up extract for trying indicators on: does a query keep to its customer?

Nothing in it means anything. Everything in it happens at least now and then, so that a query
that looks at other customers, at the order of rows or at a clock gives itself away.
"""

from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from pydantic.fields import FieldInfo

from fieldfare.client.records.canonical import TABLES
from fieldfare.client.records.canonical_tables import (
    LoadedTable,
    arrow_schema,
    base_type,
)
from fieldfare.client.typologies.extract import Extract, prepared, sealed_connection

AS_OF: Final = date(2026, 3, 31)
CUSTOMERS: Final = 16
ENTRIES: Final = 9_000
_DAYS: Final = 220
_RECENT: Final = 0.7  # share of the entries of the last hundred days
_SHARED: Final = 40  # different keys: customers have payees, devices and cities in common
_MCCS: Final = (
    "7011", "4121", "4112", "5814", "5912", "5411", "7311", "4814", "5541", "5944", "6513", "4900",
    "7361", "6540",
)  # fmt: skip
_AMOUNTS: Final = (1_200, 2_000, 2_500, 4_000, 6_100, 10_000, 60_000, 120_000, 850_000, 1_100_000)
_FREQUENT: Final = {"channel": ("P2P",) * 6 + ("POS", "ECOM", "CASH_DEP", "ATM_WD", "PAYROLL")}
_PLAIN: Final = 6  # accounts without wages
_DAY_US: Final = 86_400_000_000


def probe_records(seed: int) -> dict[str, Any]:
    """Make canonical tables; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    customers = [f"c{index:02d}" for index in range(CUSTOMERS)]
    accounts = [f"a{index:02d}" for index in range(CUSTOMERS * 2)]
    given: dict[str, dict[str, Any]] = {
        "customers": {
            "customer_id": customers,
            "kind": _picked(rng, ("person", "business"), CUSTOMERS),
        },
        "accounts": {
            "account_id": accounts,
            "customer_id": [customers[index // 2] for index in range(len(accounts))],
            "opened": [
                AS_OF - timedelta(int(days)) for days in rng.integers(1, 200, len(accounts))
            ],
        },
        "transactions": {
            "txn_id": [f"t{index}" for index in range(ENTRIES)],
            "account_id": _picked(rng, accounts, ENTRIES),
            "ts_utc": _times(rng),
            "amount_minor": _picked(rng, _AMOUNTS, ENTRIES),
            "is_attempted": (rng.random(ENTRIES) < 0.02).tolist(),  # noqa: PLR2004 -- a few
            "reversal_of": [None] * ENTRIES,
        },
    }
    made = {name: _table(rng, name, given[name]) for name in TABLES}
    return {**made, "transactions": _plainer(made["transactions"], set(accounts[-_PLAIN:]))}


def _plainer(transactions: Any, plain: set[str]) -> Any:
    """Give some accounts only cash and other people's money: no wages, no governments."""
    rows = transactions.to_pylist()
    for row in rows:
        if row["account_id"] in plain:
            channel = "CASH_DEP" if row["channel"] == "PAYROLL" else "P2P"
            row |= {"channel": channel, "counterparty_type": "person", "memo_category": None}
    return pa.Table.from_pylist(rows, schema=transactions.schema)


def _times(rng: np.random.Generator) -> Any:
    """Spread entries over the days, with some in the same minute as others."""
    end = np.datetime64(AS_OF + timedelta(1), "us")
    recent = rng.integers(1, 100 * 24 * 6, ENTRIES)
    minutes = (
        np.where(rng.random(ENTRIES) < _RECENT, recent, rng.integers(1, _DAYS * 144, ENTRIES)) * 10
    )
    return pa.array(end - (minutes * (_DAY_US // 1_440)).astype("timedelta64[us]"))


def _picked(rng: np.random.Generator, values: Any, size: int) -> list[Any]:
    return [values[index] for index in rng.integers(0, len(values), size)]


def _table(rng: np.random.Generator, name: str, given: dict[str, Any]) -> Any:
    model = TABLES[name]
    size = len(next(iter(given.values())))
    columns = {
        column: given[column] if column in given else _column(rng, column, field, size)
        for column, field in model.model_fields.items()
    }
    return pa.table(columns, schema=arrow_schema(model))


def _column(rng: np.random.Generator, column: str, field: FieldInfo, size: int) -> list[Any]:
    plain = base_type(field)
    values: tuple[Any, ...]
    if issubclass(plain, StrEnum):
        values = tuple(member.value for member in plain)
        values += _FREQUENT.get(column, ())
    elif column == "mcc":
        values = _MCCS
    elif column == "currency":
        values = ("XAC",)
    elif column == "tz_offset_min":
        values = (0, 60, -300)
    elif plain is bool:
        values = (True, False)
    elif plain is int:
        values = (0, 1, 2, 3)
    elif plain is date:
        values = (AS_OF,)
    elif column.endswith("country"):
        values = ("XA", "XB", "XC")
    else:
        values = tuple(f"k{index}" for index in range(_SHARED))
    if not field.is_required():
        values = (*values, *values, None)
    return _picked(rng, values, size)


def probe_extract(records: dict[str, Any]) -> Extract:
    """Prepare probe records, or a part of them, as an institution's extract."""
    connection = sealed_connection()
    for name, table in records.items():
        _create(connection, name, table)
    loaded = {
        name: LoadedTable(table.num_rows, frozenset(table.column_names), frozenset())
        for name, table in records.items()
    }
    return prepared(connection, loaded, AS_OF)


def _create(connection: duckdb.DuckDBPyConnection, name: str, table: Any) -> None:
    connection.register("arriving", table)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arriving")
    connection.unregister("arriving")


def without_customer(records: dict[str, Any], customer: str) -> dict[str, Any]:
    """Return the same records as if one customer had never been."""
    accounts = records["accounts"].to_pylist()
    gone = {one["account_id"] for one in accounts if one["customer_id"] == customer}
    return {
        "customers": _kept(records["customers"], "customer_id", {customer}),
        "accounts": _kept(records["accounts"], "customer_id", {customer}),
        "transactions": _kept(records["transactions"], "account_id", gone),
    }


def _kept(table: Any, column: str, gone: set[str]) -> Any:
    rows = [row for row, value in enumerate(table.column(column).to_pylist()) if value not in gone]
    return table.take(pa.array(rows, pa.int64()))


def reordered(records: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the same records with their rows in another order."""
    rng = np.random.default_rng(seed)
    return {name: table.take(rng.permutation(table.num_rows)) for name, table in records.items()}
