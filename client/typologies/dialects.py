"""A pack's queries in the SQL of the engine in which a bank's records lie.

Only dialects that were executed against DuckDB, value for value: Spark SQL and PostgreSQL. A query
is parsed (sqlglot), and every part of it must be one of which it is known how it is written
elsewhere; anything else is refused. What differs between engines is written out: groups, what a
division gives, whole numbers that are divided, and the order of texts, which is that of their
bytes.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from importlib import resources
from typing import Any, Final

import sqlglot
from pydantic import BaseModel
from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import base_type
from fieldfare.client.typologies.extract import refuse_unknown
from fieldfare.client.typologies.pack import Pack
from fieldfare.client.typologies.typology import AbsenceMeaning, FeatureSpec
from fieldfare.shared.errors import UsageError

UNIT: Final = "unit"


class Dialect(StrEnum):
    """An engine whose SQL was executed and compared."""

    SPARK = "spark"
    POSTGRES = "postgres"


# Parts of a query that give the same values in all three engines, for whole numbers and texts.
_PARTS: Final = frozenset({
    "Abs", "Add", "Alias", "And", "Anti", "Between", "Boolean", "CTE", "Case", "Coalesce",
    "Column", "Count", "Distinct", "Div", "EQ", "Filter", "From", "GT", "GTE", "Greatest",
    "Group", "Having", "Identifier", "If", "In", "IntDiv", "Is", "Join", "LT", "LTE",
    "Least", "Literal", "Max", "Min", "Mod", "Mul", "NEQ", "Neg", "Not", "Null",
    "NullSafeEQ", "NullSafeNEQ", "Nullif", "Or", "Order", "Ordered", "Paren",
    "Placeholder", "RowNumber", "Select", "Star", "Sub", "Subquery", "Sum", "Table",
    "TableAlias", "Where", "Window", "WindowSpec", "With",
})  # fmt: skip

# What ledger.sql makes: without age band, region and contact (harm rule 4).
_LEDGER: Final = frozenset({"account", "busiest", "customer", "entry", "flow", "sender"})


@dataclass(frozen=True)
class PushedQueries:
    """What is to be computed where the records lie.

    Attributes:
        as_of: the last day that is looked at.
        schema: that the three canonical tables or views stand in; empty: the engine's own.
        lacking: columns that they do not have, or that hold nothing.
    """

    pack: Pack
    dialect: Dialect
    as_of: date
    schema: str = ""
    lacking: Collection[str] = ()


def statements(asked: PushedQueries) -> tuple[str, ...]:
    """Return what to execute, in order and in one session; the last gives unit, R01, ...

    All others make temporary tables and views. The customer's id stands for the customer.

    Raises:
        UsageError: a query has a part that is not known to mean the same there, or a name
            is wrong.
    """
    refuse_unknown(asked.lacking)
    made = [*_settings(asked.dialect), *_inputs(asked), *_ledger(asked)]
    kept = [one for one in asked.pack.indicators
            if not set(one.typology.required) & set(asked.lacking)]  # fmt: skip
    made += [
        _made(asked.dialect, _table(one.id),
              translated(one.sql, asked.dialect, one.typology.parameters, one.id))
        for one in kept
    ]  # fmt: skip
    return (*made, _last(asked, {one.id for one in kept}))


def _settings(dialect: Dialect) -> list[str]:
    return ["SET TIME ZONE 'UTC'"] if dialect is Dialect.SPARK else []


def _table(indicator: str) -> str:
    return f"fieldfare_{indicator.lower()}"


def _made(dialect: Dialect, name: str, query: str) -> str:
    kind = "VIEW" if dialect is Dialect.SPARK else "TABLE"
    again = "OR REPLACE " if dialect is Dialect.SPARK else ""
    return f"CREATE {again}TEMPORARY {kind} {name} AS\n{query}"


_TYPES: Final[Mapping[Dialect, Mapping[type, str]]] = {
    Dialect.SPARK: {
        str: "STRING", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", date: "DATE",
        datetime: "TIMESTAMP_NTZ",
    },
    Dialect.POSTGRES: {
        str: "TEXT", int: "BIGINT", float: "DOUBLE PRECISION", bool: "BOOLEAN", date: "DATE",
        datetime: "TIMESTAMP",
    },
}  # fmt: skip


def _inputs(asked: PushedQueries) -> Iterator[str]:
    """Yield views of the canonical tables: every column, in its type, empty texts as nothing."""
    for name, model in TABLES.items():
        columns = ",\n  ".join(_input(asked, name, column, model) for column in model.model_fields)
        source = f"{asked.schema}.{name}" if asked.schema else name
        again = "OR REPLACE " if asked.dialect is Dialect.SPARK else ""
        yield (
            f"CREATE {again}TEMPORARY VIEW fieldfare_{name} AS\nSELECT\n  {columns}\nFROM {source}"
        )


def _input(asked: PushedQueries, table: str, column: str, model: type[BaseModel]) -> str:
    plain = base_type(model.model_fields[column])
    kind = _TYPES[asked.dialect][str if issubclass(plain, StrEnum) else plain]
    text = kind in {"TEXT", "STRING"}
    # texts are compared by their bytes, as DuckDB and Spark do
    order = ' COLLATE "C"' if text and asked.dialect is Dialect.POSTGRES else ""
    if f"{table}.{column}" in asked.lacking:
        return f"CAST(NULL AS {kind}){order} AS {column}"
    value = f"NULLIF(TRIM({column}), '')" if text else column
    return f"CAST({value} AS {kind}){order} AS {column}"


def _ledger(asked: PushedQueries) -> Iterator[str]:
    """Yield what every query reads, from the same file that DuckDB reads."""
    file = resources.files("fieldfare.client.typologies").joinpath("ledger.sql")
    views = set(TABLES)
    for tree in sqlglot.parse(file.read_text("utf-8"), read="duckdb"):
        name = tree.this.name
        query = tree.expression
        for table in query.find_all(exp.Table):
            if table.name in views:
                table.set("this", exp.to_identifier(f"fieldfare_{table.name}"))
        if name == "customer":
            query.expressions[0].replace(exp.alias_(exp.column("customer_id"), UNIT))
        said = {"as_of": asked.as_of.isoformat()}
        yield _made(asked.dialect, name, _written(query, asked.dialect, said))
        if name == "entry" and asked.dialect is Dialect.SPARK:
            yield "CACHE TABLE entry"
        if asked.dialect is Dialect.POSTGRES:
            yield f"ANALYZE {name}"


def translated(query: str, dialect: Dialect, constants: Mapping[str, float], name: str) -> str:
    """Return one SELECT of a pack in another dialect, with its constants in it.

    Raises:
        UsageError: a part of it is not known to mean the same there, it reads another table than
            ledger.sql makes, or names a constant that is none; says which.
    """
    try:
        tree = sqlglot.parse_one(query, read="duckdb")
    except sqlglot.errors.SqlglotError:
        raise UsageError(f"{name}: expected SQL that can be parsed, found other text") from None
    for node in tree.walk():
        kind = type(node).__name__
        if node.args.get("method") == "ASOF":
            kind = "an ASOF join"
        if kind not in _PARTS:
            raise UsageError(
                f"{name}: expected SQL that is known to mean the same in {dialect.value}, found "
                f"{kind}; write it in another way (docs/typologies.md)"
            )
    _refuse_other_tables(tree, name)
    unknown = [one.this for one in tree.find_all(exp.Placeholder) if one.this not in constants]
    if unknown:
        raise UsageError(f"{name}: expected constants under `parameters`, found {unknown[0]}")
    return _written(tree, dialect, constants)


def _refuse_other_tables(tree: Any, name: str) -> None:
    """Refuse what is not there in DuckDB: a bank's own tables hold what no query may see."""
    known = _LEDGER | {one.alias for one in tree.find_all(exp.CTE)}
    # Inside itself, the name of a WITH is that of a table.
    real = [one for scope in traverse_scope(tree) for one in scope.sources.values()
            if isinstance(one, exp.Table) and one.name not in _LEDGER]  # fmt: skip
    for one in (*real, *tree.find_all(exp.Table)):
        if one in real or one.name not in known or one.db or one.catalog:
            raise UsageError(
                f"{name}: expected tables that ledger.sql makes, found {one.sql()[:64]} "
                "(docs/typologies.md)"
            )


