"""Frequent texts of an open domain, read off the noisy bits of public buckets.

A bucket in which one value outweighs the others and the noise shows that value's bits by their
signs. What comes out is believed if its check bits fit and its hash leads back to the bucket,
and shown if its noisy count passes the threshold of every other cell. Values that few units
have leave no readable bits: nothing of the domain is looked up anywhere.
"""

import numpy as np
from numpy.typing import NDArray

from fieldfare.server.answer import Cell, Values, count_cell
from fieldfare.shared.open_texts import buckets, checks, signs, unpacked, unscrambled
from fieldfare.shared.query_blocks import CHARACTER_BITS, Sketch


def frequent_texts(
    sketch: Sketch, raw: Values, sigma: float, k: int
) -> tuple[tuple[Cell, ...], float]:
    """Return the `k` most frequent texts, largest first, and the noise on each count.

    Intervals also take in what other values of the same buckets add: its size shows in how
    unlike each other the bits of one value are.

    Args:
        sketch: the public hash.
        raw: float64 (rows, buckets, bits), noisy, in units.
        sigma: noise on each entry.
        k: how many at most.
    """
    found = []
    for value in _readable(sketch, raw).tolist():
        text = unpacked(value, sketch.length)
        if text is not None:
            count, spread = _count(sketch, raw, value, sigma)
            found.append((count, text, spread))
    cells = []
    for count, text, spread in sorted(found, key=lambda one: (-one[0], one[1]))[:k]:
        cell = count_cell((text,), count, max(count, 0.0), spread)
        if cell.value is not None:  # a name held back is not shown either
            cells.append(cell)
    return tuple(cells), sigma / float(np.sqrt(sketch.rows * sketch.bits))


def _readable(sketch: Sketch, raw: Values) -> NDArray[np.uint64]:
    """Return the values that buckets show, each once: check and hash fit."""
    bits = raw.reshape(-1, sketch.bits) > 0
    length = CHARACTER_BITS * sketch.length
    values = unscrambled(sketch, _number(bits[:, :length]))
    fits = _number(bits[:, length:]) == checks(sketch, values)
    row, bucket = np.divmod(np.arange(len(bits)), sketch.buckets)
    fits &= buckets(sketch, values)[row, np.arange(len(bits))] == bucket
    return np.unique(values[fits])


def _number(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return uint64 (rows,): what bool (rows, bits) spell, lowest first."""
    places = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    number: NDArray[np.uint64] = (bits * places).sum(axis=1, dtype=np.uint64)
    return number


def _count(sketch: Sketch, raw: Values, value: int, sigma: float) -> tuple[float, float]:
    """Return how many units have a value, its signs averaged over bits and rows; and the error."""
    packed = np.array([value], dtype=np.uint64)
    own = signs(sketch, packed)[0]
    places = buckets(sketch, packed)[:, 0]
    bits = raw[np.arange(sketch.rows), places] * own
    rows = bits.mean(axis=1)
    others = bits.var(axis=1, ddof=1)
    variance = float(np.maximum(others, sigma**2).sum()) / sketch.bits / sketch.rows**2
    return float(rows.mean()), float(np.sqrt(variance))
