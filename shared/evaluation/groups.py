"""Alerts by group: rates with intervals, from counts that may carry noise, and what they mean.

Reading rates off the noisy counts (`group_cells`) is post-processing.

A share of few units says little, and a share of noisy counts says less. Every rate comes with a
95 % interval that includes both, and a group is called treated worse, or no worse, only where
the whole interval says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from fieldfare.shared.evaluation.group_cells import CELLS, Counts, group_parts, group_scale
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import listed

Z: Final = 1.959963984540054  # a standard normal is within it 95 times in 100
MANY_TIMES: Final = 2.0  # from there on, a group is called treated worse
LEAST_SIGMAS: Final = 4.0  # a count below so many sigma of its noise is no denominator


@dataclass(frozen=True)
class Interval:
    """A value, such as a share or a count, and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the documented form of results.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class CountNoise:
    """Independent noise on the cells that a part and its whole add up.

    Attributes:
        sigma: standard deviation of the noise in one cell, in units.
        part: cells that the part adds up.
        rest: further cells of the whole.
    """

    sigma: float = 0.0
    part: int = 1
    rest: int = 1


EXACT: Final = CountNoise()


class Verdict(StrEnum):
    """The conclusion from an interval on a group's rate beside the rate of all."""

    MORE = "more than twice"
    NO_MORE = "no more than twice"
    TOO_FEW = "too few to say"


def rate_of(part: float, whole: float, noise: CountNoise = EXACT) -> Interval | None:
    """Return the share of `whole` that is `part`; None where it cannot be told at all.

    Args:
        part: units of the part, as counted (with noise: also below 0 or beyond the whole).
        whole: units of the whole, the part included.
        noise: on both.

    Formal Guarantees:
        The interval holds every r for which `part - r * whole` is within Z standard deviations
        of 0, with the variance that r implies: s^2 (a (1 - r)^2 + b r^2) + whole r (1 - r), for
        a and b noisy cells. Without noise it is the score interval (Wilson 1927); with noise it
        is Fieller's (1954) for a ratio whose denominator is uncertain too.

    Edge cases:
        | counts | result |
        |---|---|
        | whole at or below 0, or lost in its noise | None |
        | part below 0, or beyond the whole | read as none, or as all |
        | a denominator so uncertain that every r is possible | None |
    """
    spread = noise.sigma * math.sqrt(noise.part + noise.rest)
    if whole <= LEAST_SIGMAS * spread or whole <= 0:
        return None
    found, square = min(max(part, 0.0), whole), Z * Z
    above, other = noise.sigma**2 * noise.part, noise.sigma**2 * noise.rest
    # A quadratic in r, which is at or below zero inside the interval.
    leading = whole * whole + square * (whole - above - other)
    half = -found * whole + square * (above - whole / 2)
    last = found * found - square * above
    inside = half * half - leading * last
    if leading <= 0 or inside < 0:
        return None
    reach, value = math.sqrt(inside), found / whole
    low, high = ((-half - reach) / leading, (-half + reach) / leading)
    return Interval(value, min(max(low, 0.0), value), max(min(high, 1.0), value))


def verdict(rate: Interval | None, others: Interval | None) -> Verdict:
    """Say whether a group's rate is more than twice that of others, as far as both are known."""
    if rate is None or others is None:
        return Verdict.TOO_FEW
    if rate.low > MANY_TIMES * others.high:
        return Verdict.MORE
    return Verdict.NO_MORE if rate.high <= MANY_TIMES * others.low else Verdict.TOO_FEW


def ratio_of(part: tuple[int, int], rest: tuple[int, int]) -> Interval | None:
    """Return how many times as often something happens in a part as in the rest, exact counts.

    Args:
        part: to how many of it this happened, and how many it has.
        rest: the same of all others.

    Returns:
        The ratio of the two shares; its 95 % interval on the log scale, half a unit added to every
        count (Walters 1985; Pettigrew, Gart and Thomas 1986). None where nobody is in one of the
        two, or it happened to nobody of the rest.
    """
    (hits, units), (others, all_others) = part, rest
    if min(units, all_others, others) <= 0:
        return None
    one, two = (hits + 0.5) / (units + 0.5), (others + 0.5) / (all_others + 0.5)
    variance = 1 / (hits + 0.5) - 1 / (units + 0.5) + 1 / (others + 0.5) - 1 / (all_others + 0.5)
    reach, value = math.exp(Z * math.sqrt(variance)), hits / units * all_others / others
    return Interval(value, min(one / two / reach, value), max(one / two * reach, value))


def times_verdict(times: Interval | None) -> Verdict:
    """Say whether a ratio is above two, as far as it is known."""
    if times is None or times.low <= MANY_TIMES < times.high:
        return Verdict.TOO_FEW
    return Verdict.MORE if times.low > MANY_TIMES else Verdict.NO_MORE


def percents(rate: Interval | None) -> str:
    """Write a rate and its interval for people, such as `2.1 % (0.4 to 3.9)`."""
    if rate is None:
        return "too few to say"
    value, low, high = (f"{100 * one:.3g}" for one in (rate.value, rate.low, rate.high))
    return f"{value} % ({low} to {high})"


