"""Two models measured on the same held-out units, and on resamples of them."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fieldfare.shared.evaluation.ties import highest_first
from fieldfare.shared.joining.rows import RESAMPLES, KindRow, ModelReach, PairedDraws, PairedRow

MOST_CELLS: Final = 2_000_000  # of resamples times units in hand at once

Vector = NDArray[np.float64]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class HoldoutOrigin(NamedTuple):
    """Whose held-out units they are, and what was learned from.

    Attributes:
        institution: its name.
        seed: of the world, or of the split.
        place: of the institution among all: its resamples are its own.
        labels: a share of its labelled cases, or a newcomer's number of them.
        learned: cases among its training units.
    """

    institution: str
    seed: int
    place: int
    labels: float
    learned: int


@dataclass(frozen=True, eq=False)
class HeldScores:
    """Scores of held-out units, float64 (units,) each, by model.

    Attributes:
        alone: of the own best model; None where there were no labels to learn from.
        shared: of the shared model as it comes.
        at_home: of the shared model used at home.
        pooled: of the same fed by a model of all records without privacy; None: not known.
        placebo: of the same fed by a model that knows nothing; None: not known.
    """

    alone: Vector | None
    shared: Vector
    at_home: Vector
    pooled: Vector | None = None
    placebo: Vector | None = None


def budget_of(units: int, budget: float) -> int:
    """Return how many of so many units are reviewed: at least one."""
    return min(units, max(1, round(budget * units)))


def reviewed(scores: Vector, count: int) -> Mask:
    """Return bool (units,): the `count` highest."""
    chosen = np.zeros(len(scores), dtype=np.bool_)
    chosen[highest_first(scores)[:count]] = True
    return chosen


def paired_row(
    whose: HoldoutOrigin, labels: Labels, scores: HeldScores, budget: float
) -> PairedRow:
    """Return what each model reaches on an institution's held-out units.

    Args:
        whose: what the row is about.
        labels: uint8 (units,).
        scores: of the same units.
        budget: share of units that are reviewed.
    """
    cases, units = int(labels.sum()), len(labels)
    home, alone = _reached(labels, scores.at_home, budget), scores.alone
    whole = 0 < cases < units
    return PairedRow(
        institution=whose.institution,
        seed=whose.seed,
        labels=whose.labels,
        learned=whose.learned,
        cases=cases,
        units=units,
        alerts=budget_of(units, budget),
        needed=0 if alone is None else _alerts_for(labels, alone, home.found),
        alone=None if alone is None else _reached(labels, alone, budget),
        shared=_reached(labels, scores.shared, budget),
        at_home=home,
        pooled=None if scores.pooled is None else _reached(labels, scores.pooled, budget),
        placebo=None if scores.placebo is None else _reached(labels, scores.placebo, budget),
        auroc=float(roc_auc_score(labels, scores.shared)) if whole else 0.5,
        draws=_draws(whose, labels, scores, budget) if whole else None,
    )


def _reached(labels: Labels, scores: Vector, budget: float) -> ModelReach:
    chosen = reviewed(scores, budget_of(len(labels), budget))
    precision = float(average_precision_score(labels, scores)) if labels.any() else 0.0
    return ModelReach(precision=precision, found=int(labels[chosen].sum()))


def _alerts_for(labels: Labels, scores: Vector, found: int) -> int:
    """Return how many units are reviewed until so many cases are found."""
    return 1 + int(np.argmax(np.cumsum(labels[highest_first(scores)]) >= found)) if found else 0


def _draws(whose: HoldoutOrigin, labels: Labels, scores: HeldScores, budget: float) -> PairedDraws:
    """Return paired resamples; one without a case of a class counts as the units themselves."""
    generator = np.random.default_rng([whose.seed, whose.place])
    alone = scores.at_home if scores.alone is None else scores.alone
    compared = [scores.shared, scores.at_home, alone]
    if scores.placebo is not None:
        compared.append(scores.placebo)
    shared, home, own, *rest = resampled(labels, compared, budget, generator, RESAMPLES)
    gain = home - own
    return PairedDraws(
        precision=_kept(gain[:, 0]),
        share_found=_kept(gain[:, 1]),
        auroc=_kept(shared[:, 2]),
        taught=_kept((home - rest[0])[:, 0]) if rest else None,
    )


def _kept(column: Vector) -> tuple[float, ...]:
    """Return the resamples, the first row (the units themselves) left out."""
    return tuple(np.where(np.isnan(column[1:]), column[0], column[1:]).round(6).tolist())


def resampled(
    labels: Labels, scores: list[Vector], budget: float, generator: np.random.Generator, count: int
) -> NDArray[np.float64]:
    """Measure models on the units, and on `count` resamples that are the same for all.

    Args:
        labels: uint8 (units,).
        scores: float64 (units,) of each model.
        budget: share of units that are reviewed.
        generator: of the resamples.
        count: how many.

    Returns:
        float64 (models, 1 + count, 3): average precision, share of the cases found, AUROC; NaN
        where a class is missing. The units themselves come first.
    """
    units, block = len(labels), max(1, MOST_CELLS // len(labels))
    times = [np.ones((1, units), np.int64)]
    tables = [[measured(labels, one, times[0], budget)] for one in scores]
    for start in range(0, count, block):
        size = min(block, count - start)
        often = generator.multinomial(units, np.full(units, 1 / units), size=size)
        for table, one in zip(tables, scores, strict=True):
            table.append(measured(labels, one, often, budget))
    return np.stack([np.concatenate(table) for table in tables])


def measured(
    labels: Labels, scores: Vector, weights: NDArray[np.int64], budget: float
) -> NDArray[np.float64]:
    """Measure one model on units that count so often.

    Args:
        labels: uint8 (units,).
        scores: float64 (units,).
        weights: int64 (resamples, units).
        budget: share of units that are reviewed.

    Returns:
        float64 (resamples, 3), as `resampled`.
    """
    order = highest_first(scores)
    counts = weights[:, order]
    cases = counts * labels[order]
    above, good = np.cumsum(counts, axis=1), np.cumsum(cases, axis=1)
    total = good[:, -1].astype(np.float64)
    others = above[:, -1] - total
    total[total == 0], others[others == 0] = np.nan, np.nan
    precision = (cases * good / np.maximum(above, 1)).sum(axis=1) / total
    inside = np.clip(budget_of(len(labels), budget) - (above - counts), 0, counts)
    found = (inside / np.maximum(counts, 1) * cases).sum(axis=1) / total
    auroc = ((counts - cases) * good).sum(axis=1) / total / others
    return np.stack([precision, found, auroc], axis=1)


def kind_row(
    row: KindRow, labels: Labels, of_kind: Mask, scores: HeldScores, budget: float
) -> KindRow:
    """Return a row with the cases of one kind that each model finds.

    Args:
        row: what it is about, with nothing counted.
        labels: uint8 (units,), held out.
        of_kind: bool (units,), cases of the kind.
        scores: of the same units; of `alone` there is one.
        budget: share of units that are reviewed.
    """
    alone = scores.at_home if scores.alone is None else scores.alone
    home, count = scores.at_home, budget_of(len(labels), budget)
    within = [reviewed(one, count)[of_kind] for one in (alone, home)]
    at = [_above(one, labels, budget)[of_kind] for one in (alone, home)]
    return row.model_copy(
        update={
            "cases": int(of_kind.sum()),
            "alone": int(within[0].sum()),
            "at_home": int(within[1].sum()),
            "both": int((within[0] & within[1]).sum()),
            "alone_at": int(at[0].sum()),
            "at_home_at": int(at[1].sum()),
            "both_at": int((at[0] & at[1]).sum()),
        }
    )


def _above(scores: Vector, labels: Labels, budget: float) -> Mask:
    """Return bool (units,): above the unlabelled unit with which the budget's share is reached."""
    others = np.sort(scores[labels == 0])[::-1]
    if not len(others):
        return np.ones(len(scores), dtype=np.bool_)
    return np.asarray(scores > others[min(len(others) - 1, round(budget * len(others)))])
