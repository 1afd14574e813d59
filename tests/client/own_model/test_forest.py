import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from fieldfare.client.own_model.forest import CHUNK_UNITS, Forest, Tree
from fieldfare.client.scoring.reasons import GRID_BITS, ExactForest, ExactTree
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits


def units(count: int, *, seed: int) -> EncodedUnits:
    """Four features: a number, the same at an end, one that never changes, a category."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 1300, count)
    columns = [numbers, 1299 - numbers // 2, np.full(count, 7), random.integers(0, 4, count)]
    odds = numbers / 200 - 6 + (columns[3] == 2) * 3.0
    labels = random.random(count) < 1 / (1 + np.exp(-odds))
    return EncodedUnits(np.array(columns).astype(np.uint16), labels.astype(np.uint8))


def grown(data: EncodedUnits, rounds: int = 20) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(max_iter=rounds, max_leaf_nodes=6, random_state=0)
    return model.fit(data.positions.T.astype(np.float64), data.labels)


def theirs(model: HistGradientBoostingClassifier, data: EncodedUnits) -> NDArray[np.float64]:
    found: NDArray[np.float64] = model.decision_function(data.positions.T.astype(np.float64))
    return found


def test_copied_trees_score_as_scikit_learns_own() -> None:
    data, other = units(3000, seed=1), units(CHUNK_UNITS + 500, seed=2)
    model = grown(data)
    forest = Forest.of(model, data)
    assert len(forest.trees) == 20
    assert np.allclose(forest.scores(other), theirs(model, other), rtol=0, atol=1e-12)
    short, first = forest.first(5), grown(data, 5)
    assert np.allclose(short.scores(other), theirs(first, other), rtol=0, atol=1e-12)
    twice = forest.times(2.0).scores(other)
    assert np.allclose(twice, 2 * forest.scores(other), rtol=0, atol=1e-12)


def averaged(data: EncodedUnits) -> RandomForestClassifier:
    model = RandomForestClassifier(30, min_samples_leaf=5, random_state=0)
    return model.fit(data.positions.T.astype(np.float32), data.labels)


def test_a_copied_random_forest_scores_the_shares_that_scikit_learn_says() -> None:
    data, other = units(900, seed=1), units(700, seed=2)
    model = averaged(data)
    forest = Forest.average(model, data)
    said = model.predict_proba(other.positions.T.astype(np.float32))[:, 1]
    assert np.allclose(forest.scores(other), said, rtol=0, atol=1e-12)
    line = forest.along(-4.0, 9.0).scores(other)
    assert np.allclose(line, 9 * said - 4, rtol=0, atol=1e-9)
    model.estimators_.pop()
    wrong = Forest.average(model, data)
    assert not np.allclose(wrong.scores(other), said, rtol=0, atol=1e-9)


def test_two_forests_are_one_whose_scores_add_up() -> None:
    data, other = units(900, seed=1), units(500, seed=2)
    one, two = Forest.of(grown(data), data), Forest.average(averaged(data), data)
    both = one.plus(two)
    assert np.allclose(both.scores(other), one.scores(other) + two.scores(other), atol=1e-12)
    assert one.plus(None) is one
    exact = ExactForest.of(both, other.positions)
    score = exact.base + exact.contributions(other.positions).sum(axis=1)
    assert np.allclose(score, both.scores(other), rtol=0, atol=60 * 2.0**-GRID_BITS)


def test_trees_that_are_not_scikit_learns_are_refused() -> None:
    data = units(500, seed=1)
    model = grown(data)
    model._predictors[0][0].nodes["num_threshold"] += 300
    model.decision_function = lambda _: theirs(grown(data), data)
    with pytest.raises(UsageError, match="scikit-learn"):
        Forest.of(model, data)


def test_contributions_of_trees_add_up_to_the_last_bit() -> None:
    data, other = units(3000, seed=1), units(700, seed=3)
    forest = Forest.of(grown(data), data)
    exact = ExactForest.of(forest, other.positions)
    found = exact.contributions(other.positions)
    score = exact.base + exact.parts(other.positions)
    for order in (range(4), range(3, -1, -1)):
        total = np.full(len(other), exact.base)
        for feature in order:
            total += found[:, feature]
        assert np.array_equal(total, score)
    assert np.allclose(score, forest.scores(other), rtol=0, atol=21 * 2.0**-GRID_BITS)
    assert np.abs(found.mean(axis=0)).max() < 1e-6  # measured from the mean here
    assert not found[:, 2].any()  # a feature that says nothing is no reason
    strong = (found[:, 3] > 0.5) & (other.positions[3] == 2)
    assert strong.any()


def test_one_unit_and_none_are_scored_too() -> None:
    data = units(500, seed=1)
    forest = Forest.of(grown(data), data)
    for count in (0, 1):
        few = data.select(np.arange(500) < count)
        exact = ExactForest.of(forest, few.positions)
        assert exact.contributions(few.positions).shape == (count, 4)
        assert len(forest.scores(few)) == len(exact.parts(few.positions)) == count


GOOD = Tree(
    np.array([0, -1, -1]), np.array([5, 0, 0]), np.array([1, 0, 0]), np.array([2, 0, 0]),
    np.array([0.0, -1.0, 1.0]),
)  # fmt: skip


def test_a_root_that_is_a_leaf_moves_nothing() -> None:
    leaf, nothing = np.array([-1]), np.array([0])
    lone = Tree(leaf, nothing, nothing, nothing, np.array([0.5]))
    lone.check(4)
    assert ExactTree.of(lone).moves.shape == (1, 0)
    data = units(10, seed=1)
    assert Forest(0.25, (lone,)).scores(data).tolist() == [0.75] * 10


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.array([4, -1, -1])},  # no such feature
        {"left": np.array([0, 0, 0])},  # its own child
        {"right": np.array([1, 0, 0])},  # one child twice
        {"right": np.array([3, 0, 0])},  # no such node
        {"values": np.array([0.0, 1.0])},
        {"features": np.array([], np.int64)},
        {"features": np.array([-1, -1, -1])},  # nodes that nobody comes to
    ],
)
def test_a_kept_tree_that_is_none_is_refused(change: dict[str, Any]) -> None:
    GOOD.check(4)
    with pytest.raises(UsageError, match="one parent"):
        dataclasses.replace(GOOD, **change).check(4)
