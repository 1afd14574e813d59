"""Parquet: one file, or many small ones of one form as if they were one.

An engine takes some 20 ms to begin, and a folder may hold ten thousand files: those that have the
same columns and follow each other are read by one query, in the order of their names.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fieldfare.client.records.sources.checked_batches import CheckedBatches
from fieldfare.client.records.sources.covering import covered_columns
from fieldfare.client.records.sources.engine import (
    BATCH_ROWS,
    BATCH_VALUES,
    LEAST_ROWS,
    Feed,
    Source,
    arriving_feed,
    connect,
    described,
    unreadable,
)
from fieldfare.client.records.sources.folders import (
    FolderFile,
    looks_like_pattern,
    refuse_own,
    unchanged,
)
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, literal, quoted
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.features import Dependence

MOST_FILES: Final = 1_024  # that one query reads
MOST_BYTES: Final = 64 << 20  # of them together, on the disk
_BUFFER: Final = 1 << 20  # bytes of a column that are read at once
_INDEX: Final = "file_index"  # the engine's column of which file a row comes from
_PROBE: Final = "fieldfare_types"
# Of these both readers give the same: numbers, texts, times, bit for bit.
_SHARED: Final = re.compile(
    r"BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|DATE|TIME"
    r"|TIMESTAMP( WITH TIME ZONE|_NS)?|UUID|JSON|VARCHAR|BLOB|(STRUCT|MAP)\(.*|.*\[\]",
    re.DOTALL,
)


@contextmanager
def open_parquet(path: Path, mapping: ColumnMapping) -> Iterator[Source]:
    """Open one file.

    Raises:
        duckdb.Error, pa.ArrowException, OSError: it cannot be read.
    """
    with connect(files=[str(path)]) as connection:
        feed = Feed(connection, _scan([path]))
        columns = described(connection, feed.relation)
        with _opened(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
        _refuse_others(str(path), connection, feed.relation, schema)
        told = (linked_columns(schema), covered_columns(schema), None, rows)
        by_value = partial(_by_value, str(path), [FolderFile(path, "")])
        yield Source(str(path), columns, lambda _: feed, mapping.numerals, *told, by_value)


def _opened(path: Path) -> Any:
    """Open for the other reader; in nanoseconds an INT96 time after 2262 would be of 1816."""
    return pq.ParquetFile(
        path, buffer_size=_BUFFER, pre_buffer=False, coerce_int96_timestamp_unit="us"
    )


def _refuse_others(
    name: str, connection: duckdb.DuckDBPyConnection, relation: str, schema: Any
) -> None:
    """Refuse columns of which the two readers might give different values, by types alone.

    Which one reads a row depends on whether another row can be read.

    Raises:
        RecordsError: there are such; names them.
    """
    plain = pa.schema([(field.name, _plain(field.type)) for field in schema])
    ours, theirs = _types(connection, relation), _arriving_types(connection, plain)
    others = [
        column
        for column, kind in ours.items()
        if kind != theirs.get(column) or not _SHARED.fullmatch(kind)
    ]
    if others:
        raise RecordsError(
            f"{name}: expected numbers, truth values, dates, times or text, found types that "
            f"readers interpret differently: {', '.join(others)}; write them as text, or leave "
            "them out"
        )


def _types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the engine's type of each column; milliseconds are times like any other."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return {str(row[0]): str(row[1]).replace("TIMESTAMP_MS", "TIMESTAMP") for row in rows}


def _arriving_types(connection: duckdb.DuckDBPyConnection, schema: Any) -> dict[str, str]:
    """Return the engine's types of what the other reader brings; none where it has none."""
    try:
        connection.register(_PROBE, pa.Table.from_batches([], schema))
        return _types(connection, _PROBE)
    except duckdb.NotImplementedException:
        if len(schema) == 1:
            return {}
        parts = [_arriving_types(connection, pa.schema([field])) for field in schema]
        return {name: kind for part in parts for name, kind in part.items()}
    finally:
        connection.unregister(_PROBE)


def linked_columns(schema: Any) -> frozenset[str]:
    """Return the columns that `typologies run`, or whoever wrote the file, tagged as linked."""
    tag = Dependence.LINKED.value.encode()
    return frozenset(one.name for one in schema if (one.metadata or {}).get(b"tag") == tag)


def _scan(paths: Sequence[Path]) -> str:
    listed = ", ".join(literal(str(path)) for path in paths)
    # Names of folders above, which are none of ours, may look like partitions.
    return f"read_parquet([{listed}], hive_partitioning=false)"


@dataclass(frozen=True)
class ParquetRun:
    """Files of one form that follow each other.

    Attributes:
        files: in order; at least one.
        rows: of each file; 0 where a file's end cannot be read.
    """

    files: tuple[FolderFile, ...]
    rows: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class _FileForm:
    """What files of one run have in common; fields say what they say, the rest of a file's own."""

    schema: Any
    stored: Any  # types of one name may be stored in several ways
    linked: frozenset[str]
    covered: dict[str, str]
    rows: int

    @classmethod
    def of(cls, path: Path) -> "_FileForm | None":
        """Return a file's form; None where it has to be read by itself."""
        if looks_like_pattern(path):
            return None  # the engine would read what it fits, of the others, too
        try:
            with _opened(path) as file:
                schema, stored, rows = file.schema_arrow, file.schema, file.metadata.num_rows
        except (pa.ArrowException, OSError):
            return None  # whoever opens it says what is wrong
        if _INDEX in map(str.casefold, schema.names):
            return None  # it hides the engine's own: such files are read one by one
        told = (linked_columns(schema), covered_columns(schema), rows)
        return cls(schema.remove_metadata(), stored, *told)

    def is_like(self, other: "_FileForm | None") -> bool:
        """Tell whether one query reads both files."""
        return (
            other is not None
            and self.schema.equals(other.schema)
            and self.stored.equals(other.stored)
            and (self.linked, self.covered) == (other.linked, other.covered)
        )


