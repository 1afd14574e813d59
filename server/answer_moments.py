"""Sums, means, variances, ratios, correlations: numbers made of a few noisy sums."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from fieldfare.server.answer import Z95, Cell, Values, fieller, least_count
from fieldfare.shared.query_blocks import Factor

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
