"""Sparse and dense rows keep to `UnitRows`: the same numbers, whatever holds them."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldfare.shared.features import rows as rows_module
from fieldfare.shared.features.rows import DenseRows, SparseRows, UnitRows, joined

Values = NDArray[np.int16]


def values_of(units: int, columns: int, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    values = rng.integers(-30, 31, (units, columns)).astype(np.int16)
    values[rng.random((units, columns)) < 0.6] = 0
    values[units // 2] = 0  # an empty row
    return values


def sparse(values: Values) -> SparseRows:
    lines, places = np.nonzero(values)
    starts = np.searchsorted(lines, np.arange(len(values) + 1)).astype(np.int64)
    return SparseRows(starts, places.astype(np.uint16), values[lines, places], values.shape[1])


ROWS: Final[dict[str, Callable[[Values], UnitRows]]] = {"sparse": sparse, "dense": DenseRows}
EMPTY: Final[dict[str, Callable[[int], UnitRows]]] = {
    "sparse": SparseRows.empty,
    "dense": DenseRows.empty,
}
every_kind = pytest.mark.parametrize("kind", ROWS)


def dense(rows: UnitRows) -> NDArray[np.float64]:
    found = np.full((len(rows), rows.columns), np.nan)
    for part, chunk in rows.chunks():
        found[part] = chunk.toarray() if hasattr(chunk, "toarray") else chunk
    return found


@every_kind
@pytest.mark.parametrize("chunk", [1, 3, 7, 4096])
def test_chunks_norms_and_selection_agree(
    monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int
) -> None:
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", chunk)
    values = values_of(20, 9, 1)
    rows = ROWS[kind](values)
    mask = np.random.default_rng(2).random(20) < 0.5
    assert len(rows) == 20
    assert np.array_equal(dense(rows), values)
    assert np.array_equal(rows.squared_norms(), (values.astype(np.int64) ** 2).sum(axis=1))
    assert np.array_equal(dense(rows.select(mask)), values[mask])
    assert len(rows.select(np.zeros(20, dtype=bool))) == 0


@every_kind
def test_parts_are_joined_in_order(kind: str) -> None:
    values = values_of(12, 5, 3)
    rows = ROWS[kind](values)
    first = np.arange(12) < 5
    parts = [rows.select(first), rows.select(np.zeros(12, dtype=bool)), rows.select(~first)]
    assert np.array_equal(dense(joined(parts)), values)


@every_kind
def test_no_rows(kind: str) -> None:
    empty = EMPTY[kind](7)
    assert (len(empty), empty.columns) == (0, 7)
    assert empty.squared_norms().shape == (0,)


@every_kind
def test_rows_show_no_record(kind: str) -> None:
    assert "values" not in repr(ROWS[kind](values_of(4, 4, 0)))
