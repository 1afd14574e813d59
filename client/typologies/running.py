"""A whole run of a pack over a folder of records, within a stated memory, into files.

Same records, same bytes: whatever the number of parts, of threads, and of bytes of memory.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.sources.covering import OmittedCounts
from fieldfare.client.records.sources.source import FileKind, kind_of
from fieldfare.client.records.sources.sql import literal, quoted
from fieldfare.client.typologies.extract import (
    Extract,
    machine_memory,
    open_extract,
    refuse_unknown,
)
from fieldfare.client.typologies.features import UNIT, FeatureTable, feature_table, hit_table
from fieldfare.client.typologies.pack import Pack
from fieldfare.client.typologies.partitions import MOST_PARTS, Room, cut
from fieldfare.client.typologies.windows import NeededFiles, needed_files
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.system.whole_files import passing_folder
from fieldfare.shared.terminal.stderr import Said

ROWS_IN_A_GROUP: Final = 65_536  # of the Parquet files that are written
HEADROOM_TENTHS: Final = 11  # parts hold at most ten elevenths of what fits, in the mean
BYTES_OF_A_ROW: Final = 60  # of a text file, at least; only how many parts there are hangs on it
FAMILIES_TOGETHER: Final = 2
MEMORY: Final = 4096  # MB that a run takes where nothing is said, if the machine has twice as much
LEAST_MEMORY: Final = 1536  # MB
_BESIDE: Final = 1152 << 20  # bytes of the process that are not the engine's own


def engine_memory(megabytes: int | None) -> int:
    """Return the bytes of the engine's buffers where the whole process may hold so many MB.

    Raises:
        UsageError: too few.
    """
    usual = max(LEAST_MEMORY, min(MEMORY, (machine_memory() >> 20) // 2))
    whole = usual if megabytes is None else megabytes
    if whole < LEAST_MEMORY:
        raise UsageError(f"--memory: expected at least {LEAST_MEMORY} MB, found {whole}")
    return (whole << 20) - _BESIDE


@dataclass(frozen=True)
class RunTask:
    """What is asked of a run.

    Attributes:
        canonical: a folder of records.
        pack: the indicators.
        as_of: the last day that is looked at.
        lacking: columns that hold nothing here.
        banks: of all participants, where their customers' payments are left out.
        parts: how many parts the records are cut into at least; None: as many as they need.
    """

    canonical: Path
    pack: Pack
    as_of: date
    lacking: Collection[str] = ()
    banks: tuple[str, ...] = ()
    parts: int | None = None


@dataclass
class RunReport:
    """What a run found, in counts for its own screen.

    Attributes:
        parts: how many parts the records were cut into.
        files: of entries, how many were read, and how many there are.
        units: customers.
        missing: indicators that could not be computed, each with the columns it lacks.
        doubtful: those that were, over columns without one value.
        present: customers with a value, by indicator; `fired`: those with a hit.
        several: customers with hits in two families of evidence or more.
        left_out: entries with participants' customers; None: nothing was.
    """

    parts: int = 1
    files: tuple[int, int] = (1, 1)
    units: int = 0
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    doubtful: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    several: int = 0
    left_out: OmittedCounts | None = None


def run_pack(
    task: RunTask, room: Room, out: Path, hits: Path | None = None, said: Said | None = None
) -> RunReport:
    """Compute every indicator for every customer, part after part, and write the tables.

    Args:
        task: what to compute.
        room: memory and folder.
        out: the Parquet file of features, in order of customers' ids.
        hits: also who hits what.
        said: takes what is done, of how much.

    Raises:
        RecordsError: the records do not fit the rules, or one customer's do not fit the memory.
        UsageError: a query or a name is wrong.
    """
    report = RunReport()
    made = room.folder / "features"
    made.mkdir()
    with outgrown(task, room):
        for number, extract in enumerate(_extracts(task, room, report)):
            computed = feature_table(extract, task.pack)
            pq.write_table(computed.table, made / f"{number:05d}.parquet", compression="lz4")
            _took(report, extract, computed)
            if said is not None:
                said("indicators, part by part", number + 1, max(report.parts, number + 1))
        schema = computed.table.schema
        _write(_in_order(room, made, schema), schema, task.pack, report, room, (out, hits))
    return report


@contextmanager
def outgrown(task: RunTask, room: Room) -> Iterator[None]:
    """Say in words of our own what an engine had no room for.

    Raises:
        RecordsError: no memory, or no room on the disk of the parts.
    """
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise RecordsError(
            f"{task.canonical}: expected customers whose entries each fit into "
            f"{room.memory >> 20} MB, found more; give more memory (--memory)"
        ) from None
    except duckdb.IOException:  # its text quotes paths
        raise RecordsError(
            f"{room.folder.parent}: expected room for parts of the records on its disk, found "
            "none, or a file that cannot be written; see docs/typologies.md"
        ) from None


def _extracts(task: RunTask, room: Room, report: RunReport) -> Iterator[Extract]:
    refuse_unknown(task.lacking)
    files = needed_files(task.canonical, task.as_of)
    report.files = (len(files.files), files.of)
    needed = parts_for(rows_about(files), room.rows)
    report.parts = min(MOST_PARTS, max(needed, task.parts or 1))
    if report.parts > 1:
        parts = cut(task.canonical, room, report.parts, task.as_of)
        yield from parts.extracts(room, task.as_of, task.lacking, banks=task.banks)
        return
    with open_extract(
        task.canonical, task.as_of, task.lacking, banks=task.banks, engine=room.connection
    ) as extract:
        yield extract


def parts_for(rows: int, fit: int) -> int:
    """Return into how many parts entries go: parts differ, and one above `fit` is read twice."""
    return 1 if rows <= fit else -(-rows * HEADROOM_TENTHS // (10 * fit))


def rows_about(needed: NeededFiles) -> int:
    """Return about how many entries files hold: exact for Parquet."""
    return sum(_rows_of(file) for file in needed.files)


def _rows_of(file: Path) -> int:
    size = file.stat().st_size
    if kind_of(file) is FileKind.PARQUET:
        try:
            return int(pq.read_metadata(file).num_rows)
        except (pa.ArrowException, OSError):
            return 0  # whoever reads it says what is wrong
    return size // (BYTES_OF_A_ROW // (10 if file.suffix == ".gz" else 1))


def _took(report: RunReport, extract: Extract, computed: FeatureTable) -> None:
    report.units += extract.units
    report.missing, report.doubtful = computed.missing, computed.doubtful
    one, so_far = extract.left_out, report.left_out
    if one is not None and so_far is not None:
        one = OmittedCounts(
            one.banks,
            one.entries + so_far.entries,
            one.unknown + so_far.unknown,
            one.of + so_far.of,
            one.unnamed + so_far.unnamed,
        )
    report.left_out = one


def _in_order(room: Room, made: Path, schema: Any) -> Iterator[Any]:
    """Yield all parts' rows in order of units, in tables of `ROWS_IN_A_GROUP` rows."""
    files = literal(str(made / "*.parquet"))
    with room.files_connection() as connection:
        reader = connection.execute(
            f"SELECT * FROM read_parquet({files}) ORDER BY {quoted(UNIT)}"
        ).to_arrow_reader(ROWS_IN_A_GROUP)
        held: list[Any] = []
        count = 0
        for batch in reader:
            held.append(batch)
            count += batch.num_rows
            while count >= ROWS_IN_A_GROUP:
                whole = pa.Table.from_batches(held)
                yield _typed(whole.slice(0, ROWS_IN_A_GROUP), schema)
                held = whole.slice(ROWS_IN_A_GROUP).to_batches()
                count -= ROWS_IN_A_GROUP
        if count:
            yield _typed(pa.Table.from_batches(held), schema)


