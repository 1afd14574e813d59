"""Canonical records as tables: Arrow schemas, and how a folder of files is read into them.

A folder holds `transactions`, `accounts` and `customers`, each as one Parquet, Arrow or CSV file
(also `.csv.gz`), or as a folder of such files. Every value is checked against the same
rules as one record would be, by columns. A value that does not fit is refused with its row; a
column that is absent is known to be absent, which is not the same as empty.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import duckdb
import pyarrow as pa
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.source import Table, table_at
from fieldfare.client.records.sources.sql import ColumnType, literal, quoted
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.media_gate import refuse_names

SUFFIXES: Final = (".parquet", ".arrow", ".csv", ".csv.gz", "")

_ARROW: Final[Mapping[type, Any]] = MappingProxyType(
    {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        date: pa.date32(),
        datetime: pa.timestamp("us"),
    }
)
_SQL: Final[Mapping[type, str]] = MappingProxyType(
    {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", date: "DATE",
     datetime: "TIMESTAMP"}
)  # fmt: skip


def base_type(field: FieldInfo) -> type:
    """Return the plain type behind a field: of `Mcc | None` str, of an enumeration itself."""
    annotation = field.annotation
    while get_origin(annotation) in {Union, UnionType}:
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    if get_origin(annotation) is not None and hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    if not isinstance(annotation, type):
        raise TypeError(f"expected a plain type, found {annotation}")
    return annotation


def arrow_schema(model: type[BaseModel]) -> Any:
    """Return the Arrow schema of a canonical record; optional fields may be null."""
    return pa.schema(
        [
            pa.field(name, _arrow_of(field), nullable=not field.is_required())
            for name, field in model.model_fields.items()
        ]
    )


def _arrow_of(field: FieldInfo) -> Any:
    if get_origin(field.annotation) is tuple:
        inner = get_args(field.annotation)[0]
        return pa.list_(pa.float64() if inner is float else pa.string())
    plain = base_type(field)
    return pa.string() if issubclass(plain, StrEnum) else _ARROW[plain]


@dataclass(frozen=True)
class LoadedTable:
    """The rows and columns of one table of a folder.

    Attributes:
        rows: how many.
        columns: the canonical columns that the file has.
        empty: those of them without one value; perhaps the institution lacks them.
    """

    rows: int
    columns: frozenset[str]
    empty: frozenset[str]


@dataclass(frozen=True, repr=False)  # a repr would show records
class RowFilter:
    """Rows to read of a table: those whose `column` holds one of `values`."""

    column: str
    values: tuple[str, ...]

    def where(self, source: Source) -> str:
        """Return the same as SQL."""
        listed = ", ".join(literal(value) for value in self.values)
        return f"{_text(self.column, source)} IN ({listed})" if listed else "false"


def load_tables(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table]
) -> dict[str, LoadedTable]:
    """Read all canonical tables into tables of the same names in `connection`.

    Raises:
        RecordsError: a table is absent, has a column that no canonical record has, or a value
            that does not fit; says the row.
    """
    return {name: load_table(connection, name, tables[name]) for name in TABLES}


def table_in(folder: Path, name: str) -> Table:
    """Return one canonical table of a folder.

    Raises:
        RecordsError: there is none, or several files are it.
    """
    return table_at(file_of(folder, name))


def last_day(table: Table, latest: date) -> date | None:
    """Return the last day, as clocks stood, of a folder's transactions; None where there is none.

    Args:
        table: `transactions`.
        latest: later days are mistakes, and count for nothing.

    Raises:
        RecordsError: the table has no such columns, or cannot be read.
    """
    found: list[date] = []
    fields = TABLES["transactions"].model_fields
    for part in table.parts:
        with part.open() as source:
            present = _columns(source, TABLES["transactions"])
            read = [name for name in ("ts_utc", "tz_offset_min") if name in present]
            moment, *ahead = (_value(name, source, fields[name]) for name in read)
            minutes = f"coalesce({ahead[0]}, 0)" if ahead else "0"
            day = f"CAST({moment} + to_minutes({minutes}) AS DATE)"
            until = f"{day} <= DATE '{latest.isoformat()}'"
            (batch,) = source.batches([f"max({day}) FILTER (WHERE {until}) AS day"], read)
            found += [one for one in batch.column(0).to_pylist() if one is not None]
    return max(found, default=None)


def file_of(folder: Path, name: str) -> Path:
    """Return the file, or the folder of files, that a folder's canonical table is.

    Raises:
        RecordsError: there is none, or several files are it.
    """
    found = [
        folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").exists()
    ]
    if len(found) != 1:
        raise RecordsError(
            f"{folder}: expected one file {name}.parquet, .arrow or .csv, found "
            f"{len(found) or 'none'}"
        )
    return found[0]


def load_table(
    connection: duckdb.DuckDBPyConnection, name: str, table: Table, only: RowFilter | None = None
) -> LoadedTable:
    """Read one table, checked, into the table `name` of `connection`.

    Args:
        connection: that gets it.
        name: of the canonical table.
        table: where it is.
        only: the rows to read and check; None: all.

    Raises:
        RecordsError: a column or a value does not fit; says the row, where all are read.
    """
    # One transaction: what each of many writes, the next would copy again.
    connection.execute("BEGIN")
    loaded = None
    try:
        loaded = _load_parts(connection, name, table, only)
    finally:
        connection.execute("ROLLBACK" if loaded is None else "COMMIT")
    return loaded


def _load_parts(
    connection: duckdb.DuckDBPyConnection, name: str, table: Table, only: RowFilter | None
) -> LoadedTable:
    model = TABLES[name]
    columns: frozenset[str] | None = None
    for part in table.parts:
        with part.open() as source:
            present = _columns(source, model)
            if columns is None:
                _create(connection, name, model)
                columns = present
            _refuse_other_columns(source, present, columns)
            _insert(connection, name, source, present, only)
    return _loaded(connection, name, columns or frozenset())


def _columns(source: Source, model: type[BaseModel]) -> frozenset[str]:
    refuse_names(source.columns, source.name)
    unknown = [column for column in source.columns if column not in model.model_fields]
    if unknown:
        raise RecordsError(
            f"{source.name}: expected canonical columns, found {', '.join(unknown[:5])}; leave out "
            "or rename (docs/typologies.md)"
        )
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    absent = [name for name in required if name not in source.columns]
    if absent:
        raise RecordsError(f"{source.name}: expected columns {', '.join(absent)}, found none")
    opaque = [name for name, kind in source.columns.items() if not kind.is_plain]
    if opaque:
        raise RecordsError(
            f"{source.name}: expected plain columns, found {opaque[0]}, which is binary or nested; "
            "leave it out (harm rule 6)"
        )
    return frozenset(source.columns)


def _create(connection: duckdb.DuckDBPyConnection, name: str, model: type[BaseModel]) -> None:
    connection.execute(f"CREATE TABLE {quoted(name)} ({columns_sql(model)})")


def columns_sql(model: type[BaseModel]) -> str:
    """Return SQL for the columns of a canonical record, each with its type."""
    return ", ".join(
        f"{quoted(column)} {sql_type(field)}" for column, field in model.model_fields.items()
    )


def sql_type(field: FieldInfo) -> str:
    """Return the SQL type of a canonical field."""
    plain = base_type(field)
    return "VARCHAR" if issubclass(plain, StrEnum) else _SQL[plain]


def _insert(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    source: Source,
    present: frozenset[str],
    only: RowFilter | None,
) -> None:
    for values in _checked(name, source, present, only):
        connection.register("arriving", values)
        listed = ", ".join(quoted(column) for column in values.column_names)
        connection.execute(f"INSERT INTO {quoted(name)} ({listed}) SELECT {listed} FROM arriving")
        connection.unregister("arriving")


def _checked(
    name: str, source: Source, present: frozenset[str], only: RowFilter | None
) -> Iterator[Any]:
    """Yield a source's rows as Arrow tables of canonical values, each checked before it is."""
    fields = {column: TABLES[name].model_fields[column] for column in sorted(present)}
    first = 1 if only is None else None
    where = "" if only is None else only.where(source)
    expressions = [_read(column, source, field) for column, field in fields.items()]
    expressions += [_wrong(column, source, field) for column, field in fields.items()]
    for batch in source.batches(expressions, where=where):
        _refuse_wrong(source.name, list(fields), batch.columns[len(fields) :], first)
        first = None if first is None else first + batch.num_rows
        yield pa.table(batch.columns[: len(fields)], names=list(fields))


