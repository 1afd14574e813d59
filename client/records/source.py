"""Record files, opened by DuckDB and streamed in batches: CSV, Parquet, Arrow.

DuckDB may read the one file that it is given and nothing else: no extension is loaded
or installed, no other path opened, no network reached. A CSV file's separator comes from
its header line alone and every field is text, so how one row is read never depends on
another row (design section 2, "Unit").
"""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from fieldfare.shared.errors import RecordsError

BATCH_ROWS: Final = 100_000
MEMORY_LIMIT: Final = "512MB"  # of DuckDB's own buffers
MAX_HEADER_CHARACTERS: Final = 1_000_000
SEPARATORS: Final = (",", "\t", ";", "|")
WHITESPACE: Final = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())

MISSING: Final = "CAST('nan' AS DOUBLE)"  # in SQL

_PARQUET: Final = frozenset({".parquet", ".pq"})
_ARROW: Final = frozenset({".arrow", ".feather", ".ipc"})
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_NUMBERS: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|U?INTEGER|DECIMAL\(.*\)")


class ColumnType(Enum):
    """What a source column can be read as without looking at its values."""

    NUMBER = "number"
    FLOAT = "float"  # a number that may be NaN
    BOOLEAN = "boolean"
    TEXT = "text"  # everything else, through its text form


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, eq=False)
class Source:
    """One open file: its columns, and a way to stream expressions over them.

    Attributes:
        path: the file.
        columns: each column's name and type, in order.
    """

    path: Path
    columns: dict[str, ColumnType]
    _connection: duckdb.DuckDBPyConnection
    _relation: str

    def batches(self, expressions: Sequence[str]) -> Iterator[Any]:
        """Stream SQL `expressions` as Arrow record batches, in the file's row order.

        Raises:
            RecordsError: the file is damaged or its rows do not fit its header.
        """
        query = f"SELECT {', '.join(expressions)} FROM {self._relation}"
        try:
            yield from self._connection.execute(query).to_arrow_reader(BATCH_ROWS)
        except (duckdb.Error, pa.ArrowException) as error:
            raise _unreadable(self.path, error) from None


def _unreadable(path: Path, error: Exception) -> RecordsError:
    """Say where reading stopped; the engine's own message would quote the row."""
    line = re.search(r"CSV Error on Line: (\d+)", str(error))
    if line is not None:
        return RecordsError(
            f"{path}: as many fields as the header expected in every row, another form found at "
            f"line {line[1]}; check separators and quotes there (the text must be UTF-8)"
        )
    return RecordsError(
        f"{path}: a readable file expected, damaged content or mixed line endings found; "
        "write it again"
    )


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY_LIMIT,
        },
    )
    connection.execute("SET allowed_paths = ?", [[str(path)]])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written: lines before its header, separator, column names."""

    skipped: int
    separator: str
    names: tuple[str, ...]


def csv_form(path: Path) -> CsvForm:
    """Return the form of a CSV file; its header, the first line with text, alone decides it.

    Raises:
        RecordsError: no header, not UTF-8, or a name that stands twice.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
            skipped, line = 0, stream.readline(MAX_HEADER_CHARACTERS)
            while line and not line.strip():
                skipped, line = skipped + 1, stream.readline(MAX_HEADER_CHARACTERS)
    except (OSError, EOFError, UnicodeDecodeError):
        raise RecordsError(
            f"{path}: UTF-8 text (or text compressed by gzip) expected; convert the file"
        ) from None
    bare = re.sub(r'"[^"]*"', "", line)
    separator = max(SEPARATORS, key=bare.count)  # the first of equals: a comma
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    if not any(names):
        raise RecordsError(f"{path}: a header row with column names expected, none found")
    names = [name or f"unnamed_{index}" for index, name in enumerate(names, start=1)]
    if len({name.casefold() for name in names}) < len(names):
        # No name is shown: where the header is missing, names are a record's values.
        raise RecordsError(f"{path}: different column names expected, one found twice")
    return CsvForm(skipped, separator, tuple(names))


def _csv_relation(path: Path) -> str:
    form = csv_form(path)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in form.names)
    compression = "gzip" if path.suffix == ".gz" else "none"
    return (
        f"read_csv({literal(str(path))}, auto_detect=false, header=true, strict_mode=true, "
        f"skip={form.skipped}, delim={literal(form.separator)}, quote='\"', escape='\"', "
        f"null_padding=false, compression='{compression}', columns={{{columns}}})"
    )