def _typed(rows: Any, schema: Any) -> Any:
    columns = [column.combine_chunks() for column in rows.columns]
    return pa.Table.from_arrays(columns, schema=schema)


def _write(
    tables: Iterator[Any],
    schema: Any,
    pack: Pack,
    report: RunReport,
    room: Room,
    files: tuple[Path, Path | None],
) -> None:
    """Write features and hits; a file appears whole or not at all."""
    out, hits = files
    with ExitStack() as stack:
        features = stack.enter_context(private_parquet(room, out, "out", schema))
        none = hit_table(schema.empty_table(), pack)
        found = (
            stack.enter_context(private_parquet(room, hits, "hits", none.schema)) if hits else None
        )
        for table in tables:
            features.write_table(table)
            fired = hit_table(table, pack)
            if found is not None:
                found.write_table(fired)
            _count(report, pack, table, fired)


@contextmanager
def private_parquet(room: Room, path: Path, name: str, schema: Any) -> Iterator[Any]:
    """Yield a writer of a Parquet file, mode 0600, that stands at `path` once it is whole.

    Args:
        room: in whose folder it is written, if that is beside `path`; else in one that is.
        path: where it goes, over what stands there.
        name: of the draft.
        schema: of its rows.
    """
    with ExitStack() as stack:
        folder = room.folder
        if path.absolute().parent != folder.parent:  # perhaps the disk is another one
            beside = path.absolute().with_name(f".{path.name}.parts")
            folder = stack.enter_context(passing_folder(beside, RecordsError))
        draft = folder / name
        create_private(draft, b"")  # a writer keeps the mode of what is there
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            yield writer
        os.replace(draft, path)  # noqa: PTH105 -- over what stands there, at once


def _count(report: RunReport, pack: Pack, table: Any, fired: Any) -> None:
    for one in pack.indicators:
        column = table.column(one.id)
        hit = pc.sum(pc.greater_equal(column, one.typology.fires.at_least)).as_py() or 0
        present = len(column) - column.null_count
        report.present[one.id] = report.present.get(one.id, 0) + present
        report.fired[one.id] = report.fired.get(one.id, 0) + hit
    together = pc.greater_equal(fired.column("families"), pa.scalar(FAMILIES_TOGETHER, pa.int8()))
    report.several += pc.sum(together).as_py() or 0
