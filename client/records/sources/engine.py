"""DuckDB reads every source, and can reach only the source that it was given.

No extension is loaded or installed, no other path opened, no network reached. Rows stream in
batches and in the source's order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import pyarrow as pa

from fieldfare.client.records.encoding.problems import FailedRowsError
from fieldfare.client.records.sources.checked_batches import CheckedBatches, Numbers
from fieldfare.client.records.sources.mapping import PLAIN, Numerals
from fieldfare.client.records.sources.sql import ColumnType, literal, quoted
from fieldfare.shared.errors import RecordsError

BATCH_ROWS: Final = 100_000
BATCH_VALUES: Final = 4_000_000  # of a batch of many columns
LEAST_ROWS: Final = 2_048  # DuckDB's own vectors
GROUP_CHARACTERS: Final = 24_000  # of SQL that is computed at once: some 16 numbers in texts
MEMORY_LIMIT: Final = "512MB"  # of DuckDB's own buffers
_PLAIN_BATCH: Final = "fieldfare_batch"
ATTACHED: Final = "fieldfare_source"  # the catalog of a database file

_Asked = tuple[Sequence[str], Sequence[str], str]  # expressions, columns, where


def _no_problem() -> RecordsError | None:
    return None


@dataclass(frozen=True)
class UnreadLines:
    """Lines that are no rows, or rows with a value that nobody can read, where a source has such.

    Attributes:
        count: how many.
        first: numbers of the first ones, 1 for the file's first line, or for the first row.
        rows: they are rows.
    """

    count: int = 0
    first: tuple[int, ...] = ()
    rows: bool = False


@dataclass(frozen=True)
class Feed:
    """The rows that one query reads.

    Attributes:
        connection: where it runs.
        relation: SQL for the rows; of `arriving` ones, for those of one batch.
        finish: closes the source of the rows and reports its failure; may be called twice.
        unread: once all is read, which lines were passed over.
        arriving: where rows come from a library or a driver: its batches.
    """

    connection: duckdb.DuckDBPyConnection
    relation: str
    finish: Callable[[], RecordsError | None] = _no_problem
    unread: Callable[[], UnreadLines] = UnreadLines
    arriving: CheckedBatches | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """One open file or database table: its columns, and a way to stream expressions over them.

    Attributes:
        name: of the source, for messages.
        columns: each column's name and type, in order.
        numerals: how its texts write numbers.
        linked: columns of which the file itself says that they look at other units.
        covered: columns whose promise covers the person, as the file says, each with the banks
            whose customers' payments are left out of it.
        lenient: a feed that passes over lines which are no rows; none where there are no such.
        expected: about how many rows there are; 0: nobody knows before they are read.
        by_value: a feed that leaves out rows with a value which cannot be read, where the other
            feed ended at one; none where there is no such.
        computed: SQL of its own, a view's, may stand behind its rows.
        failing: the parts of that SQL which one value may make fail.
    """

    name: str
    columns: dict[str, ColumnType]
    feed: Callable[[Sequence[str]], Feed]
    numerals: Numerals = PLAIN
    linked: frozenset[str] = frozenset()
    covered: Mapping[str, str] = field(default_factory=dict)
    lenient: Callable[[Sequence[str]], Feed] | None = None
    expected: int = 0
    by_value: Callable[[Sequence[str]], Feed] | None = None
    computed: bool = False
    failing: tuple[str, ...] = ()

    def batches(
        self,
        expressions: Sequence[str],
        columns: Sequence[str] | None = None,
        where: str = "",
        unread: list[UnreadLines] | None = None,
    ) -> Iterator[Any]:
        """Stream SQL `expressions` as Arrow record batches, in the source's row order.

        Args:
            expressions: over the columns.
            columns: those that the expressions name: a database sends no others. All by default.
            where: SQL over the columns; rows of which it is not true are left out. None by default.
            unread: takes which lines are no rows; without it such a line is an error.

        Raises:
            RecordsError: the source is damaged or its rows do not fit its header.
        """
        needed = tuple(self.columns) if columns is None else tuple(dict.fromkeys(columns))
        asked, done = (expressions, needed, where), 0
        feed = (self.feed if unread is None else self.lenient or self.feed)(needed)
        try:
            for batch in self._read(feed, asked, unread):
                done += batch.num_rows
                yield batch
        except FailedRowsError:
            raise
        except RecordsError:
            if unread is None or self.by_value is None:
                raise
            yield from _after(done, self._read(self.by_value(needed), asked, unread))

    def _read(self, feed: Feed, asked: _Asked, unread: list[UnreadLines] | None) -> Iterator[Any]:
        try:
            yield from _streamed(feed, *asked)
        # UnicodeError: the engine's own words about a text that is none, which repeat it.
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeError) as error:
            found = feed.finish() or unreadable(self.name, error)
            raise FailedRowsError(str(found)) if self.computed else found from None
        else:
            if unread is not None:
                unread.append(feed.unread())
        finally:
            problem = feed.finish()
        if problem is not None:
            raise problem


def _after(rows: int, batches: Iterator[Any]) -> Iterator[Any]:
    """Yield what comes after so many rows."""
    for batch in batches:
        skipped = min(rows, batch.num_rows)
        rows -= skipped
        if skipped < batch.num_rows:
            yield batch.slice(skipped)


def _streamed(
    feed: Feed, expressions: Sequence[str], columns: Sequence[str], where: str
) -> Iterator[Any]:
    """Stream expressions; many of them group by group, over batches that are read plainly.

    The engine holds a vector for every part of every expression at once: sixty columns of numbers
    in texts filled its memory.
    """
    groups, chosen = _groups(expressions), f" WHERE {where}" if where else ""
    rows = min(BATCH_ROWS, max(LEAST_ROWS, BATCH_VALUES // len(columns)))
    if feed.arriving is not None:
        for batch, numbers in feed.arriving.slices(columns, rows):
            yield from _by_value(feed, batch, numbers, groups, chosen)
        return
    if len(groups) == 1:
        rows = min(BATCH_ROWS, max(LEAST_ROWS, BATCH_VALUES // len(expressions)))
        query = f"SELECT {', '.join(expressions)} FROM {feed.relation}{chosen}"
        yield from feed.connection.execute(query).to_arrow_reader(rows)
        return
    query = f"SELECT {', '.join(map(quoted, columns))} FROM {feed.relation}{chosen}"
    with feed.connection.cursor() as second:
        for batch in feed.connection.execute(query).to_arrow_reader(rows):
            yield _computed(second, batch, groups)


def _by_value(
    feed: Feed, batch: Any, numbers: Numbers, groups: Sequence[Sequence[str]], chosen: str
) -> Iterator[Any]:
    """Yield what is computed of a batch, without the rows of which it cannot be, where allowed.

    A time beyond the calendar, for one, is found where the engine converts it: by halves.
    """
    if not batch.num_rows or feed.arriving is None:
        return
    try:
        found = _computed(feed.connection, batch, groups, f"{feed.relation}{chosen}")
    except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException):
        if not feed.arriving.lenient:
            raise
        if batch.num_rows == 1:
            feed.arriving.leave_out(int(numbers[0]))
            return
        half = batch.num_rows // 2
        for part in (slice(0, half), slice(half, None)):
            rows = batch.slice(part.start, half if part.stop else None)
            yield from _by_value(feed, rows, numbers[part], groups, chosen)
    else:
        yield found


def _computed(
    connection: Any, batch: Any, groups: Sequence[Sequence[str]], relation: str = _PLAIN_BATCH
) -> Any:
    """Return one batch of all expressions over a batch of columns."""
    connection.register(_PLAIN_BATCH, pa.Table.from_batches([batch]))
    tables = [
        connection.execute(f"SELECT {', '.join(group)} FROM {relation}").to_arrow_table()
        for group in groups
    ]
    connection.unregister(_PLAIN_BATCH)
    arrays = [column.combine_chunks() for table in tables for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, names=[n for t in tables for n in t.column_names])


def _groups(expressions: Sequence[str]) -> list[list[str]]:
    """Split expressions into groups of about equal text, each as much as is computed at once."""
    groups: list[list[str]] = [[]]
    size = 0
    for expression in expressions:
        if groups[-1] and size + len(expression) > GROUP_CHARACTERS:
            groups.append([])
            size = 0
        groups[-1].append(expression)
        size += len(expression)
    return groups


NO_MEMORY: Final = (
    f"expected rows that can be read in {MEMORY_LIMIT}, found rows that need more: shorten texts, "
    "leave columns out of the file, or write it as Parquet in row groups of 10,000 rows"
)
_REASONS: Final[dict[type[Exception], str]] = {
    duckdb.NotImplementedException: (
        "expected columns of numbers, truth values, dates or text, found a column of another type; "
        "convert or leave it out"
    ),
    duckdb.BinderException: (
        "expected the columns that were asked for, found one missing; the source changed while it "
        "was read, or a view in it names a column that is gone"
    ),
    duckdb.CatalogException: (
        "expected tables, views and functions that this engine has, found one that it lacks; a "
        "view in the source may need an extension: make a table of it"
    ),
    duckdb.ConversionException: (
        "expected values of their column's type, found others; correct what the query or view "
        "converts"
    ),
    duckdb.InternalException: (  # bytes that are no UTF-8, in a column after those that are read
        "expected content that the engine can follow, found something else: damaged, or text in "
        "another encoding than declared; declare it, or write the source again"
    ),
    PermissionError: (
        "expected a source that may be read, found that permission is denied; give this user access"
    ),
}
_DAMAGED: Final = "expected a readable source, found damaged content; write it again"


def unreadable(name: str, error: Exception) -> RecordsError:
    """Return an error with place, cause and remedy; the engine's own message would quote the row.

    Late errors come through Arrow's stream as OSError, with the engine's own words.
    """
    said = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or said.startswith("Out of Memory Error"):
        return FailedRowsError(f"{name}: {NO_MEMORY}")
    reason = next((why for kind, why in _REASONS.items() if isinstance(error, kind)), _DAMAGED)
    return RecordsError(f"{name}: {reason}")


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
    # After two seconds it would tell how long records take to read, in a custodian's journal too.
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET allowed_paths = ?", [list(files)])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, ColumnType]:
    """Return the columns of SQL for rows, each with the type that it can be read as.

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
        raise RecordsError(f"{name}: expected different column names, found one twice")


def arriving_feed(
    connection: duckdb.DuckDBPyConnection,
    checked: CheckedBatches,
    finish: Callable[[], RecordsError | None],
) -> Feed:
    """Return a feed of batches that come from a library or a driver."""

    def left_out() -> UnreadLines:
        """Return the rows that were left out."""
        return UnreadLines(checked.left_out, tuple(checked.first), rows=True)

    return Feed(connection, _PLAIN_BATCH, finish, left_out, checked)
