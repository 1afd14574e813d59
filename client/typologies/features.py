"""The table of features: one row per customer, one column per number of an indicator.

Missing is not zero: an indicator whose fields the institution lacks is null for every customer, and
the report and the file name it; a share of nothing is null for that customer.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.sources.covering import said_of
from fieldfare.client.records.sources.sql import quoted
from fieldfare.client.typologies.extract import Extract
from fieldfare.client.typologies.pack import Pack, PackIndicator
from fieldfare.client.typologies.typology import AbsenceMeaning, FeatureSpec
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.features import Dependence

UNIT: Final = "unit"
METADATA_KEY: Final = b"fieldfare.typologies"
FORMAT: Final = 1


@dataclass(frozen=True)
class FeatureTable:
    """The result of a run.

    Attributes:
        table: Arrow; unit (string, the customer's id) and float64 features, in unit order.
        missing: indicators that could not be computed, each with the columns it lacks.
        doubtful: indicators that were, over columns without one value.
    """

    table: Any
    missing: Mapping[str, tuple[str, ...]]
    doubtful: Mapping[str, tuple[str, ...]]


def feature_table(extract: Extract, pack: Pack) -> FeatureTable:
    """Compute every indicator of a pack; the same records give the same bytes.

    Raises:
        UsageError: a query is no single SELECT, fails, or gives other columns than declared.
    """
    return _table(extract, pack, [own_query(one) for one in pack.indicators])


def linked_table(extract: Extract, pack: Pack) -> FeatureTable:
    """Compute the linked forms of a pack, for this institution's own eyes: no study reads them.

    A table of their own, so that they do not stand beside what may leave.

    Raises:
        UsageError: as `feature_table`.
    """
    return _table(extract, pack, _linked_queries(pack))


def _table(extract: Extract, pack: Pack, queries: Sequence["Query"]) -> FeatureTable:
    units = extract.connection.execute("SELECT customer_id FROM customer ORDER BY unit")
    columns = [units.to_arrow_table().column(0).combine_chunks()]
    fields = [pa.field(UNIT, pa.string(), nullable=False)]
    missing, doubtful = {}, {}
    for query in queries:
        lacking = tuple(name for name in query.required if name not in extract.columns)
        empty = tuple(name for name in query.required if name in extract.empty)
        if lacking:
            missing[query.name] = lacking
        elif empty:
            doubtful[query.name] = empty
        columns += _nulls(extract, query) if lacking else query_columns(extract, query)
        fields += [_field(query, spec, extract.banks) for spec in query.features]
    said = _said(pack, extract.as_of, missing)
    schema = pa.schema(fields, metadata=said)
    return FeatureTable(pa.Table.from_arrays(columns, schema=schema), missing, doubtful)


def _said(pack: Pack, as_of: date, missing: Mapping[str, tuple[str, ...]]) -> dict[bytes, str]:
    metadata = {
        "format": FORMAT,
        "as_of": as_of.isoformat(),
        "pack": pack.sha256,
        "missing": {name: list(lacking) for name, lacking in missing.items()},
    }
    return {METADATA_KEY: json.dumps(metadata, sort_keys=True)}


def schema_of(pack: Pack, as_of: date, lacking: Collection[str]) -> Any:
    """Return the Arrow schema of a table of features that another engine computed.

    Args:
        pack: what was computed.
        as_of: the last day that was looked at.
        lacking: canonical columns that the records do not have.
    """
    queries = [own_query(one) for one in pack.indicators]
    missing = {query.name: tuple(name for name in query.required if name in lacking)
               for query in queries if set(query.required) & set(lacking)}  # fmt: skip
    fields = [pa.field(UNIT, pa.string(), nullable=False)]
    fields += [_field(query, spec, ()) for query in queries for spec in query.features]
    return pa.schema(fields, metadata=_said(pack, as_of, missing))


def day_of(path: Path) -> date | None:
    """Return the day that a written table of features says it is of; None where it says none."""
    try:
        said = json.loads((pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"{}"))
        return date.fromisoformat(said["as_of"])
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None


@dataclass(frozen=True)
class Query:
    """One SELECT of an indicator, own or linked, and the columns that it must return."""

    name: str
    indicator: PackIndicator
    sql: str
    tag: Dependence
    required: tuple[str, ...]
    features: tuple[FeatureSpec, ...]


def own_query(indicator: PackIndicator) -> Query:
    """Return the query whose features may leave."""
    typology = indicator.typology
    return Query(
        indicator.id, indicator, indicator.sql, typology.tag, typology.required, typology.features
    )


def _linked_queries(pack: Pack) -> list[Query]:
    return [
        Query(f"{indicator.id}_linked", indicator, indicator.linked_sql, Dependence.LINKED,
              form.required, form.features)
        for indicator in pack.indicators
        if (form := indicator.typology.linked) is not None
    ]  # fmt: skip


def _field(query: Query, spec: FeatureSpec, banks: tuple[str, ...]) -> Any:
    version = str(query.indicator.typology.version)
    said = {"tag": query.tag.value, "version": version}
    if query.tag is not Dependence.LINKED:
        said |= said_of(banks)
    return pa.field(spec.name, pa.float64(), metadata=said)


def _nulls(extract: Extract, query: Query) -> list[Any]:
    return [pa.nulls(extract.units, pa.float64()) for _ in query.features]


def query_columns(extract: Extract, query: Query) -> list[Any]:
    """Run one query over all customers; return its columns in unit order.

    Raises:
        UsageError: as `feature_table`.
    """
    parameters = query.indicator.typology.parameters
    used = _named_in_one_select(extract.connection, query)
    listed = ", ".join(_finished(spec) for spec in query.features)
    whole = (
        f"SELECT {listed} FROM customer AS c LEFT JOIN (\n{query.sql.rstrip().rstrip(';')}\n) AS f "
        "ON f.unit = c.unit ORDER BY c.unit"
    )
    try:
        named = {name: value for name, value in parameters.items() if name in used}
        table = extract.connection.execute(whole, named or None).to_arrow_table()
    except duckdb.OutOfMemoryException:  # no fault of the query's: who opened the extract says so
        raise
    except duckdb.Error as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"{query.name}: expected a query that runs: {said}") from None
    if table.num_rows != extract.units:
        raise UsageError(f"{query.name}: expected at most one row for a customer, found more")
    return [column.combine_chunks() for column in table.columns]


def _finished(spec: FeatureSpec) -> str:
    number = f"CAST(f.{quoted(spec.name)} AS DOUBLE)"
    value = f"CASE WHEN isfinite({number}) THEN {number} END"
    if spec.absent is AbsenceMeaning.ZERO:
        value = f"CASE WHEN f.unit IS NULL THEN 0.0 ELSE {value} END"
    return f"{value} AS {quoted(spec.name)}"


def _named_in_one_select(connection: duckdb.DuckDBPyConnection, query: Query) -> Collection[str]:
    """Return the names of the constants in a query, which must be one SELECT."""
    try:
        statements = connection.extract_statements(query.sql)
    except duckdb.Error as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"{query.name}: expected SQL: {said}") from None
    if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
        raise UsageError(f"{query.name}: expected one SELECT, found something else")
    names: Collection[str] = statements[0].named_parameters
    return names


def hit_table(table: Any, pack: Pack) -> Any:
    """Return unit, the indicators that fire there, and how many families of evidence they are.

    No single indicator suffices (docs/design.md, "The harm rules", rule 2): the number of families
    is what a person should look at. Arrow; unit string, hits list of strings, families int8.
    """
    fired = {one.id: _fired(table, one) for one in pack.indicators}
    rows = range(table.num_rows)
    hits = [[name for name, flags in fired.items() if flags[row]] for row in rows]
    family = {one.id: one.typology.family for one in pack.indicators}
    families = [len({family[name] for name in names}) for names in hits]
    return pa.table(
        {
            UNIT: table.column(UNIT),
            "hits": pa.array(hits, pa.list_(pa.string())),
            "families": pa.array(families, pa.int8()),
        }
    )


def _fired(table: Any, indicator: PackIndicator) -> Sequence[bool]:
    reached = pc.greater_equal(table.column(indicator.id), indicator.typology.fires.at_least)
    flags: list[bool] = pc.fill_null(reached, fill_value=False).to_pylist()
    return flags