def _arrow_reader(path: Path) -> Any:
    mapped = pa.memory_map(str(path))
    try:
        opened = pa.ipc.open_file(mapped)
    except pa.ArrowInvalid:
        mapped.seek(0)
        return pa.ipc.open_stream(mapped)
    batches = (opened.get_batch(index) for index in range(opened.num_record_batches))
    return pa.RecordBatchReader.from_batches(opened.schema, batches)


def _relation(path: Path, connection: duckdb.DuckDBPyConnection) -> str:
    suffix = path.suffix.lower()
    if suffix in _PARQUET:
        return f"read_parquet({literal(str(path))})"
    if suffix in _ARROW:
        connection.register("arrow_records", _arrow_reader(path))
        return "arrow_records"
    return _csv_relation(path)


def _column_type(name: str) -> ColumnType:
    if name in _FLOATS:
        return ColumnType.FLOAT
    if name == "BOOLEAN":
        return ColumnType.BOOLEAN
    return ColumnType.NUMBER if _NUMBERS.fullmatch(name) else ColumnType.TEXT


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open one file: `.parquet`/`.pq`, `.arrow`/`.feather`/`.ipc`, or else CSV (also `.gz`).

    Raises:
        RecordsError: no such file, or it cannot be read as what its name says.
    """
    if not path.is_file():
        raise RecordsError(f"{path}: a file with records expected, none found; check the path")
    with _connect(path) as connection:
        try:
            relation = _relation(path, connection)
            described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
        columns = {str(row[0]): _column_type(str(row[1])) for row in described}
        yield Source(path, columns, connection, relation)


def text_of(column: str, kind: ColumnType) -> str:
    """Return SQL for a column's trimmed text (VARCHAR; NULL and NaN become NULL)."""
    name = quoted(column)
    if kind is ColumnType.FLOAT:
        return f"CASE WHEN isnan({name}) THEN NULL ELSE CAST({name} AS VARCHAR) END"
    text = f"CAST({name} AS VARCHAR)"
    # Trimming a set of characters takes microseconds a value: only where an end may need it.
    plain = f"unicode({text}) BETWEEN 33 AND 126 AND unicode(right({text}, 1)) BETWEEN 33 AND 126"
    return f"CASE WHEN {plain} THEN {text} ELSE trim({text}, {literal(WHITESPACE)}) END"


def number_of(column: str, kind: ColumnType, missing: Sequence[str]) -> str:
    """Return SQL for a column's number (DOUBLE): NaN where missing, NULL where it is none.

    `missing` tokens count as text and, where they are numbers, by value, so that a typed
    column and a text column agree. Truth values are 1 and 0.
    """
    name = quoted(column)
    tokens = [value for value in map(_finite, missing) if value is not None]
    if kind is not ColumnType.TEXT:
        number = _unless(tokens, f"CAST({name} AS DOUBLE)")
        return f"CASE WHEN {name} IS NULL THEN {MISSING} ELSE {number} END"
    number = f"TRY_CAST({name} AS DOUBLE)"
    # Plain numbers need no look at their text, which costs several times more.
    return (
        f"CASE WHEN isfinite({number}) THEN {_unless(tokens, number)} "
        f"ELSE {_odd_number(column, missing, tokens)} END"
    )


def _odd_number(column: str, missing: Sequence[str], tokens: Sequence[float]) -> str:
    """Return SQL for the number of a text that is no plain one."""
    text = text_of(column, ColumnType.TEXT)
    words = ", ".join(literal(word) for word in ("", *missing))
    return (
        f"CASE WHEN {text} IS NULL OR {text} IN ({words}) THEN {MISSING} "
        f"WHEN lower({text}) = 'true' THEN 1.0 WHEN lower({text}) = 'false' THEN 0.0 "
        f"ELSE {_unless(tokens, f'TRY_CAST({text} AS DOUBLE)')} END"
    )


def _unless(tokens: Sequence[float], number: str) -> str:
    """Return SQL for `number`, missing where it equals a token."""
    if not tokens:
        return number
    found = ", ".join(f"CAST({token!r} AS DOUBLE)" for token in tokens)
    return f"CASE WHEN {number} IN ({found}) THEN {MISSING} ELSE {number} END"


def _finite(token: str) -> float | None:
    try:
        value = float(token)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
