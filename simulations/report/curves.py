"""ROC and precision-recall curves, calibration, and the intervals of their figures.

The report's inputs besides results.json and feature shapes: hold-out scores.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import rankdata

from fieldfare.shared.errors import RunError
from fieldfare.simulations.metrics import alerts


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """One model's scores on the pooled hold-out.

    `labels` is (n,) uint8, 0 or 1; `probabilities` is (n,) float64 in [0, 1],
    in the same order of units for every model of a run.

    Raises:
        RunError: the two differ in length, or a probability is not finite.
    """

    name: str
    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse scores and labels without a curve."""
        if self.labels.shape != self.probabilities.shape or self.labels.ndim != 1:
            raise RunError(
                f"scores of {self.name!r}: expected one probability per label, found shapes "
                f"{self.labels.shape} and {self.probabilities.shape}; pass the same hold-out"
            )
        if not bool(np.isfinite(self.probabilities).all()):
            raise RunError(
                f"scores of {self.name!r}: expected finite probabilities, found NaN or infinity; "
                "the model has diverged, lower its learning rate"
            )


# -- curves ---------------------------------------------------------------------------------------

Floats = npt.NDArray[np.float64]

Z95: Final = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % above it."""

MOST_POINTS: Final = 400
"""Vertices of a drawn curve, at most."""

_BESIDE: Final = 1e-12

HALF_A_PIXEL: Final = 0.0012
"""A vertex this close to the drawn line (both axes run from 0 to 1) cannot be seen."""


class Curve(NamedTuple):
    """Vertices of a curve, both float64 of one length."""

    x: Floats
    y: Floats


class CurveInterval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def both_classes(scores: ModelScores) -> bool:
    """Say whether the hold-out has labelled and unlabelled units: no curve exists otherwise."""
    positives = int(np.count_nonzero(scores.labels))
    return 0 < positives < scores.labels.size


def roc(scores: ModelScores) -> Curve:
    """ROC curve: x the false-positive rate, y the recall, from (0, 0) to (1, 1); ties in one step.

    The hold-out must have both classes (`both_classes`).
    """
    true, false = _cumulative(scores)
    x = np.concatenate(([0.0], false / false[-1]))
    y = np.concatenate(([0.0], true / true[-1]))
    return Curve(x, y)


def precision_recall(scores: ModelScores) -> Curve:
    """Precision-recall curve: x the recall, y the precision; ties in one step.

    The hold-out must have both classes (`both_classes`). Starts at recall 0 with
    the precision of the highest score.
    """
    true, false = _cumulative(scores)
    precision = true / (true + false)
    recall = true / true[-1]
    return Curve(np.concatenate(([0.0], recall)), np.concatenate((precision[:1], precision)))


def thin(curve: Curve, *, limit: int = MOST_POINTS, tolerance: float = HALF_A_PIXEL) -> Curve:
    """Keep at most `limit` vertices, those that give the curve its shape.

    Repeatedly keeps the vertex farthest from what is drawn so far, until every
    vertex lies within `tolerance` of it (Douglas-Peucker 1973, widest gap first).
    The first and last vertices are always kept.
    """
    last = curve.x.size - 1
    kept = {0, last}
    gaps = [_widest_gap(curve, 0, last)]
    while gaps and len(kept) < limit:
        negative_gap, split, start, end = heapq.heappop(gaps)
        if -negative_gap <= tolerance:
            break
        kept.add(split)
        for piece in ((start, split), (split, end)):
            heapq.heappush(gaps, _widest_gap(curve, *piece))
    index = np.array(sorted(kept))
    return Curve(curve.x[index], curve.y[index])


def calibration(scores: ModelScores, *, bins: int = 10) -> Curve:
    """Mean prediction (x) and observed share (y) in `bins` groups of equally many units."""
    order = np.argsort(scores.probabilities, kind="stable")
    groups = [part for part in np.array_split(order, bins) if part.size]
    predicted = np.array([scores.probabilities[part].mean() for part in groups])
    observed = np.array([scores.labels[part].mean() for part in groups])
    return Curve(predicted, observed)


def auroc_interval(scores: Sequence[ModelScores]) -> CurveInterval | None:
    """Mean AUROC of models on one hold-out, with its 95 % interval.

    None where hold-outs differ or hold fewer than two units of a class. Source: DeLong, DeLong and
    Clarke-Pearson 1988, by the midranks of Sun and Xu 2014. Where that one reaches beyond 0 or 1,
    or models rank all units right (or all wrong) and it has no width, the normal curve is no guide
    to the end that stays inside: it is then at least as far off as in Newcombe 2006 ("Confidence
    intervals for an effect size measure based on the Mann-Whitney statistic, part 2", method 5),
    which has the right coverage there too.
    """
    if not scores or not _comparable(scores):
        return None
    found = _delong(*_mean_placements(scores))
    if found.low > 0 and found.high < 1:
        return found
    positives = int(np.count_nonzero(scores[0].labels))
    low, high = _newcombe(found.value, positives, scores[0].labels.size - positives)
    return CurveInterval(
        found.value, max(0.0, min(found.low, low)), min(1.0, max(found.high, high))
    )


def recall_interval(scores: Sequence[ModelScores], budget: float) -> CurveInterval | None:
    """Share of labelled units among the alerts, mean over models, with its 95 % interval.

    The interval covers the choice of labelled hold-out units. Source: Wilson 1927; where models
    differ, the mean share is taken for one model's, which makes the interval wider than it is.
    """
    if not scores or not _comparable(scores):
        return None
    labels = scores[0].labels.astype(bool)
    share = float(np.mean([alerts(s.probabilities, budget)[labels].mean() for s in scores]))
    return _wilson(share, int(labels.sum()))


def precision_interval(scores: Sequence[ModelScores], budget: float) -> CurveInterval | None:
    """Share of alerts that are labelled, mean over models, with its 95 % interval.

    Source: as `recall_interval`, over the alerts.
    """
    if not scores or not _comparable(scores):
        return None
    labels = scores[0].labels.astype(bool)
    reviewed = [alerts(s.probabilities, budget) for s in scores]
    share = float(np.mean([labels[one].mean() for one in reviewed]))
    return _wilson(share, int(reviewed[0].sum()))


def average_precision_interval(scores: Sequence[ModelScores], value: float) -> CurveInterval | None:
    """Return the 95 % interval of an average precision, mean over models.

    Source: the logit interval of Boyd, Eng and Page 2013 ("Area under the precision-recall curve:
    point estimates and confidence intervals", section 3), over the labelled hold-out units; at 1,
    where a logit has no end, Wilson 1927 for the same binomial share.
    """
    if not scores or not _comparable(scores) or not 0 < value <= 1:
        return None
    positives = int(np.count_nonzero(scores[0].labels))
    if value == 1:
        return _wilson(1.0, positives)
    middle = np.log(value / (1 - value))
    reach = Z95 / np.sqrt(positives * value * (1 - value))
    low, high = expit([middle - reach, middle + reach])
    return CurveInterval(value, float(low), float(high))


def brier_interval(scores: Sequence[ModelScores]) -> CurveInterval | None:
    """Mean squared error of chances, mean over models, with its 95 % interval.

    The interval is normal, over the hold-out units.
    """
    if not scores or not _comparable(scores):
        return None
    errors = np.mean([(s.probabilities - s.labels) ** 2 for s in scores], axis=0)
    value, reach = float(errors.mean()), Z95 * float(errors.std(ddof=1) / np.sqrt(errors.size))
    return CurveInterval(value, max(0.0, value - reach), min(1.0, value + reach))


def _newcombe(value: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return the AUROCs from which a value is just as far off as 95 % of values are.

    Their variance is that of Hanley and McNeil 1982 for exponential scores, with the mean of both
    counts for each. Source: as `auroc_interval`.
    """
    mean = (positives + negatives) / 2 - 1

    def off(auroc: float) -> float:
        """Return how many variances at that AUROC lie between it and the value, less 1.96^2."""
        spread = 1 + mean * ((1 - auroc) / (2 - auroc) + auroc / (1 + auroc))
        variance = auroc * (1 - auroc) * spread / (positives * negatives)
        return (value - auroc) ** 2 - Z95**2 * variance

    # 0 and 1 have no variance, so that a value there would be its own end: begin beside it.
    low = float(brentq(off, 0.0, min(value, 1 - _BESIDE))) if value > 0 else 0.0
    high = float(brentq(off, max(value, _BESIDE), 1.0)) if value < 1 else 1.0
    return low, high


def _wilson(share: float, count: int) -> CurveInterval:
    """Return a share of `count` with its interval. Source: Wilson 1927."""
    spread = Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    reach = Z95 / (1 + spread) * np.sqrt(share * (1 - share) / count + spread / (4 * count))
    low, high = (
        min(share, middle - reach),
        max(share, middle + reach),
    )  # at 0 and 1 but for rounding
    return CurveInterval(share, float(max(0.0, low)), float(min(1.0, high)))


def _comparable(scores: Sequence[ModelScores]) -> bool:
    """Tell whether models share a hold-out with two units of each class."""
    first = scores[0].labels
    positives = int(np.count_nonzero(first))
    enough = min(positives, first.size - positives) >= 2  # noqa: PLR2004
    return enough and all(np.array_equal(other.labels, first) for other in scores)


def _mean_placements(scores: Sequence[ModelScores]) -> tuple[Floats, Floats]:
    """Placements of positives and negatives, mean over models."""
    pairs = [_placements(one) for one in scores]
    return np.mean([p for p, _ in pairs], axis=0), np.mean([n for _, n in pairs], axis=0)


def _delong(of_positives: Floats, of_negatives: Floats) -> CurveInterval:
    variance = of_positives.var(ddof=1) / of_positives.size
    variance += of_negatives.var(ddof=1) / of_negatives.size
    value, reach = float(of_positives.mean()), Z95 * float(np.sqrt(variance))
    return CurveInterval(value, value - reach, value + reach)


def _cumulative(scores: ModelScores) -> tuple[Floats, Floats]:
    """Labelled and unlabelled units above each distinct score, highest first."""
    order = np.argsort(-scores.probabilities, kind="stable")
    ranked = scores.probabilities[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)
    true = np.cumsum(scores.labels[order], dtype=np.int64)[ends]
    return true.astype(np.float64), (ends + 1 - true).astype(np.float64)


def _widest_gap(curve: Curve, start: int, end: int) -> tuple[float, int, int, int]:
    """Minus the largest distance from a segment, the vertex that has it, the segment's ends."""
    if end - start < 2:  # noqa: PLR2004 (nothing lies between neighbours)
        return (0.0, start, start, end)
    dx = curve.x[start + 1 : end] - curve.x[start]
    dy = curve.y[start + 1 : end] - curve.y[start]
    across, up = curve.x[end] - curve.x[start], curve.y[end] - curve.y[start]
    # A vertex may lie beyond an end, so its foot is kept on the segment.
    foot = np.clip((dx * across + dy * up) / (across**2 + up**2 or 1.0), 0.0, 1.0)
    distance = np.hypot(dx - foot * across, dy - foot * up)
    widest = int(np.argmax(distance))
    return (-float(distance[widest]), start + 1 + widest, start, end)


def _placements(scores: ModelScores) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, for each negative of positives above."""
    positive = scores.labels.astype(bool)
    overall = rankdata(scores.probabilities)
    below = overall[positive] - rankdata(scores.probabilities[positive])
    above = overall[~positive] - rankdata(scores.probabilities[~positive])
    negatives, positives = int((~positive).sum()), int(positive.sum())
    return below / negatives, 1.0 - above / positives
