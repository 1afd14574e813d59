"""An institution's canonical records, cut by customer into parts that each fit into memory.

A customer's part is told by a hash of the customer's id alone, so all entries of one customer lie
in one part, and an indicator that reads one customer's records gives the same numbers from a part
as from the whole (`own` and `peer`; `typologies check` tries it). Linked forms look from one
customer to another and are never computed from a part.

Parts lie as Parquet files in a folder that only this user can enter, and that is gone afterwards:
they are raw records in the clear, as the files that they were read from.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import (
    CheckedRows,
    LoadedTable,
    columns_sql,
    load_table,
)
from fieldfare.client.records.sources.checked_batches import CheckedBatches
from fieldfare.client.records.sources.sql import literal
from fieldfare.client.typologies.extract import (
    KNOWN_ACCOUNTS,
    Extract,
    confined_connection,
    loose_end,
    prepared,
    refuse_loose_ends,
)
from fieldfare.client.typologies.windows import needed_tables
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.system.whole_files import passing_folder

ROWS_FOR_A_GIGABYTE: Final = 600_000  # entries of a part, by the engine's memory; measured
LEAST_ROWS: Final = 100_000
MOST_PARTS: Final = 1_024
_STRAY: Final = -1  # the part of entries whose account nobody has
_FLUSH: Final = 262_144  # rows that the engine holds back before it writes to parts


@dataclass(frozen=True)
class Room:
    """What a run may use.

    Attributes:
        memory: bytes of the engine's own buffers; what is beyond is spilled into `folder`.
        folder: 0700, for parts and for what is spilled.
        threads: None: as many as there are cores. They change no bit.
    """

    memory: int
    folder: Path
    threads: int | None = None

    @property
    def rows(self) -> int:
        """How many entries are prepared and looked at together."""
        return max(LEAST_ROWS, int(self.memory / 2**30 * ROWS_FOR_A_GIGABYTE))

    def connection(self) -> duckdb.DuckDBPyConnection:
        """Return an engine that reaches nothing and spills here."""
        return confined_connection(self.threads, memory=self.memory, spill=self.folder / "spill")

    @contextmanager
    def files_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open an engine that may read and write below this folder, and nowhere else."""
        with duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{self.memory}B",
                "temp_directory": str(self.folder / "spill"),
                "preserve_insertion_order": "false",
                "partitioned_write_flush_threshold": str(_FLUSH),
                **({} if self.threads is None else {"threads": str(self.threads)}),
            },
        ) as connection:
            # A stream says nothing of its length: the engine took it for the smaller side of a
            # join, and held or spilled every entry before the first one was written.
            connection.execute("SET disabled_optimizers = 'build_side_probe_side'")
            connection.execute("SET allowed_directories = ?", [[str(self.folder)]])
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection


@contextmanager
def room_beside(out: Path, memory: int, threads: int | None = None) -> Iterator[Room]:
    """Make a folder beside a file to write, 0700; it is gone afterwards.

    One that a killed run left is taken away first.

    Raises:
        RecordsError: another run writes the same file now, or the folder is another user's.
    """
    folder = out.absolute().parent / f".{out.name}.parts"
    with passing_folder(folder, RecordsError) as alone:
        yield Room(memory, alone, threads)


