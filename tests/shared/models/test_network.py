"""Clipped sums of a network: as an explicit loop over units has them, exact, and C at most."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features import rows as rows_module
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.features.rows import DenseRows, SparseRows, unit_rows
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.models import vector_network as network
from fieldfare.shared.models.vector_network import CAP, GAMMA_BITS, NetworkModel

NORMS = [2.0**-10, 0.25, 1.0, 8.0]


def random_units(units: int, columns: int, seed: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    values = random.normal(size=(units, columns)) * random.choice(
        [0.0, 1.0], (units, 1), p=[0.2, 0.8]
    )
    labels = random.integers(0, 2, units, dtype=np.uint8)
    return EncodedUnits(np.empty((0, units), np.uint16), labels, unit_rows(values))


def random_parameters(model: NetworkModel, seed: int, size: float) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, size, model.vectors.entries)


def unit_gradients(
    model: NetworkModel, parameters: NDArray[np.float64], data: EncodedUnits
) -> list[NDArray[np.float64]]:
    """Each unit's gradient by torch, one by one; rounding on the way forward passes straight."""
    assert isinstance(data.rows, DenseRows)
    h, grid = model.hidden, np.rint(parameters[1:] * 2**20) / 2**20
    found = []
    for row, label in zip(data.rows.values / 1024, data.labels.tolist(), strict=True):
        whole = torch.tensor(np.concatenate([parameters[:1], grid]), requires_grad=True)
        weights = whole[1 + 2 * h :].reshape(h, model.columns)
        before = weights @ torch.tensor(row) + whole[1 : 1 + h]
        inside = (before > 0) & (before < CAP)
        after = torch.where(inside, before, before.detach().clamp(0, CAP))
        after = after + (torch.floor(after * 1024) / 1024 - after).detach()
        score = whole[1 + h : 1 + 2 * h] @ after + whole[0]
        target = torch.tensor(float(label), dtype=torch.float64)
        torch.nn.functional.binary_cross_entropy_with_logits(score, target).backward()  # type: ignore[no-untyped-call]
        assert whole.grad is not None
        found.append(whole.grad.numpy())
    return found


def clipped(gradients: list[NDArray[np.float64]], limit: float, size: int) -> NDArray[np.float64]:
    total = np.zeros(size)
    for gradient in gradients:
        total += gradient * min(1.0, limit / max(float(np.linalg.norm(gradient)), 1e-300))
    return total


CASES = (
    st.integers(0, 7),
    st.sampled_from([1, 3, 64]),
    st.sampled_from([1, 5, 16]),
    st.sampled_from(NORMS),
    st.sampled_from([0.1, 1.0, 30.0]),
    st.integers(0, 2**31),
)


@given(*CASES)
@settings(max_examples=60, deadline=None)
def test_clipped_sums_are_those_of_an_explicit_loop_over_units(
    units: int, columns: int, hidden: int, limit: float, size: float, seed: int
) -> None:
    model, data = NetworkModel(columns, hidden, limit), random_units(units, columns, seed)
    parameters = random_parameters(model, seed, size)
    gradients = unit_gradients(model, parameters, data)
    sums = model.prepare(data)
    expected = clipped(gradients, limit, len(parameters))
    found = np.ldexp(sums.gradient_sum(parameters).astype(np.float64), -GAMMA_BITS)
    # To the loop's size; nothing but the grid remains where it is next to nothing.
    close = 1e-5 * float(np.linalg.norm(expected)) + len(parameters) ** 0.5 * units * 2.0**-20
    assert np.linalg.norm(found - expected) <= close
    plain = np.sum([np.zeros(len(parameters)), *gradients], axis=0)
    assert np.allclose(sums.plain_gradient(parameters), plain, rtol=1e-9, atol=1e-9)


def test_the_agreement_is_within_a_hundred_thousandth_where_gradients_have_a_size() -> None:
    model, data = NetworkModel(64, 16, 1.0), random_units(400, 64, 3)
    parameters = random_parameters(model, 4, 1.0)
    expected = clipped(unit_gradients(model, parameters, data), 1.0, len(parameters))
    found = np.ldexp(model.prepare(data).gradient_sum(parameters).astype(np.float64), -GAMMA_BITS)
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@given(*CASES)
@settings(max_examples=60, deadline=None)
def test_no_unit_exceeds_c_and_none_depends_on_others(
    units: int, columns: int, hidden: int, limit: float, size: float, seed: int
) -> None:
    model, data = NetworkModel(columns, hidden, limit), random_units(units, columns, seed)
    parameters = random_parameters(model, seed, size)
    total = np.zeros(len(parameters), dtype=np.int64)
    for index in range(units):
        alone = model.prepare(data.select(np.arange(units) == index)).gradient_sum(parameters)
        squares = sum(int(value) ** 2 for value in alone)
        assert squares <= int(limit * 1024) ** 2 << (2 * (GAMMA_BITS - 10))  # whole numbers
        total += alone
    assert np.array_equal(model.prepare(data).gradient_sum(parameters), total)


