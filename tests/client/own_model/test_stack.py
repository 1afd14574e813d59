from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tests.support.records.scored import (
    FEATURES,
    customers,
    parameters,
    quick_grid,
    scored_study,
    units_of,
)

from fieldfare.client.own_model.own_fits import SumFits, weighed
from fieldfare.client.own_model.own_grid import folds_of, own_grid, own_log_odds, thinned
from fieldfare.client.own_model.stack import (
    ADDITIVE,
    FOREST,
    SHARED_PARTS,
    TREES,
    OwnModels,
    StackModel,
    at_home,
    is_stackable,
    own_best,
)
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import Basis, EncodedUnits

STUDY = scored_study()
BASIS = Basis(STUDY.features)
FAST = quick_grid()


def data(tmp_path: Path, units: int, seed: int) -> EncodedUnits:
    read = units_of(tmp_path, customers(units, seed=seed), STUDY)
    return EncodedUnits(read.positions, read.labels.astype(np.uint8))


def precision(scores: NDArray[np.float64], on: EncodedUnits) -> float:
    return float(average_precision_score(on.labels, scores))


def home(shared: NDArray[np.float64], train: EncodedUnits) -> StackModel:
    return at_home(STUDY, shared, OwnModels.of(STUDY, train, shared, FAST), FAST)


def rows(count: int, places: list[int]) -> NDArray[np.bool_]:
    """Return bool (count,): true at `places`."""
    return np.isin(np.arange(count), places)


def test_weights_are_never_below_zero_and_a_copy_of_noise_has_none() -> None:
    random = np.random.default_rng(0)
    good, noise = random.normal(size=(2, 4000))
    labels = (random.random(4000) < 1 / (1 + np.exp(2 - 2 * good))).astype(np.uint8)
    bias, *weights = weighed(np.column_stack([good, noise, -good]), labels)
    assert (bias, weights[0]) == (pytest.approx(-2, abs=0.2), pytest.approx(2, abs=0.2))
    assert weights[1] < 0.1
    assert weights[2] == 0.0


def test_folds_have_their_share_of_each_class() -> None:
    labels = np.array([1] * 7 + [0] * 50, np.uint8)
    folds = folds_of(labels, own_grid())
    assert sorted(np.bincount(folds[labels == 1])) == [2, 2, 3]
    assert sorted(np.bincount(folds[labels == 0])) == [16, 17, 17]
    assert folds.tolist() == folds_of(labels, own_grid()).tolist()


def test_of_many_units_negatives_are_left_out_and_log_odds_stay(tmp_path: Path) -> None:
    train = data(tmp_path, 3000, 1)
    grid = own_grid().model_copy(update={"most": 1000})
    fewer, shift = thinned(train, grid)
    assert (len(fewer), fewer.labels.sum()) == (1000, train.labels.sum())
    assert own_log_odds(fewer.labels) + shift == pytest.approx(own_log_odds(train.labels), abs=0.01)
    assert thinned(train, own_grid()) == (train, 0.0)
    terms = FAST.model_copy(update={"most": 1000})
    scores = OwnModels.of(STUDY, train, parameters(STUDY), terms).best().fitted.scores(train)
    rates = 1 / (1 + np.exp(-scores))
    assert rates.mean() == pytest.approx(train.labels.mean(), rel=0.1)


def test_shared_and_own_together_are_better_than_own_alone(tmp_path: Path) -> None:
    train, held = data(tmp_path, 300, 4), data(tmp_path, 4000, 2)
    shared = SumFits(STUDY, FAST, parameters(STUDY)).own(data(tmp_path, 6000, 3))[-1].parameters
    found, own = home(shared, train), OwnModels.of(STUDY, train, shared, FAST)
    assert sum(found.weights[name] for name in SHARED_PARTS) > 0
    mixed, alone = (precision(m.scores(held), held) for m in (found.model, own.best().fitted))
    assert mixed > alone + 0.01


def test_own_best_is_no_worse_than_its_parts(tmp_path: Path) -> None:
    train, held, start = data(tmp_path, 900, 1), data(tmp_path, 4000, 2), parameters(STUDY)
    own = OwnModels.of(STUDY, train, start, FAST)
    parts = [precision(part.fitted.scores(held), held) for part in own.parts.values()]
    assert list(own.parts) == [ADDITIVE, TREES, FOREST]
    assert precision(own.best().fitted.scores(held), held) > max(parts) - 0.005


