"""Files of records, opened by their kind: CSV, Parquet, Arrow, DuckDB, SQLite.

Everything is opened to be read; nothing is written, and nothing beside the file is opened.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from fieldfare.client.records.sources.checked_batches import CheckedBatches
from fieldfare.client.records.sources.covering import covered_columns
from fieldfare.client.records.sources.csv_text import open_csv
from fieldfare.client.records.sources.database_process import DatabaseOrder, open_database
from fieldfare.client.records.sources.databases import WHOLE, Rows
from fieldfare.client.records.sources.engine import (
    Feed,
    Source,
    arriving_feed,
    connect,
    described,
    different,
    unreadable,
)
from fieldfare.client.records.sources.folders import (
    FolderFile,
    check_unchanged,
    files_below,
    refuse_pattern,
    unchanged,
    with_keys,
)
from fieldfare.client.records.sources.mapping import PLAIN, ColumnMapping, Numerals
from fieldfare.client.records.sources.parquet_files import (
    linked_columns,
    open_parquet,
    open_run,
    parquet_runs,
)
from fieldfare.shared.errors import RecordsError


class FileKind(Enum):
    """The kind of a file."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    DUCKDB = "duckdb"
    SQLITE = "sqlite"


_SUFFIXES: Final = {
    ".parquet": FileKind.PARQUET,
    ".pq": FileKind.PARQUET,
    ".arrow": FileKind.ARROW,
    ".feather": FileKind.ARROW,
    ".ipc": FileKind.ARROW,
    ".duckdb": FileKind.DUCKDB,
    ".ddb": FileKind.DUCKDB,
    ".sqlite": FileKind.SQLITE,
    ".sqlite3": FileKind.SQLITE,
}
# https://arrow.apache.org/docs/format/Columnar.html, "IPC Streaming Format"
_STREAM_END: Final = b"\xff\xff\xff\xff\0\0\0\0"
_SQLITE_START: Final = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html, section 1.3
_DATABASES: Final = frozenset({FileKind.DUCKDB, FileKind.SQLITE})
_NAMED: Final = frozenset({FileKind.CSV, FileKind.PARQUET})  # the engine opens them by name


def kind_of(path: Path) -> FileKind:
    """Return the kind of a file by its name; CSV where the name has no known ending."""
    suffix = path.suffix.lower()
    if suffix != ".db":
        return _SUFFIXES.get(suffix, FileKind.CSV)
    with path.open("rb") as stream:
        start = stream.read(len(_SQLITE_START))
    return FileKind.SQLITE if start == _SQLITE_START else FileKind.DUCKDB


@dataclass(frozen=True)
class SourceFile:
    """One file of a table, or all of a database's.

    Attributes:
        name: within the table; empty where the table has one part.
        open: opens it.
        pieces: where several files are opened as one: each one's name and number of rows.
        size: beside other parts, as bytes.
        identity: of its files, and how they are read; empty where nobody can tell.
    """

    name: str
    open: Callable[[], AbstractContextManager[Source]]
    pieces: tuple[tuple[str, int], ...] = ()
    size: int = 1
    identity: tuple[object, ...] = ()


def _nothing_changes() -> None:
    """Leave a path that is not a folder alone."""


@dataclass(frozen=True)
class Table:
    """Rows under one mapping, in one or more parts that are read in order.

    Attributes:
        name: of the source, for messages.
        parts: one file each.
        joined: the same rows in fewer parts; None: there are no fewer.
        check_unchanged: once all is read; raises RecordsError where there are other files now.
    """

    name: str
    mapping: ColumnMapping
    parts: tuple[SourceFile, ...]
    joined: Callable[[], Iterator[SourceFile]] | None = None
    check_unchanged: Callable[[], None] = _nothing_changes

    @property
    def size(self) -> int:
        """Of all parts."""
        return sum(part.size for part in self.parts)

    def runs(self) -> Iterator[SourceFile]:
        """Return the parts, many small files as one where they can be."""
        return iter(self.parts) if self.joined is None else self.joined()


