"""Records into encoded units: read once, checked whole, encoded batch by batch.

Everything that can be wrong with records is settled here, at load, and none of it refuses a load:
a row that does not fit counts as zero, its unit is in no sum. A load is refused for a missing
source or for its columns: facts that no record decides (docs/design.md, "Refusals").

The check of whether records load under a study lists every value in them that does not fit. It
runs the load itself, so it cannot disagree with it. Counts and row numbers are about an
institution's records: they are for its own eyes and never leave (harm rule 7).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import NOTHING_ASKED, AskedUnits, AskedValues
from fieldfare.client.records.encoding.columns import TRAINING, RecordsUse, told_by
from fieldfare.client.records.encoding.encoding import CLAMPED, MISSING, OTHER
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.records.encoding.id_sketch import NO_IDS, IdSketch
from fieldfare.client.records.encoding.problems import (
    Effect,
    RecordProblem,
    count_rows,
    zero_lines,
    zero_words,
)
from fieldfare.client.records.encoding.units import (
    NO_ROWS,
    Grouping,
    RowsPerUnit,
    Texts,
    named_rows,
    rows_beside,
    shared_rows,
)
from fieldfare.client.records.health import ColumnProfile
from fieldfare.client.records.kept_parts import KeptParts
from fieldfare.client.records.reader import Reader, Said, unsaid
from fieldfare.client.records.settings import RecordsSource, tables_of
from fieldfare.client.records.sources.covering import covers_line
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import Table, table_at
from fieldfare.client.records.sources.table_pages import SnapshotLostError
from fieldfare.client.records.spool import Spool
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import EncodedUnits, Positions
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study

BUCKETS_KEY: Final = b"fieldfare.buckets.v1"  # public: which units are summed together
MOST_BEGUN: Final = 3  # loads, of a database whose connections break off
_NO_UNIT: Final = "expected a unit id, found none in {rows}; name the units or leave the rows out"
_NO_INSTITUTION: Final = "expected an institution's name, found none in {rows}; fill it in"
_TWICE: Final = "expected one row per unit, found rows of one unit in {rows}; keep one row per unit"
_BESIDE: Final = (
    "expected rows that fit, found other rows of the same unit that do not, which leaves out "
    "{rows}; correct those"
)


@dataclass(frozen=True)
class LoadCounts:
    """How many values did not fit, by feature name. Local only: never leaves.

    Attributes:
        clamped: out of bounds, moved to the nearer bound.
        missing: NULL, NaN or a `missing` token.
        other: a level that the study does not declare.
        beyond: rows that a unit has more than the study's cap, in all.
        rows: that were read.
        zero: of those, how many count as zero.
        each: how many rows a unit has, whether or not they count.
    """

    clamped: dict[str, int]
    missing: dict[str, int]
    other: dict[str, int]
    beyond: int = 0
    rows: int = 0
    zero: int = 0
    each: RowsPerUnit = NO_ROWS


@dataclass(frozen=True, eq=False)
class LoadedRecords:
    """The units of one or more sources that are in sums.

    Attributes:
        units: str (units,), unit ids; where the study names no unit, names that follow from each
            row's content (`named_rows`), for simulations alone.
        data: positions and labels.
        institutions: str (units,), or None where no institution column was asked for.
        audit: str (units,), empty where missing; None where no audit column was asked for.
        counts: values that did not fit, of the whole load (also after `select`).
        asked: the columns that questions read.
        findings: everything that did not fit. Local only: never leaves.
        beside: float32 (columns, units), further numbers that were asked for; NaN where missing.
    """

    units: Texts
    data: EncodedUnits
    institutions: Texts | None
    audit: Texts | None
    counts: LoadCounts
    asked: AskedValues = NOTHING_ASKED
    findings: tuple[RecordProblem, ...] = ()
    beside: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Count the units."""
        return len(self.data)

    def select(self, mask: NDArray[np.bool_]) -> "LoadedRecords":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        return LoadedRecords(
            self.units[mask],
            self.data.select(mask),
            None if self.institutions is None else self.institutions[mask],
            None if self.audit is None else self.audit[mask],
            self.counts,
            self.asked.select(mask),
            self.findings,
            None if self.beside is None else self.beside[:, mask],
        )

    def asked_units(self, institution: str, *, key: bytes) -> AskedUnits:
        """Return the units as questions see them.

        Args:
            institution: whose they are.
            key: 1 to 64 bytes, its own; which cells count of a unit with too many.
        """
        order = unit_order(self.units, key=key)
        return AskedUnits(institution, self.data.labels, self.asked, order)


