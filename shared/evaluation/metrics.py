"""An evaluation's released table, read: metrics with intervals; and two readings, compared.

The federation's evaluation is post-processing of one noisy table: negatives and positives by
public score bin, summed over all hold-outs with noise of known sigma. Each metric comes with a
95 % interval that includes both the noise and the chance of which units were held out.

Coordinator, custodian and audit read a table here, and nowhere else.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.evaluation.groups import Interval
from fieldfare.shared.evaluation.score_table import Counts, inner_edges, project
from fieldfare.shared.study.study import Study

REPLICATES: Final = 600
LOW, HIGH = 2.5, 97.5  # percentiles of a 95 % interval
CALIBRATION_SIGMAS: Final = 3.0  # a calibration point rests on at least this many sigma
MIN_CELL: Final = 10.0
DRAWN: Final = ("auroc", "average_precision", "precision", "recall")
REDRAWN: Final = 0.25  # of a width: six standard errors of a percentile of 600 draws
CLOSE: Final = 1e-6


def curve_metrics(negatives: Counts, positives: Counts, budget: float) -> NDArray[np.float64]:
    """Return AUROC, average precision, precision and recall at the budget, row by row.

    Args:
        negatives: float64 (rows, bins), lowest scores first.
        positives: float64 (rows, bins).
        budget: share of all units that is reviewed, highest scores first.

    Returns:
        float64 (rows, 4); NaN where a class is missing. Units of one bin count as tied
        in AUROC and as evenly mixed in the others.
    """
    negatives, positives = negatives[:, ::-1], positives[:, ::-1]  # highest scores first
    total_n, total_p = negatives.sum(axis=1), positives.sum(axis=1)
    above_n = np.cumsum(negatives, axis=1) - negatives
    above_p = np.cumsum(positives, axis=1) - positives
    with np.errstate(divide="ignore", invalid="ignore"):
        below = total_n[:, None] - above_n - negatives / 2
        auroc = (positives * below).sum(axis=1) / (total_p * total_n)
        middle_p, middle_n = above_p + positives / 2, above_n + negatives / 2
        precision = middle_p / (middle_p + middle_n)
        average = np.nansum(positives * precision, axis=1) / total_p
        reviewed = budget * (total_n + total_p)
        share = np.clip((reviewed[:, None] - above_n - above_p) / (negatives + positives), 0, 1)
        found = np.nansum(np.nan_to_num(share) * positives, axis=1)
        metrics = np.stack([auroc, average, found / reviewed, found / total_p], axis=1)
    np.clip(metrics, 0.0, 1.0, out=metrics)  # rounding may pass an end by a last bit
    metrics[(total_n <= 0) | (total_p <= 0)] = np.nan
    return metrics


def evaluate(
    study: Study, noisy: Counts, sigma: float, generator: np.random.Generator
) -> dict[str, Any] | None:
    """Turn one released table of counts into metrics with intervals.

    Args:
        study: bins, budget, prevalence.
        noisy: float64 (2 * bins,), negatives by bin, then positives.
        sigma: standard deviation of the noise in each cell: of all shares in the sum, which is
            more than the plan's sigma (`ReleaseTerms.noise_on_sum`).
        generator: draws the replicates of the parametric bootstrap; post-processing only.

    Returns:
        The documented `released_metrics`; None when noise leaves no class to measure.
    """
    table = noisy.reshape(2, -1)
    negatives, positives = project(table)
    budget = study.evaluation.alert_budget
    point = curve_metrics(negatives[None], positives[None], budget)[0]
    if np.isnan(point).any():
        return None
    shape = (REPLICATES, table.shape[1])
    draws = [
        project(generator.poisson(row, shape) + generator.normal(0.0, sigma, shape))
        for row in (negatives, positives)
    ]
    replicates = curve_metrics(draws[0], draws[1], budget)
    metrics: dict[str, Any] = {
        name: _interval(point[i], replicates[:, i]).as_dict() for i, name in enumerate(DRAWN)
    }
    metrics["alert_budget"] = budget
    metrics["units"] = _total(table.sum(), sigma, table.size).as_dict()
    metrics["positives"] = _total(table[1].sum(), sigma, table.shape[1]).as_dict()
    metrics["sigma"] = sigma
    metrics["calibration"] = calibration(study, table, sigma)
    return metrics


def _interval(point: float, replicates: NDArray[np.float64]) -> Interval:
    """Return the percentile bootstrap interval of a rate (Efron-Tibshirani 1993, section 13).

    A rate lives between 0 and 1 and is often near an end: percentiles keep to that range,
    where a pivotal interval would reach past an end and be cut short of the other.
    """
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < REPLICATES // 2:
        return Interval(float(point), 0.0, 1.0)  # too noisy to say anything: say so
    low, high = np.percentile(finite, [LOW, HIGH])
    return Interval(float(point), float(min(low, point)), float(max(high, point)))


def _total(value: float, sigma: float, cells: int) -> Interval:
    """Return a count's interval: the noise of the cells that it adds up."""
    half = 1.96 * sigma * float(np.sqrt(cells))
    return Interval(max(0.0, float(value)), max(0.0, float(value) - half), float(value) + half)


