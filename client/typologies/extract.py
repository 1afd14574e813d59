"""An institution's canonical records, prepared for indicators in an engine that reaches nothing."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import duckdb

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import LoadedTable, load_tables
from fieldfare.client.records.sources.covering import OmittedCounts, leave_out
from fieldfare.client.typologies.windows import needed_tables
from fieldfare.shared.errors import RecordsError, UsageError

LEAST_MEMORY: Final = 1500 * 2**20  # bytes; of the engine's own buffers
SHARE_OF_MEMORY: Final = 0.6  # of the machine's


@dataclass(frozen=True)
class Extract:
    """Prepared records.

    Attributes:
        connection: holds the tables that ledger.sql makes, and nothing else.
        columns: the canonical columns that the institution has, as `transactions.mcc`.
        empty: those without one value. They count as present, or one customer's records would
            decide what is missing for another; an institution that lacks them says so.
        units: how many customers.
        as_of: the last day that is looked at.
        left_out: entries with customers of participants that are not in it; None: all are.
    """

    connection: duckdb.DuckDBPyConnection
    columns: frozenset[str]
    empty: frozenset[str]
    units: int
    as_of: date
    left_out: OmittedCounts | None = None

    @property
    def banks(self) -> tuple[str, ...]:
        """Return whose customers' payments are left out; empty where nobody's are."""
        return () if self.left_out is None else self.left_out.banks


@contextmanager
def open_extract(
    folder: Path,
    as_of: date,
    lacking: Collection[str] = (),
    *,
    banks: tuple[str, ...] = (),
    threads: int | None = None,
    engine: Callable[[], duckdb.DuckDBPyConnection] | None = None,
) -> Iterator[Extract]:
    """Read a folder of canonical files.

    Args:
        folder: holds transactions, accounts and customers; files without an entry of the days
            that are looked at are not read.
        as_of: a public date. Read off the records it would make every customer's features
            depend on who paid last.
        lacking: columns that are in the files but hold nothing, as `transactions.mcc`.
        banks: of all participants (`bank_codes`): payments with their customers are left out, so
            that the promise covers the person. Empty: none is.
        threads: of the engine; None: as many as there are cores. They change no bit.
        engine: opens the engine, where it is to have another memory and spill.

    Raises:
        RecordsError: the records do not fit; says the row.
        UsageError: `lacking` names what no canonical record has, or `banks` not the own bank.
    """
    refuse_unknown(lacking)
    opened = engine or partial(confined_connection, threads)
    with opened() as connection:
        try:
            tables = load_tables(connection, needed_tables(folder, as_of))
            yield prepared(connection, tables, as_of, lacking, banks=banks)
        except duckdb.OutOfMemoryException:
            if engine is not None:  # who chose the memory says so
                raise
            raise RecordsError(
                f"{folder}: expected transactions that fit into "
                f"{memory_limit(machine_memory()) >> 20} MB (about 1 GB for each million), found "
                "more; give the machine more memory, or cut the customers "
                "into parts, as typologies run does"
            ) from None


def refuse_unknown(lacking: Collection[str]) -> None:
    """Refuse names that no canonical record has.

    Raises:
        UsageError: says which.
    """
    known = {f"{name}.{column}" for name, model in TABLES.items() for column in model.model_fields}
    unknown = sorted(set(lacking) - known)
    if unknown:
        raise UsageError(
            f"--lacking: expected a canonical column such as transactions.mcc, found {unknown[0]}"
        )


def memory_limit(machine: int) -> int:
    """Return how many bytes an engine may use that looks at all records at once."""
    return max(LEAST_MEMORY, int(SHARE_OF_MEMORY * machine))


def machine_memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def confined_connection(
    threads: int | None = None, *, memory: int | None = None, spill: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Return an engine in memory that can open no file, load no extension, reach no network.

    Args:
        threads: None: as many as there are cores.
        memory: bytes of its buffers; None: most of the machine's.
        spill: a folder for what does not fit, which the engine keeps; None: nothing is spilled.
    """
    return duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "enable_external_access": "false",
            "memory_limit": f"{memory or memory_limit(machine_memory())}B",
            "temp_directory": "" if spill is None else str(spill),
            "lock_configuration": "true",
            **({} if threads is None else {"threads": str(threads)}),
        },
    )


def prepared(
    connection: duckdb.DuckDBPyConnection,
    tables: dict[str, LoadedTable],
    as_of: date,
    lacking: Collection[str] = (),
    *,
    banks: tuple[str, ...] = (),
) -> Extract:
    """Turn canonical tables in `connection` into the indicators' inputs; the raw ones go.

    Raises:
        RecordsError: a customer or an account stands twice, or is referred to and absent.
        UsageError: the transactions are of a bank that is none of `banks`.
    """
    refuse_loose_ends(connection)
    left_out = leave_out(connection, banks) if banks else None
    query = resources.files("fieldfare.client.typologies").joinpath("ledger.sql").read_text("utf-8")
    for statement in connection.extract_statements(query):
        named = {"as_of": as_of} if "as_of" in statement.named_parameters else None
        connection.execute(statement, named)
    for name in TABLES:  # what indicators may not read is not there to be read (harm rule 4)
        connection.execute(f"DROP TABLE {name}")
    columns = {f"{name}.{column}" for name, table in tables.items() for column in table.columns}
    empty = {f"{name}.{column}" for name, table in tables.items() for column in table.empty}
    return Extract(
        connection,
        frozenset(columns - set(lacking)),
        frozenset(empty - set(lacking)),
        int(one_value(connection, "SELECT count(*) FROM customer")),
        as_of,
        left_out,
    )


def one_value(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """Return the one value that a query gives."""
    row = connection.execute(query).fetchone()
    if row is None:
        raise RecordsError("expected one row from a query, found none")
    return row[0]


KNOWN_ACCOUNTS: Final = "accounts that are in accounts"
_LOOSE_ENDS: Final = (
    ("customers", "customers that stand there once",
     "SELECT count(*) - count(DISTINCT customer_id) FROM customers"),
    ("accounts", "accounts that stand there once",
     "SELECT count(*) - count(DISTINCT account_id) FROM accounts"),
    ("accounts", "customers that are in customers",
     "SELECT count(*) FROM accounts ANTI JOIN customers USING (customer_id)"),
    ("transactions", KNOWN_ACCOUNTS,
     "SELECT count(*) FROM transactions ANTI JOIN accounts USING (account_id)"),
)  # fmt: skip


def refuse_loose_ends(
    connection: duckdb.DuckDBPyConnection, tables: Collection[str] = tuple(TABLES)
) -> None:
    """Refuse records that stand twice, or refer to others that are absent.

    Args:
        connection: holds canonical tables.
        tables: those to look at.

    Raises:
        RecordsError: says which and how many.
    """
    for name, expected, query in _LOOSE_ENDS:
        if name in tables and (found := one_value(connection, query)):
            raise loose_end(name, expected, found)


def loose_end(name: str, expected: str, found: int) -> RecordsError:
    """Return the error of rows that refer to what is absent, or stand twice."""
    return RecordsError(
        f"{name}: expected {expected}, found {found} other rows; complete the files"
    )
