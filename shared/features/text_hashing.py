"""Texts as hashed character 3-4-grams and words, in no language in particular.

Public and fixed: every institution, on every platform, puts the same gram into the same bucket.
Nothing is looked up in a vocabulary, which would itself be learned from somebody's texts.

    text -> NFKC, casefold, NFKC -> digits to 0, spaces and controls to one space,
    format characters and variation selectors dropped -> words and grams -> counts by bucket

A digit becomes 0, so that no telephone or account number is learned, only that there is one.
Unicode's stability policy keeps normalisation and case folding of assigned characters as they
are (https://www.unicode.org/policies/stability_policy.html); characters that a later version
assigns may fall otherwise.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.rows import ROW_BITS, SparseRows

GRAM_LENGTHS: Final = (3, 4)
HASH_KEY: Final = b"fieldfare.text-grams.v1"  # a constant: it separates this use from others
WORD: Final = "w"
GRAM: Final = "g"
WORD_WEIGHT: Final = 4  # a word counts as much as this many grams
MAX_CHARACTERS: Final = 20_000  # of a normalised text; the rest is not read
MAX_KNOWN: Final = 1 << 19  # grams whose buckets are remembered
_WORD_CATEGORIES: Final = frozenset("LMNS")  # letters, marks, numbers, symbols such as emoji


class _FoldTable(dict[int, str]):
    """What each character becomes; filled in as characters are met."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category == "Nd":
            found = "0"
        elif category[0] == "Z" or category == "Cc":
            found = " "
        elif category[0] == "C" or 0xFE00 <= code <= 0xFE0F:  # noqa: PLR2004 -- variation selectors
            found = ""
        else:
            found = chr(code)
        self[code] = found
        return found


class _SpaceTable(dict[int, str]):
    """Punctuation as spaces, everything that words are made of as itself."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        wordlike = unicodedata.category(character)[0] in _WORD_CATEGORIES
        self[code] = character if wordlike else " "
        return self[code]


_FOLDED: Final = _FoldTable()
_SPACED: Final = _SpaceTable()


def normalised(text: str) -> str:
    """Return a text as it is read: one line, one case, one form, digits as 0."""
    composed = unicodedata.normalize("NFKC", text)
    composed = unicodedata.normalize("NFKC", composed.casefold())
    return " ".join(composed.translate(_FOLDED).split())[:MAX_CHARACTERS]


def grams_of(text: str) -> list[str]:
    """Return every word ("w...") and gram ("g...") of a text, as often as it stands there.

    Edge cases:
        | text | grams |
        |---|---|
        | empty, or spaces and controls only | none |
        | one letter | the word, and the gram with a space on both sides |
        | no spaces between words (Thai, Chinese) | grams carry it; a word is a run |
    """
    line = normalised(text)
    if not line:
        return []
    words = [WORD + word for word in line.translate(_SPACED).split()]
    padded = f" {line} "
    for length in GRAM_LENGTHS:
        words += [GRAM + padded[at : at + length] for at in range(len(padded) - length + 1)]
    return words


def bucket_of(gram: str, buckets: int) -> int:
    """Return the public bucket of a word or gram: BLAKE2b (RFC 7693), little-endian, modulo."""
    digest = hashlib.blake2b(gram.encode("utf-8", "replace"), digest_size=8, key=HASH_KEY).digest()
    return int.from_bytes(digest, "little") % buckets


class _BucketCache(dict[str, int]):
    """Buckets of the grams met so far, at most so many."""

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self._buckets = buckets

    def __missing__(self, gram: str) -> int:
        if len(self) >= MAX_KNOWN:
            self.clear()
        found = self[gram] = bucket_of(gram, self._buckets)
        return found


@dataclass(frozen=True)
class TextEncoder:
    """Texts to rows.

    Attributes:
        buckets: public, at most 2^16.
    """

    buckets: int

    def rows(self, texts: Iterable[str]) -> SparseRows:
        """Return one row a text: sqrt(count / all counts) by bucket, truncated to 2^-10.

        A word counts as 4 grams. Integers all the way: x = isqrt(2^20 c / N), so that
        |x|^2 <= 2^20 exactly and no machine's square root has a say.

        Edge cases:
            | text | row |
            |---|---|
            | no gram at all | zeros: the unit counts, with the bias alone |
            | longer than 20,000 characters | its start |
            | a lone surrogate (no valid text) | dropped |
        """
        known = _BucketCache(self.buckets)
        places, values, lengths = [], [], [0]
        for text in texts:
            grams = grams_of(text)
            counts = Counter(known[gram] for gram in grams)
            for gram in grams:
                if gram[0] != WORD:
                    break  # words come first
                counts[known[gram]] += WORD_WEIGHT - 1
            found = np.fromiter(counts.keys(), np.uint16, len(counts))
            weights = np.fromiter(counts.values(), np.int64, len(counts))
            order = np.argsort(found)
            places.append(found[order])
            values.append(_roots(weights[order]))
            lengths.append(len(counts))
        return SparseRows(
            np.cumsum(lengths, dtype=np.int64),
            np.concatenate([np.empty(0, np.uint16), *places]),
            np.concatenate([np.empty(0, np.int16), *values]),
            self.buckets,
        )

    def contributions(self, text: str, weights: NDArray[np.float64]) -> list[tuple[str, float]]:
        """Return the addition of each word and gram of a text to its score, largest first.

        A bucket's share of the score is divided among the grams of this text that are in it, by
        how often they stand there, so that all of them add up to the score without its bias.
        Only what the text itself holds is named: never what else a bucket may mean.

        Args:
            text: as it was read.
            weights: float64 (buckets,), log-odds.

        Returns:
            Grams as `grams_of` writes them, and log-odds; by size, then by gram.
        """
        row = self.rows([text])
        parts = np.ldexp(row.values.astype(np.float64), -ROW_BITS) * weights[row.places]
        of_bucket = dict(zip(row.places.tolist(), parts.tolist(), strict=True))
        counts = Counter(grams_of(text))
        grams = {g: n * (WORD_WEIGHT if g[0] == WORD else 1) for g, n in counts.items()}
        totals: Counter[int] = Counter()
        for gram, weight in grams.items():
            totals[bucket_of(gram, self.buckets)] += weight
        found = [
            (gram, of_bucket[place] * weight / totals[place])
            for gram, weight in grams.items()
            for place in [bucket_of(gram, self.buckets)]
        ]
        return sorted(found, key=lambda one: (-abs(one[1]), one[0]))


def _roots(counts: NDArray[np.int64]) -> NDArray[np.int16]:
    """Return isqrt(2^20 c / N); a float64 square root of so small a whole number is exact."""
    total = max(1, int(counts.sum()))
    squares = (counts << (2 * ROW_BITS)) // total
    return np.floor(np.sqrt(squares.astype(np.float64))).astype(np.int16)
