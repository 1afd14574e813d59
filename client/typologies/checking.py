"""Checks of indicators against their declarations: own, deterministic, complete.

The proof that a query is `own` is an experiment (docs/design.md, "The unit"): take a customer out
of a made-up extract, compute again, and find every other row bit for bit as it was.

The extract is small, and nothing in it means anything. Everything in it happens at least now and
then, so that a query that looks at other customers, at the order of rows or at a clock gives itself
away.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from pydantic.fields import FieldInfo

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import LoadedTable, arrow_schema, base_type
from fieldfare.client.typologies.extract import Extract, confined_connection, prepared
from fieldfare.client.typologies.features import Query, own_query, query_columns
from fieldfare.client.typologies.pack import Pack, PackIndicator
from fieldfare.shared.errors import UsageError

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
    connection = confined_connection()
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


# -- checking -------------------------------------------------------------------------------------

SEED: Final = 20260331
TAKEN_OUT: Final = tuple(range(CUSTOMERS))  # each: the one who has the most is among them

# What a query may not call, and why.
_FORBIDDEN: Final = {
    "a clock": r"now|current_date|current_time|current_timestamp|today|get_current_time\w*",
    "chance": r"random|setseed|uuid|gen_random_uuid|sample|tablesample",
    "sums that depend on order": r"avg|mean|fsum|stddev\w*|var_\w+|variance|corr|covar_\w+|regr_\w+"
    r"|skewness|kurtosis\w*|entropy|product",
    "the order of rows": r"first|last|any_value|arbitrary|list|array_agg|string_agg|group_concat"
    r"|rowid|arg_max|arg_min|max_by|min_by|mode",
    "estimates": r"approx_\w+|reservoir_quantile|hash",
    "files or the engine": r"read_\w+|glob|getenv|current_setting|pragma_\w+|duckdb_\w+",
}
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class IndicatorFindings:
    """The findings about one indicator.

    Attributes:
        problems: empty where it holds.
        told: how many customers of the made-up extract have a number that is not zero.
    """

    id: str
    problems: tuple[str, ...]
    told: int = 0


@dataclass
class _Trials:
    whole: Extract
    mixed: Extract
    parts: list[tuple[int, Extract]] = field(default_factory=list)


def check_pack(pack: Pack) -> tuple[IndicatorFindings, ...]:
    """Check every indicator of a pack on made-up records."""
    records = probe_records(SEED)
    trials = _Trials(probe_extract(records), probe_extract(reordered(records, SEED)))
    for index in TAKEN_OUT:
        rest = without_customer(records, f"c{index:02d}")
        trials.parts.append((index, probe_extract(rest)))
    return tuple(_checked(indicator, trials) for indicator in pack.indicators)


def _checked(indicator: PackIndicator, trials: _Trials) -> IndicatorFindings:
    problems = list(_words(indicator))
    told = 0
    try:
        query = own_query(indicator)
        whole = query_columns(trials.whole, query)
        problems += _experiments(query, whole, trials)
        told = sum(bool(value) for value in whole[0].to_pylist())
        if not told:
            problems.append(
                "expected a number for a customer of the made-up extract, found none: so the "
                "trials say nothing"
            )
        if indicator.typology.linked is not None:
            _run_linked(indicator, trials.whole)
    except UsageError as error:
        problems.append(str(error))
    return IndicatorFindings(indicator.id, tuple(problems), told)


def _run_linked(indicator: PackIndicator, extract: Extract) -> None:
    form = indicator.typology.linked
    if form is not None:
        query = own_query(indicator)
        query_columns(extract, Query(f"{indicator.id}_linked", indicator, indicator.linked_sql,
                                     query.tag, form.required, form.features))  # fmt: skip


def _words(indicator: PackIndicator) -> Iterator[str]:
    """Find what a query may not call, constants that nobody uses, and silence about why."""
    for sql in (indicator.sql, indicator.linked_sql):
        bare = _COMMENT.sub(" ", sql).lower()
        for what, words in _FORBIDDEN.items():
            found = re.search(rf"\b({words})\s*\(", bare) or re.search(
                rf"\b({words})\b(?!\s*\()", bare if what == "a clock" else ""
            )
            if found:
                yield f"expected no {what} in a query, found {found[1]}"
    both = f"{indicator.sql} {indicator.linked_sql}"
    for name in indicator.typology.parameters:
        if not re.search(rf"\${name}\b", both):
            yield f"parameters: {name} is in no query"
    if "-- own:" not in indicator.sql:
        yield 'expected a line "-- own: ..." that says why the query is one'


def _experiments(query: Query, whole: list[Any], trials: _Trials) -> Iterator[str]:
    if not _same(whole, query_columns(trials.whole, query)):
        yield "expected the same numbers from the same records, found others"
    if not _same(whole, query_columns(trials.mixed, query)):
        yield "expected the same numbers whatever the order of rows, found others"
    for index, extract in trials.parts:
        rest = [pa.concat_arrays([one[:index], one[index + 1 :]]) for one in whole]
        if not _same(rest, query_columns(extract, query)):
            yield "own: other customers' numbers changed when one customer was taken out"
            return


def _same(left: list[Any], right: list[Any]) -> bool:
    """Compare bit for bit, through the bytes that a file would hold."""
    return all(_bits(one) == _bits(other) for one, other in zip(left, right, strict=True))


def _bits(column: Any) -> tuple[bytes, bytes]:
    empty = column.is_null().to_numpy(zero_copy_only=False)
    values = column.fill_null(0.0).to_numpy(zero_copy_only=False)
    return empty.tobytes(), values.tobytes()
