"""Records in whichever form they are at hand, as the one form that is read: tables of Arrow's.

A frame is a `pyarrow.Table` (or anything with `__arrow_c_stream__`), a pandas or polars frame, a
mapping of column names to arrays, a NumPy array with named fields, or a path of a file or folder.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fieldfare.client.records.sources.source import Table, table_at, table_in_memory
from fieldfare.shared.errors import UsageError

ALL: Final = ""  # the name of one table of all institutions
_NAME: Final = "records"
_PLAIN: Final = (str, bool, int, float, np.generic)  # of a column of objects
FORMS: Final = (
    "an Arrow table, a pandas or polars frame, a dict of columns, a NumPy array with named fields, "
    "a path, or a dict of those by institution"
)


def tables_of(data: Any) -> dict[str, Table]:
    """Return records as tables to read: by institution, or one of all under "".

    Args:
        data: a frame, or a mapping of institutions' names to frames; see the module.

    Raises:
        UsageError: something else, or a column that no table can hold.
        RecordsError: a path of no file.
    """
    if isinstance(data, Mapping) and not _is_columns(data):
        named = {str(name): _table(frame, str(name)) for name, frame in data.items()}
        if ALL in named:
            raise UsageError('expected names of institutions, found "" among them; name it')
        return named
    return {ALL: _table(data, _NAME)}


def _table(frame: Any, name: str) -> Table:
    if isinstance(frame, str | os.PathLike):
        return table_at(Path(frame))
    return table_in_memory(name, arrow_of(frame, name))


def arrow_of(frame: Any, name: str = _NAME) -> Any:
    """Return a frame in memory as a `pyarrow.Table`.

    Args:
        frame: see the module, but for paths.
        name: what messages call it.

    Raises:
        UsageError: something else, or a column that no table can hold.
    """
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(frame, pandas.DataFrame):
        return _of_columns(_pandas_columns(frame, name), name)
    if hasattr(frame, "__arrow_c_stream__"):  # polars and others
        return pa.table(frame)
    if isinstance(frame, np.ndarray) and frame.dtype.names:
        return _of_columns([(field, frame[field]) for field in frame.dtype.names], name)
    if isinstance(frame, Mapping) and _is_columns(frame):
        return _of_columns([(str(column), values) for column, values in frame.items()], name)
    raise UsageError(f"{name}: expected {FORMS}, found {_kind(frame)}")


def _pandas_columns(frame: Any, name: str) -> list[tuple[str, Any]]:
    """Return columns with names as texts; the index is no column."""
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise UsageError(
            f"{name}: expected a name for each column, found names of several levels; flatten them"
        )
    names = [str(column) for column in frame.columns]
    return [(column, frame.iloc[:, place]) for place, column in enumerate(names)]


def _of_columns(columns: Sequence[tuple[str, Any]], name: str) -> Any:
    names = [column for column, _ in columns]
    if twice := sorted({column for column in names if names.count(column) > 1}):
        raise UsageError(f"{name}: expected different column names, found {twice[0]!r} twice")
    made = [_array(values, f"{name}: column {column!r}") for column, values in columns]
    sizes = {len(one) for one in made}
    if len(sizes) > 1:
        raise UsageError(
            f"{name}: expected columns of one length, found {min(sizes)} and {max(sizes)}"
        )
    return pa.Table.from_arrays(made, names=names)


def _array(values: Any, place: str) -> Any:
    """Return a column as Arrow holds it; one of several kinds of values as texts."""
    if getattr(values, "ndim", 1) != 1:
        raise UsageError(
            f"{place}: expected one value for each row, found an array of {values.ndim} axes"
        )
    try:
        made = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        made = pa.array(_texts(values, place), pa.string())
    return made.storage if isinstance(made.type, pa.BaseExtensionType) else made


def _texts(values: Any, place: str) -> list[str | None]:
    """Return values of several kinds as texts, as a CSV file would hold them."""
    found: list[str | None] = []
    for one in values:
        if one is None or one != one:  # noqa: PLR0124 -- NaN, whatever its type
            found.append(None)
        elif isinstance(one, _PLAIN):
            found.append(str(one))
        else:
            raise UsageError(
                f"{place}: expected numbers, truth values, times or texts, found {_kind(one)}; "
                "convert it or leave it out"
            )
    return found


def _is_columns(data: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping holds columns and not frames by institution."""
    return bool(data) and all(
        isinstance(one, list | tuple | pa.Array | pa.ChunkedArray)
        or (isinstance(one, np.ndarray) and not one.dtype.names)
        or _is_series(one)
        for one in data.values()
    )


def _is_series(value: Any) -> bool:
    """Tell a column of pandas or polars."""
    return type(value).__name__ == "Series" and hasattr(value, "to_numpy")


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.ndim} axes without named fields"
    if isinstance(value, Mapping):
        return "an empty dict" if not value else "a dict of both columns and other things"
    return f"a {type(value).__name__}"