class CheckedRows:
    """The rows of a canonical table, streamed; once all are read, what they were.

    Attributes:
        problem: why the stream ended early; None: it did not.
    """

    def __init__(self, name: str, table: Table) -> None:
        """Read `table` as the canonical table `name`."""
        self._name = name
        self._table = table
        self._rows = 0
        self._filled: set[str] = set()
        self._columns: frozenset[str] = frozenset()
        self.problem: RecordsError | None = None

    def batches(self) -> Iterator[Any]:
        """Yield Arrow record batches, each checked; ends at what does not fit (`problem`)."""
        try:
            for index, part in enumerate(self._table.parts):
                with part.open() as source:
                    present = _columns(source, TABLES[self._name])
                    _refuse_other_columns(source, present, self._columns if index else present)
                    self._columns = present
                    for values in _checked(self._name, source, present, None):
                        self._count(values)
                        yield from values.to_batches()
        except RecordsError as error:
            self.problem = error

    def schema(self) -> Any:
        """Return the Arrow schema of the batches, told from the first part.

        Raises:
            RecordsError: it has other columns than canonical ones.
        """
        fields = TABLES[self._name].model_fields
        with self._table.parts[0].open() as source:
            present = sorted(_columns(source, TABLES[self._name]))
        return pa.schema([pa.field(one, _arrow_of(fields[one])) for one in present])

    def loaded(self) -> LoadedTable:
        """Return what was read."""
        return LoadedTable(self._rows, self._columns, self._columns - self._filled)

    def _count(self, values: Any) -> None:
        self._rows += values.num_rows
        for name in self._columns - self._filled:
            if values.column(name).null_count < values.num_rows:
                self._filled.add(name)


