"""Canonical payments by the million, made by DuckDB from a seed alone.

Everything about a payment is read off hashes of its number, so it is made in any order, out of
core, on any number of threads. Nothing in it means anything but this: every indicator has
something to count, and customers have payees, machines and cities in common. Above two million
the same two million are written again and again for further customers, which takes a quarter of
the time.
"""

import shutil
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.sources.sql import literal

AS_OF: Final = date(2026, 3, 31)
PAYMENTS_EACH: Final = 100  # of a customer, in the 270 days that indicators look at
MADE_AT_ONCE: Final = 2_000_000
_DAYS: Final = 270
_ROW_GROUP: Final = 122_880


def make_large(folder: Path, payments: int, *, seed: int) -> None:
    """Write transactions/*.parquet and whose they are: two million payments, and copies of them.

    A copy's customers and accounts bear its number; all else in it is the same.

    Args:
        folder: new.
        payments: how many entries; above two million a multiple of it.
        seed: the same gives the same rows.

    Raises:
        ValueError: no such multiple.
    """
    if payments <= MADE_AT_ONCE:
        make_payments(folder, payments, seed=seed)
        return
    copies, rest = divmod(payments, MADE_AT_ONCE)
    if rest:
        raise ValueError(f"expected a multiple of {MADE_AT_ONCE:,} payments, found {payments:,}")
    base = folder.with_name(f"{folder.name}-base")
    make_payments(base, MADE_AT_ONCE, seed=seed)
    (folder / "transactions").mkdir(parents=True)
    for name in ("customers", "accounts"):
        rows = pq.read_table(base / f"{name}.parquet")
        with pq.ParquetWriter(folder / f"{name}.parquet", rows.schema) as writer:
            for copy in range(copies):
                writer.write_table(_renamed(rows, copy))
    for copy in range(copies):
        _copy_entries(base, folder / "transactions" / f"{copy:03d}.parquet", copy)
    shutil.rmtree(base)


def _copy_entries(base: Path, target: Path, copy: int) -> None:
    with pq.ParquetFile(base / "transactions.parquet", read_dictionary=["account_id"]) as file:
        writer = None
        for group in range(file.num_row_groups):
            rows = _renamed(file.read_row_group(group), copy)
            writer = writer or pq.ParquetWriter(
                target, rows.schema, compression="zstd", store_schema=False
            )
            writer.write_table(rows)
        if writer is not None:
            writer.close()


def _renamed(rows: Any, copy: int) -> Any:
    """Return rows whose customers and accounts bear the number of a copy."""
    for name in ("customer_id", "account_id"):
        if name in rows.column_names:
            place = rows.column_names.index(name)
            column = rows.column(name).unify_dictionaries().combine_chunks()
            rows = rows.set_column(place, name, _numbered(column, copy))
    return rows


def _numbered(column: Any, copy: int) -> Any:
    if isinstance(column, pa.DictionaryArray):
        inner = _numbered(column.dictionary, copy)
        return pa.DictionaryArray.from_arrays(column.indices, inner)
    return pc.binary_join_element_wise(column, f"{copy:03d}", "-")


def make_payments(folder: Path, payments: int, *, seed: int, memory: str = "1GB") -> None:
    """Write transactions.parquet, accounts.parquet and customers.parquet.

    Args:
        folder: new.
        payments: how many entries.
        seed: the same gives the same rows.
        memory: of the engine that makes them.
    """
    folder.mkdir(parents=True)
    people = max(payments // PAYMENTS_EACH, 1)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"SET memory_limit = '{memory}'")
        connection.execute("SET preserve_insertion_order = false")
        for name, rows in (
            ("customers", _customers(people)),
            ("accounts", _accounts(people)),
            ("transactions", _transactions(payments, people, seed)),
        ):
            path = literal(str(folder / f"{name}.parquet"))
            connection.execute(
                f"COPY ({rows}) TO {path} "
                f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP})"
            )


def _customers(people: int) -> str:
    return f"""
        SELECT printf('c%09d', i) AS customer_id,
            CASE WHEN i % 12 = 0 THEN 'business' ELSE 'person' END AS kind,
            ['0-10', '10-25', '25-50', '50-100'][1 + i % 4] AS declared_income_band,
            CASE WHEN i % 12 = 0 THEN ['1-4', '5-9', '10-19'][1 + i % 3] END AS employee_band
        FROM range({people}) AS r(i)
    """


