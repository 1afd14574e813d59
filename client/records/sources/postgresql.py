"""PostgreSQL through ADBC: one read-only transaction, and no more than the columns asked for.

The address may hold a password. It is never shown, and neither is anything that the server or
its driver says: an error there quotes addresses, queries and values. The SQLSTATE tells enough
(PostgreSQL documentation, appendix A).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any, Final

import adbc_driver_postgresql.dbapi
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError

from fieldfare.client.records.encoding.problems import FailedRowsError
from fieldfare.client.records.sources.checked_batches import CheckedBatches
from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.engine import Feed, Source, arriving_feed, connect, different
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, literal, quoted
from fieldfare.client.records.sources.table_pages import (
    PageRange,
    RangeReader,
    RangeRows,
    SnapshotLostError,
    page_ranges,
)
from fieldfare.shared.errors import RecordsError

Begun = tuple[CheckedBatches, Callable[[], RecordsError | None]]  # rows, and how they end

CONNECT_SECONDS: Final = 10
RANGE_SECONDS: Final = 600
RESTART_SECONDS: Final = 30  # that a server which was lost amid rows may take to be there again
_PAUSE: Final = 0.5
_BEGINNING: Final = (
    # The one that holds a snapshot waits while others read.
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL DateStyle = 'ISO, YMD'",  # how dates read does not hang on the server
    "SET LOCAL TimeZone = 'UTC'",
)
# Of ranges: a scan that begins where another one is, or workers that race, would change the order
# of rows, and one that waits for a lock for ever would keep all others.
_IN_ORDER: Final = (
    "SET LOCAL synchronize_seqscans = off",
    "SET LOCAL max_parallel_workers_per_gather = 0",
    f"SET LOCAL statement_timeout = '{RANGE_SECONDS}s'",
)
_REASONS: Final = {
    "22": "a value that the query cannot work with",
    "25006": "something that writes: only reading is allowed here",
    "3F000": "no such schema",
    "40": "a conflict with other work on the server: try again",
    "42501": "not permitted to this user: GRANT SELECT is enough",
    "42601": "a mistake in the query",
    "42703": "no such column",
    "42883": "no such function",
    "42P01": "no such table",
    "53": "no room left on the server",
    "57": "ended by the server",
}


_BY_VALUE: Final = ("22", "53", "54", "57014")  # what a value of one row may lead to
_NO_SNAPSHOT: Final = ("22023", "42704", "58P01")  # as versions say that there is none
_LOST: Final = (
    "expected the state of the database with which reading began, found it gone with its connection"
)
_BROKE_OFF: Final = "expected rows to the end, found that the server or the connection broke off"

# What libpq and an English server say when there is no connection, and what to do about it.
_CONNECTION: Final = (
    (
        ("could not translate host name",),
        "no host of that name was found: check the host in the address",
    ),
    (
        ("connection refused", "no such file or directory"),
        "no server answers at that host and port: start it, or check the address",
    ),
    (
        ("timeout expired", "timed out", "no route to host", "network is unreachable"),
        "the server gave no answer in time: check the way to it, firewalls too",
    ),
    (
        ("password authentication failed", "no password supplied"),
        "the server is there and refused user or password: check them",
    ),
    (
        ("no pg_hba.conf entry",),
        "the server is there and lets nobody in from here: its pg_hba.conf has no line for it",
    ),
    (
        ("does not exist",),
        "the server is there and has no such user or database: check the address",
    ),
)
_UNKNOWN: Final = (
    "check address, user and password (the server's own log says more), and that the server can be "
    "reached from here"
)


class NoConnectionError(RecordsError):
    """No server answers there, or it lets nobody in."""


@contextmanager
def open_postgresql(
    uri: str, mapping: ColumnMapping, rows: Rows, connections: int = 1
) -> Iterator[Source]:
    """Open a table or a query of a PostgreSQL database.

    Args:
        uri: as libpq reads it (PostgreSQL documentation, section 34.1.1); a secret.
        mapping: what is declared about the source.
        rows: a table or a query.
        connections: that read a table side by side; with more than one, another holds the snapshot.

    Raises:
        RecordsError: no connection, or the server refuses the rows.
    """
    name = f"postgresql {rows.label}"
    relation = rows.relation
    if relation is None:
        raise RecordsError("postgresql: expected a table or a query, found none")
    with closing(connected(uri, name)) as database, connect(threads=1) as connection:
        try:
            ranges, about = page_ranges(database, relation) if rows.query is None else ([], 0)
            columns = _columns(name, database, relation)
            snapshot = _exported(database) if ranges and connections > 1 else ""
            if ranges and not snapshot:
                _run(database, _IN_ORDER)
        except AdbcError as error:
            raise problem(name, error) from None
        with _sides(uri, name, database, snapshot, min(connections, len(ranges))) as sides:

            def feed(wanted: Sequence[str], *, lenient: bool = False) -> Feed:
                """Begin to read the columns that are wanted."""
                kinds = {column: columns[column] for column in wanted}
                select = f"SELECT {_listed(kinds)} FROM {relation}"
                if ranges:
                    begun = _ranges_rows(name, select, ranges, sides, lenient=lenient)
                else:
                    begun = _rows(name, database, select, lenient=lenient)
                return arriving_feed(connection, *begun)

            told = (mapping.numerals, frozenset[str](), dict[str, str]())
            yield Source(name, columns, feed, *told, partial(feed, lenient=True), about)


def connected(uri: str, name: str, *, writing: bool = False, snapshot: str = "") -> Any:
    """Return a connection in one transaction with one snapshot.

    Args:
        uri: as libpq reads it; a secret.
        name: of the source, for messages.
        writing: whether temporary tables may be made in it; nothing is ever committed.
        snapshot: of another connection, as it exported it; empty: one of its own.

    Raises:
        NoConnectionError: there is none.
        RecordsError: the server refuses a read-only transaction.
        SnapshotLostError: nothing holds that snapshot any more.
    """
    try:
        database = adbc_driver_postgresql.dbapi.connect(_timely(uri))
    except AdbcError as error:
        said = f"{name}: expected a connection, found none: {_why(error)}"
        raise NoConnectionError(said) from None
    try:
        mode = ", READ ONLY" if not writing else ""
        _run(database, [f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ{mode}"])
        if snapshot:
            _run(database, [f"SET TRANSACTION SNAPSHOT {literal(snapshot)}"])
        _run(database, [*_BEGINNING, *(_IN_ORDER if snapshot else ())])
    except AdbcError as error:
        database.close()
        if snapshot and error.sqlstate in _NO_SNAPSHOT:
            raise SnapshotLostError(f"{name}: {_LOST}") from None
        raise problem(name, error) from None
    return database


def _run(database: Any, statements: Sequence[str]) -> None:
    with database.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _exported(database: Any) -> str:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_export_snapshot()")
        (found,) = cursor.fetchone()
    return str(found)


@contextmanager
def _sides(
    uri: str, name: str, database: Any, snapshot: str, count: int
) -> Iterator[SimpleQueue[RangeReader]]:
    """Open connections that read the same state: the first one alone, or others beside it."""

    def again() -> Any:
        """Open one more connection to the same state, in the place of one that was lost."""
        return _reconnected(uri, name, snapshot)

    sides: SimpleQueue[RangeReader] = SimpleQueue()
    if not snapshot:
        sides.put(RangeReader(database, again))
        yield sides
        return
    try:
        for _ in range(count):
            sides.put(RangeReader(connected(uri, name, snapshot=snapshot), again))
        yield sides
    finally:
        while not sides.empty():
            sides.get().database.close()


def _reconnected(uri: str, name: str, snapshot: str) -> Any:
    """Connect again; a server that restarts is waited for, so that the load can begin anew."""
    last = monotonic() + RESTART_SECONDS
    while True:
        try:
            database = connected(uri, name, snapshot=snapshot)
        except NoConnectionError:
            if monotonic() >= last:
                raise
            sleep(_PAUSE)
            continue
        if snapshot:
            return database
        database.close()  # the state went with the only connection
        raise SnapshotLostError(f"{name}: {_LOST}")


def _why(error: AdbcError) -> str:
    """Say why there is no connection in words of our own: what the driver says quotes addresses."""
    said = str(error).lower()
    found = (reason for signs, reason in _CONNECTION if any(sign in said for sign in signs))
    return next(found, _UNKNOWN)


def _timely(uri: str) -> str:
    """Give up on a silent server after a while, unless the address already says when."""
    if "connect_timeout" in uri:
        return uri
    if uri.startswith(("postgresql://", "postgres://")):
        return f"{uri}{'&' if '?' in uri else '?'}connect_timeout={CONNECT_SECONDS}"
    return f"{uri} connect_timeout={CONNECT_SECONDS}"


def problem(name: str, error: AdbcError) -> RecordsError:
    """Return the error of a server's answer, by its SQLSTATE alone."""
    state = error.sqlstate or ""
    reason = _REASONS.get(state) or _REASONS.get(state[:2]) or "an error"
    kind = FailedRowsError if state.startswith(_BY_VALUE) else RecordsError
    return kind(
        f"{name}: expected rows, found the server's answer: {reason} (SQLSTATE {state or 'none'})"
    )


