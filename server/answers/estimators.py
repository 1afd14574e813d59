"""Numbers made of a few noisy sums: means, variances, ratios, correlations, series, frequent texts.

A month gives an alarm where its noisy count is above the mean of the months before it by more
than chance and noise explain. Both counts' chance (a Poisson count's variance is its mean) and
both counts' noise are in the limit, and so is how many months are looked at: a series without a
change gives any alarm at most as often as the question says (Bonferroni).

Frequent texts of an open domain are read off the noisy bits of public buckets. A bucket in which
one value outweighs the others and the noise shows that value's bits by their signs. What comes out
is believed if its check bits fit and its hash leads back to the bucket, and shown if its noisy
count passes the threshold of every other cell. Values that few units have leave no readable bits:
nothing of the domain is looked up anywhere.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.server.answers.answer import Z95, Cell, Values, count_cell, fieller, least_count
from fieldfare.shared.study.question_layout import (
    CHARACTER_BITS,
    Factor,
    Sketch,
    buckets,
    checks,
    signs,
    unpacked,
    unscrambled,
)

STEP: Final = 1e-4  # of a unit count, for numerical derivatives
LEAST_SPREAD: Final = 1e-12
MOST_CORRELATED: Final = 1 - 1e-9  # Fisher's scale has no end
Function = Callable[[Values], Values]
Pairs = Sequence[tuple[int, int]]


def count_answer(raw: Values, sigma: float) -> tuple[Cell, float]:
    """Return how many units, and the noise on it."""
    count = float(raw[0])
    if count < least_count(sigma):
        return Cell((), "count", None), sigma
    half = Z95 * sigma
    return Cell((), "count", count, max(0.0, count - half), count + half), sigma


def sum_answer(raw: Values, sigma: float, factor: Factor) -> tuple[Cell, float]:
    """Return a sum, and the noise on it, in the number's own unit."""
    value, spread = float(raw[0]) * factor.half, sigma * factor.half
    low, high = value - Z95 * spread, value + Z95 * spread
    if factor.lower >= 0:  # a sum of such numbers is not negative
        value, low, high = max(0.0, value), max(0.0, low), max(0.0, high)
    return Cell((), "sum", value, low, high), spread


def mean_cell(key: tuple[str, ...], raw: Values, sigma: float, factor: Factor) -> Cell:
    """Return a mean's cell from a noisy count and a noisy sum; Fieller's interval.

    Args:
        key: of the cell.
        raw: float64 (2,): count, sum of (x - centre) / half.
        sigma: noise on both.
        factor: bounds of the number.
    """
    count, total = float(raw[0]), float(raw[1])
    if count < least_count(sigma):
        return Cell(key, "mean", None)
    found = fieller(total, count, np.full(2, sigma**2))
    interval = np.array([-1.0, 1.0]) if found is None else np.clip(found, -1.0, 1.0)
    low, high = (factor.centre + factor.half * float(end) for end in interval)
    value = factor.centre + factor.half * float(np.clip(total / count, -1.0, 1.0))
    return Cell(key, "mean", value, low, high)


def ratio_answer(raw: Values, sigma: float, upper: Factor, lower: Factor) -> tuple[Cell, float]:
    """Return the ratio of two sums; Fieller's interval."""
    halves = np.array([upper.half, lower.half])
    above, below = raw * halves
    spread = (sigma * halves) ** 2
    found = fieller(above, below, spread)
    if found is None:
        return Cell((), "ratio", None), sigma * upper.half
    value = above / below
    error = float(np.sqrt(spread[0] + value**2 * spread[1])) / abs(below)
    low, high = (float(end) for end in found)
    return Cell((), "ratio", float(value), low, high), error


def variance_answer(raw: Values, sigma: float, factor: Factor) -> tuple[Cell, float]:
    """Return a variance, in the number's own unit squared; delta method."""
    if raw[0] < least_count(sigma):
        return Cell((), "variance", None), sigma * factor.half**2
    value, error = delta(_variance, raw, sigma)
    square = factor.half**2
    middle = float(np.clip(value[0], 0.0, 1.0)) * square
    half = Z95 * float(error[0]) * square
    low, high = max(0.0, float(value[0]) * square - half), max(0.0, float(value[0]) * square + half)
    return Cell((), "variance", middle, low, high), float(error[0]) * square


