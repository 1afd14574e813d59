"""Scores that are sums of their reasons, to the last bit.

Each feature's table of contributions is rounded to multiples of 2^-28. Sums of such numbers are
exact in float64 in any order (docs/design.md, "Integers"), so a score equals its base plus its
contributions in any order of adding. Contributions are measured from the mean of the institution's
own units: a reason says how far a unit departs from the others here. Of a text or a vector there is
one, the row as a whole: its entries, hashes or directions, are no evidence each.

Of trees (of a stack at home) each question on the way from the root to a unit's leaf moves the
score from a node's mean to the next one's, and the move belongs to the feature that was asked
about (path contributions, Saabas 2014). Means are on the same grid, so that moves add up exactly.

Why one text stands where it stands is told by its own words and runs of characters, for eyes inside
the institution, while they look: none is written down or sent, so that no text and no part of one
enters an alert, a file or a report (harm rule 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.forest import Forest, Tree, chunks_of
from fieldfare.client.scoring.selection import review_order
from fieldfare.shared.features.basis import Basis, Positions
from fieldfare.shared.features.text_hashing import WORD, TextEncoder
from fieldfare.shared.models.linear import row_scores
from fieldfare.shared.pages.words import plain

GRID_BITS: Final = 28  # 1001 entries of 2e4 stay below 2^25, and 25 + 28 = 53


def on_grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to multiples of 2^-28."""
    return np.rint(values * (1 << GRID_BITS)) / (1 << GRID_BITS)


@dataclass(frozen=True, eq=False)
class ExactTree:
    """One tree on the grid.

    Attributes:
        tree: which leads units to leaves.
        features: int64 (asked,), the features that it asks about.
        moves: float64 (nodes, asked): what the way to a node has moved the score by, by feature.
    """

    tree: Tree
    features: NDArray[np.int64]
    moves: NDArray[np.float64]

    @classmethod
    def of(cls, tree: Tree) -> Self:
        """Follow every way from the root."""
        nodes = list(tree.inner())
        features = np.unique(tree.features[nodes])
        values, moves = on_grid(tree.values), np.zeros((len(tree.values), len(features)))
        for node in nodes:
            place = int(np.searchsorted(features, tree.features[node]))
            for child in (tree.left[node], tree.right[node]):
                moves[child] = moves[node]
                moves[child, place] += values[child] - values[node]
        return cls(tree, features, moves)


@dataclass(frozen=True, eq=False)
class ExactForest:
    """Trees on the grid.

    Attributes:
        base: score of a unit that is average in every feature.
        trees: in order.
        means: float64 (features,), of what is moved by each, over the institution's units.
    """

    base: float
    trees: tuple[ExactTree, ...]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, forest: Forest, positions: Positions) -> Self:
        """Prepare.

        Args:
            forest: as it was kept.
            positions: uint16 (features, units): whose mean is the reference; none means 0.
        """
        trees = tuple(ExactTree.of(tree) for tree in forest.trees)
        roots = on_grid(np.array([forest.base, *(tree.values[0] for tree in forest.trees)]))
        zero = cls(0.0, trees, np.zeros(len(positions)))
        total = np.zeros(len(positions))
        for chunk in chunks_of(positions):
            total += zero.contributions(chunk).sum(axis=0)
        means = on_grid(total / max(1, positions.shape[1]))
        return cls(float(roots.sum() + means.sum()), trees, means)

    def contributions(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units, features): the part of each feature in the score."""
        found = np.tile(-self.means, (positions.shape[1], 1))
        for one in self.trees:
            leaves = one.tree.leaves(positions)
            for place, feature in enumerate(one.features):
                found[:, feature] += one.moves[:, place].take(leaves)
        return found

    def parts(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units,): the sum of a unit's contributions, exactly."""
        total = np.full(positions.shape[1], -self.means.sum())
        for one in self.trees:
            total += one.moves.sum(axis=1).take(one.tree.leaves(positions))
        return total