class Load(Reader):
    """A load for training: rows that do not fit count as zero."""

    def __init__(
        self,
        study: Study,
        wanted: RecordsUse = TRAINING,
        spool: Spool | None = None,
        said: Said = unsaid,
        kept: KeptParts | None = None,
    ) -> None:
        """Begin; arguments are the reader's."""
        super().__init__(study, wanted, spool, said, kept)
        self._network = study.model if isinstance(study.model, MlpSection) else None
        self._most = self._network.rows if self._network else 1
        self.each = NO_ROWS

    def settle(self) -> tuple[Texts, Texts | None, Texts | None]:
        """Check across all batches; return units, institutions and audit values."""
        empty = [np.empty(0, np.object_)]
        texts = [np.concatenate(empty + parts) for parts in self._texts]
        self._texts = []
        unit = None if self._study.records.unit is None else texts.pop(0)
        institution = None if self._wanted.institution is None else texts.pop(0)
        audit = texts.pop(0) if texts else None
        if institution is not None:
            self._complain("institution", _NO_INSTITUTION, institution == "")
        if unit is None:
            unit = np.concatenate(empty + self._contents)
            return named_rows(unit, institution), institution, audit
        self._complain("unit", _NO_UNIT, unit == "")
        shared = shared_rows(unit, institution)
        self.each = RowsPerUnit.of(unit, institution, shared)
        if self._most == 1:
            self._complain("unit", _TWICE, shared)
        else:
            fits = self.problems.fits(self.rows)
            self._complain("unit", _BESIDE, rows_beside(unit, institution, fits))
        return unit, institution, audit

    def finish(self) -> LoadedRecords:
        """Return the records that count.

        *Formal Guarantees.* Whether a unit counts, and its vector, depend on its own rows and the
        study alone; which rows there are never decides whether this raises.

        *Edge cases.*
            | rows | what counts |
            |---|---|
            | no label, or one that cannot be compared | zero |
            | text or infinity where the model or a question reads a number | zero |
            | a text or vector that looks like a medium | zero |
            | no unit id | zero |
            | a line of a file that is no row, or no text | zero |
            | two or more rows of a unit that may have one | zero, all of them |
            | a row that does not fit, of a unit with several | zero, the whole unit |
            | all of them, or none at all | nobody: a load like any other |

        Raises:
            RecordsError: sources or columns, every problem in one line each.
        """
        unit, institution, audit = self.settle()
        self.problems.check()
        fits = self.problems.fits(self.rows)
        labels, positions = np.concatenate(self._labels)[fits], self._positions_where(fits)
        rows, asked = None if self._rows is None else self._rows.finish(), self._asked.values()
        if not fits.all():
            unit, asked = unit[fits], asked.select(fits)
            rows = None if rows is None else rows.select(fits)
            institution = None if institution is None else institution[fits]
            audit = None if audit is None else audit[fits]
        data = EncodedUnits(positions, labels, rows)
        counts, found = self._counts(fits), tuple(self.problems.findings())
        beside = np.concatenate(self._beside, axis=1)[:, fits] if self._wanted.beside else None
        records = LoadedRecords(unit, data, institution, audit, counts, asked, found, beside)
        return records if self._network is None else self._units_of(records)

    def _positions_where(self, fits: NDArray[np.bool_]) -> Positions:
        count = int(np.count_nonzero(fits))
        positions = self._spool.room((len(self._study.features), count))
        end, row = count, len(fits)
        while self._positions:  # each part is let go once copied: two copies would be the peak
            part = self._positions.pop()
            row -= part.shape[1]
            kept = fits[row : row + part.shape[1]]
            part = part if kept.all() else part[:, kept]
            positions[:, end - part.shape[1] : end] = part
            end -= part.shape[1]
        return positions

    def _units_of(self, records: LoadedRecords) -> LoadedRecords:
        """Bring rows of a unit together, and hash its id: what a network's sums need."""
        if self._most > 1:
            grouping = Grouping.of(records.units, records.institutions, self._most)
            first, labels = grouping.first, grouping.labels(records.data.labels)
            empty = np.empty((0, len(first)), np.uint16)
            institution, audit = records.institutions, records.audit
            records = replace(
                records,
                units=records.units[first],
                data=EncodedUnits(empty, labels, tables=grouping.tables(records.data.positions)),
                institutions=None if institution is None else institution[first],
                audit=None if audit is None else audit[first],
                counts=replace(records.counts, beyond=grouping.beyond),
                beside=None if records.beside is None else records.beside[:, first],
            )
        order = unit_order(records.units, key=BUCKETS_KEY)
        return replace(records, data=replace(records.data, order=order))

    def _complain(self, what: str, complaint: str, bad: NDArray[np.bool_]) -> None:
        start = 0
        for place, columns, size in self._read:
            column = columns.unit if what == "unit" else columns.institution
            self.problems.add_where(place, column or what, complaint, bad[start : start + size], 0)
            start += size

    def _counts(self, fits: NDArray[np.bool_]) -> LoadCounts:
        names = [feature.name for feature in self._study.features]
        tally = self._tally.tolist()
        section = self._study.rows
        absent = {section.column: self._rows.absent} if section and self._rows else {}
        return LoadCounts(
            clamped=dict(zip(names, tally[CLAMPED], strict=True)),
            missing=dict(zip(names, tally[MISSING], strict=True)) | absent,
            other=dict(zip(names, tally[OTHER], strict=True)),
            rows=self.rows + self.problems.unread,
            zero=int(np.count_nonzero(~fits)) + self.problems.unread,
            each=self.each,
        )