def test_shares_of_a_random_forest_become_log_odds_out_of_fold(tmp_path: Path) -> None:
    train, held = data(tmp_path, 900, 1), data(tmp_path, 4000, 2)
    part = OwnModels.of(STUDY, train, parameters(STUDY), FAST).forest
    assert part is not None
    rates = 1 / (1 + np.exp(-part.apart))
    assert rates.sum() == pytest.approx(train.labels.sum(), rel=0.02)
    scores = part.fitted.scores(held)
    seen = part.fitted.scores(train)[train.labels == 1].mean()
    assert seen > part.apart[train.labels == 1].mean() + 0.3  # a unit's own tree remembers it
    assert (1 / (1 + np.exp(-scores))).mean() == pytest.approx(held.labels.mean(), rel=0.3)


@pytest.mark.parametrize("how", ["upside down", "noise"])
def test_a_shared_model_that_is_no_good_here_is_left_out(tmp_path: Path, how: str) -> None:
    train, held = data(tmp_path, 1500, 1), data(tmp_path, 2000, 2)
    noise = np.random.default_rng(3).normal(0, 2, BASIS.entries)
    shared = -parameters(STUDY) if how == "upside down" else noise
    found, own = home(shared, train), OwnModels.of(STUDY, train, shared, FAST)
    assert found.weights["shared"] < 0.05
    best = precision(own.best().fitted.scores(held), held)
    assert precision(found.model.scores(held), held) > best - 0.01


def test_the_same_units_give_the_same_bytes(tmp_path: Path) -> None:
    train, held = data(tmp_path, 900, 1), data(tmp_path, 500, 2)
    shared = parameters(STUDY)
    first, second = home(shared, train), home(shared, train)
    assert first.model.parameters.tobytes() == second.model.parameters.tobytes()
    assert first.weights == second.weights
    assert first.model.scores(held).tobytes() == second.model.scores(held).tobytes()


def test_a_feature_that_never_changes_or_is_always_missing_is_borne(tmp_path: Path) -> None:
    train = data(tmp_path, 900, 1)
    positions = train.positions.copy()
    positions[0], positions[1] = 5, positions[1].max()
    dull = EncodedUnits(positions, train.labels)
    assert np.isfinite(home(parameters(STUDY), dull).model.scores(train)).all()


@pytest.mark.parametrize("positives", [0, 1, 2])
def test_own_best_needs_no_more_labels_than_there_are(tmp_path: Path, positives: int) -> None:
    """Also with one class: then every unit is as likely as any other, or nearly so."""
    train, held = data(tmp_path, 900, 1), data(tmp_path, 300, 2)
    cases = np.flatnonzero(train.labels)[:positives]
    few = train.select((train.labels == 0) | rows(900, cases.tolist()))
    scores = own_best(STUDY, few, parameters(STUDY), FAST).scores(held)
    assert np.isfinite(scores).all()
    assert scores.mean() < -4


def test_units_of_another_study_are_refused(tmp_path: Path) -> None:
    train = data(tmp_path, 300, 1)
    other = EncodedUnits(train.positions[:5], train.labels)
    with pytest.raises(RecordsError, match="expected units of 6 features, found 5"):
        OwnModels.of(STUDY, other, parameters(STUDY))


def test_weights_move_and_knots_that_were_asked_for_stay(tmp_path: Path) -> None:
    """Where knots were asked for, parameters end with them: they are places, not log-odds."""
    features = [{**FEATURES[0], "knots_from": "spread"}, *FEATURES[1:]]
    queries = [{"name": "spread", "kind": "quantiles", "column": "R01"}]
    study = scored_study(features=features, queries=queries)
    basis, read = Basis(study.features), units_of(tmp_path, customers(900, seed=1), study)
    train = EncodedUnits(read.positions, read.labels.astype(np.uint8))
    knots = [0.0, 300, 1365, 2000, 2731, 3000, 3333, 4096]
    shared = np.concatenate([np.random.default_rng(0).normal(0, 0.1, basis.entries), knots])
    found = at_home(study, shared, OwnModels.of(study, train, shared, FAST), FAST).model
    assert found.parameters[-8:].tolist() == knots
    assert precision(found.scores(train), train) > 3 * train.labels.mean()
    inputs = SumFits(study, FAST, shared).inputs(train)
    expected = basis.scores(found.parameters, train.positions)
    assert np.allclose(inputs @ found.parameters[: basis.entries], expected, rtol=0, atol=1e-9)


def test_what_can_be_stacked_is_a_sum() -> None:
    assert is_stackable(STUDY)
    text = scored_study(features=[], model={"kind": "text", "column": "note", "buckets": 64})
    assert is_stackable(text)
    wide = {"kind": "vector", "column": "v", "entries": 64, "hidden": 8}
    assert not is_stackable(scored_study(features=[], model=wide))
