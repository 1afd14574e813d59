"""Indicators computed by a bank's own PostgreSQL, where its records lie."""

from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_manager import Error as AdbcError

from fieldfare.client.records.sources.postgresql import connected, problem
from fieldfare.client.typologies.dialects import Dialect, PushedQueries, statements
from fieldfare.client.typologies.features import schema_of
from fieldfare.shared.errors import UsageError

NAME = "postgresql"


def run_in_postgresql(asked: PushedQueries, uri: str) -> Any:
    """Return the table of features, as `feature_table` gives it, computed by the server.

    One transaction with one snapshot; what it makes is temporary and rolled back. The user needs
    SELECT on the three tables and TEMPORARY on the database.

    Args:
        asked: what to compute; for PostgreSQL.
        uri: as libpq reads it; a secret.

    Raises:
        RecordsError: no connection, or the server refuses.
        UsageError: asked for another engine, or a customer has no row of its own.
    """
    if asked.dialect is not Dialect.POSTGRES:
        raise UsageError("--uri-file: expected --sql postgres, found another engine")
    with closing(connected(uri, NAME, writing=True)) as database, database.cursor() as cursor:
        try:
            *before, last = statements(asked)
            for one in before:
                cursor.execute(one)
            cursor.execute(last)
            found = cursor.fetch_arrow_table()
        except AdbcError as error:
            raise problem(NAME, error) from None
    refuse_repeated(found.column(0))
    schema = schema_of(asked.pack, asked.as_of, asked.lacking)
    columns = [column.cast(field.type).combine_chunks()
               for column, field in zip(found.columns, schema, strict=True)]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=schema)


def refuse_repeated(units: Any) -> None:
    """Refuse customers without an id or with several rows, as `run` does.

    Raises:
        UsageError: there are some; says how many.
    """
    lost = len(units) - pc.count_distinct(units, mode="only_valid").as_py()
    if lost:
        raise UsageError(
            f"{NAME}: expected one row for each customer, found {lost} too many: "
            "customer_id stands twice or is empty, or a query gives a customer several rows"
        )
