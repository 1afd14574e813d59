"""Why one text stands where it stands: its own words and runs of characters.

For eyes inside the institution, while they look: nothing here is written down or sent, so that
no text and no part of one enters an alert, a file or a report (harm rule 6).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.scoring.exact import on_grid
from fieldfare.shared.models.linear import row_scores
from fieldfare.shared.pages.words import plain
from fieldfare.shared.text_grams import WORD, TextEncoder

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
