"""DuckDB reads everything, and reaches nothing but what it was given.

No extension is loaded or installed, no other path opened, no network reached. Rows stream in
batches and in the source's order.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import duckdb
import pyarrow as pa

from fieldfare.client.records.sql import PLAIN, ColumnType, Numerals, literal
from fieldfare.shared.errors import RecordsError

BATCH_ROWS: Final = 100_000
MEMORY_LIMIT: Final = "512MB"  # of DuckDB's own buffers
ATTACHED: Final = "fieldfare_source"  # the catalog of a database file


def _no_problem() -> RecordsError | None:
    return None


@dataclass(frozen=True)
class Feed:
    """What one query reads.

    Attributes:
        connection: where it runs.
        relation: SQL for the rows.
        finish: lets go of whatever brings them, and says what went wrong with that; may be
            called twice.
    """

    connection: duckdb.DuckDBPyConnection
    relation: str
    finish: Callable[[], RecordsError | None] = _no_problem


@dataclass(frozen=True, eq=False)
class Source:
    """One open file or database table: its columns, and a way to stream expressions over them.

    Attributes:
        name: what messages call it.
        columns: each column's name and type, in order.
        numerals: how its texts write numbers.
        linked: columns of which the file itself says that they look at other units.
        covered: columns whose promise covers the person, as the file says, each with the banks
            whose customers' payments are left out of it.
    """

    name: str
    columns: dict[str, ColumnType]
    feed: Callable[[Sequence[str]], Feed]
    numerals: Numerals = PLAIN
    linked: frozenset[str] = frozenset()
    covered: Mapping[str, str] = field(default_factory=dict)

    def batches(
        self,
        expressions: Sequence[str],
        columns: Sequence[str] | None = None,
        where: str = "",
    ) -> Iterator[Any]:
        """Stream SQL `expressions` as Arrow record batches, in the source's row order.

        Args:
            expressions: over the columns.
            columns: those that the expressions name: a database sends no others. All by default.
            where: SQL over the columns; rows of which it is not true are left out. None by default.

        Raises:
            RecordsError: the source is damaged or its rows do not fit its header.
        """
        needed = tuple(self.columns) if columns is None else tuple(dict.fromkeys(columns))
        feed = self.feed(needed)
        query = f"SELECT {', '.join(expressions)} FROM {feed.relation}"
        query += f" WHERE {where}" if where else ""
        try:
            yield from feed.connection.execute(query).to_arrow_reader(BATCH_ROWS)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            # Late errors come through Arrow's stream as OSError, with the engine's own words.
            raise feed.finish() or unreadable(self.name, error) from None
        finally:
            problem = feed.finish()
        if problem is not None:
            raise problem


def unreadable(name: str, error: Exception) -> RecordsError:
    """Say where reading stopped; the engine's own message would quote the row."""
    line = re.search(r"CSV Error on Line: (\d+)", str(error))
    if line is not None:
        return RecordsError(
            f"{name}: as many fields as the header expected in every row, another form found at "
            f"line {line[1]}; check separators and quotes there (the text must be UTF-8, or its "
            "encoding declared)"
        )
    if isinstance(error, duckdb.NotImplementedException):
        return RecordsError(
            f"{name}: columns of numbers, truth values, dates or text expected, a column of "
            "another type found; convert or leave it out"
        )
    return RecordsError(
        f"{name}: a readable source expected, damaged content or mixed line endings found; "
        "write it again"
    )


def connect(
    *, files: Sequence[str] = (), database: str | None = None, threads: int | None = None
) -> Any:
    """Open an engine in memory that may read `files`, or attach one `database` file to read.

    `threads` is 1 where batches come from a driver: a worker that still wants one while the
    query is left would wait for ever.

    Raises:
        duckdb.Error: the database cannot be attached.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY_LIMIT,
            **({} if threads is None else {"threads": str(threads)}),
        },
    )
    if database is not None:
        connection.execute(f"ATTACH {literal(database)} AS {ATTACHED} (TYPE duckdb, READ_ONLY)")
        connection.execute(f"USE {ATTACHED}")
    connection.execute("SET allowed_paths = ?", [list(files)])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, ColumnType]:
    """Return the columns of SQL for rows, each with what it can be read as.

    Raises:
        duckdb.Error: there are no such rows.
    """
    rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return {str(row[0]): ColumnType.of(str(row[1])) for row in rows}


def different(name: str, columns: Sequence[str]) -> None:
    """Refuse columns that SQL would take for the same.

    Raises:
        RecordsError: two names are the same. Neither is shown: where a header is missing,
            names are a record's values.
    """
    if len({column.casefold() for column in columns}) < len(columns):
        raise RecordsError(f"{name}: different column names expected, one found twice")


class CheckedBatches:
    """An Arrow stream whose every batch is validated before anything computes with it.

    Other programs wrote these buffers: a text that is no UTF-8, or an offset that points
    outside, must end the load with a message and not the process.
    """

    def __init__(self, reader: Any, errors: tuple[type[Exception], ...], problem: str) -> None:
        """Pass on the batches of `reader`; `problem` is what one of `errors` means."""
        self._reader = reader
        self._errors = (*errors, pa.ArrowException)
        self._message = problem
        self._lock = Lock()
        self._ended = False
        self.problem: RecordsError | None = None

    def reader(self) -> Any:
        """Return a stream that just ends where something is wrong; then see `problem`."""
        return pa.RecordBatchReader.from_batches(self._reader.schema, self._batches())

    def end(self, let_go: Callable[[], None]) -> None:
        """Bring no further batch, and let go of what brings them; may be called twice.

        DuckDB reads ahead on threads of its own: whoever leaves early must not close a
        database under one of them.
        """
        with self._lock:
            self._ended = True
            let_go()

    def _batches(self) -> Iterator[Any]:
        try:
            source = iter(self._reader)
            while (batch := self._next(source)) is not None:
                yield batch
        except self._errors:
            self.problem = RecordsError(self._message)

    def _next(self, source: Iterator[Any]) -> Any:
        with self._lock:
            batch = None if self._ended else next(source, None)
            if batch is not None:
                batch.validate(full=True)
            return batch