def test_chunks_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = NetworkModel(64, 8, 0.5), random_units(50, 64, 1)
    parameters = random_parameters(model, 2, 3.0)
    whole = model.prepare(data).gradient_sum(parameters)
    scores = model.scores(parameters, data)
    mixed = np.random.default_rng(0).permutation(50)
    shuffled = concatenate([data.select(np.arange(50) == index) for index in mixed])
    assert np.array_equal(model.prepare(shuffled).gradient_sum(parameters), whole)
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", 7)
    assert np.array_equal(model.prepare(data).gradient_sum(parameters), whole)
    assert np.array_equal(model.scores(parameters, data), scores)


def test_extreme_parameters_stay_exact_and_bounded() -> None:
    """At the limit that every request keeps to, sums are still those of single units."""
    model, data = NetworkModel(1024, 64, 8.0), random_units(6, 1024, 5)
    random = np.random.default_rng(6)
    parameters = random.choice([-1e4, 1e4], model.vectors.entries)
    singles = [
        model.prepare(data.select(np.arange(6) == index)).gradient_sum(parameters)
        for index in range(6)
    ]
    assert np.array_equal(model.prepare(data).gradient_sum(parameters), np.sum(singles, axis=0))


def test_sparse_rows_are_the_same_model() -> None:
    sparse = TextEncoder(64).rows(["free cash", "see you", "", "hello"])
    assert isinstance(sparse, SparseRows)
    (_, chunk), *_ = sparse.chunks()
    labels, nobody = np.array([1, 0, 0, 1], np.uint8), np.empty((0, 4), np.uint16)
    model = NetworkModel(64, 4, 1.0)
    parameters = random_parameters(model, 0, 1.0)
    dense = EncodedUnits(nobody, labels, DenseRows(chunk.toarray().astype(np.int16)))
    found = model.prepare(EncodedUnits(nobody, labels, sparse)).gradient_sum(parameters)
    assert np.array_equal(found, model.prepare(dense).gradient_sum(parameters))


def test_the_start_is_public_the_same_everywhere_and_says_the_prevalence() -> None:
    model = NetworkModel(64, 8, 1.0)
    start = model.initial(-2.0)
    assert hashlib.sha256(start.tobytes()).hexdigest()[:16] == "ded1c6d995c22f5a"
    weights = start[17:]
    assert abs(weights.mean()) < 0.15
    assert weights.std() == pytest.approx(1.0, abs=0.1)
    assert (model.scores(start, random_units(5, 64, 0)) == -2.0).all()


def test_a_step_of_training_moves_what_a_linear_model_cannot_learn() -> None:
    """Rings: the label depends on a product of two entries."""
    random = np.random.default_rng(0)
    values = np.concatenate([random.choice([-1.0, 1.0], (2000, 2)), np.ones((2000, 1))], axis=1)
    values += random.normal(0, 0.1, values.shape)
    labels = (values[:, 0] * values[:, 1] > 0).astype(np.uint8)
    data = EncodedUnits(np.empty((0, 2000), np.uint16), labels, unit_rows(values))
    model = NetworkModel(3, 16, 8.0)
    sums, parameters = model.prepare(data), model.initial(0.0)
    for _ in range(400):
        parameters = parameters - 2.0 * sums.plain_gradient(parameters) / 2000
    assert ((model.scores(parameters, data) > 0) == labels).mean() > 0.95


def test_rows_of_another_length_or_too_many_units_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = NetworkModel(64, 4, 1.0)
    with pytest.raises(RecordsError, match="rows of 64 entries"):
        model.prepare(random_units(2, 65, 0))
    monkeypatch.setattr(network, "MAX_UNITS", 2)
    with pytest.raises(RecordsError, match="fewer than 2 units"):
        model.prepare(random_units(2, 64, 0))
