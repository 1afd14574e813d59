"""DuckDB and SQLite files, opened to be read and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypedDict
from urllib.parse import quote

import duckdb
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError

from fieldfare.client.records import duckdb_views, sqlite_views
from fieldfare.client.records.sources.checked_batches import CheckedBatches
from fieldfare.client.records.sources.engine import (
    ATTACHED,
    Feed,
    Source,
    arriving_feed,
    connect,
    described,
    different,
)
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, quoted
from fieldfare.shared.errors import RecordsError

THREADS: Final = 2  # of an engine: each takes memory of its own, and there is a bound
_SQLITE_ROWS: Final = 16_384  # in one batch


class SourceText(TypedDict):
    """What the text of a view or a query tells of a source."""

    computed: bool
    failing: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """Which rows of a database: those of a table or view, or of a query; else of its only table.

    Attributes:
        table: the table's or view's name.
        schema: the schema that it stands in; the database's default where nothing is said.
        query: one SELECT statement.
    """

    table: str | None = None
    schema: str | None = None
    query: str | None = None

    @property
    def relation(self) -> str | None:
        """SQL for the rows; None where the database is to have one table."""
        if self.query is not None:
            # A line of its own for the end: the query may close with a comment.
            return f"({self.query.strip().rstrip(';')}\n) AS records"
        if self.table is None:
            return None
        return ".".join(quoted(name) for name in (self.schema, self.table) if name is not None)

    @property
    def label(self) -> str:
        """The names for messages."""
        return "query" if self.query is not None else f"table {self.table}"


WHOLE: Final = Rows()


def _only(name: str, tables: Sequence[str]) -> str:
    if len(tables) != 1:
        raise RecordsError(
            f"{name}: expected one table where none is named, found {len(tables)}; name a table or "
            "a query"
        )
    return tables[0]


def _refused(name: str, rows: Rows) -> RecordsError:
    return RecordsError(
        f"{name}: expected a {'query' if rows.query else 'table'} that the database can read, "
        "found one that it refuses; check the name or the query there"
    )


@contextmanager
def open_duckdb(path: Path, mapping: ColumnMapping, rows: Rows) -> Iterator[Source]:
    """Open a DuckDB file, attached read-only.

    Raises:
        RecordsError: it cannot be opened, or does not have the rows.
    """
    try:
        connection = connect(database=str(path), threads=THREADS)
    except duckdb.Error:
        raise RecordsError(
            f"{path}: expected a DuckDB file that no other program has open to write; close it "
            "there, or name a copy"
        ) from None
    with connection:
        try:
            relation = rows.relation or _only(str(path), _duckdb_tables(connection))
            columns = described(connection, relation)
            failing = duckdb_views.failing_parts(connection, relation)
        except duckdb.Error:
            raise _refused(str(path), rows) from None
        feed = Feed(connection, relation)
        told: SourceText = {"computed": True, "failing": failing}
        yield Source(str(path), columns, lambda _: feed, mapping.numerals, **told)


def _duckdb_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = connection.execute(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = ?",
        [ATTACHED],
    )
    return [f"{quoted(schema)}.{quoted(table)}" for schema, table in found.fetchall()]


@contextmanager
def open_sqlite(path: Path, mapping: ColumnMapping, rows: Rows) -> Iterator[Source]:
    """Open a SQLite file through ADBC, in SQLite's own read-only mode.

    SQLite's values have types, its columns do not: every value is read as text, so that how
    one is read does not depend on the rows before it.

    Raises:
        RecordsError: it cannot be opened, or does not have the rows.
    """
    from adbc_driver_sqlite import dbapi  # noqa: PLC0415 -- loads much; few records are SQLite's

    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        database = dbapi.connect(uri)
    except AdbcError:
        raise RecordsError(f"{path}: expected a SQLite file that can be read") from None
    with closing(database), connect(threads=1) as connection:
        try:
            relation = rows.relation or _only(str(path), _sqlite_tables(database))
            names = _sqlite_columns(database, relation)
            failing = sqlite_views.failing_parts(partial(_sqlite_rows_of, database), relation)
        except (AdbcError, OSError):
            raise _refused(str(path), rows) from None
        different(str(path), names)
        columns = dict.fromkeys(names, ColumnType.TEXT)

        def feed(wanted: Sequence[str], *, lenient: bool = False) -> Feed:
            """Begin to read the columns that are wanted."""
            begun = _sqlite_rows(path, database, relation, wanted, lenient=lenient)
            return arriving_feed(connection, *begun)

        passing = partial(feed, lenient=True)
        told: SourceText = {"computed": True, "failing": failing}
        yield Source(str(path), columns, feed, mapping.numerals, lenient=passing, **told)


def _sqlite_rows_of(database: Any, query: str) -> Sequence[Sequence[Any]]:
    with database.cursor() as cursor:
        cursor.execute(query)
        found: Sequence[Sequence[Any]] = cursor.fetchall()
    return found


def _sqlite_tables(database: Any) -> list[str]:
    return [
        quoted(name)
        for name, kind in _sqlite_rows_of(database, "SELECT name, type FROM sqlite_schema")
        if kind in {"table", "view"} and not name.startswith("sqlite_")
    ]


def _sqlite_columns(database: Any, relation: str) -> list[str]:
    with database.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {relation} LIMIT 0")
        return list(cursor.fetch_record_batch().schema.names)


def _sqlite_rows(
    path: Path, database: Any, relation: str, wanted: Sequence[str], *, lenient: bool
) -> tuple[CheckedBatches, Callable[[], RecordsError | None]]:
    # The driver gives a column the type of its first rows: a first row of texts, which is
    # dropped again, makes every column text, whatever its values are.
    texts = ", ".join(f"'' AS {quoted(name)}" for name in wanted)
    values = ", ".join(map(_sqlite_text, wanted))
    cursor = database.cursor()
    message = (
        f"{path}: expected rows that SQLite can read, found damaged content; check the database "
        "with PRAGMA integrity_check"
    )
    try:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_SQLITE_ROWS)})
        cursor.execute(f"SELECT {texts} UNION ALL SELECT {values} FROM {relation}")
        reader = cursor.fetch_record_batch()
    except (AdbcError, OSError):
        cursor.close()
        raise RecordsError(message) from None
    batches = _after_first(reader)
    checked = CheckedBatches(batches, (AdbcError, OSError), message, lenient=lenient)

    def finish() -> RecordsError | None:
        """Close what is read; returns what was wrong with it."""
        checked.end(cursor.close)
        return checked.problem

    return checked, finish


def _sqlite_text(column: str) -> str:
    """Return SQL (SQLite's) for a value's text: 17 digits are enough for any double."""
    name = quoted(column)
    return (
        f"CASE typeof({name}) WHEN 'real' THEN printf('%!.17g', {name}) "
        f"WHEN 'blob' THEN quote({name}) ELSE CAST({name} AS TEXT) END"
    )


def _after_first(reader: Any) -> Any:
    def batches() -> Iterator[Any]:
        """Yield the rows after the first."""
        skip = 1
        for batch in reader:
            yield batch.slice(skip)
            skip = 0

    return pa.RecordBatchReader.from_batches(reader.schema, batches())
