"""`TextReader` and `VectorReader` keep to `RowReader`: rows in order, however they are batched."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fieldfare.client.records.encoding.problems import Place, Problems
from fieldfare.client.records.encoding.rows import RowReader, TextReader, VectorReader, row_reader
from fieldfare.shared.features.rows import UnitRows
from fieldfare.shared.study.study import Study

ROWS: Final = 9


@dataclass(frozen=True)
class Column:
    """One implementation, the model that has it, and texts of a column; None is missing."""

    reader: type[RowReader]
    model: dict[str, Any]
    texts: list[str | None]


COLUMNS: Final = {
    "texts": Column(
        TextReader,
        {"kind": "text", "column": "c", "buckets": 128},
        ["one", None, "two words", "none", "", "six", "seven", "£8", "nine"],
    ),
    "vectors": Column(
        VectorReader,
        {"kind": "vector", "column": "c", "entries": 64},
        [None if row in {1, 3, 4} else str([float(row)] * 64) for row in range(ROWS)],
    ),
}


@pytest.fixture(params=list(COLUMNS))
def column(request: pytest.FixtureRequest) -> Column:
    return COLUMNS[str(request.param)]


def reader_of(column: Column) -> RowReader:
    study = Study.model_validate(
        {
            "name": "rows",
            "purpose": "tests",
            "records": {
                "unit": "u",
                "label": "y",
                "units": 100,
                "prevalence": 0.1,
                "missing": ["none"],
            },
            "model": column.model,
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )
    made = row_reader(study, Problems())
    assert isinstance(made, column.reader)
    return made


def dense(rows: UnitRows) -> NDArray[np.float64]:
    found = np.zeros((len(rows), rows.columns))
    for part, chunk in rows.chunks():
        found[part] = chunk.toarray() if hasattr(chunk, "toarray") else chunk
    return found


@pytest.mark.parametrize("size", [1, 2, 4, ROWS])
def test_batches_of_any_size_give_the_same_rows(column: Column, size: int) -> None:
    reader, whole = reader_of(column), reader_of(column)
    whole.read("c", pa.array(column.texts, pa.string()), Place("t"), 0)
    for start in range(0, ROWS, size):
        batch = pa.array(column.texts[start : start + size], pa.string())
        reader.read("c", batch, Place("t"), start)
    assert reader.absent == whole.absent == 3
    found = dense(reader.finish())
    assert np.array_equal(found, dense(whole.finish()))
    assert [bool(row.any()) for row in found] == [
        i not in {1, 3, 4} and found[i].any() for i in range(ROWS)
    ]


def test_a_column_without_rows_is_empty(column: Column) -> None:
    reader = reader_of(column)
    reader.read("c", pa.array([], pa.string()), Place("t"), 0)
    assert (len(reader.finish()), reader.absent) == (0, 0)