def _refuse_other_columns(
    source: Source, present: frozenset[str], expected: frozenset[str]
) -> None:
    if present != expected:
        raise RecordsError(
            f"{source.name}: expected the columns of the files before it, found others; write all "
            "parts alike"
        )


def _refuse_wrong(where: str, columns: list[str], flags: list[Any], first: int | None) -> None:
    for column, flag in zip(columns, flags, strict=True):
        if flag.true_count:
            place = "one of the rows asked for"
            if first is not None:
                place = f"row {first + flag.index(pa.scalar(value=True)).as_py()}"
            raise RecordsError(
                f"{where}, {place}: expected a canonical {column}, found another form; see "
                "docs/typologies.md"
            )


def _text(column: str, source: Source) -> str:
    name = quoted(column)
    return f"nullif(trim({name}), '')" if source.columns[column] is ColumnType.TEXT else name


def _read(column: str, source: Source, field: FieldInfo) -> str:
    return f"{_value(column, source, field)} AS {quoted(column)}"


def _value(column: str, source: Source, field: FieldInfo) -> str:
    text, kind = _text(column, source), sql_type(field)
    if source.columns[column] is ColumnType.DATE:
        text = f"make_timestamp(epoch_us({text}))"  # of a zoned one its UTC, whatever ours is
    return f"TRY_CAST({text} AS {kind})"


def _wrong(column: str, source: Source, field: FieldInfo) -> str:
    """Return SQL that is true where a value breaks the field's rules."""
    text, value = _text(column, source), _value(column, source, field)
    broken = [f"({text} IS NOT NULL AND {value} IS NULL)"]
    if field.is_required():
        broken.append(f"{value} IS NULL")
    broken += [f"NOT ({rule})" for rule in rules_of(value, field)]
    return f"coalesce({' OR '.join(broken)}, false) AS {quoted(column + ' wrong')}"


def rules_of(value: str, field: FieldInfo) -> Iterator[str]:
    """Return SQL for the rules of a canonical field; each is true, or null, where it is kept."""
    plain = base_type(field)
    if issubclass(plain, StrEnum):
        yield f"{value} IN ({', '.join(literal(member.value) for member in plain)})"
    for limit in _limits(field):
        for attribute, sign in (("ge", ">="), ("le", "<=")):
            bound = getattr(limit, attribute, None)
            if bound is not None:
                yield f"{value} {sign} {bound}"
        if getattr(limit, "max_length", None) is not None:
            yield f"length({value}) <= {limit.max_length}"
        if getattr(limit, "pattern", None) is not None:
            yield f"regexp_full_match({value}, {literal(limit.pattern)})"


def _limits(field: FieldInfo) -> list[Any]:
    """Return a field's limits, also those inside `... | None`."""
    found = list(field.metadata)
    for inner in get_args(field.annotation):
        found += [limit for item in getattr(inner, "__metadata__", ()) for limit in _opened(item)]
    return found


def _opened(item: Any) -> list[Any]:
    return list(item.metadata) if isinstance(item, FieldInfo) else [item]


def _loaded(
    connection: duckdb.DuckDBPyConnection, name: str, columns: frozenset[str]
) -> LoadedTable:
    counted = sorted(columns)
    counts = ", ".join(f"count({quoted(column)})" for column in counted)
    row = connection.execute(f"SELECT count(*), {counts} FROM {quoted(name)}").fetchone() or (0,)
    empty = {column for column, count in zip(counted, row[1:], strict=True) if not count}
    return LoadedTable(int(row[0]), columns, frozenset(empty))
