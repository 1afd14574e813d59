"""Rows of a published CSV file, read by SQL expressions and checked by canonical rules.

A value that cannot be read is refused with its file and line, and never shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn

import pyarrow as pa
from pydantic.fields import FieldInfo

from fieldfare.client.records.canonical_bank import Account, Customer, Transaction
from fieldfare.client.records.canonical_tables import rules_of
from fieldfare.client.records.sources.csv_text import open_csv, opened
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import literal, quoted
from fieldfare.shared.errors import RecordsError

CENTS: Final = 100
MOST_STEPS: Final = 10**6  # of a simulation; days of 2,700 years
LAST_YEAR: Final = 9999  # that every calendar here can write
FIELDS: Final[Mapping[str, FieldInfo]] = {
    **Customer.model_fields,
    **Account.model_fields,
    **Transaction.model_fields,
}


@dataclass(frozen=True)
class Value:
    """The values that are read from a row.

    Attributes:
        sql: over the source's columns, all text; null where nothing stands there, or nothing
            that can be read.
        column: the source's column that it comes from.
        field: the canonical rules that it has to keep; none where there are none.
        needed: whether it may not be null.
    """

    sql: str
    column: str
    field: FieldInfo | None = None
    needed: bool = True


def text_value(column: str, canonical: str, *, needed: bool = True) -> Value:
    """Return a text of a row, as it is written."""
    return Value(bare(column), column, FIELDS[canonical], needed)


def minor_value(column: str, minor: int = CENTS) -> Value:
    """Return an amount in minor units, rounded to whole ones; negative ones are refused."""
    units = f"round(TRY_CAST({bare(column)} AS DOUBLE) * {minor})"  # exact: far below 2^53
    return Value(f"TRY_CAST({units} AS BIGINT)", column, FIELDS["amount_minor"])


def flag_value(column: str) -> Value:
    """Return whether 1 or true stands there; 0 and false are the other answer."""
    return Value(f"TRY_CAST(lower({bare(column)}) AS BOOLEAN)", column)


def level_value(column: str, levels: Mapping[str, str], canonical: str) -> Value:
    """Return a canonical word for each of the source's; others are refused."""
    known = " ".join(f"WHEN {literal(one)} THEN {literal(word)}" for one, word in levels.items())
    return Value(f"CASE {bare(column)} {known} END", column, FIELDS[canonical])


def time_value(column: str, start: str | None = None, unit: str = "day") -> Value:
    """Return a time in UTC: as it is written, or whole units after `start` (SQL)."""
    sql = f"TRY_CAST({bare(column)} AS TIMESTAMP)"
    if start is not None:
        step = f"TRY_CAST({bare(column)} AS INTEGER)"
        sql = f"CASE WHEN {step} BETWEEN 0 AND {MOST_STEPS} THEN {start} + to_{unit}s({step}) END"
    sql = f"CASE WHEN year({sql}) BETWEEN 1 AND {LAST_YEAR} THEN {sql} END"
    return Value(sql, column, FIELDS["ts_utc"])


def bare(column: str) -> str:
    """Return SQL for a column's text without spaces around it; null for an empty one."""
    return f"nullif(trim({quoted(column)}), '')"


class CsvFile:
    """One CSV file: its columns, and rows read from it."""

    def __init__(self, path: Path, source: Source) -> None:
        """Read from an open source."""
        self.path, self._source = path, source
        self.columns = tuple(source.columns)

    def has(self, columns: Sequence[str]) -> bool:
        """Whether those columns are there."""
        return set(columns) <= set(self.columns)

    def rows(self, values: Mapping[str, Value]) -> Iterator[Any]:
        """Stream Arrow tables with one column for each value, in the file's order.

        Raises:
            RecordsError: a value is missing or cannot be read; names the file, line and column.
        """
        listed = list(values.items())
        expressions = [f"{value.sql} AS {quoted(name)}" for name, value in listed]
        expressions += [_wrong(name, value) for name, value in listed]
        done = 0
        for batch in self._source.batches(expressions):
            for (_, value), flags in zip(listed, batch.columns[len(listed) :], strict=True):
                if flags.true_count:
                    row = done + flags.index(pa.scalar(value=True)).as_py()
                    self.refuse(row, value.column)
            done += batch.num_rows
            yield pa.table(batch.columns[: len(listed)], names=list(values))

    def refuse(self, row: int, column: str) -> NoReturn:
        """Say that a row's value in a column cannot be read; `row` counts from 0.

        Raises:
            RecordsError: always.
        """
        raise RecordsError(
            f"{self.path}, line {line_of(self.path, row)}: expected a {column} that this importer "
            "can read, found nothing or another form; see docs/records.md"
        )


def _wrong(name: str, value: Value) -> str:
    """Return SQL that is true where a value cannot be taken."""
    broken = [f"({bare(value.column)} IS NOT NULL AND {value.sql} IS NULL)"]
    if value.needed:
        broken.append(f"{value.sql} IS NULL")
    if value.field is not None:
        broken += [f"NOT ({rule})" for rule in rules_of(value.sql, value.field)]
    return f"coalesce({' OR '.join(broken)}, false) AS {quoted(name + ' wrong')}"


def line_of(path: Path, row: int) -> int:
    """Return the line of a row; `row` counts from 0 after the header, as lines with text do."""
    with TextIOWrapper(opened(path), encoding="utf-8", errors="replace") as stream:
        filled = (number for number, line in enumerate(stream, 1) if line.rstrip("\n"))
        return next(islice(filled, row + 1, None), 1)


class CsvFiles:
    """Opens a command's files one after the other."""

    def __init__(
        self, paths: Sequence[Path], mapping: ColumnMapping | None = None, *, repeats: bool = False
    ) -> None:
        """Take the files, how they are written, and whether a header may name a column twice."""
        self._paths, self._repeats = paths, repeats
        self._mapping = mapping or ColumnMapping()

    def __iter__(self) -> Iterator[CsvFile]:
        """Give every file, open.

        Raises:
            RecordsError: no such file, or it cannot be read as CSV.
        """
        for path in self._paths:
            if not path.is_file():
                raise RecordsError(f"{path}: expected a CSV file, found none; check the path")
            with open_csv(path, self._mapping, repeats=self._repeats) as source:
                yield CsvFile(path, source)


def file_forms(
    paths: Sequence[Path], forms: Mapping[str, Sequence[str]], *, repeats: bool = False
) -> dict[str, list[Path]]:
    """Sort files by their headers: into the first form whose columns are there.

    Raises:
        RecordsError: a file is of no such form.
    """
    found: dict[str, list[Path]] = {form: [] for form in forms}
    for one in CsvFiles(paths, repeats=repeats):
        form = next((name for name, columns in forms.items() if one.has(columns)), None)
        if form is None:
            listed = " or ".join(", ".join(columns) for columns in forms.values())
            raise RecordsError(
                f"{one.path}, line 1: expected a header with {listed}, found another"
            )
        found[form].append(one.path)
    return found


def numbered_rows(
    paths: Sequence[Path], values: Mapping[str, Value], *, repeats: bool = False
) -> Iterator[Any]:
    """Stream rows whose source gives them no id: `txn_id` is the place among all rows, from 0.

    Raises:
        RecordsError: a value is missing or cannot be read; names the file, line and column.
    """
    done = 0
    for file in CsvFiles(paths, repeats=repeats):
        for rows in file.rows(values):
            places = pa.array(range(done, done + rows.num_rows)).cast(pa.string())
            done += rows.num_rows
            yield rows.append_column("txn_id", places)
