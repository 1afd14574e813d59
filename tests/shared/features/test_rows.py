import numpy as np
import pytest
from numpy.typing import NDArray

from fieldfare.shared.features import rows as rows_module
from fieldfare.shared.features.rows import DenseRows, SparseRows, UnitRows, joined


def both(units: int, columns: int, seed: int) -> tuple[NDArray[np.int16], SparseRows, DenseRows]:
    rng = np.random.default_rng(seed)
    values = rng.integers(-30, 31, (units, columns)).astype(np.int16)
    values[rng.random((units, columns)) < 0.6] = 0
    values[units // 2] = 0  # an empty row
    lines, places = np.nonzero(values)
    starts = np.searchsorted(lines, np.arange(units + 1)).astype(np.int64)
    sparse = SparseRows(starts, places.astype(np.uint16), values[lines, places], columns)
    return values, sparse, DenseRows(values)


def dense(rows: UnitRows) -> NDArray[np.float64]:
    found = np.full((len(rows), rows.columns), np.nan)
    for part, chunk in rows.chunks():
        found[part] = chunk.toarray() if hasattr(chunk, "toarray") else chunk
    return found


@pytest.mark.parametrize("chunk", [1, 3, 7, 4096])
def test_chunks_norms_and_selection_agree(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", chunk)
    values, sparse, whole = both(20, 9, 1)
    kinds: tuple[UnitRows, ...] = (sparse, whole)
    mask = np.random.default_rng(2).random(20) < 0.5
    for rows in kinds:
        assert len(rows) == 20
        assert np.array_equal(dense(rows), values)
        assert np.array_equal(rows.squared_norms(), (values.astype(np.int64) ** 2).sum(axis=1))
        assert np.array_equal(dense(rows.select(mask)), values[mask])
        assert len(rows.select(np.zeros(20, dtype=bool))) == 0


def test_parts_are_joined_in_order() -> None:
    values, sparse, whole = both(12, 5, 3)
    kinds: tuple[UnitRows, ...] = (sparse, whole)
    for rows in kinds:
        first = np.arange(12) < 5
        parts = [rows.select(first), rows.select(np.zeros(12, dtype=bool)), rows.select(~first)]
        assert np.array_equal(dense(joined(parts)), values)


def test_no_rows() -> None:
    nothing: tuple[UnitRows, ...] = (SparseRows.empty(7), DenseRows.empty(7))
    for empty in nothing:
        assert len(empty) == 0
        assert empty.columns == 7
        assert empty.squared_norms().shape == (0,)


def test_rows_show_no_record() -> None:
    _, sparse, dense_rows = both(4, 4, 0)
    assert "values" not in repr(sparse)
    assert "values" not in repr(dense_rows)