def _accounts(people: int) -> str:
    """Return every customer's account, and a second one of every fifth."""
    return f"""
        SELECT printf('a%010d', i) AS account_id, printf('c%09d', i // 2) AS customer_id,
            DATE '2026-03-31' - CAST(i % 900 AS INTEGER) AS opened,
            'city' || (i // 2 % 300) AS home_city, 'XA' AS country
        FROM range({2 * people}) AS r(i)
        WHERE i % 2 = 0 OR i // 2 % 5 = 0
    """


def _transactions(payments: int, people: int, seed: int) -> str:
    drawn = ", ".join(f"hash(i, {seed}, {n}) AS h{n}" for n in range(8))
    return f"""
        WITH drawn AS (SELECT i, {drawn} FROM range({payments}) AS r(i)),
        kinds AS (
            SELECT *, h0 % {people} AS who, h1 % 100 AS kind,
                (h2 % 100) < 60 AS near
            FROM drawn
        )
        SELECT
            printf('t%011d', i) AS txn_id,
            printf('a%010d', 2 * who + CASE WHEN who % 5 = 0 THEN h3 % 2 ELSE 0 END) AS account_id,
            TIMESTAMP '2026-03-31 23:59:00'
                - to_minutes(CAST(h4 % {_DAYS * 1440} AS BIGINT)) AS ts_utc,
            60 AS tz_offset_min,
            CASE WHEN kind < 40 THEN 'out' WHEN kind < 55 THEN 'in' WHEN kind < 70 THEN 'out'
                WHEN kind < 80 THEN 'in' ELSE 'out' END AS direction,
            CAST(100 * (1 + h5 % 40) * CASE WHEN kind < 40 THEN 3 ELSE 25 END AS BIGINT)
                AS amount_minor,
            'XAC' AS currency,
            CASE WHEN kind < 40 THEN ['POS', 'ECOM'][CAST(1 + h3 % 2 AS BIGINT)]
                WHEN kind < 55 THEN 'P2P' WHEN kind < 65 THEN 'P2P' WHEN kind < 70 THEN 'WIRE'
                WHEN kind < 74 THEN 'PAYROLL' WHEN kind < 80 THEN 'CASH_DEP'
                WHEN kind < 90 THEN 'ATM_WD' WHEN kind < 94 THEN 'PREPAID_LOAD'
                WHEN kind < 97 THEN 'VASP_OUT' ELSE 'ACH' END AS channel,
            CASE WHEN kind < 40 THEN [
                '5411', '5814', '7011', '4121', '4112', '5912', '7311', '4814', '5541', '5944',
                '6513', '4900', '7361', '5499'
            ][CAST(1 + h6 % 14 AS BIGINT)] END AS mcc,
            CASE WHEN kind < 40 THEN 'm' || (h7 % 50000) END AS merchant_key,
            CASE WHEN kind < 40 THEN
                'city' || CASE WHEN near THEN who % 300 ELSE h7 % 300 END END AS merchant_city,
            CASE WHEN kind BETWEEN 40 AND 73 THEN
                'p' || CASE WHEN near THEN (who * 7 + h7 % 4) % {people} ELSE h7 % {people} END
            END AS counterparty_key,
            CASE WHEN kind BETWEEN 70 AND 73 THEN 'business' WHEN kind BETWEEN 40 AND 69
                THEN 'person' ELSE 'unknown' END AS counterparty_type,
            CASE WHEN kind BETWEEN 65 AND 69 THEN ['XA', 'XB', 'XC'][CAST(1 + h6 % 3 AS BIGINT)]
            END AS counterparty_country,
            CASE WHEN kind BETWEEN 70 AND 73 THEN 'salary'
                WHEN kind >= 97 THEN ['rent', 'insurance'][CAST(1 + h6 % 2 AS BIGINT)]
            END AS memo_category,
            CASE WHEN kind BETWEEN 74 AND 89 THEN
                'city' || CASE WHEN near THEN who % 300 ELSE h7 % 300 END END AS terminal_city,
            'd' || (who * 3 + h6 % 2) AS device_key,
            CASE WHEN kind BETWEEN 74 AND 79 THEN h6 % 4 > 0 END AS conductor_is_holder,
            CASE WHEN kind < 40 AND h6 % 14 = 4 THEN CAST(1 + h3 % 4 AS BIGINT) END AS ticket_count,
            h6 % 997 = 0 AS is_attempted,
            CASE WHEN h7 % 499 = 0 AND i > 0 THEN printf('t%011d', i - 1) END AS reversal_of
        FROM kinds
    """
