"""Trees as plain numbers, boosted or averaged: grown by scikit-learn; scored and kept here.

A tree asks of a feature's position whether it is at most a threshold, from the root to a leaf.
Trees are copied out of scikit-learn once, compared with it, and kept as numbers (never a pickle):
what scores today scores the same under another version.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits, Positions

Vector = NDArray[np.float64]
Places = NDArray[np.int64]

LEAF: Final = -1
CHUNK_UNITS: Final = 1 << 15  # what is in hand stays in cache
CLOSE: Final = 1e-9  # log-odds between scikit-learn's own scores and these
MOST_VALUE: Final = 100.0  # log-odds of one node: sums of reasons stay exact (reasons.py)
MOST_POSITION: Final = 2**16 - 1


def chunks_of(positions: Positions) -> Iterator[Positions]:
    """Yield uint16 (features, units) some units at a time."""
    for start in range(0, positions.shape[1], CHUNK_UNITS):
        yield positions[:, start : start + CHUNK_UNITS]


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree; children stand after their parent.

    Attributes:
        features: int64 (nodes,), what a node asks about; -1 at a leaf.
        thresholds: int64 (nodes,): positions up to it go left.
        left, right: int64 (nodes,), the children; 0 at a leaf.
        values: float64 (nodes,): log-odds that a leaf adds; of a node the mean over the training
            units that came by.
    """

    features: Places
    thresholds: Places
    left: Places
    right: Places
    values: Vector

    def leaves(self, positions: Positions) -> Places:
        """Return int64 (units,): the leaf that each unit comes to.

        Args:
            positions: uint16 (features, units).
        """
        made: dict[int, Any] = {}
        for node in range(len(self.features) - 1, -1, -1):
            if self.features[node] == LEAF:
                made[node] = np.int64(node)
            else:
                left = positions[self.features[node]] <= self.thresholds[node]
                low, high = made.pop(int(self.left[node])), made.pop(int(self.right[node]))
                made[node] = np.where(left, low, high)
        return np.broadcast_to(np.asarray(made[0], dtype=np.int64), positions.shape[1:])

    def inner(self) -> Iterator[int]:
        """Yield the nodes that ask, parents first."""
        return (node for node in range(len(self.features)) if self.features[node] != LEAF)

    def check(self, features: int) -> None:
        """Check a tree that was read from a file.

        Raises:
            UsageError: no tree over so many features.
        """
        count = len(self.features)
        sizes = {len(one) for one in (self.thresholds, self.left, self.right, self.values)}
        met = [0] * count
        good = count > 0 and sizes == {count} and int(self.features.max()) < features
        for node in self.inner() if good else ():
            for child in (int(self.left[node]), int(self.right[node])):
                good = good and node < child < count
                met[child if good else 0] += 1
        if not good or met[0] or any(times != 1 for times in met[1:]):
            raise UsageError("expected trees whose nodes have one parent each, found others")


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees that add up.

    Attributes:
        base: log-odds of everybody.
        trees: in the order in which they were grown.
    """

    base: float
    trees: tuple[Tree, ...]

    @classmethod
    def of(cls, grown: Any, data: EncodedUnits) -> Self:
        """Copy the trees out of a fitted HistGradientBoostingClassifier of two classes.

        Args:
            grown: the classifier.
            data: units to compare on.

        Raises:
            UsageError: the copy does not score as the original: another scikit-learn.
        """
        found = cls(
            float(grown._baseline_prediction.ravel()[0]),  # noqa: SLF001 -- compared below
            tuple(_copied(stage[0].nodes) for stage in grown._predictors),  # noqa: SLF001
        )
        with threadpool_limits(1):
            return found.compare(grown.decision_function(data.positions.T.astype(float)), data)

    @classmethod
    def average(cls, grown: Any, data: EncodedUnits) -> Self:
        """Copy the trees out of a fitted RandomForestClassifier of two classes.

        What it scores are shares of cases, no log-odds: `along` makes them so.

        Args:
            grown: the classifier.
            data: units to compare on.

        Raises:
            UsageError: the copy does not score as the original: another scikit-learn.
        """
        trees = [_plain(one.tree_) for one in grown.estimators_]
        found = cls(0.0, tuple(trees)).times(1 / len(trees))
        return found.compare(grown.predict_proba(data.positions.T.astype(float))[:, 1], data)

    def compare(self, theirs: Vector, data: EncodedUnits) -> Self:
        """Return the same trees, if they score units as float64 (units,) says.

        Raises:
            UsageError: they do not.
        """
        if not np.allclose(self.scores(data), theirs, rtol=0.0, atol=CLOSE):
            raise UsageError(
                "expected trees that score as scikit-learn's own, found others: install a version "
                "that pyproject.toml names"
            )
        return self

    def along(self, base: float, slope: float) -> Self:
        """Return the same with scores times `slope`, plus `base`."""
        made = self.times(slope)
        return replace(made, base=made.base + base)

    def plus(self, other: Self | None) -> Self:
        """Return the trees of both, whose scores add up."""
        return (
            self
            if other is None
            else replace(self, base=self.base + other.base, trees=self.trees + other.trees)
        )

    def first(self, rounds: int) -> Self:
        """Return the same without the trees after `rounds`."""
        return replace(self, trees=self.trees[:rounds])

    def times(self, weight: float) -> Self:
        """Return the same with every score times `weight`, and no node beyond MOST_VALUE."""
        trees = tuple(
            replace(tree, values=np.clip(tree.values * weight, -MOST_VALUE, MOST_VALUE))
            for tree in self.trees
        )
        return replace(self, base=self.base * weight, trees=trees)

    def scores(self, data: EncodedUnits) -> Vector:
        """Return float64 (units,): log-odds."""
        parts = [np.zeros(0)]
        for chunk in chunks_of(data.positions):
            part = np.full(chunk.shape[1], self.base)
            for tree in self.trees:
                part += tree.values.take(tree.leaves(chunk))
            parts.append(part)
        return np.concatenate(parts)


def _plain(tree: Any) -> Tree:
    """Copy the arrays of one of scikit-learn's decision trees; values are shares of cases."""
    leaf, counts = tree.children_left < 0, tree.value[:, 0, :]
    left, right = (np.where(leaf, 0, side) for side in (tree.children_left, tree.children_right))
    limits = np.floor(np.clip(tree.threshold, 0, MOST_POSITION))
    return Tree(
        np.where(leaf, LEAF, tree.feature).astype(np.int64),
        np.where(leaf, 0, limits).astype(np.int64), left.astype(np.int64), right.astype(np.int64),
        counts[:, 1] / counts.sum(axis=1),
    )  # fmt: skip


def _copied(nodes: Any) -> Tree:
    """Copy scikit-learn's nodes; positions have no gaps, so that thresholds are whole numbers."""
    leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(leaf, 0, nodes[side]).astype(np.int64) for side in ("left", "right"))
    limits = np.floor(np.clip(nodes["num_threshold"], 0, MOST_POSITION))
    values = nodes["value"].astype(np.float64).copy()
    counts = nodes["count"].astype(np.float64)
    for node in range(len(nodes) - 1, -1, -1):
        if not leaf[node]:
            pair = [left[node], right[node]]
            values[node] = counts[pair] @ values[pair] / counts[pair].sum()
    return Tree(
        np.where(leaf, LEAF, nodes["feature_idx"]).astype(np.int64),
        np.where(leaf, 0, limits).astype(np.int64), left, right, values,
    )  # fmt: skip
