"""Reasons of a network: integrated gradients that are the score, to the last bit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import examples
from tests.support.records.networks import FEATURES, dense_rows, made_up_units
from tests.support.system.packages import PACKAGE, install

from fieldfare.client.scoring import network_reasons
from fieldfare.client.scoring.network_reasons import ExactNetwork
from fieldfare.client.scoring.reasons import on_grid
from fieldfare.shared.errors import RunError
from fieldfare.shared.models.custom_module import ModuleModel
from fieldfare.shared.models.feature_network import MlpModel
from fieldfare.shared.study.allowed_packages import permit


def network(rows: int, seed: int, size: float = 1.0) -> ExactNetwork:
    model = MlpModel(FEATURES, (16, 8), rows, 1.0)
    counts = np.random.default_rng(seed).integers(1, rows + 1, 40).tolist()
    parameters = np.random.default_rng(seed).normal(0, size, model.network.entries)
    return ExactNetwork.of(
        model, parameters, made_up_units(counts, rows, seed), np.arange(40) % 4 > 0
    )


@given(st.sampled_from([1, 5]), st.integers(0, 2**31))
@settings(max_examples=examples(5, 15), deadline=None)
def test_base_and_reasons_are_the_score_exactly_in_any_order(rows: int, seed: int) -> None:
    found = network(rows, seed)
    places = np.random.default_rng(seed).permutation(30)
    parts = found.contributions(places)
    assert np.array_equal(found.base + parts.sum(axis=1), found.scores()[places])
    assert np.array_equal(parts[:, ::-1].sum(axis=1) + found.base, found.scores()[places])
    assert np.array_equal(on_grid(parts), parts)


def test_scores_are_the_models_own_on_the_grid() -> None:
    found = network(5, 1)
    expected = found.model.scores(found.parameters, found.shown)
    assert np.abs(found.scores() - expected).max() <= 2.0**-28


def test_a_feature_at_its_average_is_no_reason_and_another_is() -> None:
    """One network reads the first feature alone: every other has nothing to say."""
    model, data = MlpModel(FEATURES, (8,), 1, 1.0), made_up_units([1] * 30, 1, 3)
    parameters = np.zeros(model.network.entries)
    parameters[1] = 2.0
    parameters[9 : 9 + FEATURES[0].slots] = np.arange(FEATURES[0].slots)
    found = ExactNetwork.of(model, parameters, data, np.ones(30, dtype=np.bool_))
    parts = found.contributions(np.arange(30))
    assert np.abs(parts[:, 1:]).max() < 1e-6
    slopes = np.array(
        [row @ parameters[9 : 9 + model.network.count] for (row,) in dense_rows(model, data)]
    )
    assert np.allclose(parts[:, 0], 2.0 * (slopes - slopes.mean()), atol=1e-6)


def test_parts_are_those_of_a_fine_sum_over_the_way() -> None:
    found = network(1, 7)
    coarse = found.contributions(np.arange(30))
    fine = found._integrated(np.arange(30), 2000)
    assert np.abs(coarse - fine).max() < 0.05


def test_a_gap_that_is_not_small_is_no_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_reasons, "STEPS", (2,))
    with pytest.raises(RunError, match=r"reasons that add up to their score within 0.05 log-odds"):
        network(1, 2, size=3.0).contributions(np.arange(30))


def test_nobody_shown_is_nothing_said() -> None:
    model = MlpModel(FEATURES, (8,), 1, 1.0)
    nobody = made_up_units([], 1, 0)
    found = ExactNetwork.of(model, model.initial(-1.0), nobody, np.ones(0, dtype=np.bool_))
    assert found.base == -1.0
    assert found.contributions(np.empty(0, np.int64)).shape == (0, 3)


def test_a_named_module_is_explained_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    permit([PACKAGE])
    model = ModuleModel(FEATURES, "acme_nets:Small", PACKAGE, 145, 4, 1.0)
    data = made_up_units([1, 4, 2] * 10, 4, 1)
    parameters = np.random.default_rng(1).normal(size=model.entries)
    found = ExactNetwork.of(model, parameters, data, np.ones(30, dtype=np.bool_))
    parts = found.contributions(np.arange(30))
    assert np.array_equal(found.base + parts.sum(axis=1), found.scores())
    assert np.abs(found.scores() - model.scores(parameters, data)).max() <= 2.0**-28
    assert np.abs(parts).max() > 0.1
