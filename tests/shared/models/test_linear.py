import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features import rows as rows_module
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.features.rows import DenseRows, SparseRows
from fieldfare.shared.models import linear
from fieldfare.shared.models.additive import MAX_EXACT_UNITS
from fieldfare.shared.models.clipping import row_caps
from fieldfare.shared.models.linear import GAMMA_BITS, LARGEST_WEIGHT, LinearModel, row_scores

GAMMA = 2.0**-GAMMA_BITS
NORMS = [2.0**-10, 0.25, 0.75, 1.0, 1.5, 8.0]


def random_units(units: int, columns: int, seed: int, *, sparse: bool = False) -> EncodedUnits:
    """Rows of every norm from 0 to 1, truncated to the grid."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(units, columns)) * (rng.random((units, columns)) < 0.5)
    norms = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9)
    raw *= rng.choice([0.0, 0.3, 1.0], (units, 1)) / norms
    values = np.trunc(raw * 1024).astype(np.int16)
    labels = rng.integers(0, 2, units, dtype=np.uint8)
    positions = np.empty((0, units), np.uint16)
    if not sparse:
        return EncodedUnits(positions, labels, DenseRows(values))
    lines, places = np.nonzero(values)
    starts = np.searchsorted(lines, np.arange(units + 1)).astype(np.int64)
    rows = SparseRows(starts, places.astype(np.uint16), values[lines, places], columns)
    return EncodedUnits(positions, labels, rows)


def random_parameters(columns: int, seed: int, size: float = 2.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, size, 1 + columns)


def dense_of(data: EncodedUnits) -> NDArray[np.float64]:
    assert isinstance(data.rows, DenseRows)
    return data.rows.values.astype(np.float64) / 1024


def each(data: EncodedUnits) -> list[EncodedUnits]:
    return [data.select(np.arange(len(data)) == index) for index in range(len(data))]


@given(
    st.integers(0, 12), st.integers(1, 9), st.sampled_from(NORMS), st.integers(0, 2**31),
    st.sampled_from([0.1, 2.0, 500.0]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_sums_agree_with_an_explicit_loop_over_units(
    units: int, columns: int, norm: float, seed: int, size: float
) -> None:
    data = random_units(units, columns, seed)
    parameters = random_parameters(columns, seed + 1, size)
    total = np.zeros(1 + columns)
    for row, label in zip(dense_of(data), data.labels.tolist(), strict=True):
        score = parameters[0] + row @ parameters[1:]
        residual = 1 / (1 + math.exp(-max(-500.0, min(500.0, score)))) - label
        vector = residual * np.concatenate([[1.0], row])
        length = np.linalg.norm(vector)
        total += vector * min(1.0, norm / length) if length > 0 else 0.0
    found = LinearModel(columns, norm).prepare(data).gradient_sum(parameters) * GAMMA
    # Truncation to 2^-20 and weights read to 2^-20 are all that differs.
    assert np.allclose(found, total, rtol=1e-5, atol=units * 2.0**-18)


@given(st.integers(0, 1 << 20), st.sampled_from(NORMS))
@settings(max_examples=200, deadline=None)
def test_no_vector_exceeds_the_clipping_norm_in_exact_arithmetic(square: int, norm: float) -> None:
    cap = int(row_caps(np.array([square], np.int64), norm)[0])
    whole = (1 << 20) + square
    assert Fraction(cap**2 * whole, 1 << 60) <= Fraction(norm) ** 2
    larger = Fraction((cap + 1) ** 2 * whole, 1 << 60) > Fraction(norm) ** 2
    assert larger or cap == 1 << 20


@pytest.mark.parametrize("sparse", [False, True])
def test_units_add_up_bit_for_bit_in_any_order_and_chunks(
    monkeypatch: pytest.MonkeyPatch, sparse: bool
) -> None:
    data = random_units(200, 64, 5, sparse=sparse)
    parameters = random_parameters(64, 6)
    model = LinearModel(64, 0.25)
    whole = model.prepare(data).gradient_sum(parameters)
    alone = [model.prepare(unit).gradient_sum(parameters) for unit in each(data)]
    assert np.array_equal(np.sum(alone, axis=0), whole)
    limit = 0.25**2 * 4.0**GAMMA_BITS
    assert all(sum(int(v) ** 2 for v in vector) <= limit for vector in alone)
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", 7)
    shuffled = concatenate(each(data)[::-1])
    assert np.array_equal(model.prepare(shuffled).gradient_sum(parameters), whole)


def test_sparse_and_dense_rows_are_the_same_model() -> None:
    dense, sparse = random_units(50, 32, 8), random_units(50, 32, 8, sparse=True)
    parameters = random_parameters(32, 9)
    model = LinearModel(32, 0.5)
    assert np.array_equal(model.scores(parameters, dense), model.scores(parameters, sparse))
    assert np.array_equal(
        model.prepare(dense).gradient_sum(parameters),
        model.prepare(sparse).gradient_sum(parameters),
    )


def test_scores_are_exact_up_to_the_largest_parameters() -> None:
    data = random_units(30, 2048, 11)
    parameters = np.random.default_rng(1).choice([-1e4, 1e4], 2049)
    assert isinstance(data.rows, DenseRows)
    expected = [
        float(
            Fraction(sum(int(v) * int(w) for v, w in zip(row, parameters[1:], strict=True)), 1024)
        )
        for row in data.rows.values
    ]
    assert np.array_equal(row_scores(np.concatenate([[0.0], parameters[1:]]), data.rows), expected)


def test_scores_stay_exact_for_weights_that_only_crafted_coordinates_have() -> None:
    """Beyond 2^53 a product is rounded, and a unit's score would depend on who else is there."""
    rows = random_units(30, 1024, 12).rows
    assert isinstance(rows, DenseRows)
    parameters = np.random.default_rng(2).uniform(-1e9, 1e9, 1025)
    parameters[0] = 0.0
    weights = [round(w * 2**20) for w in np.clip(parameters, -LARGEST_WEIGHT, LARGEST_WEIGHT)]
    expected = [
        float(Fraction(sum(int(v) * w for v, w in zip(row, weights[1:], strict=True)), 2**30))
        for row in rows.values
    ]
    assert row_scores(parameters, rows).tolist() == expected
    alone = [row_scores(parameters, rows.select(np.arange(30) == at))[0] for at in range(30)]
    assert alone == expected