def _columns(name: str, database: Any, relation: str) -> dict[str, ColumnType]:
    with database.cursor() as cursor:
        schema = cursor.adbc_execute_schema(f"SELECT * FROM {relation}")
    different(name, schema.names)
    return {field.name: _column_type(field.type) for field in schema}


def _column_type(arrow: Any) -> ColumnType:
    types = pa.types
    kinds = {
        ColumnType.NUMBER: types.is_integer(arrow),
        ColumnType.FLOAT: types.is_floating(arrow),
        ColumnType.BOOLEAN: types.is_boolean(arrow),
        ColumnType.DATE: types.is_date(arrow) or types.is_timestamp(arrow),
        ColumnType.LIST: types.is_list(arrow) and types.is_floating(arrow.value_type),
        ColumnType.OPAQUE: types.is_binary(arrow) or types.is_nested(arrow),
    }
    return next((kind for kind, holds in kinds.items() if holds), ColumnType.TEXT)


def _listed(wanted: dict[str, ColumnType]) -> str:
    return ", ".join(
        # Exact decimals and everything odd come as the server's own text.
        f"{quoted(column)}::text AS {quoted(column)}" if kind.is_text else quoted(column)
        for column, kind in wanted.items()
    )


def _rows(name: str, database: Any, select: str, *, lenient: bool) -> Begun:
    cursor = database.cursor()
    try:
        cursor.execute(select)
        reader = cursor.fetch_record_batch()
    except AdbcError as error:
        cursor.close()
        raise problem(name, error) from None
    return _begun(name, reader, cursor.close, lenient=lenient)


def _ranges_rows(
    name: str,
    select: str,
    ranges: Sequence[PageRange],
    sides: SimpleQueue[RangeReader],
    *,
    lenient: bool,
) -> Begun:
    def explain(error: Exception) -> RecordsError:
        """Say what broke a range off, without a value."""
        if isinstance(error, AdbcError) and error.sqlstate:
            return problem(name, error)
        return RecordsError(f"{name}: {_BROKE_OFF}")

    read = RangeRows(select, ranges, sides, explain)
    checked, finish = _begun(name, read.reader(), read.close, lenient=lenient)
    return checked, lambda: finish() or read.problem


def _begun(name: str, reader: Any, let_go: Callable[[], None], *, lenient: bool) -> Begun:
    message = f"{name}: {_BROKE_OFF}"
    checked = CheckedBatches(reader, (AdbcError, OSError), message, lenient=lenient)

    def finish() -> RecordsError | None:
        """Close what is read; returns what was wrong with it."""
        checked.end(let_go)
        return checked.problem

    return checked, finish