def table_at(
    path: Path,
    mapping: ColumnMapping | None = None,
    *,
    kind: FileKind | None = None,
    rows: Rows = WHOLE,
) -> Table:
    """Return the table in a file, or in a folder of files of one kind (by name, in order).

    Args:
        path: the file or folder.
        mapping: what is declared about it.
        kind: what it is; by default what its name says.
        rows: which rows of a database.

    Raises:
        RecordsError: no file, or a folder with something else in it.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise RecordsError(f"{path}: expected a file or folder, found a pipe or a device: save it")
    declared = mapping or ColumnMapping()
    if not path.is_dir():
        return Table(str(path), declared, (SourceFile("", _opener(path, declared, kind, rows)),))
    files = _files_of(path, kind)
    parts = tuple(_part(file, declared, kind, rows) for file in files)
    joined = None
    if len(files) > 1 and (kind or kind_of(files[0].path)) is FileKind.PARQUET:
        joined = partial(_joined, path, files, declared)
    return Table(str(path), declared, parts, joined, partial(check_unchanged, path, files))


def _opener(
    path: Path, mapping: ColumnMapping, kind: FileKind | None, rows: Rows
) -> Callable[[], AbstractContextManager[Source]]:
    return lambda: open_source(path, mapping, kind=kind, rows=rows)


def _part(
    file: FolderFile, mapping: ColumnMapping, kind: FileKind | None, rows: Rows
) -> SourceFile:
    @contextmanager
    def opened() -> Iterator[Source]:
        with open_source(file.path, mapping, kind=kind, rows=rows) as source:
            yield with_keys(source, file.keys)

    identity = () if kind_of(file.path) in _DATABASES else _identity([file], mapping)
    return SourceFile(file.name, opened, size=file.size, identity=identity)


def _identity(files: Sequence[FolderFile], mapping: ColumnMapping) -> tuple[object, ...]:
    named = [(str(file.path), dict(file.keys), file.identity) for file in files]
    return (mapping.model_dump_json(), *named)


def _joined(
    folder: Path, files: Sequence[FolderFile], mapping: ColumnMapping
) -> Iterator[SourceFile]:
    """Return Parquet files in runs of one form; one that stands alone is opened by itself."""
    for run in parquet_runs(files):
        if len(run.files) == 1:
            yield _part(run.files[0], mapping, FileKind.PARQUET, WHOLE)
            continue
        names = (file.name for file in run.files)
        pieces = tuple(zip(names, run.rows, strict=True))
        opened = partial(open_run, folder, run, mapping)
        yield SourceFile("", opened, pieces, run.size, _identity(run.files, mapping))


def folder_files(folder: Path, kind: FileKind | None = None) -> tuple[Path, ...]:
    """Return the paths of a folder's files, those of its partitions too (`files_below`).

    Raises:
        RecordsError: as `files_below`, or files of several kinds.
    """
    return tuple(file.path for file in _files_of(folder, kind))


def _files_of(folder: Path, kind: FileKind | None) -> tuple[FolderFile, ...]:
    files = files_below(folder)
    kinds = {kind_of(file.path) for file in files}
    if len(kinds) > 1 or (kind is not None and kinds != {kind}):
        one = kind.value if kind else "one"
        found = " and ".join(sorted(other.value for other in kinds))
        raise RecordsError(f"{folder}: expected files of {one} kind, found {found}; move the rest")
    if kinds & _DATABASES and (len(files) > 1 or files[0].keys):
        raise RecordsError(f"{folder}: expected one database file, found {len(files)}")
    return files


@contextmanager
def open_source(
    path: Path,
    mapping: ColumnMapping | None = None,
    *,
    kind: FileKind | None = None,
    rows: Rows = WHOLE,
) -> Iterator[Source]:
    """Open one file.

    Args:
        path: `.parquet`/`.pq`, `.arrow`/`.feather`/`.ipc`, `.duckdb`/`.ddb`, `.sqlite`/`.sqlite3`,
            `.db`, or else CSV (also `.gz`).
        mapping: what is declared about it.
        kind: what it is; by default what its name says.
        rows: which rows of a database.

    Raises:
        RecordsError: no such file, or it cannot be read as what it is.
    """
    if not path.is_file():
        raise RecordsError(f"{path}: expected a file with records, found none; check the path")
    declared = mapping or ColumnMapping()
    form = kind or kind_of(path)
    if form in _NAMED:
        refuse_pattern(path)
    # A database sees one state of its own; its file may change beside.
    still = nullcontext() if form in _DATABASES else unchanged([path])
    with still, _readable(str(path), lambda: _OPENERS[form](path, declared, rows)) as source:
        yield source


def table_in_memory(name: str, rows: Any) -> Table:
    """Return a table that is in memory already, to be read like an Arrow file of the same rows.

    Args:
        name: what messages call it.
        rows: a `pyarrow.Table`.
    """
    opened = partial(_readable, name, partial(_stream, name, rows.to_reader, PLAIN))
    return Table(name, ColumnMapping(), (SourceFile("", opened),))


@contextmanager
def _readable(name: str, opener: Callable[[], AbstractContextManager[Source]]) -> Iterator[Source]:
    """Open a source; what an engine says of it is said without a row."""
    with ExitStack() as stack:
        try:
            source = stack.enter_context(opener())
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeError) as error:
            raise unreadable(name, error) from None  # UnicodeError: of a column's name
        yield source


def _parquet(path: Path, mapping: ColumnMapping, rows: Rows) -> AbstractContextManager[Source]:
    del rows
    return open_parquet(path, mapping)


def _arrow(path: Path, mapping: ColumnMapping, rows: Rows) -> AbstractContextManager[Source]:
    del rows
    return _stream(str(path), lambda: _arrow_reader(path), mapping.numerals)


@contextmanager
def _stream(name: str, begin: Callable[[], Any], numerals: Numerals) -> Iterator[Source]:
    """Read a stream of Arrow's, which `begin` begins anew for each query."""
    with connect() as connection:

        def feed(_: Sequence[str], *, lenient: bool = False) -> Feed:
            """Begin a reading of the batches."""
            problem = f"{name}: expected a sound Arrow file, found a damaged batch; write it again"
            checked = CheckedBatches(begin(), (OSError,), problem, lenient=lenient)
            return arriving_feed(connection, checked, lambda: checked.problem)

        schema = begin().schema
        different(name, schema.names)
        connection.register("arrow_records", pa.Table.from_batches([], schema))
        columns = described(connection, "arrow_records")
        told = (linked_columns(schema), covered_columns(schema), partial(feed, lenient=True))
        yield Source(name, columns, feed, numerals, *told)


