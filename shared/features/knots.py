"""Knots on a public grid: whole numbers that every party derives alike from a noisy histogram.

A feature whose knots are asked for is encoded on a grid that does not depend on them: PLACES
even steps from its lower to its upper bound, on its scale. A knot is a place on that grid, so
choosing knots changes no record's encoding, and everything here is integer arithmetic: custodian,
coordinator and auditor get the same knots bit for bit (docs/design.md, "Recomputation").
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.arithmetic import natural_log
from fieldfare.shared.features.features import STEP_SLACK, Feature, NumericFeature, Scale

PLACES: Final = 4096  # steps of the grid; below the limit that every parameter keeps to
LEAST_APART: Final = PLACES // 256  # places between two knots: nearer ones only add noise

Places = tuple[int, ...]


def asked_features(features: Sequence[Feature]) -> tuple[NumericFeature, ...]:
    """Return the features whose knots are asked for, in order."""
    numeric = (feature for feature in features if isinstance(feature, NumericFeature))
    return tuple(feature for feature in numeric if feature.knots_from is not None)


def even_places(count: int) -> Places:
    """Return `count` places, evenly spaced, ends included."""
    return tuple((2 * PLACES * index + count - 1) // (2 * (count - 1)) for index in range(count))


@cache
def value_places(feature: NumericFeature) -> Places | None:
    """Return the places at which values of a feature with a public step stand; None without one.

    Formal Guarantees:
        Of public numbers alone, the same on every machine: exact fractions on a linear scale,
        and on a logarithmic one a logarithm out of + - * / (`natural_log`). Where values stand
        closer than places, every place is one.
    """
    if feature.step is None:
        return None
    low, high, step = (Fraction(one) for one in (feature.lower, feature.upper, feature.step))
    values = min(int((high - low) / step * (1 + Fraction(STEP_SLACK))), 4 * PLACES)
    if feature.scale is Scale.LINEAR:
        part = step / (high - low) * PLACES
        found = {min((2 * k * part + 1) // 2, PLACES) for k in range(values + 1)}
    else:
        ends = natural_log(1.0 + np.array([feature.lower, feature.upper]))
        counts = np.arange(values + 1, dtype=np.float64)
        logs = natural_log(np.asarray(1.0 + (feature.lower + counts * feature.step)))
        scaled = np.floor((logs - ends[0]) / (ends[1] - ends[0]) * PLACES + 0.5)
        found = {int(place) for place in np.clip(scaled, 0, PLACES)}
    if values == 4 * PLACES:
        found |= set(range(max(found), PLACES + 1))
    return tuple(sorted(int(place) for place in found))


def chosen_places(
    counts: Sequence[int], *, quantiles: int, even: int, values: Places | None = None
) -> Places:
    """Choose knots from a noisy histogram over even bins of the grid's range.

    Args:
        counts: of each bin, in any unit, noise and all; may be negative.
        quantiles: knots at rank/(quantiles + 1) of the units.
        even: knots that stay evenly spaced, ends included.
        values: places at which values stand (`value_places`): knots are at them, each at its own;
            None: anywhere.

    Returns:
        `quantiles + even` places, strictly rising, at least LEAST_APART between them.

    Edge cases:
        | histogram | result |
        |---|---|
        | nobody in it, or noise that outweighs everybody | the widest gaps are halved instead |
        | a quantile next to another knot (one value that many share) | left out, and the same |
        | two knots that come to one value of a coarse column | the second moves to a free value |
        | sums that fall (negative noise) | as if they stood still: the running maximum counts |

    Source: post-processing of a private histogram (Dwork-Roth 2014, proposition 2.1).
    """
    if values is not None:
        return _at_values(values, even_places(even), _quantiles(counts, quantiles), quantiles)
    kept = list(even_places(even))
    for place in _quantiles(counts, quantiles):
        if all(abs(place - other) >= LEAST_APART for other in kept):
            kept.append(place)
    while len(kept) < quantiles + even:
        kept.sort()
        left, right = max(pairwise(kept), key=lambda gap: gap[1] - gap[0])
        kept.append((left + right) // 2)
    return tuple(sorted(kept))


def _at_values(
    values: Places, even: Sequence[int], ranked: Sequence[int], quantiles: int
) -> Places:
    """Choose the free values that are nearest to where knots would be."""
    kept: list[int] = []
    for place in even:
        kept.append(_free_value(values, kept, place))
    for place in ranked:
        nearest = min(values, key=lambda one: (abs(one - place), one))
        if all(abs(nearest - other) >= LEAST_APART for other in kept):
            kept.append(nearest)
    while len(kept) < quantiles + len(even):
        kept.sort()
        left, right = max(pairwise(kept), key=lambda gap: gap[1] - gap[0])
        kept.append(_free_value(values, kept, (left + right) // 2))
    return tuple(sorted(kept))


def _free_value(values: Places, kept: Sequence[int], place: int) -> int:
    """Return the nearest value that is not too near a knot; if all are, the nearest free one."""
    free = [one for one in values if one not in kept]
    apart = [one for one in free if all(abs(one - other) >= LEAST_APART for other in kept)]
    if not free:
        raise ProtocolError("expected room for the knots of a study on its grid, found none")
    return min(apart or free, key=lambda one: (abs(one - place), one))


def _quantiles(counts: Sequence[int], quantiles: int) -> list[int]:
    below = list(accumulate(accumulate([0, *counts]), max))
    whole, bins, parts = below[-1], len(counts), quantiles + 1
    if whole <= 0:
        return []
    found = []
    for rank in range(1, parts):
        index = next(i for i in range(bins) if below[i + 1] * parts >= rank * whole)
        inside, width = (
            rank * whole - parts * below[index],
            parts * (below[index + 1] - below[index]),
        )
        found.append((2 * PLACES * (index * width + inside) + bins * width) // (2 * bins * width))
    return found


def places_in(features: Sequence[Feature], numbers: NDArray[np.float64]) -> tuple[Places, ...]:
    """Read each asked feature's knots out of the parameters that follow a model's own.

    Args:
        features: of the study.
        numbers: float64 (knots of all asked features,).

    Raises:
        ProtocolError: no whole places on the grid, not strictly rising, or another number of them.
    """
    sizes = [len(feature.knots) for feature in asked_features(features)]
    if len(numbers) != sum(sizes):
        raise ProtocolError(f"expected {sum(sizes)} knots of features, found {len(numbers)}")
    if not (np.isfinite(numbers).all() and (numbers == np.trunc(numbers)).all()):
        raise ProtocolError("expected knots on the grid, found others")
    found, start = [], 0
    for size in sizes:
        places = tuple(int(number) for number in numbers[start : start + size])
        if places[0] < 0 or places[-1] > PLACES or any(a >= b for a, b in pairwise(places)):
            raise ProtocolError(f"expected strictly rising knots from 0 to {PLACES}, found others")
        found.append(places)
        start += size
    return tuple(found)


def knots_at(feature: NumericFeature, places: Sequence[int]) -> tuple[float, ...]:
    """Return places as values of the feature, for people: six digits, within its bounds."""
    low, high = feature.lower, feature.upper
    if feature.scale is Scale.LOG1P:
        low, high = math.log1p(low), math.log1p(high)
    values = [low + (high - low) * place / PLACES for place in places]
    if feature.scale is Scale.LOG1P:
        values = [math.expm1(value) for value in values]
    for digits in (6, 17):
        short = [float(f"{value:.{digits}g}") for value in values]
        if all(a < b for a, b in pairwise(short)):
            break
    return tuple(min(max(value, feature.lower), feature.upper) for value in short)
