from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tests.support.records.scored import customers, parameters, scored_study, units_of

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.tuning import FittingKind, own_only, tune
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Basis, EncodedUnits
from fieldfare.shared.models import model_for

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


def test_with_few_own_positives_the_shared_model_stands_alone(tmp_path: Path) -> None:
    rows, shared = data(tmp_path, 2000, 1), parameters(STUDY)
    for most in (5, 0):
        few = rows.select((rows.labels == 0) | (np.cumsum(rows.labels) <= most))
        tuned = tune(STUDY, shared, few, FittingKind.STACK)
        assert (tuned.kind, tuned.forest, dict(tuned.weights)) == (FittingKind.SHARED, None, {})
        assert tuned.parameters.tobytes() == shared.tobytes()


def test_with_enough_it_is_a_stack(tmp_path: Path) -> None:
    train, held, shared = data(tmp_path, 900, 1), data(tmp_path, 900, 2), parameters(STUDY)
    tuned = tune(STUDY, shared, train, FittingKind.STACK)
    assert tuned.kind is FittingKind.STACK
    assert (tuned.units, tuned.positives) == (900, int(train.labels.sum()))
    assert min(tuned.weights.values()) >= 0
    model = SumModel(model_for(STUDY), tuned.parameters, tuned.forest)
    found = float(average_precision_score(held.labels, model.scores(held)))
    assert found > precision(shared, held) - 0.01


def test_one_class_too_few_labels_and_a_model_upside_down_are_refused(tmp_path: Path) -> None:
    rows = data(tmp_path, 2000, 1)
    few = rows.select((rows.labels == 0) | (np.cumsum(rows.labels) <= 19))
    for attempt in (
        lambda: tune(STUDY, parameters(STUDY), few, FittingKind.SCALED),
        lambda: own_only(STUDY, few),
    ):
        with pytest.raises(UsageError, match="19 positive"):
            attempt()
    cases = rows.select(rows.labels == 1)
    with pytest.raises(UsageError, match="0 negative"):
        tune(STUDY, parameters(STUDY), cases, FittingKind.STACK)
    with pytest.raises(UsageError, match="opposite"):
        tune(STUDY, -parameters(STUDY), rows, FittingKind.SCALED)