def _written(tree: Any, dialect: Dialect, constants: Mapping[str, float | str]) -> str:
    for one in list(tree.find_all(exp.Placeholder)):
        value = constants[str(one.this)]
        known = exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)
        one.replace(known)
    _write_out_groups(tree)
    _divide_as_doubles(tree)
    _name_subqueries(tree)
    _write_times(tree, dialect)
    for one in tree.find_all(exp.DataType):
        if one.this is exp.DataType.Type.SMALLINT:  # Spark's windows want whole numbers of one type
            one.set("this", exp.DataType.Type.INT)
    for one in tree.walk():
        one.comments = None
    return str(tree.sql(dialect=dialect.value, pretty=True))


def _write_out_groups(tree: Any) -> None:
    """Write GROUP BY ALL as the expressions that aggregate nothing."""
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        if group is not None and group.args.get("all"):
            plain = [one.unalias().copy() for one in select.expressions
                     if not one.find(exp.AggFunc)]  # fmt: skip
            select.set("group", exp.Group(expressions=plain))


def _double(one: Any) -> Any:
    return exp.cast(one.copy(), exp.DataType.Type.DOUBLE)


def _divide_as_doubles(tree: Any) -> None:
    """Divide as DuckDB does: `/` in doubles, of nothing where the divisor is 0; `//` whole.

    Whole divisions here are of what is not negative, by a constant: below 2^53, so exact.
    """
    for one in sorted(tree.find_all(exp.Div, exp.IntDiv), key=lambda found: -found.depth):
        below = _double(one.expression)
        if isinstance(one, exp.IntDiv):
            whole = exp.Floor(this=exp.Div(this=_double(one.this), expression=below, typed=True))
            one.replace(exp.cast(whole, exp.DataType.Type.INT))
        else:
            below = exp.Nullif(this=below, expression=exp.Literal.number(0))
            one.replace(
                exp.Paren(this=exp.Div(this=_double(one.this), expression=below, typed=True))
            )