def parquet_runs(files: Sequence[FolderFile]) -> Iterator[ParquetRun]:
    """Put files that can be read by one query together, in their order."""
    run: list[FolderFile] = []
    rows: list[int] = []
    size, form = 0, None
    for file in files:
        own = _FileForm.of(file.path)
        fits = len(run) < MOST_FILES and size + file.size <= MOST_BYTES
        if run and not (fits and form is not None and form.is_like(own)):
            yield ParquetRun(tuple(run), tuple(rows))
            run, rows, size = [], [], 0
        form = own
        run.append(file)
        rows.append(own.rows if own else 0)
        size += file.size
    if run:
        yield ParquetRun(tuple(run), tuple(rows))


def _by_value(name: str, files: Sequence[FolderFile], wanted: Sequence[str]) -> Feed:
    """Read the same rows by another library, which looks at no text before we do.

    The engine ends at the first text that is no UTF-8 and the first time beyond its calendar.
    """
    with _opened(files[0].path) as opened:
        own = opened.schema_arrow
    connection = connect()
    keys = {key: pa.string() for key in files[0].keys}
    fields = [(one, keys.get(one) or _plain(own.field(one).type)) for one in wanted]
    problem = f"{name}: expected a sound Parquet file, found a damaged part; write it again"
    batches = (batch for file in files for batch in _batches_of(file, pa.schema(fields)))
    reader = pa.RecordBatchReader.from_batches(pa.schema(fields), batches)
    checked = CheckedBatches(reader, (OSError,), problem, lenient=True)

    def finish() -> RecordsError | None:
        """Close the engine; returns what was wrong with the files."""
        connection.close()
        return checked.problem

    return arriving_feed(connection, checked, finish)


def _batches_of(file: FolderFile, schema: Any) -> Iterator[Any]:
    columns = [name for name in schema.names if name not in file.keys]
    rows = max(LEAST_ROWS, min(BATCH_ROWS, BATCH_VALUES // len(schema)))
    with _opened(file.path) as opened:
        for batch in opened.iter_batches(rows, columns=columns, use_threads=False):
            said = {key: pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
                    for key, value in file.keys.items()}  # fmt: skip
            arrays = [
                said[one.name] if one.name in said else _plain_column(batch.column(one.name))
                for one in schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plain(kind: Any) -> Any:
    """Return the type as the engine reads it, which knows neither dictionaries nor durations.

    Nor does it know halves of floats, and lists of one length are lists.
    """
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain_column(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if pa.types.is_duration(column.type):
        return column.view(pa.int64())
    kind = _plain(column.type)
    return column if column.type == kind else column.cast(kind)


@contextmanager
def open_run(folder: Path, run: ParquetRun, mapping: ColumnMapping) -> Iterator[Source]:
    """Open files of one form as one source; their rows come in the order of the files.

    Raises:
        RecordsError: one of them cannot be read, or changed meanwhile; names it.
    """
    paths = [file.path for file in run.files]
    with unchanged(paths), connect(files=[str(path) for path in paths]) as connection:
        try:
            yield _source(connection, folder, run, mapping)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _culprit(paths) or unreadable(str(folder), error) from None
        except RecordsError:
            culprit = _culprit(paths)
            if culprit is None:
                raise
            raise culprit from None


def _source(
    connection: duckdb.DuckDBPyConnection, folder: Path, run: ParquetRun, mapping: ColumnMapping
) -> Source:
    scan = _scan([file.path for file in run.files])
    columns = described(connection, scan)
    with _opened(run.files[0].path) as file:
        schema = file.schema_arrow
    _refuse_others(str(run.files[0].path), connection, scan, schema)
    keys = run.files[0].keys
    refuse_own(str(run.files[0].path), columns, keys)
    said = "".join(f", {_said(run.files, key)} AS {quoted(key)}" for key in keys)
    feed = Feed(connection, f"(SELECT *{said} FROM {scan})" if said else scan)
    columns |= dict.fromkeys(keys, ColumnType.TEXT)
    told = (linked_columns(schema), covered_columns(schema), None, sum(run.rows))
    by_value = partial(_by_value, str(folder), run.files)
    return Source(str(folder), columns, lambda _: feed, mapping.numerals, *told, by_value)


def _said(files: Sequence[FolderFile], key: str) -> str:
    """Return SQL for what the folder of each row's file says."""
    values = [file.keys[key] for file in files]
    listed = ", ".join("NULL" if value is None else literal(value) for value in values)
    return f"CAST([{listed}] AS VARCHAR[])[CAST({_INDEX} AS BIGINT) + 1]"


def _culprit(paths: Sequence[Path]) -> RecordsError | None:
    """Read files one by one, whole, and return the error of the first that cannot be."""
    for path in paths:
        try:
            with connect(files=[str(path)]) as connection:
                for _ in connection.execute(f"FROM {_scan([path])}").to_arrow_reader(BATCH_ROWS):
                    pass
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            return unreadable(str(path), error)
    return None