@dataclass(frozen=True, eq=False)
class ExactScores:
    """A model's tables on the grid.

    Attributes:
        base: score of a unit that is average in every feature.
        tables: float64 by position, one for each feature; mean 0 over the institution's units.
        forest: the trees of a stack; None without any.
    """

    base: float
    tables: tuple[NDArray[np.float64], ...]
    forest: ExactForest | None = None

    @classmethod
    def of(
        cls,
        basis: Basis,
        parameters: NDArray[np.float64],
        positions: Positions,
        forest: Forest | None = None,
    ) -> Self:
        """Prepare.

        Args:
            basis: of the study.
            parameters: float64 (entries,).
            positions: uint16 (features, units): whose mean is the reference; none means 0.
            forest: of a stack.
        """
        base, tables = float(on_grid(parameters[:1])[0]), []
        for table, column in zip(basis.tables(parameters), positions, strict=True):
            exact = on_grid(table)
            counts = np.bincount(column, minlength=len(table))
            total = counts.sum()
            mean = float(on_grid(np.array([counts @ exact / total if total else 0.0]))[0])
            base += mean
            tables.append(exact - mean)
        trees = None if forest is None else ExactForest.of(forest, positions)
        return cls(base + (trees.base if trees else 0.0), tuple(tables), trees)

    def contributions(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units, features): the part of each feature in the score, in log-odds."""
        found = np.empty((positions.shape[1], len(self.tables)))
        for index, (table, column) in enumerate(zip(self.tables, positions, strict=True)):
            found[:, index] = table.take(column)
        if self.forest is not None:
            found += self.forest.contributions(positions)
        return found

    def scores(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units,): base plus contributions, exactly."""
        total = np.full(positions.shape[1], self.base)
        for table, column in zip(self.tables, positions, strict=True):
            total += table.take(column)
        if self.forest is not None:
            parts = [self.forest.parts(chunk) for chunk in chunks_of(positions)]
            total += np.concatenate([np.zeros(0), *parts])
        return total


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ExactRows:
    """Scores of units that are one row each, on the grid.

    Attributes:
        base: mean over the institution's units.
        parts: float64 (units,), the part that each unit's row adds.
    """

    base: float
    parts: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], shown: NDArray[np.bool_]) -> Self:
        """Prepare.

        Args:
            scores: float64 (units,), whose mean is the reference; none means 0.
            shown: bool (units,), which of them are ranked.
        """
        exact = on_grid(scores)
        mean = exact.mean() if len(exact) else 0.0
        base = float(on_grid(np.array([mean]))[0])
        return cls(base, exact[shown] - base)

    def contributions(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64 (places, 1), in log-odds."""
        return self.parts[places][:, None]

    def scores(self) -> NDArray[np.float64]:
        """Return float64 (units,): base plus contribution, exactly."""
        return self.base + self.parts


def ranks(
    scores: NDArray[np.float64],
    ties: Sequence[int] | NDArray[np.uint64],
    tiers: NDArray[np.int8] | None = None,
) -> NDArray[np.int64]:
    """Return int64 (units,): 1 for the unit that is reviewed first.

    Args:
        scores: float64 (units,), the higher the sooner.
        ties: (units,), who is first among equals: a keyed hash of the id, so that neither the
            order of the file nor the id decides.
        tiers: int8 (units,), of `readings.tiers_of`: the higher before every score;
            None: one tier.
    """
    order = review_order(scores, tiers, np.asarray(ties))
    found = np.empty(len(scores), dtype=np.int64)
    found[order] = np.arange(1, len(scores) + 1)
    return found


# -- text reasons ---------------------------------------------------------------------------------

SHOWN: Final = 12  # words and runs of characters on each side


@dataclass(frozen=True, repr=False)  # a repr would show a text
class TextReasons:
    """The parts that a text's own grams add to its score.

    Attributes:
        score: log-odds, as an alert has it.
        base: of a text that says nothing.
        raises, lowers: the strongest, as `grams_of` writes them, each with the part it adds.
        others: the sum that all others add; with base, raises and lowers it is the score, to the
            last bit.
    """

    score: float
    base: float
    raises: tuple[tuple[str, float], ...]
    lowers: tuple[tuple[str, float], ...]
    others: float

    @classmethod
    def of(cls, text: str, parameters: NDArray[np.float64]) -> Self:
        """Take a text apart.

        Args:
            text: as it stands in the records; empty where it is missing.
            parameters: float64 (1 + buckets,), as delivered or tuned here.
        """
        encoder = TextEncoder(len(parameters) - 1)
        (score,) = on_grid(row_scores(parameters, encoder.rows([text]))).tolist()
        (base,) = on_grid(parameters[:1]).tolist()
        found = encoder.contributions(text, parameters[1:])
        parts = on_grid(np.array([part for _, part in found])).tolist()
        grams = [(gram, part) for (gram, _), part in zip(found, parts, strict=True)]
        up = tuple(one for one in grams if one[1] > 0)[:SHOWN]
        down = tuple(one for one in grams if one[1] < 0)[:SHOWN]
        others = score - base - sum(part for _, part in (*up, *down))
        return cls(score, base, up, down, others)

    def lines(self) -> list[str]:
        """Return the same for a terminal."""
        parts = f"{self.base:+.3f} (anybody) with these and all others ({self.others:+.3f})"
        return [
            "raises:", *map(_line, self.raises),
            "speaks against:", *map(_line, self.lowers),
            f"adds up: {parts} = {self.score:+.3f}",
            "words and characters of this text; each shares a bucket with others' words, so look",
            "at the text itself. One text alone proves nothing, and this stays here.",
        ]  # fmt: skip


def _line(reason: tuple[str, float]) -> str:
    gram, part = reason
    what = "word" if gram[0] == WORD else "characters"
    return f"  {part:+8.3f}  {what:<10}  {plain(gram[1:])!r}"