def _arrow_reader(path: Path) -> Any:
    mapped = pa.memory_map(str(path))
    try:
        opened = pa.ipc.open_file(mapped)
    except pa.ArrowInvalid:
        return _arrow_stream(mapped, path)
    batches = (opened.get_batch(index) for index in range(opened.num_record_batches))
    return pa.RecordBatchReader.from_batches(opened.schema, batches)


def _arrow_stream(mapped: Any, path: Path) -> Any:
    """Open a stream that ends with its mark: without it, half of one looks whole."""
    mapped.seek(max(0, mapped.size() - len(_STREAM_END)))
    if mapped.read() != _STREAM_END:
        raise RecordsError(
            f"{path}: expected a whole Arrow file or stream, found another form or a part of one; "
            "write or fetch it again"
        )
    mapped.seek(0)
    return pa.ipc.open_stream(mapped)


def _csv(path: Path, mapping: ColumnMapping, rows: Rows) -> AbstractContextManager[Source]:
    del rows
    return open_csv(path, mapping)


def _database(
    kind: str, path: Path, mapping: ColumnMapping, rows: Rows
) -> AbstractContextManager[Source]:
    named = (rows.table, rows.schema, rows.query)
    return open_database(DatabaseOrder(kind, str(path), mapping.model_dump_json(), named), mapping)


_OPENERS: Final[
    dict[FileKind, Callable[[Path, ColumnMapping, Rows], AbstractContextManager[Source]]]
] = {
    FileKind.CSV: _csv,
    FileKind.PARQUET: _parquet,
    FileKind.ARROW: _arrow,
    FileKind.DUCKDB: partial(_database, "duckdb"),
    FileKind.SQLITE: partial(_database, "sqlite"),
}
