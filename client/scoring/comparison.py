"""Shared, tuned and own-only models on the institution's own hold-out; stays inside.

Nothing was fitted on held-out units, except that probabilities are calibrated on one half of
them and measured on the other, and the reverse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fieldfare.client.scoring.calibration import Method, calibrate, calibration_error
from fieldfare.client.scoring.selection import AlertBudget, alerted
from fieldfare.shared.evaluation.groups import Interval, Verdict, rate_of, ratio_of, times_verdict

RESAMPLES: Final = 100
INTERVAL: Final = (5.0, 95.0)  # percent


@dataclass(frozen=True)
class Figure:
    """A measure with a bootstrap interval of 90 % over units."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """How good one model is here.

    Attributes:
        auroc, average_precision, recall, precision: of the ranking; the latter two among the
            alerts.
        false_alerts: false positives per 1,000 units.
        brier, expected: of calibrated probabilities; None where labels are too few for that.
    """

    auroc: Figure
    average_precision: Figure
    recall: Figure
    precision: Figure
    false_alerts: Figure
    brier: float | None
    expected: float | None


@dataclass(frozen=True)
class Group:
    """How one group of units fares under one model; rates with intervals of 95 % (Wilson 1927).

    Attributes:
        alert_rate: share of its units that become alerts.
        false_positives: share of its negatives that become alerts; None where it has none.
        times: how many times as often its negatives become alerts as all other negatives do;
            None where it cannot be said.
        verdict: whether that is more than twice.
    """

    name: str
    units: int
    alerts: int
    alert_rate: Interval | None
    false_positives: Interval | None
    times: Interval | None
    verdict: Verdict


@dataclass(frozen=True)
class FromCut:
    """What is found from a score on; precision is None where nobody is above."""

    score: float
    alerts: int
    precision: float | None
    recall: float


def from_cut(scores: NDArray[np.float64], labels: NDArray[np.uint8], cut: float) -> FromCut:
    """Count the units from a score on.

    Args:
        scores: float64 (units,).
        labels: uint8 (units,), at least one positive.
        cut: log-odds.
    """
    above = scores >= cut
    alerts, hits = int(above.sum()), int(labels[above].sum())
    return FromCut(cut, alerts, hits / alerts if alerts else None, hits / int(labels.sum()))


def quality(
    scores: NDArray[np.float64],
    labels: NDArray[np.uint8],
    budget: AlertBudget,
    generator: np.random.Generator,
    queue: NDArray[np.float64] | None = None,
) -> Quality:
    """Measure one model on held-out units of both classes.

    Args:
        scores: float64 (units,).
        labels: uint8 (units,).
        budget: how many alerts there are among them.
        generator: of the bootstrap's resamples; give every model the same seed.
        queue: float64 (units,), of `queue_of`: the order of review; None: by the scores.
    """
    queue = scores if queue is None else queue
    draws = [np.arange(len(labels))]
    draws += [generator.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]
    rows = [
        _row(scores[d], labels[d], alerted(queue[d], budget))
        for d in draws
        if 0 < labels[d].sum() < len(d)
    ]
    table = np.array(rows)
    low, high = np.percentile(table, INTERVAL, axis=0)
    auroc, precise, recall, precision, false = (
        Figure(float(one), float(low[place]), float(high[place]))
        for place, one in enumerate(table[0])
    )
    brier, expected = _calibrated(scores, labels)
    return Quality(auroc, precise, recall, precision, false, brier, expected)


def recall(queue: NDArray[np.float64], labels: NDArray[np.uint8], budget: AlertBudget) -> float:
    """Return the share of labelled units among the first of a queue, within the budget."""
    return float(labels[alerted(queue, budget)].sum() / labels.sum())


def everybody(queue: NDArray[np.float64], labels: NDArray[np.uint8], budget: AlertBudget) -> Group:
    """Return the figures of all units together, with which groups are shown."""
    return _group("everybody", alerted(queue, budget), labels, np.ones(len(labels), np.bool_))


def by_group(
    queue: NDArray[np.float64],
    labels: NDArray[np.uint8],
    groups: NDArray[np.object_],
    budget: AlertBudget,
) -> list[Group]:
    """Return how each group fares (harm rules 4 and 5), by name; an empty name is none.

    Args:
        queue: float64 (units,), of `queue_of`.
        labels: uint8 (units,).
        groups: str (units,), never an input of the model.
        budget: how many alerts.
    """
    chosen = alerted(queue, budget)
    names = sorted(set(groups.tolist()) - {""})
    return [_group(name, chosen, labels, groups == name) for name in names]


def _group(
    name: str, chosen: NDArray[np.bool_], labels: NDArray[np.uint8], inside: NDArray[np.bool_]
) -> Group:
    negatives, alerts, units = labels == 0, int((chosen & inside).sum()), int(inside.sum())
    wrong, total = (
        [int((one & negatives & part).sum()) for part in (inside, ~inside)]
        for one in (chosen, np.ones(len(chosen), np.bool_))
    )
    times = ratio_of((wrong[0], total[0]), (wrong[1], total[1]))
    rates = rate_of(alerts, units), rate_of(wrong[0], total[0])
    return Group(name, units, alerts, *rates, times, times_verdict(times))


def _row(
    scores: NDArray[np.float64], labels: NDArray[np.uint8], chosen: NDArray[np.bool_]
) -> tuple[float, ...]:
    found, alerts = int(labels[chosen].sum()), int(chosen.sum())
    return (
        float(roc_auc_score(labels, scores)),
        float(average_precision_score(labels, scores)),
        found / int(labels.sum()),
        found / max(1, alerts),
        1000 * (alerts - found) / len(labels),
    )


def _calibrated(
    scores: NDArray[np.float64], labels: NDArray[np.uint8]
) -> tuple[float | None, float | None]:
    """Return Brier score and ECE, each half measured under the other half's calibration."""
    found = np.empty(len(scores))
    halves = np.arange(len(scores)) % 2 == 0
    for fitted in (halves, ~halves):
        calibration = calibrate(scores[fitted], labels[fitted])
        if calibration.method is Method.NONE:
            return None, None
        found[~fitted] = calibration.apply(scores[~fitted])
    error = calibration_error(found, labels)
    return error.brier, error.expected


def table_rows(qualities: Mapping[str, Quality]) -> list[tuple[str, ...]]:
    """Return rows for a screen: model, then each figure."""
    return [
        (
            name,
            *(_shown(figure) for figure in (one.auroc, one.average_precision)),
            _shown(one.recall, percent=True),
            _shown(one.precision, percent=True),
            f"{one.false_alerts.value:.1f}",
            "-" if one.expected is None else f"{one.expected:.3f}",
        )
        for name, one in qualities.items()
    ]


def _shown(figure: Figure, *, percent: bool = False) -> str:
    if percent:
        return f"{figure.value:.0%} ({figure.low:.0%} to {figure.high:.0%})"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