def calibration(study: Study, table: Counts, sigma: float) -> list[dict[str, float]]:
    """Return predicted against observed rates, over runs of bins that noise lets us see.

    Neighbouring bins are merged, from the highest down, until a point rests on at least
    max(10, 3 sigma) units per noisy cell that it adds up.
    """
    predicted = _bin_probabilities(study)
    points = []
    start = table.shape[1]
    for stop in range(table.shape[1] - 1, -1, -1):
        block = table[:, stop:start]
        noise = sigma * float(np.sqrt(block.size))
        units = float(block.sum())
        if units < max(MIN_CELL, CALIBRATION_SIGMAS * noise):
            continue
        points.append(_calibration_point(block, predicted[stop:start], sigma))
        start = stop
    return points[::-1]


def _calibration_point(
    block: Counts, predicted: NDArray[np.float64], sigma: float
) -> dict[str, float]:
    units = float(block.sum())
    weights = np.maximum(block.sum(axis=0), 0.0)
    observed = float(np.clip(block[1].sum() / units, 0.0, 1.0))
    noise = sigma * float(np.sqrt(block.shape[1])) / units
    chance = float(np.sqrt(max(observed * (1 - observed), 1 / units) / units))
    half = 1.96 * float(np.hypot(noise, chance))
    return {
        "predicted": float(np.average(predicted, weights=weights)),
        "observed": observed,
        "low": max(0.0, observed - half),
        "high": min(1.0, observed + half),
        "units": units,
    }


def _bin_probabilities(study: Study) -> NDArray[np.float64]:
    """Return the probability that each bin's middle stands for; the outer bins use their edge."""
    edges = inner_edges(study)
    inner = (edges[1:] + edges[:-1]) / 2
    middles: Counts = np.concatenate([edges[:1], inner, edges[-1:]])
    odds: Counts = np.exp(middles)
    return odds / (1.0 + odds)


# -- two readings of one table --------------------------------------------------------------------


def guard_line(found: Mapping[str, Any]) -> str:
    """Say what the guard of a public start found: the documented `released_guard`."""
    trained = found["taken"] == "trained"
    said = "what was trained" if trained else "the public start itself"
    why = "better" if trained else "what was trained is not better beyond noise"
    gain, sigma = float(found["gain"]), float(found["sigma"])
    return f"{said}: {why}, by {gain:+.1f} of log loss on training units (noise {sigma:.1f})"


def same_metrics(own: str, found: str) -> bool:
    """Tell whether two readings of one table are the same, as canonical JSON; "" where noise hides.

    Edge cases:
        | figure | may differ by |
        |---|---|
        | ends of a rate's interval | a quarter of its width: another numpy may draw others |
        | every other figure | a millionth of it: another machine's last bits |
    """
    if not own or not found:
        return own == found
    mine, theirs = json.loads(own), json.loads(found)
    if not isinstance(theirs, dict) or mine.keys() != theirs.keys():
        return False
    return all(
        _same_interval(mine[name], theirs[name])
        if name in DRAWN
        else _same(mine[name], theirs[name])
        for name in mine
    )


def _same_interval(own: Mapping[str, float], found: Any) -> bool:
    if not isinstance(found, dict) or own.keys() != found.keys():
        return False
    room = {"value": 0.0}
    width = (own["high"] - own["low"]) * REDRAWN
    return all(
        _is_number(found[end]) and abs(own[end] - found[end]) <= room.get(end, width) + CLOSE
        for end in own
    )


def _same(own: Any, found: Any) -> bool:
    if isinstance(own, dict):
        is_dict = isinstance(found, dict) and own.keys() == found.keys()
        return is_dict and all(_same(value, found[key]) for key, value in own.items())
    if isinstance(own, list):
        is_list = isinstance(found, list) and len(own) == len(found)
        return is_list and all(map(_same, own, found))
    return _is_number(found) and abs(own - found) <= CLOSE * max(1.0, abs(own))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
