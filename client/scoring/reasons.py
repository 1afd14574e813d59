"""Scores that are sums of their reasons, to the last bit.

Each feature's table of contributions is rounded to multiples of 2^-28. Sums of such numbers are
exact in float64 in any order (docs/design.md, "Integers"), so a score equals its base plus its
contributions in any order of adding. Contributions are measured from the mean of the institution's
own units: a reason says how far a unit departs from the others here. Of a text or a vector there is
one, the row as a whole: its entries, hashes or directions, are no evidence each.

Why one text stands where it stands: its own words and runs of characters.

For eyes inside the institution, while they look: nothing here is written down or sent, so that
no text and no part of one enters an alert, a file or a report (harm rule 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import Basis, Positions
from fieldfare.shared.features.text_hashing import WORD, TextEncoder
from fieldfare.shared.models.linear import row_scores
from fieldfare.shared.pages.words import plain

GRID_BITS: Final = 28  # 1001 entries of 2e4 stay below 2^25, and 25 + 28 = 53


def on_grid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to multiples of 2^-28."""
    return np.rint(values * (1 << GRID_BITS)) / (1 << GRID_BITS)


@dataclass(frozen=True, eq=False)
class ExactScores:
    """A model's tables on the grid.

    Attributes:
        base: score of a unit that is average in every feature.
        tables: float64 by position, one for each feature; mean 0 over the institution's units.
    """

    base: float
    tables: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, basis: Basis, parameters: NDArray[np.float64], positions: Positions) -> Self:
        """Prepare.

        Args:
            basis: of the study.
            parameters: float64 (entries,).
            positions: uint16 (features, units): whose mean is the reference; none means 0.
        """
        base, tables = float(on_grid(parameters[:1])[0]), []
        for table, column in zip(basis.tables(parameters), positions, strict=True):
            exact = on_grid(table)
            counts = np.bincount(column, minlength=len(table))
            total = counts.sum()
            mean = float(on_grid(np.array([counts @ exact / total if total else 0.0]))[0])
            base += mean
            tables.append(exact - mean)
        return cls(base, tuple(tables))

    def contributions(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units, features): the part of each feature in the score, in log-odds."""
        found = np.empty((positions.shape[1], len(self.tables)))
        for index, (table, column) in enumerate(zip(self.tables, positions, strict=True)):
            found[:, index] = table.take(column)
        return found

    def scores(self, positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units,): base plus contributions, exactly."""
        total = np.full(positions.shape[1], self.base)
        for table, column in zip(self.tables, positions, strict=True):
            total += table.take(column)
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
    scores: NDArray[np.float64], ties: Sequence[int] | NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return int64 (units,): 1 for the highest score.

    Args:
        scores: float64 (units,).
        ties: (units,), who is first among equals: a keyed hash of the id, so that neither the
            order of the file nor the id decides.
    """
    order = np.lexsort((np.asarray(ties), -scores))
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
            "at the text itself. One text is no sufficient sign of anything, and this stays here.",
        ]  # fmt: skip


def _line(reason: tuple[str, float]) -> str:
    gram, part = reason
    what = "word" if gram[0] == WORD else "characters"
    return f"  {part:+8.3f}  {what:<10}  {plain(gram[1:])!r}"
