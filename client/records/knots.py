"""Where a numeric feature's knots go: the rule by which a study is drafted.

Half the knots stand at quantiles and half evenly over the range, on a logarithmic scale where the
feature is strongly skewed; each value that more than a fifth of the units share has its own slot
(docs/design.md, "Where knots go": at epsilon 1 this matters more than anything else, and quantiles
alone lose the tail).

A knot is public once it is in a study. The values given here must be public too.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features import LEAST_GAP, LEAST_STEP, NumericFeature, Scale

MOST_KNOTS: Final = 8
FEW_VALUES: Final = 10  # up to so many different values, each is a knot
MOST_SPECIAL: Final = 4
SPECIAL_SHARE: Final = 0.2
SKEW: Final = 5.0  # upper tail by lower tail, from the median to the outer percent
FAR_OUT: Final = 20.0  # the same with the largest value: outliers beyond the outer percent
CLOSE_SHARE: Final = 0.02  # knots with fewer units between them ...
CLOSE_RANGE: Final = 0.05  # ... and nearer than this share of the range are one knot

Values = NDArray[np.float64]


def draft_numeric(name: str, values: Values, units: int) -> NumericFeature:
    """Draft a numeric feature from public values.

    Args:
        name: the feature's name.
        values: float64 (present,), finite, at least two different ones.
        units: units in the sample, those without a value included.

    Returns:
        A feature with at most `MOST_KNOTS` knots (`FEW_VALUES` where each value is one).

    Raises:
        ValueError: no two knots that can be interpolated between.
    """
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= FEW_VALUES:
        return _feature(name, Scale.LINEAR, different[[0, -1]], different, ())
    common = np.argsort(-counts, kind="stable")[:MOST_SPECIAL]
    special = np.sort(different[common[counts[common] > SPECIAL_SHARE * units]])
    rest = values[~np.isin(values, special)]
    left = np.unique(rest)
    if len(left) <= FEW_VALUES:
        return _feature(name, Scale.LINEAR, left[[0, -1]], left, special)
    scale = Scale.LOG1P if _strongly_skewed(rest) else Scale.LINEAR
    bounds = _rounded_outward(rest, scale)
    return _feature(name, scale, bounds, _knots(rest, scale, bounds), special)


def _strongly_skewed(rest: Values) -> bool:
    """Compare the tails by quantiles, which a few outliers cannot sway."""
    if rest.min() < 0:
        return False
    low, middle, high = np.quantile(rest, [0.01, 0.5, 0.99])
    body = middle - low
    return bool(high - middle > SKEW * body or rest.max() - middle > FAR_OUT * body)


def _rounded_outward(rest: Values, scale: Scale) -> Values:
    """Round the extremes outward to about two digits: of the range, or each on a log scale."""
    low, high = float(rest.min()), float(rest.max())
    steps = (_tenth(low), _tenth(high)) if scale is Scale.LOG1P else (_tenth(high - low),) * 2
    lower = min(low, _tidy(math.floor(low / steps[0]) * steps[0]))
    return np.array([lower, max(high, _tidy(math.ceil(high / steps[1]) * steps[1]))])


def _tenth(size: float) -> float:
    """Return the power of ten one digit below the first digit of `size`."""
    return float(10.0 ** (math.floor(math.log10(size)) - 1)) if size > 0 else 1.0


def _tidy(value: float) -> float:
    """Drop the last binary digits, so that 0.1 + 0.2 is written 0.3."""
    return float(f"{value:.14g}")


def _knots(rest: Values, scale: Scale, bounds: Values) -> Values:
    """Half at quantiles, half evenly over the range, merged where they add nothing."""
    logarithmic = scale is Scale.LOG1P
    scaled = np.sort(np.log1p(rest) if logarithmic else rest)
    half = MOST_KNOTS // 2
    ends = np.log1p(bounds) if logarithmic else _without_outliers(scaled, bounds)
    even = np.linspace(ends[0], ends[1], MOST_KNOTS - half)
    quantiles = np.quantile(scaled, np.arange(1, half + 1) / (half + 1))
    candidates = np.unique(np.concatenate([even, quantiles]))
    if (rest % 1 == 0).all():
        whole = np.rint(np.expm1(candidates) if logarithmic else candidates)
        candidates = np.unique(np.log1p(whole) if logarithmic else whole)
    kept = _merged(candidates, scaled)
    knots = _readable(np.expm1(kept) if logarithmic else kept, logarithmic=logarithmic)
    return np.unique(np.clip(knots, *bounds))


def _readable(knots: Values, *, logarithmic: bool) -> Values:
    """Round to four digits: of each knot on a log scale, else of the range."""
    if logarithmic:
        short = np.array([float(f"{knot:.4g}") for knot in knots])
        return short if len(np.unique(short)) == len(knots) else knots
    fine = _tenth(knots[-1] - knots[0]) / 100
    return np.array([_tidy(round(knot / fine) * fine) for knot in knots])


def _without_outliers(scaled: Values, bounds: Values) -> Values:
    """Keep an even half within reach of the outer percents: beyond, the last knot holds."""
    low, high = np.quantile(scaled, [0.01, 0.99])
    reach = high - low
    return np.array([max(bounds[0], low - reach), min(bounds[1], high + reach)])


def _merged(knots: Values, scaled: Values) -> Values:
    """Leave out knots near their left neighbour with hardly a unit from there up to them."""
    kept = [knots[0]]
    for knot in knots[1:]:
        first, last = np.searchsorted(scaled, [kept[-1], knot], side="right")
        near = knot - kept[-1] < CLOSE_RANGE * (knots[-1] - knots[0])
        if not (near and last - first < CLOSE_SHARE * len(scaled)):
            kept.append(knot)
    return np.array(kept)


def _apart(knots: Values, scale: Scale) -> Values:
    """Leave out knots that a study would refuse beside their left neighbour (features.py)."""
    scaled = np.log1p(knots) if scale is Scale.LOG1P else knots
    kept = [0]
    for index in range(1, len(knots)):
        left, right = float(scaled[kept[-1]]), float(scaled[index])
        least = max(LEAST_GAP, max(abs(left), abs(right)) * LEAST_STEP)
        if least < right - left < math.inf:
            kept.append(index)
    if len(kept) == 1:
        raise ValueError("no two knots that can be interpolated between")
    return knots[kept]


def _feature(
    name: str, scale: Scale, bounds: Values, knots: Values, special: Values | tuple[()]
) -> NumericFeature:
    return NumericFeature(
        kind="numeric",
        name=name,
        lower=float(bounds[0]),
        upper=float(bounds[1]),
        scale=scale,
        knots=tuple(map(float, _apart(knots, scale))),
        special=tuple(map(float, special)),
    )
