from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tests.support.records.scored import FEATURES, customers, parameters, scored_study, units_of

from fieldfare.client.scoring.tuning import FittingKind, own_only, tune
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Basis, EncodedUnits

STUDY = scored_study()
BASIS = Basis(STUDY.features)


def data(tmp_path: Path, units: int, seed: int) -> EncodedUnits:
    read = units_of(tmp_path, customers(units, seed=seed), STUDY)
    return EncodedUnits(read.positions, read.labels.astype(np.uint8))


def loss(found: NDArray[np.float64], on: EncodedUnits) -> float:
    scores = BASIS.scores(found, on.positions)
    return float((np.logaddexp(0, scores) - on.labels * scores).mean())


def precision(found: NDArray[np.float64], on: EncodedUnits) -> float:
    return float(average_precision_score(on.labels, BASIS.scores(found, on.positions)))


def test_bias_and_scale_make_probabilities_and_change_no_rank(tmp_path: Path) -> None:
    train, held = data(tmp_path, 2000, 1), data(tmp_path, 1000, 2)
    shared = 3.0 * parameters(STUDY)
    tuned = tune(STUDY, shared, train, FittingKind.SCALED)
    before, after = (BASIS.scores(p, held.positions) for p in (shared, tuned.parameters))
    assert np.allclose(after, tuned.bias + tuned.scale * before, atol=1e-9)
    assert (np.argsort(after, kind="stable") == np.argsort(before, kind="stable")).all()
    assert loss(tuned.parameters, held) < loss(shared, held)
    assert (tuned.units, tuned.positives) == (2000, int(train.labels.sum()))


def test_a_correction_learns_what_the_shared_model_lacks(tmp_path: Path) -> None:
    train, held = data(tmp_path, 3000, 1), data(tmp_path, 1500, 2)
    shared = parameters(STUDY)
    shared[BASIS.slices()[0]] = 0.0  # it never saw R01
    scaled = tune(STUDY, shared, train, FittingKind.SCALED).parameters
    corrected = tune(STUDY, shared, train, FittingKind.CORRECTED).parameters
    assert loss(corrected, held) < loss(scaled, held) - 0.005
    assert precision(corrected, held) > precision(scaled, held) + 0.02


def test_where_there_is_little_to_say_the_shared_model_stands(tmp_path: Path) -> None:
    rows = data(tmp_path, 3000, 1)
    few = rows.select(np.arange(3000) < 400)
    shared = parameters(STUDY)
    scaled, corrected = (
        tune(STUDY, shared, few, kind).parameters
        for kind in (FittingKind.SCALED, FittingKind.CORRECTED)
    )
    alone = own_only(STUDY, few)
    moved = np.abs(corrected - scaled).max()
    assert 0 < moved < np.abs(alone - scaled).max()


def test_own_only_is_better_than_nothing(tmp_path: Path) -> None:
    train, held = data(tmp_path, 2000, 1), data(tmp_path, 1000, 2)
    assert precision(own_only(STUDY, train), held) > 3 * held.labels.mean()


def test_own_only_takes_as_many_steps_as_an_institution_takes_in_local_mode(tmp_path: Path) -> None:
    """Alone there is nobody to average with: it is trained as its counterpart with sums is."""
    local = scored_study(training={"mode": "local", "steps": 3, "local_steps": 20})
    train, held = data(tmp_path, 2000, 1), data(tmp_path, 1000, 2)
    alone = own_only(local, train)
    assert alone.tolist() == own_only(scored_study(training={"steps": 60}), train).tolist()
    assert precision(alone, held) > 3 * held.labels.mean()


def test_too_few_labels_or_a_model_that_is_upside_down_are_refused(tmp_path: Path) -> None:
    rows = data(tmp_path, 2000, 1)
    few = rows.select((rows.labels == 0) | (np.cumsum(rows.labels) <= 19))
    for attempt in (
        lambda: tune(STUDY, parameters(STUDY), few, FittingKind.SCALED),
        lambda: own_only(STUDY, few),
    ):
        with pytest.raises(UsageError, match="19 positive"):
            attempt()
    with pytest.raises(UsageError, match="opposite"):
        tune(STUDY, -parameters(STUDY), rows, FittingKind.SCALED)


def test_tuning_moves_weights_and_no_knots(tmp_path: Path) -> None:
    """Where knots were asked for, parameters end with them: they are places, not log-odds."""
    features = [{**FEATURES[0], "knots_from": "spread"}, *FEATURES[1:]]
    queries = [{"name": "spread", "kind": "quantiles", "column": "R01"}]
    study = scored_study(features=features, queries=queries)
    basis = Basis(study.features)
    read = units_of(tmp_path, customers(2000, seed=1), study)
    train = EncodedUnits(read.positions, read.labels.astype(np.uint8))
    knots = [0.0, 300, 1365, 2000, 2731, 3000, 3333, 4096]
    shared = np.concatenate([np.random.default_rng(0).normal(0, 0.1, basis.entries), knots])
    shared[basis.slices()[0]] += np.linspace(-1, 1, basis.features[0].slots)
    for kind in FittingKind:
        tuned = tune(study, shared, train, kind).parameters
        assert tuned[-8:].tolist() == knots
        assert (tuned[:-8] != shared[:-8]).any()
