"""Clipped sums of a network over features: an explicit loop's, and bounded whoever is removed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.records.networks import (
    FEATURES,
    clipped_sum,
    dense_rows,
    made_up_units,
    row_scores,
    unit_gradients,
)
from torch import tensor

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.models import feature_network as mlp
from fieldfare.shared.models.feature_network import MlpModel
from fieldfare.shared.models.network_facts import GAMMA_BITS
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity

HIDDEN = [(8,), (16,), (32, 8), (16, 8, 8)]
NORMS = [2.0**-10, 0.25, 1.0, 8.0]
RELATION = NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT


def parameters_of(model: MlpModel, seed: int, size: float) -> mlp.Values:
    return np.random.default_rng(seed).normal(0, size, model.network.entries)


def released(model: MlpModel, parameters: mlp.Values, data: EncodedUnits) -> mlp.Values:
    return np.ldexp(model.prepare(data).gradient_sum(parameters).astype(np.float64), -GAMMA_BITS)


def reach(model: MlpModel) -> float:
    vectors = model.vectors
    return Sensitivity(
        clipping_norm=vectors.clipping_norm,
        gamma=2.0**-vectors.gamma_bits,
        rounded_entries=vectors.rounded_entries,
    ).l2(RELATION)


def grid_only(model: MlpModel, units: int) -> float:
    """What rounding may leave of a sum that is next to nothing."""
    return float(2.0**-GAMMA_BITS * (model.network.entries**0.5) * max(units, 1))


@given(
    st.lists(st.integers(0, 5), max_size=12),
    st.sampled_from([1, 5, 7]),
    st.sampled_from(HIDDEN),
    st.sampled_from(NORMS),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_clipped_sums_are_those_of_an_explicit_loop_over_units(
    counts: list[int], rows: int, hidden: tuple[int, ...], limit: float, size: float, seed: int
) -> None:
    """Empty units, units of one row and of the most that count are among them."""
    model, data = MlpModel(FEATURES, hidden, rows, limit), made_up_units(counts, rows, seed)
    parameters = parameters_of(model, seed, size)
    gradients = unit_gradients(model, parameters, data)
    expected = clipped_sum(gradients, limit, len(parameters))
    found = released(model, parameters, data)
    # Relative to what was added: of units that cancel, nothing is left to be relative to.
    added = sum(min(limit, float(np.linalg.norm(gradient))) for gradient in gradients)
    # And to what flows back at most: in float32 it is a difference from 0 or 1, however small.
    others = unit_gradients(model, parameters, replace(data, labels=1 - data.labels))
    most = sum(float(np.linalg.norm(gradient)) for gradient in (*gradients, *others))
    least = grid_only(model, len(counts)) + 2.0**-22 * most
    assert np.linalg.norm(found - expected) <= 1e-5 * added + least
    plain = np.sum([np.zeros(len(parameters)), *gradients], axis=0)
    whole = sum(float(np.linalg.norm(gradient)) for gradient in gradients)
    off = np.linalg.norm(model.prepare(data).plain_gradient(parameters) - plain)
    assert off <= 1e-5 * whole + least


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("limit", [0.05, 8.0])
def test_the_agreement_is_within_a_hundred_thousandth_of_the_sum(rows: int, limit: float) -> None:
    counts = [1, 7, 0, 3] * 75
    model, data = MlpModel(FEATURES, (32, 8), rows, limit), made_up_units(counts, rows, 1)
    parameters = parameters_of(model, 2, 0.7)
    expected = clipped_sum(unit_gradients(model, parameters, data), limit, len(parameters))
    off = np.linalg.norm(released(model, parameters, data) - expected)
    assert off <= 1e-5 * np.linalg.norm(expected)


@given(st.integers(0, 2**31), st.sampled_from([1, 4]), st.sampled_from(NORMS))
@settings(max_examples=20, deadline=None)
def test_removing_any_unit_moves_the_integer_sum_by_no_more_than_is_accounted(
    seed: int, rows: int, limit: float
) -> None:
    """With 300 units there are several buckets, and one may split or join."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, rows + 1, 300).tolist()
    model, data = MlpModel(FEATURES, (16,), rows, limit), made_up_units(counts, rows, seed)
    parameters = parameters_of(model, seed, 2.0)
    whole = released(model, parameters, data)
    for removed in random.choice(300, 4, replace=False):
        others = data.select(np.arange(300) != removed)
        assert np.linalg.norm(whole - released(model, parameters, others)) <= reach(model)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_unit_alone_adds_c_at_most_and_its_bits_depend_on_nobody(rows: int) -> None:
    counts = [rows] * 200
    model, data = MlpModel(FEATURES, (16, 8), rows, 0.25), made_up_units(counts, rows, 3)
    parameters = parameters_of(model, 4, 3.0)
    for place in (0, 99, 199):
        alone = released(model, parameters, data.select(np.arange(200) == place))
        assert np.linalg.norm(alone) <= 0.25 * (1 + 2**-12) + grid_only(model, 1)
    scores = model.scores(parameters, data)
    some = np.arange(200) % 3 == 0
    assert np.array_equal(model.scores(parameters, data.select(some)), scores[some])
    mixed = concatenate([data.select(some), data.select(~some)])
    again = model.scores(parameters, mixed)
    assert np.array_equal(again, np.concatenate([scores[some], scores[~some]]))
    # Buckets follow from ids, so the order of the file changes nothing either.
    off = released(model, parameters, mixed) - released(model, parameters, data)
    assert np.linalg.norm(off) <= 200 * 2**-24


