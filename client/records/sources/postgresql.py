"""PostgreSQL through ADBC: one read-only transaction, and no more than the columns asked for.

The address may hold a password. It is never shown, and neither is anything that the server or
its driver says: an error there quotes addresses, queries and values. The SQLSTATE tells enough
(PostgreSQL documentation, appendix A).
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import adbc_driver_postgresql.dbapi
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError

from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.engine import CheckedBatches, Feed, Source, connect, different
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, quoted
from fieldfare.shared.errors import RecordsError

CONNECT_SECONDS: Final = 10
_BEGINNING: Final = (
    "SET LOCAL DateStyle = 'ISO, YMD'",  # how dates read does not hang on the server
    "SET LOCAL TimeZone = 'UTC'",
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


@contextmanager
def open_postgresql(uri: str, mapping: ColumnMapping, rows: Rows) -> Iterator[Source]:
    """Open a table or a query of a PostgreSQL database.

    Args:
        uri: as libpq reads it (PostgreSQL documentation, section 34.1.1); a secret.
        mapping: what is declared about the source.
        rows: a table or a query.

    Raises:
        RecordsError: no connection, or the server refuses the rows.
    """
    name = f"postgresql {rows.label}"
    relation = rows.relation
    if relation is None:
        raise RecordsError("postgresql: expected a table or a query, found none")
    with closing(connected(uri, name)) as database, connect(threads=1) as connection:
        try:
            columns = _columns(name, database, relation)
        except AdbcError as error:
            raise problem(name, error) from None

        def feed(wanted: Sequence[str]) -> Feed:
            kinds = {column: columns[column] for column in wanted}
            return _feed(name, database, connection, relation, kinds)

        yield Source(name, columns, feed, mapping.numerals)


def connected(uri: str, name: str, *, writing: bool = False) -> Any:
    """Return a connection in one transaction with one snapshot.

    Args:
        uri: as libpq reads it; a secret.
        name: of the source, for messages.
        writing: whether temporary tables may be made in it; nothing is ever committed.

    Raises:
        RecordsError: no connection.
    """
    try:
        database = adbc_driver_postgresql.dbapi.connect(_timely(uri))
    except AdbcError as error:
        raise RecordsError(f"{name}: expected a connection, found none: {_why(error)}") from None
    try:
        with database.cursor() as cursor:
            mode = ", READ ONLY" if not writing else ""
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ{mode}")
            for statement in _BEGINNING:
                cursor.execute(statement)
    except AdbcError as error:
        database.close()
        raise problem(name, error) from None
    return database


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
    return RecordsError(
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


def _feed(
    name: str, database: Any, connection: Any, relation: str, wanted: dict[str, ColumnType]
) -> Feed:
    columns = ", ".join(
        # Exact decimals and everything odd come as the server's own text.
        f"{quoted(column)}::text AS {quoted(column)}" if kind.is_text else quoted(column)
        for column, kind in wanted.items()
    )
    cursor = database.cursor()
    try:
        cursor.execute(f"SELECT {columns} FROM {relation}")
        reader = cursor.fetch_record_batch()
    except AdbcError as error:
        cursor.close()
        raise problem(name, error) from None
    message = f"{name}: expected rows to the end, found that the server or the connection broke off"
    checked = CheckedBatches(reader, (AdbcError, OSError), message)
    connection.register("postgresql_records", checked.reader())

    def finish() -> RecordsError | None:
        checked.end(cursor.close)
        return checked.problem

    return Feed(connection, "postgresql_records", finish)
