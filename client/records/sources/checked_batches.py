"""Arrow batches that other programs wrote, checked before anything computes with them.

A text that is no UTF-8 is one row's: it is left out, and ends no load. An offset that points
outside is damage, and must end the load with a message and not the process.
"""

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fieldfare.client.records.encoding.problems import SHOWN
from fieldfare.shared.errors import RecordsError

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


class CheckedBatches:
    """An Arrow stream whose every batch is validated.

    Attributes:
        lenient: rows with a text that is none are left out; otherwise they end the stream.
        left_out: how many were.
        first: numbers of the first ones, 1 for the stream's first row.
    """

    def __init__(
        self,
        reader: Any,
        errors: tuple[type[Exception], ...],
        problem: str,
        *,
        lenient: bool = False,
    ) -> None:
        """Pass on the batches of `reader`; `problem` explains one of `errors`."""
        self.lenient, self.left_out, self.first = lenient, 0, list[int]()
        self._reader = reader
        self._errors = (*errors, pa.ArrowException)
        self._message = problem
        self._lock = Lock()
        self._ended = False
        self.problem: RecordsError | None = None

    def reader(self) -> Any:
        """Return a stream that just ends where something is wrong; then see `problem`."""
        batches = self._checked(lambda batch: batch)
        return pa.RecordBatchReader.from_batches(self._reader.schema, batches)

    def slices(self, columns: Sequence[str], most: int) -> Iterator[tuple[Any, Numbers]]:
        """Yield those columns in batches of at most so many rows; as `reader`, ends at a problem.

        With each batch come the numbers of its rows, 1 for the first. Rows are left out here, and
        by whoever finds that one cannot be computed (`leave_out`).
        """
        first = 1
        for batch in self._checked(lambda batch: _selected(batch, columns)):
            for start in range(0, batch.num_rows, most):
                part = batch.slice(start, most)
                numbers = np.arange(first + start, first + start + part.num_rows)
                if not (self.lenient and texts(part)):
                    yield part, numbers
                    continue
                found, fits = readable(part)
                for row in numbers[~fits].tolist():
                    self.leave_out(row)
                yield found, numbers[fits]
            first += batch.num_rows

    def leave_out(self, row: int) -> None:
        """Count a row that is left out, by its number."""
        self.left_out += 1
        if len(self.first) < SHOWN:
            self.first.append(row)

    def end(self, let_go: Callable[[], None]) -> None:
        """Bring no further batch, and release the reader; may be called twice.

        DuckDB reads ahead on threads of its own: whoever leaves early must not close a
        database under one of them.
        """
        with self._lock:
            self._ended = True
            let_go()

    def _checked(self, chosen: Callable[[Any], Any]) -> Iterator[Any]:
        try:
            source = iter(self._reader)
            while (batch := self._next(source, chosen)) is not None:
                yield batch
        except self._errors:
            self.problem = RecordsError(self._message)

    def _next(self, source: Iterator[Any], chosen: Callable[[Any], Any]) -> Any:
        with self._lock:
            batch = None if self._ended else next(source, None)
            if batch is not None:
                batch = chosen(batch)
                (as_bytes(batch) if self.lenient else batch).validate(full=True)
            return batch


def _selected(batch: Any, columns: Sequence[str]) -> Any:
    """Return those columns that are there; one at least, for rows without a column are none."""
    names = batch.schema.names
    return batch.select([name for name in names if name in columns] or names[:1])


def _bytes_type(kind: Any) -> Any:
    """Return the type of the same values as bytes; None where it is not a column of texts."""
    types = pa.types
    kind = kind.storage_type if isinstance(kind, pa.JsonType) else kind
    if types.is_string(kind):
        return pa.binary()
    if types.is_large_string(kind):
        return pa.large_binary()
    return pa.binary_view() if types.is_string_view(kind) else None


def texts(batch: Any) -> list[int]:
    """Return the places of columns of texts, those of a dictionary too."""
    kinds = [field.type for field in batch.schema]
    values = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in kinds]
    return [place for place, kind in enumerate(values) if _bytes_type(kind) is not None]


def as_bytes(batch: Any) -> Any:
    """Return a batch whose texts are bytes: the same buffers, and no word about UTF-8."""
    columns = list(batch.columns)
    for place in texts(batch):
        column = columns[place]
        if pa.types.is_dictionary(column.type):
            values = _viewed(column.dictionary)
            columns[place] = pa.DictionaryArray.from_arrays(column.indices, values, safe=False)
        else:
            columns[place] = _viewed(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _viewed(column: Any) -> Any:
    plain = column.storage if isinstance(column.type, pa.JsonType) else column
    return plain.view(_bytes_type(column.type))


def readable(batch: Any) -> tuple[Any, Mask]:
    """Return the rows of a sound batch whose texts are UTF-8, and which rows (bool (n,)) those are.

    Texts of a dictionary are plain ones in it.
    """
    fits = np.ones(batch.num_rows, np.bool_)
    columns = {place: _plain_bytes(as_bytes(batch).column(place)) for place in texts(batch)}
    for column in columns.values():
        fits &= _are_texts(column)
    kept = pa.array(fits)
    arrays = [columns.get(place, one).filter(kept) for place, one in enumerate(batch.columns)]
    for place in columns:
        arrays[place] = arrays[place].cast(pa.large_string())
        if isinstance(batch.schema.field(place).type, pa.JsonType):  # whose numbers have quotes
            json = pa.json_(pa.large_string())
            arrays[place] = pa.ExtensionArray.from_storage(json, arrays[place])
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names), fits


def _plain_bytes(column: Any) -> Any:
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return plain.cast(pa.large_binary())


def _are_texts(column: Any) -> Mask:
    """Return which values (bool (n,)) of bytes are UTF-8; nothing is."""
    try:
        column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return np.fromiter(map(_is_text, column.to_pylist()), np.bool_, len(column))
    return np.ones(len(column), np.bool_)


def _is_text(value: bytes | None) -> bool:
    try:
        _ = value is None or value.decode()
    except UnicodeDecodeError:
        return False
    return True