@dataclass(frozen=True)
class CustomerParts:
    """Checked records in parts.

    Attributes:
        folder: holds transactions/part=N/*.parquet, accounts and customers likewise.
        count: how many parts.
        tables: what all parts together hold.
    """

    folder: Path
    count: int
    tables: dict[str, LoadedTable]

    def extracts(
        self, room: Room, as_of: date, lacking: Collection[str] = (), *, banks: tuple[str, ...] = ()
    ) -> Iterator[Extract]:
        """Prepare part after part; one with more entries than fit is cut again by customer."""
        for part in range(self.count):
            again = -(-self._entries(part) // room.rows) or 1
            for piece in range(again):
                with room.connection() as connection:
                    self._load(connection, part, piece, again)
                    yield prepared(connection, self.tables, as_of, lacking, banks=banks)

    def _entries(self, part: int) -> int:
        files = (self.folder / "transactions" / f"part={part}").glob("*.parquet")
        return sum(pq.read_metadata(file).num_rows for file in files)

    def _load(
        self, connection: duckdb.DuckDBPyConnection, part: int, piece: int, again: int
    ) -> None:
        """Bring one part's tables in; of `again` pieces one."""
        inside = {
            "customers": f"{_number('customer_id')} // {self.count} % {again} = {piece}",
            "accounts": "customer_id IN (SELECT customer_id FROM customers)",
            "transactions": "account_id IN (SELECT account_id FROM accounts)",
        }
        for name, model in TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({columns_sql(model)})")
        for name, where in inside.items():
            chosen = f" WHERE {where}" if again > 1 else ""
            for file in sorted((self.folder / name / f"part={part}").glob("*.parquet")):
                connection.register("arriving", pq.ParquetFile(file).read())
                connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM arriving{chosen}")
                connection.unregister("arriving")


def _number(customer: str) -> str:
    """Return SQL for a customer's number, the same on every machine and for ever."""
    return f"md5_number_lower({customer})"


def cut(canonical: Path, room: Room, count: int, as_of: date) -> CustomerParts:
    """Read a folder of canonical files once, checked, into `count` parts in the room's folder.

    Files without an entry of the days that `as_of` looks at are not read.

    Raises:
        RecordsError: the records do not fit; says the row.
    """
    needed = needed_tables(canonical, as_of)
    with room.files_connection() as connection:
        loaded = {
            name: load_table(connection, name, needed[name]) for name in ("customers", "accounts")
        }
        refuse_loose_ends(connection, ("customers", "accounts"))
        connection.execute(
            "CREATE TABLE place AS SELECT account_id, CAST("
            f"{_number('customer_id')} % {count} AS INTEGER) AS part FROM accounts"
        )
        _copy(connection, room, "customers", f"*, {_number('customer_id')} % {count} AS part "
              "FROM customers")  # fmt: skip
        _copy(connection, room, "accounts", "* FROM accounts JOIN place USING (account_id)")
        connection.execute("DROP TABLE customers; DROP TABLE accounts")
        rows = CheckedRows("transactions", needed["transactions"])
        _cut_rows(connection, room, rows)
    _refuse_strays(room)
    return CustomerParts(room.folder, count, {**loaded, "transactions": rows.loaded()})


def _cut_rows(connection: duckdb.DuckDBPyConnection, room: Room, rows: CheckedRows) -> None:
    reader = pa.RecordBatchReader.from_batches(rows.schema(), rows.batches())
    checked = CheckedBatches(reader, (OSError,), "transactions: expected sound rows, found others")
    connection.register("arriving", checked.reader())
    try:
        _copy(connection, room, "transactions",
              f"arriving.*, coalesce(part, {_STRAY}) AS part FROM arriving "
              "LEFT JOIN place USING (account_id)")  # fmt: skip
    finally:
        # Who leaves early (ctrl-C) leaves a thread of the engine's that still reads: it gets no
        # further batch, and is over before the interpreter is.
        checked.end(lambda: None)
        connection.interrupt()
    if checked.problem is not None:
        raise checked.problem
    if rows.problem is not None:
        raise rows.problem


def _refuse_strays(room: Room) -> None:
    stray = (room.folder / "transactions" / f"part={_STRAY}").glob("*.parquet")
    found = sum(pq.read_metadata(file).num_rows for file in stray)
    if found:
        raise loose_end("transactions", KNOWN_ACCOUNTS, found)


def _copy(connection: duckdb.DuckDBPyConnection, room: Room, name: str, rows: str) -> None:
    target = literal(str(room.folder / name))
    connection.execute(
        f"COPY (SELECT {rows}) TO {target} (FORMAT parquet, COMPRESSION zstd, "
        "COMPRESSION_LEVEL 1, PARTITION_BY (part))"
    )