def pair_answer(
    raw: Values, sigma: float, factors: Sequence[Factor], *, correlation: bool
) -> tuple[tuple[Cell, ...], float]:
    """Return the correlation or covariance of each pair of numbers.

    The matrix is made positive semi-definite (eigenvalues below zero are cut), so that values
    are consistent with each other; intervals are of the noisy sums by the delta method, of a
    correlation on Fisher's scale.
    """
    pairs = list(combinations(range(len(factors)), 2))
    keys = [(factors[i].column, factors[j].column) for i, j in pairs]
    measure = "correlation" if correlation else "covariance"
    if raw[0] < least_count(sigma):
        return tuple(Cell(key, measure, None) for key in keys), sigma
    matrix = _consistent(_covariances(raw[None], len(factors))[0])
    if correlation:
        return _correlations(raw, sigma, matrix, pairs, keys)
    found, errors = delta(lambda s: _flat(_covariances(s, len(factors)), pairs), raw, sigma)
    cells, spreads = [], []
    for index, (i, j) in enumerate(pairs):
        unit = factors[i].half * factors[j].half
        half = Z95 * errors[index]
        cells.append(
            Cell(
                keys[index],
                measure,
                float(matrix[i, j] * unit),
                float((found[index] - half) * unit),
                float((found[index] + half) * unit),
            )
        )
        spreads.append(float(errors[index] * unit))
    return tuple(cells), max(spreads)


def delta(function: Function, raw: Values, sigma: float) -> tuple[Values, Values]:
    """Return a function of noisy sums and the standard deviation of its noise, to first order.

    Args:
        function: float64 (points, sums) to float64 (points, values).
        raw: float64 (sums,).
        sigma: noise on each sum.
    """
    step = STEP * max(float(raw[0]), 1.0)
    moves = step * np.eye(len(raw))
    found = function(np.concatenate([raw[None], raw + moves, raw - moves]))
    slopes = (found[1 : 1 + len(raw)] - found[1 + len(raw) :]) / (2 * step)
    errors: Values = sigma * np.sqrt((slopes**2).sum(axis=0))
    return found[0], errors


def _variance(raw: Values) -> Values:
    return raw[:, 2:] / raw[:, :1] - (raw[:, 1:2] / raw[:, :1]) ** 2


def _covariances(raw: Values, width: int) -> Values:
    """Return float64 (points, width, width) from 1, z_i and z_i z_j (i <= j) summed."""
    scaled = raw / raw[:, :1]
    means, products = scaled[:, 1 : 1 + width], scaled[:, 1 + width :]
    rows, columns = np.triu_indices(width)
    matrix = np.empty((len(raw), width, width))
    matrix[:, rows, columns] = products
    matrix[:, columns, rows] = products
    result: Values = matrix - means[:, :, None] * means[:, None, :]
    return result


def _consistent(matrix: Values) -> Values:
    values, vectors = np.linalg.eigh(matrix)
    result: Values = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return result


def _flat(matrix: Values, pairs: Pairs) -> Values:
    rows, columns = np.array(pairs).T
    return matrix[:, rows, columns]


def _correlations(
    raw: Values,
    sigma: float,
    matrix: Values,
    pairs: Pairs,
    keys: Sequence[tuple[str, str]],
) -> tuple[tuple[Cell, ...], float]:
    width = len(matrix)

    def fisher(sums: Values) -> Values:
        found: Values = np.arctanh(_correlation(_covariances(sums, width), pairs))
        return found

    if float(np.diag(_covariances(raw[None], width)[0]).min()) <= 0:  # noise hides a spread
        return tuple(Cell(key, "correlation", None) for key in keys), sigma
    values = _correlation(matrix[None], pairs)[0]
    found, errors = delta(fisher, raw, sigma)
    lows, highs = np.tanh(found - Z95 * errors), np.tanh(found + Z95 * errors)
    cells = tuple(
        Cell(key, "correlation", float(value), float(low), float(high))
        for key, value, low, high in zip(keys, values, lows, highs, strict=True)
    )
    return cells, float(((1 - np.tanh(found) ** 2) * errors).max())


def _correlation(matrix: Values, pairs: Pairs) -> Values:
    spread = np.sqrt(np.maximum(np.diagonal(matrix, axis1=1, axis2=2), LEAST_SPREAD))
    rows, columns = np.array(pairs).T
    values = matrix[:, rows, columns] / (spread[:, rows] * spread[:, columns])
    result: Values = np.clip(values, -MOST_CORRELATED, MOST_CORRELATED)
    return result


# -- answer trend ---------------------------------------------------------------------------------


def alarms(counts: Values, sigma: float, *, window: int, false_alarm: float) -> list[int]:
    """Return the indices of months that stand out.

    Args:
        counts: float64 (months,), noisy, in order.
        sigma: noise on each.
        window: months that a month is compared with.
        false_alarm: most often that a series without a change gives any alarm.
    """
    looked_at = len(counts) - window
    limit = NormalDist().inv_cdf(1 - false_alarm / looked_at)
    found = []
    for month in range(window, len(counts)):
        before = float(counts[month - window : month].mean())
        variance = (max(before, 1.0) + sigma**2) * (1 + 1 / window)
        if counts[month] - before > limit * float(np.sqrt(variance)):
            found.append(month)
    return found


# -- answer sketch --------------------------------------------------------------------------------


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
