"""The one reader of an institution's tables: batch by batch, each row by itself.

What training and scoring do differently is declared in `RecordsUse`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedReader
from fieldfare.client.records.encoding.columns import TRAINING, Columns, RecordsUse, told_by
from fieldfare.client.records.encoding.encoding import UNLABELLED, Encoder, few_texts_of, texts_of
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.encoding.rows import row_reader
from fieldfare.client.records.encoding.units import Texts
from fieldfare.client.records.health import ColumnProfile, column_profiles
from fieldfare.client.records.kept_parts import KeptParts
from fieldfare.client.records.sources.engine import Source, UnreadLines
from fieldfare.client.records.sources.source import Table
from fieldfare.client.records.sources.sql import ColumnType
from fieldfare.client.records.sources.table_pages import SnapshotLostError
from fieldfare.client.records.spool import Spool
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import Positions
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import cut_before

Said = Callable[[str, int, int], None]
# Of the view's text alone, before a row is read; a check says it, and a person decides by it.
_FAILING: Final = (
    "expected a view or query that fails for no value, found {parts}; use try_cast or TRY, which "
    "give NULL where a value does not fit, or leave numbers as text: they are read from it"
)
SHOWN_NAME: Final = 32  # characters of a table's name beside a bar


def unsaid(what: str, done: int, total: int) -> None:
    """Tell nobody."""


class Reader:
    """The rows that were encoded and the problems that were noted so far.

    Attributes:
        problems: everything that does not fit.
        rows: rows read.
        positives: rows with a positive label.
        tables: their names, in order.
        covered: columns that are read and whose promise covers the person in every part, each
            with the banks whose customers' payments are left out of it; None: nothing was read.
        text: of the unit whose text is kept; None where it was not there.
    """

    def __init__(
        self,
        study: Study,
        wanted: RecordsUse = TRAINING,
        spool: Spool | None = None,
        said: Said = unsaid,
        kept: KeptParts | None = None,
    ) -> None:
        """Begin empty, so that an institution without units is read like any other.

        Args:
            study: the public plan.
            wanted: what is read.
            spool: where what was encoded is kept; None: in memory.
            said: is told how far the reading of a table is.
            kept: finished parts of an interrupted load, and of this one.
        """
        self.problems = Problems()
        self.rows = self.positives = 0
        self.tables: list[str] = []
        self.covered: dict[str, str] | None = None
        self.text: str | None = None
        self._study, self._wanted = study, wanted
        self._spool, self._said, self._kept = spool or Spool(), said, kept or KeptParts()
        features = len(study.features)
        self._tally = np.zeros((3, features), dtype=np.int64)
        self._positions: list[Positions] = [np.empty((features, 0), np.uint16)]
        self._values = [np.empty((features, 0), np.float32)]
        self._beside = [np.empty((len(wanted.beside), 0), np.float32)]
        self._labels: list[NDArray[Any]] = [np.empty(0, np.uint8 if wanted.trains else np.int8)]
        named = (study.records.unit, wanted.institution, *wanted.audit)
        self._texts: list[list[Any]] = [[] for name in named if name is not None]
        self._contents: list[Texts] = []  # of rows that have no id
        self._rows = row_reader(study, self.problems)
        self._asked = AskedReader(study)
        self._read: list[tuple[Place, Columns, int]] = []

    def read(self, table: Table) -> None:
        """Encode every row of a table; for training, problems with its parts are only noted.

        Raises:
            StudyError: for training, its mapping names columns that nothing reads.
            RecordsError: for scoring, a part lacks columns or cannot be read.
            SnapshotLostError: the table's state is gone: what was read before fits no later row.
        """
        columns = Columns.of(self._study, table.mapping, self._wanted)
        self.tables.append(table.name)
        encoder = Encoder(columns, self.problems)
        kinds: dict[str, tuple[ColumnType, str]] = {}
        done = 0
        self._tell(table, done)
        for part in table.runs():
            place = Place(table.name, part.name, self.rows, part.pieces)
            with self._noting(), part.open() as source:
                _note_types(source, columns, place, kinds, self.problems)
                for rows in self._read_source(source, columns, encoder, place, part.identity):
                    here = min(rows / source.expected, 1.0) if source.expected else 0.0
                    self._tell(table, done + int(here * part.size))
            done += part.size
            self._tell(table, done)
            self._read.append((place, columns, self.rows - place.first))
        with self._noting():
            table.check_unchanged()
        self._tally += encoder.tally

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note what cannot be read; for scoring, and where all is to be read anew, it is raised."""
        try:
            yield
        except SnapshotLostError:
            raise
        except RecordsError as error:
            if not self._wanted.trains:
                raise
            self.problems.add_error(error)

    def column_profiles(self) -> list[ColumnProfile]:
        """Return each column's rows by cell; none of a study of rows."""
        return [] if self._study.rows else column_profiles(self._study, self._positions)

    def _tell(self, table: Table, done: int) -> None:
        self._said(f"{cut_before(table.name, SHOWN_NAME)}: {self.rows:,} rows", done, table.size)

    def _read_source(
        self,
        source: Source,
        columns: Columns,
        encoder: Encoder,
        place: Place,
        identity: Sequence[object],
    ) -> Iterator[int]:
        """Encode the rows of a part; yields after each batch how many of it that are."""
        unread: list[UnreadLines] | None = None
        if self._wanted.trains:
            self._cover(columns, source)
            if self._wanted.today is not None and source.failing:
                text = _FAILING.format(parts=", ".join(source.failing))
                self.problems.add(place, text)
            if not columns.all_in(source, place, self.problems):
                return
            unread = []
        else:
            columns = columns.scored_in(source, place)
        dates = [name for name, _ in columns.dates_in(source)]
        expressions, needed = columns.expressions(source), columns.needed(source)
        batches = self._kept.batches(
            identity,
            (*expressions, *needed),
            lambda: source.batches(expressions, needed, unread=unread),
            lambda: not any(found.count for found in unread or ()),
        )
        for batch in batches:
            self._add(columns.computed(batch), columns, dates, encoder, place)
            self.rows += batch.num_rows
            yield self.rows - place.first
        for found in unread or ():
            self.problems.add_unread(place, found.count, found.first, rows=found.rows)

    def _cover(self, columns: Columns, source: Source) -> None:
        """Keep the columns that are covered as they were in the parts before."""
        here = {name: columns.mapping.source_of(name) for name in told_by(self._study)}
        found = {
            name: source.covered[column]
            for name, column in here.items()
            if column in source.covered
        }
        before = found if self.covered is None else self.covered
        self.covered = dict(before.items() & found.items())

    def _add(
        self, batch: Any, columns: Columns, dates: Sequence[str], encoder: Encoder, place: Place
    ) -> None:
        """Take a batch, column after column in the order of `Columns.expressions`."""
        start = self.rows - place.first
        self._positions.append(self._spool.kept(encoder.positions(batch, place, start)))
        rest = iter(batch.columns[len(self._study.features) :])
        labels: NDArray[Any] = np.full(batch.num_rows, UNLABELLED, np.int8)
        if self._wanted.trains:
            labels = encoder.labels(next(rest), place, start)
        elif columns.label is not None:
            labels = encoder.optional_labels(next(rest))
        if not self._wanted.trains:
            self._values.append(encoder.numbers(batch))
        self._labels.append(labels)
        self.positives += int(np.count_nonzero(labels == 1))
        for index, parts in enumerate(self._texts):
            parts.append(self._text_of(next(rest), is_id=index == 0 and columns.unit is not None))
        if self._rows is not None and columns.rows is not None:
            self._read_rows(next(rest), columns.rows, place, start)
        if columns.asked:
            asked = [next(rest) for _ in columns.asked]
            self._asked.read(asked, columns.asked, place, start, self.problems, self.rows)
        for name in dates:
            encoder.dates(name, next(rest), place, start)
        if columns.beside:
            numbers = [next(rest).to_numpy(zero_copy_only=False) for _ in columns.beside]
            self._beside.append(np.array(numbers, dtype=np.float32))
        if columns.unit is None:
            self._contents.append(_contents(rest))

    def _text_of(self, column: Any, *, is_id: bool) -> Any:
        if not self._wanted.trains:  # millions of customers: ids stay in Arrow's buffers
            return pc.fill_null(column.cast(pa.string()), "")
        return texts_of(column) if is_id else few_texts_of(column)

    def _read_rows(self, column: Any, name: str, place: Place, start: int) -> None:
        if self._rows is not None:
            self._rows.read(name, column, place, start)
        if self._wanted.text_of is not None:
            found = pc.index(self._texts[0][-1], self._wanted.text_of).as_py()
            if found >= 0:
                self.text = column[found].as_py() or ""


def _note_types(
    source: Source,
    columns: Columns,
    place: Place,
    seen: dict[str, tuple[ColumnType, str]],
    problems: Problems,
) -> None:
    """Note columns of another type than in the files before: values are read as they stand.

    Never refused: programs choose a column's type by the values in it, so a record would decide.
    """
    for name in columns.read:
        kind = source.columns.get(name)
        if kind is ColumnType.FLOAT:  # of whole numbers, a missing one makes floats
            kind = ColumnType.NUMBER
        if kind is None:
            continue
        first, where = seen.setdefault(name, (kind, place.parts[0]))
        if kind is not first:
            text = (
                f"expected column {name} of type {first.value}, as in {where}, found "
                f"{kind.value}; each value is read as it stands: write one type"
            )
            problems.add(place, text, Effect.NONE)


def _contents(digests: Iterator[Any]) -> Texts:
    """Join Arrow columns of digests to one for each row."""
    joined = map("".join, zip(*(column.to_pylist() for column in digests), strict=True))
    found = [hashlib.sha256(text.encode()).hexdigest() for text in joined]
    contents = np.empty(len(found), dtype=np.object_)
    contents[:] = found
    return contents