def _name_subqueries(tree: Any) -> None:
    """PostgreSQL before 16 wants a name for each."""
    for number, one in enumerate(tree.find_all(exp.Subquery)):
        if isinstance(one.parent, exp.From | exp.Join) and not one.alias:
            one.set("alias", exp.TableAlias(this=exp.to_identifier(f"inner_{number}")))


def _write_times(tree: Any, dialect: Dialect) -> None:
    """Write what ledger.sql does with times; each engine has words of its own."""
    words = _TIMES[dialect]

    def sql(one: Any) -> str:
        """Return an argument's SQL."""
        return str(one.sql(dialect=dialect.value))

    for one in list(tree.find_all(exp.DateDiff)):
        unit = str(one.unit).strip("'").lower()
        one.replace(_raw(words[unit].format(later=sql(one.this), earlier=sql(one.expression))))
    for one in list(tree.find_all(exp.Add)):
        minutes = one.expression
        if minutes.sql(dialect="duckdb").upper().startswith("TO_MINUTES("):
            argument = next(iter(minutes.expressions), minutes.this)
            one.replace(_raw(words["add"].format(time=sql(one.this), minutes=sql(argument))))
    for one in list(tree.find_all(exp.Hour)):
        one.replace(_raw(words["hour"].format(time=sql(one.this))))


def _raw(text: str) -> Any:
    return exp.Var(this=text)


_TIMES: Final[Mapping[Dialect, Mapping[str, str]]] = {
    Dialect.SPARK: {
        "day": "DATEDIFF({later}, {earlier})",
        "minute": "TIMESTAMPDIFF(MINUTE, TIMESTAMP_NTZ '1970-01-01 00:00:00', {later})",
        "add": "TIMESTAMPADD(MINUTE, CAST({minutes} AS INT), {time})",
        "hour": "HOUR({time})",
    },
    Dialect.POSTGRES: {
        "day": "({later} - {earlier})",
        "minute": "CAST(FLOOR(EXTRACT(EPOCH FROM {later}) / 60) AS BIGINT)",
        "add": "({time} + MAKE_INTERVAL(mins => CAST({minutes} AS INT)))",
        "hour": "CAST(EXTRACT(HOUR FROM {time}) AS INT)",
    },
}


def _last(asked: PushedQueries, kept: Collection[str]) -> str:
    columns, joins = [], []
    for one in asked.pack.indicators:
        if one.id in kept:
            table = _table(one.id)
            joins.append(f"LEFT JOIN {table} ON {table}.unit = customer.unit")
        columns += [
            _finished(asked, one.id, spec, one.id in kept) for spec in one.typology.features
        ]
    listed = ",\n  ".join(columns)
    joined = "\n".join(joins)
    return f"SELECT\n  customer.unit AS unit,\n  {listed}\nFROM customer\n{joined}\nORDER BY unit"


def _finished(asked: PushedQueries, indicator: str, spec: FeatureSpec, kept: bool) -> str:
    double = "DOUBLE" if asked.dialect is Dialect.SPARK else "DOUBLE PRECISION"
    quote = "`" if asked.dialect is Dialect.SPARK else '"'
    name = f"{quote}{spec.name}{quote}"
    if not kept:
        return f"CAST(NULL AS {double}) AS {name}"
    table = _table(indicator)
    value = f"CAST({table}.{spec.name} AS {double})"
    if spec.absent is AbsenceMeaning.ZERO:
        value = f"CASE WHEN {table}.unit IS NULL THEN CAST(0 AS {double}) ELSE {value} END"
    return f"{value} AS {name}"
