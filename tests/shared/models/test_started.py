"""Multipliers of public curves: exact sums, a bound that nobody passes, a plain model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.runs.started import CURVES, small_start, starting_at
from tests.support.runs.written_runs import base

from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.features.public_start import LARGEST_CURVE
from fieldfare.shared.models import model_for, started_model, trained_model
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.models.started import StartedModel
from fieldfare.shared.study.study import Study

WHOLE = LARGEST_CURVE * 256
STEEP = tuple(WHOLE if place % 2 else -WHOLE for place in range(len(CURVES)))
NORM = 0.25


def started(curves: tuple[int, ...] = CURVES, norm: float = NORM) -> tuple[Study, StartedModel]:
    training = starting_at(small_start(curves=curves))
    study = base(training=training, privacy={"clipping_norm": norm})
    model = started_model(study)
    assert model is not None
    return study, model


def units(model: StartedModel, count: int, seed: int = 0) -> EncodedUnits:
    generator = np.random.default_rng(seed)
    columns = [generator.integers(0, table_size(one), count) for one in model.features]
    labels = generator.integers(0, 2, count).astype(np.uint8)
    return EncodedUnits(np.array(columns, dtype=np.uint16), labels)


def sums(model: StartedModel, data: EncodedUnits) -> AdditiveSums:
    prepared = model.prepare(data)
    assert isinstance(prepared, AdditiveSums)
    return prepared


def single(data: EncodedUnits, place: int) -> EncodedUnits:
    return data.select(np.arange(len(data)) == place)


def test_a_sum_is_that_of_each_unit_by_hand() -> None:
    _, model = started()
    data, parameters = units(model, 40), np.array([-0.5, 1.5, -2.0])
    total = np.zeros(3, dtype=np.int64)
    cap = int(NORM * 2**10) << 18
    for place in range(40):
        curves = [
            int(fold[data.positions[at, place], 0]) for at, fold in enumerate(model.basis.folds)
        ]
        vector = np.array([256, *curves], dtype=np.int64)
        score = parameters[0] + sum(
            m * c / 256 for m, c in zip(parameters[1:], curves, strict=True)
        )
        residual = int(np.trunc((1 / (1 + np.exp(-score)) - int(data.labels[place])) * 2**20))
        most = int(cap / np.sqrt(float(vector @ vector)))
        total += vector * max(-most, min(residual, most))
    assert sums(model, data).gradient_sum(parameters).tolist() == total.tolist()


def test_curves_are_read_where_hats_stand_between_knots() -> None:
    _, model = started()
    fold = model.basis.folds[0][:, 0]
    assert fold[[0, 256, 512, 768]].tolist() == [-300, 0, 100, 500]  # at the knots
    assert fold[128] == -150
    assert fold[256 + 77] == round(100 * 77 / 256)
    assert (fold[-1], model.basis.entries) == (0, 3)  # missing; the bias, and one each


@given(st.integers(0, 2**32), st.sampled_from([CURVES, STEEP]), st.sampled_from([0.25, 1.0, 8.0]))
def test_one_unit_moves_a_sum_by_at_most_c(seed: int, curves: tuple[int, ...], norm: float) -> None:
    _, model = started(curves, norm)
    generator = np.random.default_rng(seed)
    data, parameters = units(model, 6, seed), generator.normal(0, 3, 3)
    whole = sums(model, data).gradient_sum(parameters)
    for place in range(6):
        without = sums(model, data.select(np.arange(6) != place)).gradient_sum(parameters)
        alone = sums(model, single(data, place)).gradient_sum(parameters)
        assert (whole - without).tolist() == alone.tolist()  # it depends on no other unit
        assert sum(int(one) ** 2 for one in alone) <= int(norm * 2**28) ** 2


def test_a_hard_unit_reaches_what_it_may() -> None:
    _, model = started(STEEP)
    data = EncodedUnits(np.zeros((2, 1), dtype=np.uint16), np.ones(1, dtype=np.uint8))
    moved = sums(model, data).gradient_sum(np.array([-9.0, 1.0, 1.0]))
    assert float(np.linalg.norm(moved.astype(np.float64))) >= 0.9 * NORM * 2**28


def test_what_is_delivered_is_a_plain_model_with_the_same_scores() -> None:
    study, model = started()
    data, parameters = units(model, 200), np.array([0.25, 1.5, -0.5])
    plain = model_for(study).scores(model.delivered(parameters), data)
    # Each feature's curve is rounded to 2^-8 once where units are learned from.
    assert np.abs(plain - model.scores(parameters, data)).max() <= 2.0**-9 * 2.0


def test_a_study_begins_at_the_start_and_at_its_own_prevalence() -> None:
    study, model = started()
    first = model.initial(-2.0)
    assert first.tolist() == [-2.0 + 10 / 256, 1.0, 1.0]
    delivered: NDArray[np.float64] = model.delivered(first)
    assert delivered[1:].tolist() == [one / 256 for one in CURVES]
    assert trained_model(study).vectors.entries == 3
    assert trained_model(base()) == model_for(base())
    assert trained_model(study).vectors.rounded_entries == 0


@pytest.mark.parametrize("labels", [0, 1])
def test_no_units_and_one_class_are_like_any_other(labels: int) -> None:
    _, model = started()
    nobody = sums(model, units(model, 0)).gradient_sum(np.ones(3))
    assert nobody.tolist() == [0, 0, 0]
    data = units(model, 20)
    same = EncodedUnits(data.positions, np.full(20, labels, dtype=np.uint8))
    assert np.sign(sums(model, same).gradient_sum(np.zeros(3))[0]) == (1 if labels == 0 else -1)
