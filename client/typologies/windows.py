"""Which of a folder's files of entries hold what the windows of one day look at.

Indicators look at the entries of `WINDOW_DAYS` days, by the clock of the customer, and at nothing
before or after them. What a Parquet file says of its own first and last entry tells whether it
holds any; a file that does not say so is read. No name of a file or folder is believed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_tables import file_of, table_in
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import (
    FileKind,
    SourceFile,
    Table,
    folder_files,
    kind_of,
    open_source,
)
from fieldfare.shared.errors import RecordsError

WINDOW_DAYS: Final = 270  # as ledger.sql has it: the day itself and those before
_TABLE: Final = "transactions"
_TIME: Final = "ts_utc"
_AHEAD: Final = "tz_offset_min"
_MOST_AHEAD: Final = 840  # minutes; as the canonical records have it
_MINUTE: Final = 60_000_000  # microseconds
_DAY: Final = 1_440 * _MINUTE
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class NeededFiles:
    """The files of entries that one day needs.

    Attributes:
        path: of the file or folder of entries.
        files: those to read, by name; never none.
        of: how many there are.
    """

    path: Path
    files: tuple[Path, ...]
    of: int

    def table(self) -> Table:
        """Return their entries, to be read in order."""
        parts = (SourceFile(one.name, partial(open_source, one)) for one in self.files)
        return Table(str(self.path), ColumnMapping(), tuple(parts))


def needed_files(canonical: Path, as_of: date) -> NeededFiles:
    """Return the files that may hold an entry of the days that `as_of` looks at.

    Raises:
        RecordsError: there are none, files of several kinds, or folders that are canonical columns.
    """
    path = file_of(canonical, _TABLE)
    if not path.is_dir():
        return NeededFiles(path, (path,), 1)
    files = folder_files(path)
    for file in files:
        _refuse_columns(path, file.relative_to(path).parts[:-1])
    needed = tuple(file for file in files if _may_hold(file, as_of))
    # One is read all the same: it says which columns there are.
    return NeededFiles(path, needed or files[-1:], len(files))


def _refuse_columns(path: Path, folders: tuple[str, ...]) -> None:
    """Refuse partitions that hold what the files then lack; other ones say nothing of an entry."""
    for one in folders:
        name = unquote(one.partition("=")[0])
        if name in TABLES[_TABLE].model_fields:
            raise RecordsError(
                f"{path}: expected partitions by a name that is not a column of an entry, "
                f"as day=2026-03-31, found {name}=...; write {name} into the files"
            )


def needed_tables(canonical: Path, as_of: date) -> dict[str, Table]:
    """Return a folder's canonical tables, of entries those files that a day needs.

    Raises:
        RecordsError: a table is absent.
    """
    found = {name: table_in(canonical, name) for name in TABLES if name != _TABLE}
    return {**found, _TABLE: needed_files(canonical, as_of).table()}


def _may_hold(file: Path, as_of: date) -> bool:
    span = _span(file) if kind_of(file) is FileKind.PARQUET else None
    if span is None:
        return True
    first = as_of.toordinal() - WINDOW_DAYS + 1
    last = as_of.toordinal()
    if _meet(span, first, last) and (span[0] < first or span[1] > last):
        span = _read_span(file) or span  # at an edge, clocks of several zones decide
    return _meet(span, first, last)


def _meet(span: tuple[int, int], first: int, last: int) -> bool:
    return span[0] <= last and span[1] >= first


def _span(file: Path) -> tuple[int, int] | None:
    """Return between which local days (ordinals) a file's entries lie; None: it does not say so.

    Both ends may lie too far out, never too far in.
    """
    try:
        found = pq.read_metadata(file)
        groups = [found.row_group(index) for index in range(found.num_row_groups)]
        times = [one for group in groups for one in _ends(group, _TIME)]
        ahead = [one for group in groups for one in _ends(group, _AHEAD, none=0)]
    except (pa.ArrowException, OSError, OverflowError, ValueError):  # of no year from 1 to 9999
        return None  # whoever reads it says what is wrong
    if not times or not all(isinstance(one, datetime) for one in times):
        return None
    if not all(type(one) is int and abs(one) <= _MOST_AHEAD for one in ahead):
        ahead = [-_MOST_AHEAD, _MOST_AHEAD]
    try:
        moments = [one if one.tzinfo is None else one.astimezone(UTC).replace(tzinfo=None)
                   for one in times]  # fmt: skip
        ends = (min(moments) + timedelta(minutes=min(ahead)),
                max(moments) + timedelta(minutes=max(ahead)))  # fmt: skip
    except OverflowError:  # of the year 1 or 9999
        return None
    return ends[0].toordinal(), ends[1].toordinal()


def _read_span(file: Path) -> tuple[int, int] | None:
    """Return the first and the last local day (ordinals) of a file, from its entries' times."""
    ends: list[int] = []
    try:
        with pq.ParquetFile(file) as opened:
            names = [one for one in (_TIME, _AHEAD) if one in opened.schema_arrow.names]
            for batch in opened.iter_batches(columns=names):
                moment = pc.cast(batch.column(_TIME), pa.timestamp("us"), safe=False)
                local = pc.cast(moment, pa.int64())
                if _AHEAD in names:
                    ahead = pc.fill_null(pc.cast(batch.column(_AHEAD), pa.int64()), 0)
                    if pc.max(pc.abs(ahead)).as_py() > _MOST_AHEAD:
                        return None
                    local = pc.add(local, pc.multiply(ahead, _MINUTE))
                found = pc.min_max(local)
                ends += [found["min"].as_py(), found["max"].as_py()]
        return min(ends) // _DAY + _EPOCH, max(ends) // _DAY + _EPOCH
    except (pa.ArrowException, OSError, TypeError, ValueError):
        return None  # times that are no plain numbers: whoever reads them says what is wrong


def _ends(group: Any, name: str, none: int | None = None) -> Iterator[Any]:
    """Yield the least and the largest value of a column in a group of rows.

    Args:
        group: a Parquet file's.
        name: of the column.
        none: what an absent value stands for; None: there is none.
    """
    columns = (group.column(index) for index in range(group.num_columns))
    column = next((one for one in columns if one.path_in_schema == name), None)
    if column is None or not group.num_rows:
        yield from () if none is None else (none,)
        return
    said = column.statistics
    nulls = said.null_count if said is not None and said.has_null_count else None
    if none is not None and nulls:
        yield none
    if nulls != group.num_rows or none is None:
        known = nulls is not None and said.has_min_max
        yield from (said.min, said.max) if known else (None,)


def content_digest(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