def test_places_without_a_row_have_no_effect_at_all() -> None:
    """The same units with more places for rows: the same bits."""
    counts = [1, 2, 3, 0] * 10
    few, many = (MlpModel(FEATURES, (8,), rows, 0.5) for rows in (3, 31))
    data = made_up_units(counts, 3, 5)
    parameters = parameters_of(few, 6, 1.0)
    off = released(few, parameters, data) - released(many, parameters, data)
    assert np.abs(off).max() <= 2.0**-GAMMA_BITS
    assert np.allclose(few.scores(parameters, data), many.scores(parameters, data), atol=1e-12)


def test_scores_are_means_over_rows_and_the_bias_where_there_are_none() -> None:
    model, data = MlpModel(FEATURES, (8,), 4, 1.0), made_up_units([0, 1, 4], 4, 7)
    parameters = parameters_of(model, 8, 1.0)
    expected = [
        float(row_scores(model, tensor(parameters), rows).mean()) if len(rows) else parameters[0]
        for rows in dense_rows(model, data)
    ]
    assert np.allclose(model.scores(parameters, data), expected, atol=1e-12)


def test_the_start_is_public_and_the_same_everywhere() -> None:
    model = MlpModel(FEATURES, (8, 8), 1, 1.0)
    start = model.initial(-2.0)
    assert start[0] == -2.0
    assert np.array_equal(start, model.initial(-2.0))
    assert np.array_equal(start[1:9], np.zeros(8))
    weights = start[9 : 9 + 8 * model.network.count]
    assert abs(float(weights.std()) - (2 / 3) ** 0.5) < 0.1
    # Pinned: whoever joins later, on whatever machine, begins with these very numbers.
    assert np.ldexp(weights, 20)[:2].tolist() == [-912695.0, -1122455.0]
    data = made_up_units([1] * 5, 1, 0)
    assert np.allclose(model.scores(start, data), -2.0)


def test_what_no_arithmetic_holds_counts_as_zero() -> None:
    model, data = MlpModel(FEATURES, (32, 32, 32), 1, 1.0), made_up_units([1] * 40, 1, 9)
    parameters = np.full(model.network.entries, 1e4)
    parameters[0] = -1e4
    assert np.isfinite(released(model, parameters, data)).all()
    assert np.isfinite(model.scores(parameters, data)).all()


@pytest.mark.parametrize("rows", [1, 2])
def test_tiny_flows_beside_huge_values_do_not_pass_unclipped(rows: int) -> None:
    """What flows back squares to nothing where small numbers are flushed; values bring it back."""
    model, data = MlpModel(FEATURES, (64, 64, 64), rows, 2.0**-10), made_up_units([1], rows, 0)
    data = replace(data, labels=np.zeros(1, np.uint8))
    layers = model.network.layers(tensor(np.full(model.network.entries, 1e4)))
    layers.head.zero_()
    parameters = model.network.joined(layers).numpy().astype(np.float64)
    parameters[0] = -44.0  # what flows back is e^-44, and the last values are beyond 10^16
    flushes = torch.set_flush_denormal(True)
    try:
        norm = np.linalg.norm(released(model, parameters, data))
    finally:
        torch.set_flush_denormal(False)
    assert norm <= reach(model) or not flushes


def test_units_without_hashes_or_with_too_many_rows_are_refused() -> None:
    data = made_up_units([1, 3], 3, 0)
    with pytest.raises(RecordsError, match="hash of each unit's id"):
        MlpModel(FEATURES, (8,), 3, 1.0).prepare(
            EncodedUnits(data.positions, data.labels, tables=data.tables)
        )
    with pytest.raises(RecordsError, match="expected at most 2 rows of a unit, found 3"):
        MlpModel(FEATURES, (8,), 2, 1.0).prepare(data)


def test_slots_alone_say_what_they_add() -> None:
    model = MlpModel(FEATURES, (8,), 1, 1.0)
    parameters = parameters_of(model, 1, 1.0)
    rows = np.concatenate([np.eye(model.network.count), np.zeros((1, model.network.count))])
    scores = row_scores(model, tensor(parameters), rows)
    assert np.allclose(
        model.slot_values(parameters), (scores[:-1] - scores[-1]).numpy(), atol=2**-20
    )


def test_too_many_units_for_whole_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "MAX_UNITS", 3)
    with pytest.raises(RecordsError, match="expected fewer than 3 units"):
        MlpModel(FEATURES, (8,), 1, 1.0).prepare(made_up_units([1] * 3, 1, 0))
