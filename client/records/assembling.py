"""Features, labels known by a day and groups, joined into the one file that a study reads.

A label counts from the day on which it became known, up to the day of the features, or to that of
training where the window has passed. Counts are for the institution's own eyes; no
message holds a value.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.sources.source import FileKind, Table, kind_of, table_at
from fieldfare.client.records.sources.sql import id_of, quoted, value_of
from fieldfare.shared.advice import meant
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.party.csv_cells import text_of
from fieldfare.shared.system.private_files import PRIVATE_FILE, sync_folder

# As `typologies run`, the importers and canonical labels write it.
UNIT_NAMES: Final = ("unit", "customer_id", "subject_id")
DAY_NAMES: Final = ("known", "observed_at")  # the latter as `institution labels` writes it
LABEL_NAMES: Final = ("label", "value")  # the latter as canonical labels have it
# The header of the file of `institution labels`, whose ids are cells of `csv_cells`.
DECIDED: Final = (
    "unit", "label", "source", "confidence", "observed_at", "effective_from", "selected"
)  # fmt: skip
AS_OF: Final = b"fieldfare.as_of"
MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Names:
    """Names of the columns.

    Attributes:
        unit: the study's name of the unit: so it is called in the file that is written.
        label: the study's name of the label.
        units_here: how the files call the unit, if not `unit` or one of `UNIT_NAMES`.
        labels_here: how the labels' file calls the label, if not `label`.
        day: the column with the day since which a label is known; empty: one of `DAY_NAMES`.
        known_always: the labels have no such day, and count all the same.
    """

    unit: str
    label: str
    units_here: str = ""
    labels_here: str = ""
    day: str = ""
    known_always: bool = False


@dataclass(frozen=True)
class KnownLabels:
    """Each unit's label, as known on a day.

    Attributes:
        table: Arrow; unit and label (strings), a unit once.
        rows: rows of the file.
        later: of these, known only after the day.
        superseded: of these, followed by a newer one of the same unit by that day.
    """

    table: Any
    rows: int
    later: int
    superseded: int


@dataclass(frozen=True)
class UnitFile:
    """A file with a row for each unit.

    Attributes:
        name: of the file, for messages.
        unit: its column of the unit.
        table: Arrow; all columns, the unit as text.
    """

    name: str
    unit: str
    table: Any


@dataclass(frozen=True)
class AssembledTable:
    """One row for each unit, and counts of the labels that were used or not.

    Attributes:
        table: Arrow; unit (string) first, then the label (string), features and groups.
        labels: those known on the day.
        without_unit: labels known by the day whose unit has no features.
        unlabelled: units without a label on that day.
        left_out: of these, those that are not in the table.
        without_row: for each further file, the units that it does not have.
    """

    table: Any
    labels: KnownLabels
    without_unit: int
    unlabelled: int
    left_out: int
    without_row: Mapping[str, int]


def read_units(path: Path, names: Names) -> UnitFile:
    """Read a file with a row for each unit and any columns; Parquet keeps fields' metadata.

    Raises:
        RecordsError: it cannot be read, has no unit's column, or a unit stands twice or has no id.
    """
    unit, table = _read(table_at(path), path, names, ())
    _refuse_repeated(path, table.column(unit))
    return UnitFile(str(path), unit, table)


def read_labels(path: Path, names: Names, as_of: date) -> KnownLabels:
    """Read the label of each unit on a day.

    Raises:
        RecordsError: it cannot be read, a column is absent, a day or a label cannot be read, or a
            unit has two labels of one day.
    """
    unit, table = _read(table_at(path), path, names, (names.labels_here, names.label))
    label = _column(
        path, table, (names.labels_here,), (names.label, *LABEL_NAMES), "--label-column"
    )
    if tuple(table.column_names) == DECIDED and not path.is_dir() and kind_of(path) is FileKind.CSV:
        ids = pa.array(map(text_of, table.column(unit).to_pylist()), pa.string())
        table = table.set_column(table.column_names.index(unit), unit, ids)
    table = table.select([unit, label, *_day_column(path, table, names)])
    rows = table.num_rows
    _refuse_empty(path, table.column(label), f"a label in column {label}")
    _refuse_empty(path, table.column(unit), f"a unit in column {unit}")
    days = [date.min] * rows if names.known_always else _days(path, table.column(2))
    chosen, later = _latest(path, table.column(0).to_pylist(), days, as_of)
    labels = pc.cast(table.column(label), pa.string()).take(pa.array(chosen, pa.int64()))
    units = table.column(unit).take(pa.array(chosen, pa.int64()))
    found = pa.table({"unit": units, "label": labels})
    return KnownLabels(found, rows, later, rows - later - found.num_rows)


def assemble(
    features: UnitFile,
    labels: KnownLabels,
    beside: Sequence[UnitFile],
    names: Names,
    *,
    wanted: Collection[str] | None,
    others: str | None,
) -> AssembledTable:
    """Join features, labels and further columns by unit.

    Args:
        features: whose units there are.
        labels: of a day.
        beside: further files, such as groups.
        names: what columns are called.
        wanted: the columns to keep (those of a study); None: all.
        others: the label of units that no label names; empty: they are left out; None: not said.

    Raises:
        RecordsError: a column stands in two files, or a wanted one in none.
        UsageError: units without a label, and nothing said of them.
    """
    columns, fields, missing = _columns(features, beside, names, wanted)
    _check_wanted(wanted, fields, [features, *beside], names)
    ids = features.table.column(features.unit)
    label, unlabelled = _label(ids, labels, others)
    schema = pa.schema([pa.field(names.unit, pa.string(), nullable=False),
                        pa.field(names.label, pa.string(), nullable=False),
                        *fields.values()])  # fmt: skip
    whole = pa.Table.from_arrays([ids, label, *columns.values()], names=schema.names)
    whole = whole.filter(pc.is_valid(whole.column(1))).cast(schema)
    stray = pc.invert(pc.is_in(labels.table.column("unit"), ids.combine_chunks()))
    return AssembledTable(
        whole, labels, without_unit=pc.sum(stray).as_py() or 0, unlabelled=unlabelled,
        left_out=len(ids) - whole.num_rows, without_row=missing,
    )  # fmt: skip


def _label(ids: Any, labels: KnownLabels, others: str | None) -> tuple[Any, int]:
    place = pc.index_in(ids, labels.table.column("unit").combine_chunks())
    label = labels.table.column("label").take(place)
    unlabelled = label.null_count
    if unlabelled and others is None:
        raise UsageError(
            f"{unlabelled:,} of {len(ids):,} units have no label on that day: say what they count "
            "as, such as --others 0, or leave them out with --others none"
        )
    return pc.fill_null(label, others) if others else label, unlabelled


def write_assembled(table: Any, out: Path, as_of: date) -> None:
    """Write the table as a new Parquet file, mode 0600; the day stands in its metadata.

    Raises:
        UsageError: it exists, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    said = {**(table.schema.metadata or {}), AS_OF: as_of.isoformat().encode()}
    try:
        descriptor = os.open(out, flags, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            pq.write_table(table.replace_schema_metadata(said), file, compression="zstd")
            file.flush()
            os.fsync(descriptor)
        sync_folder(out.parent)
    except OSError as error:
        raise UsageError(f"{out}: expected a new file, found: {error.strerror or error}") from None


def assembled_lines(found: AssembledTable, as_of: date, others: str | None) -> list[str]:
    """Return the counts of everything read, in lines."""
    labels = found.labels
    used = labels.table.num_rows - found.without_unit
    lines = [
        f"{labels.rows:,} labels: {used:,} used, {found.without_unit:,} of no unit here",
        f"{labels.later:,} labels known only after {as_of}: not used",
        f"{labels.superseded:,} labels followed by a newer one of the same unit: not used",
    ]
    if found.unlabelled:
        became = "left out" if found.left_out else f"counted as {others}"
        lines.append(f"{found.unlabelled:,} units without a label: {became}")
    lines += [
        f"{name}: no row for {count:,} units: nothing is known of them there"
        for name, count in found.without_row.items()
        if count
    ]
    lines.append(f"{found.table.num_rows:,} units, {found.table.num_columns - 2} further columns")
    return lines


def _read(table: Table, path: Path, names: Names, values: Sequence[str]) -> tuple[str, Any]:
    """Read every column as it is, the unit's as text and `values` with their numbers pointed."""
    parts, unit = [], ""
    for part in table.parts:
        with part.open() as source:
            unit = _unit_column(path, source.columns, names)
            queries = []
            for name, kind in source.columns.items():
                query = quoted(name)
                if name == unit:
                    query = id_of(name, kind)
                elif name in values:
                    query = value_of(name, kind, source.numerals)
                queries.append(f"{query} AS {quoted(name)}")
            parts += list(source.batches(queries))
            empty = pa.schema([(name, pa.string()) for name in source.columns])
    read = pa.Table.from_batches(parts) if parts else empty.empty_table()
    return unit, _as_fields_say(path, read)


def _as_fields_say(path: Path, table: Any) -> Any:
    """Give Parquet's fields back what they say of themselves: an engine's rows forget it."""
    if path.is_dir() or kind_of(path) is not FileKind.PARQUET:
        return table
    written = pq.read_schema(path)
    fields = [
        field.with_metadata(written.field(field.name).metadata)
        if field.name in written.names
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _unit_column(path: Path, columns: Collection[str], names: Names) -> str:
    return _column(path, columns, (names.units_here,), (names.unit, *UNIT_NAMES), "--unit-column")


def _column(path: Path, table: Any, asked: Sequence[str], usual: Sequence[str], option: str) -> str:
    """Return the column that is asked for, else the first usual one."""
    columns = list(getattr(table, "column_names", table))
    wanted = [name for name in asked if name] or list(dict.fromkeys(usual))
    for name in wanted:
        if name in columns:
            return name
    near = (meant(name, columns) for name in wanted)
    raise RecordsError(
        f"{path}: expected a column {' or '.join(wanted)}, found none among {len(columns)} "
        f"columns{next(filter(None, near), '')} (another one: {option} NAME)"
    )


def _day_column(path: Path, table: Any, names: Names) -> list[str]:
    if names.known_always:
        return []
    return [_column(path, table, (names.day,), DAY_NAMES, "--known-column (or --known-always)")]


def _days(path: Path, column: Any) -> list[date]:
    """Return the day of every row, whatever its form; a time of day is cut off."""
    days = [_day(value) for value in column.to_pylist()]
    bad = [row for row, day in enumerate(days, start=1) if day is None]
    if bad:
        raise RecordsError(
            f"{path}: expected a day such as 2026-03-31 for every label, found none or another "
            f"form in {len(bad)} rows ({_rows(bad)}); write them so"
        )
    return [day for day in days if day is not None]


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(str(value).strip()).date()
    except ValueError:
        return None


def _latest(
    path: Path, units: Sequence[str], days: Sequence[date], as_of: date
) -> tuple[list[int], int]:
    """Return the row of each unit's newest label by `as_of`, and how many are known later."""
    newest: dict[str, int] = {}
    later, twice = 0, set[int]()
    for row, (unit, day) in enumerate(zip(units, days, strict=True)):
        if day > as_of:
            later += 1
            continue
        before = newest.get(unit)
        if before is not None and days[before] == day:
            twice.add(row + 1)
        if before is None or day > days[before]:
            newest[unit] = row
    if twice:
        raise RecordsError(
            f"{path}: expected one label of a day for each unit, found a unit twice in "
            f"{len(twice)} rows ({_rows(sorted(twice))}); keep one"
        )
    return sorted(newest.values()), later


def _columns(
    features: UnitFile, beside: Sequence[UnitFile], names: Names, wanted: Collection[str] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Return the columns to keep, their fields, and how many units lack a row in which file."""
    columns: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    missing: dict[str, int] = {}
    ids = features.table.column(features.unit)
    for file in (features, *beside):
        place = None
        if file is not features:
            place = pc.index_in(ids, file.table.column(file.unit).combine_chunks())
            missing[file.name] = place.null_count
        for field in file.table.schema:
            if field.name == file.unit or (wanted is not None and field.name not in wanted):
                continue
            if field.name in {*fields, names.unit, names.label}:
                raise RecordsError(
                    f"{file.name}: expected column {field.name} in one file, found it in a second "
                    "one (the label counts as the labels' own); leave it out here"
                )
            values = file.table.column(field.name)
            columns[field.name] = values if place is None else values.take(place)
            fields[field.name] = field.with_nullable(True)
    return columns, fields, missing


def _check_wanted(
    wanted: Collection[str] | None, found: Collection[str], files: Sequence[UnitFile], names: Names
) -> None:
    absent = sorted(set(wanted or ()) - {names.unit, names.label} - set(found))
    if absent:
        listed = ", ".join(absent[:MOST_NAMED]) + (" ..." if len(absent) > MOST_NAMED else "")
        there = [name for file in files for name in file.table.column_names]
        raise RecordsError(
            "expected the columns that the study names in one of the files, found no "
            f"{listed}{meant(absent[0], there)}"
        )


def _refuse_repeated(path: Path, units: Any) -> None:
    _refuse_empty(path, units, "a unit's id in every row")
    different = len(units.unique())
    if different < len(units):
        raise RecordsError(
            f"{path}: expected one row for each unit, found {len(units) - different} further rows "
            "of units that stand there already; keep one row each"
        )


def _refuse_empty(path: Path, column: Any, what: str) -> None:
    bad = [row for row, value in enumerate(column.to_pylist(), start=1) if value in {None, ""}]
    if bad:
        raise RecordsError(f"{path}: expected {what}, found none in {len(bad)} rows ({_rows(bad)})")


def _rows(rows: Sequence[int]) -> str:
    return "row " + ", ".join(map(str, rows[:MOST_NAMED])) + (" ..." if len(rows) > 5 else "")  # noqa: PLR2004