def test_plain_gradient_is_what_autograd_computes() -> None:
    data = random_units(40, 16, 3)
    parameters = random_parameters(16, 4, 1.0)
    weights = torch.tensor(parameters, requires_grad=True)
    scores = weights[0] + torch.tensor(dense_of(data)) @ weights[1:]
    labels = torch.tensor(data.labels.astype(np.float64))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    found = LinearModel(16, 0.25).prepare(data).plain_gradient(parameters)
    assert np.allclose(found, weights.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_nobody_and_rows_of_zeros() -> None:
    model = LinearModel(4, 0.5)
    nobody = random_units(0, 4, 0)
    assert not model.prepare(nobody).gradient_sum(random_parameters(4, 0)).any()
    zeros = EncodedUnits(
        np.empty((0, 1), np.uint16), np.ones(1, np.uint8), DenseRows(np.zeros((1, 4), np.int16))
    )
    assert model.prepare(zeros).gradient_sum(np.zeros(5)).tolist() == [-(1 << 29), 0, 0, 0, 0]


def test_rows_of_another_length_or_none_are_refused() -> None:
    with pytest.raises(RecordsError, match="rows of 5 entries"):
        LinearModel(5, 0.5).prepare(random_units(2, 4, 0))
    bare = EncodedUnits(np.empty((0, 2), np.uint16), np.zeros(2, np.uint8))
    with pytest.raises(RecordsError, match="found none"):
        LinearModel(5, 0.5).scores(np.zeros(6), bare)


def test_more_units_than_exact_sums_carry_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MAX_EXACT_UNITS", 3)
    assert MAX_EXACT_UNITS == 2**33
    with pytest.raises(RecordsError, match="split the population"):
        LinearModel(4, 0.5).prepare(random_units(3, 4, 0))