def read_records(
    tables: Sequence[Path | Table],
    study: Study,
    *,
    mapping: ColumnMapping | None = None,
    institution_column: str | None = None,
    audit_column: str | None = None,
    whole: bool = False,
    beside: Sequence[str] = (),
) -> LoadedRecords:
    """Read record files (CSV, Parquet, Arrow, DuckDB, SQLite) and encode them under a study.

    NULL, NaN and the study's `missing` tokens fill the missing slot, values out of bounds are
    clamped and counted, an unknown level is `other` (docs/design.md, "Refusals"). A unit's
    positions depend on its own row and the study alone: never on batches, order or neighbours.

    Args:
        tables: files of one table, or what is in memory, read in order; a folder stands for its
            files, by name.
        study: the public plan.
        mapping: what is declared about all files: study column to source column, encoding, ...
        institution_column: column that names each unit's institution (also through `mapping`).
        audit_column: column kept beside the units for a fairness audit; never a feature.
        whole: refuse rows that would count as zero; for simulations, whose answers nobody outside
            waits for, and where a thinner file would pass for the whole.
        beside: further numbers to keep, where the files have them; no model reads them.

    Raises:
        RecordsError: every problem at once, one line each, by column, count and row number;
            rows count from 1 after the header. Never a value.
        StudyError: the mapping names columns that the study does not have.
    """
    if not tables:
        raise RecordsError("expected at least one file with records, found none")
    audit = () if audit_column is None else (audit_column,)
    wanted = RecordsUse(institution=institution_column, audit=audit, beside=tuple(beside))
    load = Load(study, wanted)
    for one in tables:
        load.read(one if isinstance(one, Table) else table_at(one, mapping))
    records = load.finish()
    if whole:
        load.problems.check(Effect.ZERO)
    return records


def read_sources(
    sources: Sequence[RecordsSource],
    study: Study,
    *,
    folder: Path,
    environment: Mapping[str, str],
    spool: Spool | None = None,
    kept: KeptParts | None = None,
) -> LoadedRecords:
    """Read an institution's own sources, those that serve this study, as one table.

    As `read_records`, with what each source declares about itself; columns that it maps for
    other studies are passed over.

    Args:
        sources: from `institution.toml`.
        study: the public plan.
        folder: where relative paths begin.
        environment: variables that may hold a database's address.
        spool: where what was encoded is kept; None: in memory.
        kept: finished parts of an interrupted load, and of this one.

    Raises:
        RecordsError: no source, or every problem as in `read_records`.
        StudyError: a mapping file is wrong.
    """
    tables = tables_of(sources, study, folder=folder, environment=environment)
    return _read_all(tables, lambda: Load(study, spool=spool, kept=kept)).finish()


def _read_all(tables: Sequence[Table], begin: Callable[[], Load]) -> Load:
    """Read tables, and anew where a database's state was lost meanwhile; in the end that is noted.

    Raises:
        StudyError: a mapping names columns that nothing reads.
    """
    problem: RecordsError | None = None
    for _ in range(MOST_BEGUN):
        load = begin()
        try:
            for table in tables:
                load.read(table)
        except SnapshotLostError as error:
            problem = error
        else:
            return load
    if problem is not None:
        load.problems.add_error(problem)
    return load


# -- check ----------------------------------------------------------------------------------------

_NO_UNIT_COLUMN: Final = (
    "the study names no unit: it can be simulated, and an institution runs it only with a column "
    "of ids in its records.unit"
)


