"""Own best models and the shared one used at home, measured on own held-out units."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from tests.simulations.conftest import SimulationFolder

from fieldfare.client.scoring.own_fits import SumModel
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.simulations.federation import homes as homes_module
from fieldfare.simulations.federation.homes import (
    Homes,
    Models,
    _weighted,
    gain_at_home,
    homes_of,
    own_figures,
)
from fieldfare.simulations.federation.population import load_population


def population(work: SimulationFolder) -> dict[str, EncodedUnits]:
    task = work.task()
    records = load_population(task.study, task.choice, seed=0).records
    return {name: one.data for name, one in records.items()}


def made(work: SimulationFolder, training: dict[str, EncodedUnits]) -> Homes:
    study = work.task().study
    return homes_of(study, model_for(study).initial(-2.0), training)


def test_each_institution_has_both(work: SimulationFolder) -> None:
    training = population(work)
    found = made(work, training)
    assert list(found.alone) == list(found.at_home) == list(training)
    for name, data in training.items():
        alone = average_precision_score(data.labels, found.alone[name].scores(data))
        assert alone > 1.3 * data.labels.mean()  # the label follows the amount


def test_one_without_cases_has_the_shared_model_at_home(work: SimulationFolder) -> None:
    training = population(work)
    name, data = next(iter(training.items()))
    study, shared = work.task().study, model_for(work.task().study).initial(-2.0)
    for labels in (np.zeros_like(data.labels), np.ones_like(data.labels)):
        one = {name: EncodedUnits(data.positions, labels)}
        found = homes_of(study, shared, one)
        assert np.isfinite(found.alone[name].scores(data)).all()
        assert found.at_home[name].parameters.tolist() == shared.tolist()
        assert gain_at_home(found, one, 0.05, 0) == {}


def test_a_weighted_metric_is_that_of_units_that_stand_so_often() -> None:
    random = np.random.default_rng(1)
    scores, labels = random.normal(size=200), (random.random(200) < 0.2).astype(np.uint8)
    times = random.multinomial(200, np.full(200, 1 / 200), size=3)
    found = _weighted(labels, scores, np.concatenate([np.ones((1, 200), np.int64), times]), 0.1)
    assert found[0, 0] == pytest.approx(average_precision_score(labels, scores))
    top = np.argsort(-scores)[:20]
    assert found[0, 1] == pytest.approx(labels[top].sum() / labels.sum())
    for row, weights in zip(found[1:], times, strict=True):
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert row[0] == pytest.approx(expected)
        often = np.repeat(np.arange(200), weights)
        top = often[np.argsort(-scores[often], kind="stable")[:20]]
        assert row[1] == pytest.approx(labels[top].sum() / labels[often].sum())


def test_the_gain_is_paired_seeded_and_the_same_in_blocks(
    work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = population(work)
    found = made(work, training)
    gain = gain_at_home(found, training, 0.05, 3)
    assert set(gain) == {"average_precision", "recall_at_budget"}
    assert all(one["low"] <= one["high"] for one in gain.values())
    monkeypatch.setattr(homes_module, "MOST_CELLS", 1)  # one resample at a time
    again = gain_at_home(found, training, 0.05, 3)
    assert all(again[name] == pytest.approx(one) for name, one in gain.items())
    same = Homes(found.alone, found.alone)
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert set(map(str, gain_at_home(same, training, 0.05, 3).values())) == {str(nothing)}


def test_figures_stand_by_model_and_institution(work: SimulationFolder) -> None:
    training, study = population(work), work.task().study
    shared: Models = {"": SumModel(model_for(study), model_for(study).initial(-2.0))}
    found = own_figures(made(work, training), shared[""], training, 0.05)
    assert set(found) == {"federated", "alone", "at_home"}
    assert all(list(rows) == list(training) for rows in found.values())
    assert found["federated"][next(iter(training))]["auroc"] == 0.5
