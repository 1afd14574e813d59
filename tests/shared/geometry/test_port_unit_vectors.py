"""Both kinds of vectors keep to `UnitVectors`: those of a basis, and rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature
from fieldfare.shared.features.rows import DenseRows, SparseRows, unit_rows
from fieldfare.shared.geometry import unit_vectors as module
from fieldfare.shared.geometry.moments import (
    FIRST_BITS,
    first_moment_sum,
    first_moment_vectors,
    moment_sum,
    moment_vectors,
)
from fieldfare.shared.geometry.unit_vectors import (
    BasisVectors,
    RowVectors,
    UnitVectors,
    unit_vectors,
)
from fieldfare.shared.models.additive import AdditiveModel
from fieldfare.shared.models.linear import LinearModel
from fieldfare.shared.models.vector_network import NetworkModel

FEATURES: Final = (
    NumericFeature(kind="numeric", name="n", lower=0, upper=9, knots=[0, 1, 9], special=[7]),
    CategoricalFeature(kind="categorical", name="c", levels=("a", "b")),
    NumericFeature(
        kind="numeric", name="by", lower=0, upper=9, knots=[0, 9], by="kind", levels=("x", "y")
    ),
)
COLUMNS: Final = 5


def basis_units(seed: int, units: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    columns = [random.integers(0, table_size(f), units, dtype=np.uint16) for f in FEATURES]
    return EncodedUnits(np.stack(columns), random.integers(0, 2, units, dtype=np.uint8))


def row_units(seed: int, units: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    rows = unit_rows(random.normal(size=(units, COLUMNS)) * (random.random((units, COLUMNS)) < 0.6))
    labels = random.integers(0, 2, units, dtype=np.uint8)
    return EncodedUnits(np.empty((0, units), np.uint16), labels, rows)


def sparse_units(seed: int, units: int) -> EncodedUnits:
    data = row_units(seed, units)
    assert isinstance(data.rows, DenseRows)
    places = np.tile(np.arange(COLUMNS, dtype=np.uint16), units)
    starts = np.arange(units + 1, dtype=np.int64) * COLUMNS
    rows = SparseRows(starts, places, data.rows.values.ravel(), COLUMNS)
    return EncodedUnits(data.positions, data.labels, rows)


@dataclass(frozen=True)
class Case:
    vectors: UnitVectors
    units: Callable[[int, int], EncodedUnits]

    def whole(self, data: EncodedUnits) -> list[list[int]]:
        """Each unit's vector, of Python's integers."""
        parts = [columns.T for _, columns in self.vectors.columns(data)]
        return [[int(x) for x in row] for part in parts for row in part.tolist()]


CASES: Final = {
    "basis": Case(unit_vectors(AdditiveModel(FEATURES, 1.0)), basis_units),
    "rows": Case(unit_vectors(LinearModel(COLUMNS, 1.0)), row_units),
    "sparse": Case(RowVectors(COLUMNS), sparse_units),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[str(request.param)]


def triangle(vector: list[int]) -> list[int]:
    return [x * y for at, x in enumerate(vector) for y in vector[at:]]


def squared(vector: list[int]) -> int:
    return sum(x * x for x in vector)


def test_vectors_begin_with_one_and_keep_their_norm(case: Case) -> None:
    for vector in case.whole(case.units(1, 300)):
        assert len(vector) == case.vectors.entries
        assert vector[0] == 1 << case.vectors.bits
        assert max(map(abs, vector)) <= 1 << case.vectors.bits
        assert squared(vector) <= case.vectors.squared_norm << (2 * case.vectors.bits)


def test_moments_are_what_python_adds_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    data, shift = case.units(2, 100), FIRST_BITS - case.vectors.bits
    rows = case.whole(data)
    second = [sum(column) for column in zip(*map(triangle, rows), strict=True)]
    first = [sum(column) << shift for column in zip(*rows, strict=True)]
    for entries in (1 << 21, 1, 64):  # whatever the chunks
        monkeypatch.setattr(module, "CHUNK_ENTRIES", entries)
        assert moment_sum(case.vectors, data).tolist() == second
        assert first_moment_sum(case.vectors, data).tolist() == first
    assert second[0] == 100 << (2 * case.vectors.bits)  # the bias: a count
    nobody = data.select(np.zeros(100, dtype=bool))
    assert not moment_sum(case.vectors, nobody).any()
    assert not first_moment_sum(case.vectors, nobody).any()


def test_no_unit_moves_moments_by_more_than_c_and_some_nearly_do(case: Case) -> None:
    data, reached = case.units(3, 60), []
    for facts, found in (
        (moment_vectors(case.vectors), moment_sum),
        (first_moment_vectors(case.vectors), first_moment_sum),
    ):
        bound = (Fraction(facts.clipping_norm) * 2**facts.gamma_bits) ** 2
        whole, largest = found(case.vectors, data), 0
        assert facts.entries == len(whole)
        for unit in range(60):
            moved = whole - found(case.vectors, data.select(np.arange(60) != unit))
            largest = max(largest, squared(moved.tolist()))
            assert largest <= bound
        reached.append(math.sqrt(largest / bound))
    # A row with one entry reaches it; so does a unit with every feature at a knot or a level.
    assert reached[1] >= 0.9
    assert reached[0] >= (0.9 if isinstance(case.vectors, RowVectors) else 0.7)


def test_the_largest_moments_reach_c() -> None:
    data = basis_units(4, 1)
    data.positions[:] = 0  # on the first knot, the first level
    facts = moment_vectors(CASES["basis"].vectors)
    moved = squared(moment_sum(CASES["basis"].vectors, data).tolist())
    assert moved >= (0.999 * facts.clipping_norm * 2**facts.gamma_bits) ** 2
    assert facts.clipping_norm == math.ceil(math.sqrt(4 * 5 / 2) * 1024) / 1024


def test_no_unit_leaves_the_range_of_a_matrix(case: Case) -> None:
    size = case.vectors.entries - 1
    matrix: NDArray[np.int64] = np.random.default_rng(5).integers(-(2**18), 2**18, (size, size))
    low, high = case.vectors.range_of(matrix)
    rows = np.array(case.whole(case.units(6, 400)))[:, 1:] @ matrix.T
    assert (rows >= low).all()
    assert (rows <= high).all()
    assert (rows.max(axis=0) >= high // 2).mean() > 0.7  # some unit comes near


def test_sums_clip_every_residual_to_its_cap(case: Case) -> None:
    data = case.units(7, 20)
    start = np.zeros(case.vectors.entries)
    caps = np.arange(20, dtype=np.int32)  # all below the residual of 2^19
    found = case.vectors.sums(data, caps).gradient_sum(start)
    signed = np.where(data.labels == 1, -caps, caps)
    assert found.tolist() == (np.array(case.whole(data)).T @ signed).tolist()


def test_no_chunk_of_whole_vectors_is_large_however_many_columns_rows_have() -> None:
    """Texts are hashed into up to 2^16 buckets: 2^12 such vectors at once take 2 GiB."""
    columns, units = 1 << 15, 200
    starts, values = np.arange(units + 1, dtype=np.int64), np.full(units, 1 << 10, np.int16)
    rows = SparseRows(starts, np.arange(units, dtype=np.uint16), values, columns)
    labels = np.zeros(units, np.uint8)
    data = EncodedUnits(np.empty((0, units), np.uint16), labels, rows)
    places: list[int] = []
    for part, found in RowVectors(columns).columns(data):
        places += range(part.start, part.stop)
        assert found.size <= module.CHUNK_ENTRIES
        assert (
            found[1 + np.arange(part.start, part.stop), np.arange(found.shape[1])] == 1024
        ).all()
    assert places == list(range(units))


def test_networks_have_no_vectors() -> None:
    with pytest.raises(StudyError, match="found a network"):
        unit_vectors(NetworkModel(COLUMNS, 8, 1.0))
    assert isinstance(CASES["basis"].vectors, BasisVectors)