@dataclass(frozen=True)
class RecordsCheck:
    """The result of a check.

    Attributes:
        study: the study's name.
        tables: those that were read, in order.
        rows: how many rows that was.
        zero: of those, how many count as zero.
        findings: values that do not fit; those that refuse come first.
        covers: the records that the promise covers, in words.
        each: how many rows a unit has.
        columns: each one's rows by cell.
        ids: a sketch of the ids that count, where a key was given.
    """

    study: str
    tables: tuple[str, ...]
    rows: int
    findings: tuple[RecordProblem, ...]
    covers: str
    zero: int = 0
    each: RowsPerUnit = NO_ROWS
    columns: tuple[ColumnProfile, ...] = ()
    ids: IdSketch = NO_IDS

    @property
    def loads(self) -> bool:
        """Whether the records would load."""
        return all(found.effect is not Effect.REFUSED for found in self.findings)


def check_records(
    tables: Sequence[Table], study: Study, *, today: date, said: Said = unsaid, key: bytes = b""
) -> RecordsCheck:
    """Read `tables` as a load would, and report instead of handing over.

    Args:
        tables: read in order, as one.
        study: the public plan.
        today: the last date that is none of the future.
        said: is told how far it is.
        key: the hold-out key, under which ids are sketched; empty: they are not.

    Raises:
        StudyError: a mapping names columns that nothing reads.
    """
    load = _read_all(tables, lambda: Load(study, RecordsUse(today=today), said=said))
    units, *_ = load.settle()
    if study.records.unit is None:
        load.problems.add_error(RecordsError(_NO_UNIT_COLUMN))
    noted = [RecordProblem(Effect.NONE, text, 0) for text in _whole(load, study)]
    findings = (*load.problems.findings(), *noted)
    covers = covers_line(told_by(study), load.covered or {})
    unread = load.problems.unread
    fits = load.problems.fits(load.rows)
    zero = int(np.count_nonzero(~fits)) + unread
    ids = IdSketch.of(units[fits], key=key) if key else NO_IDS
    tables_read, rows = tuple(load.tables), load.rows + unread
    columns = tuple(load.column_profiles())
    return RecordsCheck(
        study.name, tables_read, rows, findings, covers, zero, load.each, columns, ids
    )


def _whole(load: Load, study: Study) -> Iterator[str]:
    """Say what is odd about all rows together; it refuses none (docs/design.md, "Refusals")."""
    if load.rows == 0:
        yield "no row was read: the institution would take part with nothing"
    elif load.positives in {0, load.rows}:
        few = "no label is" if load.positives == 0 else "all labels are"
        yield (
            f"{few} positive under the study's records.positive ({study.records.positive}): "
            "compare it with how labels are written here"
        )
    if load.rows > study.records.units:
        yield (
            f"{load.rows} rows here, {study.records.units} units of all institutions in the "
            "study's records.units: one of them is a mistake"
        )


def report_lines(report: RecordsCheck) -> list[str]:
    """Return a report for a terminal: a line for each finding, then whether it would load."""
    width = max(len(effect.value) for effect in Effect)
    refused = sum(found.effect is Effect.REFUSED for found in report.findings)
    rows = count_rows(report.rows)
    fits = zero_words(report.rows, report.zero) or rows
    verdict = f"would load: {fits}" if report.loads else (
        f"would not load: {refused} {'problem refuses' if refused == 1 else 'problems refuse'} it"
    )  # fmt: skip
    return [
        f"{report.study} over {', '.join(report.tables)}: {rows}",
        *(f"  {found.effect.value:<{width}}  {_short(found, report)}" for found in report.findings),
        *([] if report.findings else ["  everything fits"]),
        verdict,
        report.each.words,
        f"the promise {report.covers}",
        "this was read on this machine and stays here; counts and row numbers are not for others",
    ]


def records_words(report: RecordsCheck) -> list[str]:
    """Return, for a person who decides on a study, the counts of used and unused records."""
    if not report.loads:
        refused = (one.text for one in report.findings if one.effect is Effect.REFUSED)
        return ["would not load:", *(f"  {text}" for text in refused)]
    if not report.zero:
        return [f"{count_rows(report.rows)}, none of which counts as zero", report.each.words]
    zero = f"{zero_words(report.rows, report.zero)}:"
    return [zero, *zero_lines(report.findings), report.each.words]


def _short(found: RecordProblem, report: RecordsCheck) -> str:
    """Leave out the table's name where there is only one."""
    return (
        found.text.removeprefix(f"{report.tables[0]}: ") if len(report.tables) == 1 else found.text
    )