# -- fairness -------------------------------------------------------------------------------------

MOST_NAMED: Final = 8  # groups in one line


@dataclass(frozen=True)
class _Table:
    """Counts of some levels, and the noise on each cell, in units.

    Attributes:
        counts: float64 (levels, 2, 2): by level, label, alert or not.
    """

    counts: Counts
    sigma: float


def read_fairness(study: Study, values: Counts, noise: float, threshold: float) -> dict[str, Any]:
    """Read rates by group off the released counts.

    Args:
        study: groups and budget.
        values: float64 (entries,), the decoded sum, in its own unit.
        noise: standard deviation of the noise on each entry, in the sum's unit.
        threshold: log-odds from which a unit was an alert.

    Returns:
        The documented `released_groups`.
    """
    scale = group_scale(study.groups)
    sigma = noise / scale
    tables = [
        _Table((values[part] / scale).reshape(-1, 2, 2), sigma)
        for part in group_parts(study.groups)
    ]
    overall = _everybody(tables)
    return {
        "alert_budget": study.evaluation.alert_budget,
        "threshold": threshold,
        "sigma": sigma,
        "everybody": _row("everybody", overall, 0, _false_positives(overall, 0)),
        "columns": [
            {
                "column": group.column,
                "rows": [
                    _row(name, table, level, _false_positives(_others(table, level), 0))
                    for level, name in enumerate(group.names)
                ],
            }
            for group, table in zip(study.groups, tables, strict=True)
        ],
    }


def group_lines(found: Mapping[str, Any]) -> list[str]:
    """Say in plain words how alerts fall on groups: one line for each grouping.

    Args:
        found: `released_groups`.
    """
    return [_group_line(one, found["everybody"]) for one in found["columns"]]


def _group_line(grouping: Mapping[str, Any], everybody: Mapping[str, Any]) -> str:
    by_verdict: dict[str, list[str]] = {one.value: [] for one in Verdict}
    for row in grouping["rows"]:
        said = f"{row['name']} ({_times(row)})" if row["verdict"] == Verdict.MORE else row["name"]
        by_verdict[row["verdict"]].append(str(said))
    parts = []
    if worse := by_verdict[Verdict.MORE]:
        parts.append(
            f"reviewed in vain more than twice as often as others: {listed(worse, MOST_NAMED)}"
        )
    if fine := by_verdict[Verdict.NO_MORE]:
        parts.append(f"no more than twice as often: {listed(fine, MOST_NAMED)}")
    if unsaid := by_verdict[Verdict.TOO_FEW]:
        parts.append(f"too few to say: {listed(unsaid, MOST_NAMED)}")
    overall = percents(rate_in(everybody["false_positive_rate"]))
    return f"{grouping['column']}, of all unlabelled {overall}: {'; '.join(parts)}"


def _times(row: Mapping[str, Any]) -> str:
    times = row["times"]
    return "beyond what can be said" if times is None else f"{times:.1f} times"


def rate_in(found: Mapping[str, float] | None) -> Interval | None:
    """Return a rate of `released_groups`, None where it could not be told."""
    return None if found is None else Interval(found["value"], found["low"], found["high"])


def _everybody(tables: Sequence[_Table]) -> _Table:
    """Add each grouping's levels up, and weigh the groupings by how little noise that adds."""
    sharpness = [1.0 / len(table.counts) for table in tables]
    whole = sum(
        (table.counts.sum(axis=0) * one for table, one in zip(tables, sharpness, strict=True)),
        start=np.zeros((2, 2)),
    )
    return _Table((whole / sum(sharpness))[None], tables[0].sigma / math.sqrt(sum(sharpness)))


def _others(table: _Table, level: int) -> _Table:
    """Return the counts of all other levels of a grouping together."""
    rest = table.counts.sum(axis=0) - table.counts[level]
    return _Table(rest[None], table.sigma * math.sqrt(len(table.counts) - 1))


def _row(name: str, table: _Table, level: int, others: Interval | None) -> dict[str, Any]:
    counts, half = table.counts[level], Z * table.sigma * math.sqrt(CELLS)
    units = float(counts.sum())
    rate = rate_of(
        float(counts[:, 1].sum()), units, CountNoise(table.sigma, part=2, rest=CELLS - 2)
    )
    wrong = _false_positives(table, level)
    return {
        "name": name,
        "units": {"value": max(0.0, units), "low": max(0.0, units - half), "high": units + half},
        "alert_rate": rate.as_dict() if rate else None,
        "false_positive_rate": wrong.as_dict() if wrong else None,
        "times": wrong.value / others.value if wrong and others and others.value > 0 else None,
        "verdict": verdict(wrong, others).value,
    }


def _false_positives(table: _Table, level: int) -> Interval | None:
    """Return the share of a level's unlabelled units that are alerts."""
    negatives = table.counts[level, 0]
    return rate_of(float(negatives[1]), float(negatives.sum()), CountNoise(table.sigma))
