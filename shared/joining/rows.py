"""What is compared on an institution's own held-out units, and intervals of the differences.

An interval holds the mean difference in 95 of 100 resamples: worlds (seeds) are drawn again, and in
each of them every institution's held-out units (Davison and Hinkley 1997, section 3.8). Of one
world only the units are. Where seeds split the same records anew, hold-outs overlap: their units'
part of the difference is then taken to be as alike as they overlap.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

RESAMPLES: Final = 200  # of one institution's held-out units
WORLDS: Final = 2000  # times that worlds are drawn again
INTERVAL: Final = (2.5, 97.5)  # percent
SEED: Final = 0  # of drawing worlds: the same rows give the same interval


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Span(_Row):
    """A mean with its interval of 95 %."""

    value: float
    low: float
    high: float


class ModelReach(_Row):
    """What one model reaches on an institution's own held-out units.

    Attributes:
        precision: average precision.
        found: labelled cases within the alert budget.
    """

    precision: float
    found: int


class PairedDraws(_Row):
    """Resamples of an institution's held-out units, `RESAMPLES` of them, each paired.

    Attributes:
        precision: average precision, used at home minus own best.
        share_found: share of the cases found within the budget, used at home minus own best.
        auroc: of the shared model as it comes.
        taught: average precision, used at home minus the same fed by the placebo; None: not known.
    """

    precision: tuple[float, ...]
    share_found: tuple[float, ...]
    auroc: tuple[float, ...]
    taught: tuple[float, ...] | None = None


class PairedRow(_Row):
    """One institution in one world, from so many of its labels.

    Attributes:
        institution: its name.
        seed: of the world, or of the split.
        labels: a share (1.0, 0.5) of its labelled cases, or their number for a newcomer (0, 10).
        learned: cases among its training units.
        cases, units: held out.
        alerts: within the budget, of the held-out units.
        needed: alerts after which the own best model has found as many as the one at home.
        alone: the own best model; None where there are no labels to learn from.
        shared: the shared model as it comes.
        at_home: the shared model used at home.
        pooled: the same stack fed by a model of all records without privacy; None: not known.
        placebo: the same fed by a model learned together from labels that were dealt anew within
            each institution, which knows nothing; None: not known.
        auroc: of the shared model.
        draws: None where a class is missing, or nothing is compared.
        overlap: share of the held-out units that another seed holds out too; 0: other worlds.
    """

    institution: str
    seed: int
    labels: float
    learned: int
    cases: int
    units: int
    alerts: int
    needed: int
    alone: ModelReach | None
    shared: ModelReach
    at_home: ModelReach
    pooled: ModelReach | None = None
    placebo: ModelReach | None = None
    auroc: float
    draws: PairedDraws | None = None
    overlap: float = 0.0

    @property
    def newcomer(self) -> bool:
        """Tell whether `labels` is a number of cases."""
        return not 0 < self.labels <= 1


class KindRow(_Row):
    """Held-out cases of one role or scenario at one institution, and who finds them.

    Attributes:
        question: a role that is rare here, or a scenario that was left out here.
        kind: its name.
        learned: cases of it among the institution's own training units.
        cases: held out.
        alone, at_home: found within the alert budget by each model.
        both: found by both.
        alone_at, at_home_at, both_at: the same where as many unlabelled units are reviewed as the
            budget says (recall at so many false positives).
        overlap: as in a `PairedRow`.
    """

    institution: str
    seed: int
    question: Literal["rare", "left out"]
    kind: str
    learned: int
    cases: int
    alone: int
    at_home: int
    both: int
    alone_at: int
    at_home_at: int
    both_at: int
    overlap: float = 0.0


class MonthsRow(_Row):
    """Months until an institution first finds an account of a scenario that is new.

    Attributes:
        scenario: which is new.
        months: how many were watched.
        alone, at_home: months from its first account here; None: not found in time.
    """

    institution: str
    seed: int
    scenario: str
    months: int
    alone: int | None
    at_home: int | None


Draws = tuple[int, float, Sequence[float]]  # a world's seed, a value, and its resamples


def span(found: Sequence[Draws], overlap: float = 0.0) -> Span | None:
    """Return the mean of values with its interval; None without any.

    Args:
        found: of each institution in each world, the value and its resamples.
        overlap: share of a seed's held-out units that another seed holds out too.
    """
    if not found:
        return None
    seeds = sorted({seed for seed, _, _ in found})
    tables = [np.array([draws for seed, _, draws in found if seed == one]) for one in seeds]
    sizes = np.array([len(table) for table in tables], dtype=np.float64)
    means = np.stack([table.mean(axis=0) for table in tables])  # (worlds, resamples)
    generator = np.random.default_rng(SEED)
    worlds = generator.integers(len(seeds), size=(WORLDS, len(seeds)))
    picks = generator.integers(means.shape[1], size=(WORLDS, len(seeds)))
    weights = sizes[worlds]
    drawn = (means[worlds, picks] * weights).sum(axis=1) / weights.sum(axis=1)
    if overlap and len(seeds) > 1:
        around = means - means.mean(axis=1, keepdims=True)
        alike = around[worlds[:, 0], generator.integers(means.shape[1], size=WORLDS)]
        apart = (around[worlds, picks] * weights).sum(axis=1) / weights.sum(axis=1)
        drawn += np.sqrt(overlap) * alike - (1.0 - np.sqrt(1.0 - overlap)) * apart
    low, high = np.percentile(drawn, INTERVAL)
    return Span(
        value=float(np.mean([value for _, value, _ in found])), low=float(low), high=float(high)
    )


def gain_in_precision(rows: Sequence[PairedRow]) -> Span | None:
    """Return average precision, used at home minus own best, over institutions and worlds."""
    return span(
        [
            (row.seed, row.at_home.precision - row.alone.precision, row.draws.precision)
            for row in rows
            if row.draws and row.alone
        ],
        _overlap(rows),
    )


def taught_in_precision(rows: Sequence[PairedRow]) -> Span | None:
    """Return average precision, used at home minus the same fed by a model that knows nothing.

    None unless every row that compares knows the placebo.
    """
    found = [
        (row.seed, row.at_home.precision - row.placebo.precision, row.draws.taught)
        for row in rows
        if row.draws and row.alone and row.placebo and row.draws.taught
    ]
    whole = len(found) == sum(1 for row in rows if row.draws and row.alone)
    return span(found, _overlap(rows)) if whole else None


def gain_in_found(rows: Sequence[PairedRow]) -> Span | None:
    """Return the share of own cases found within the budget, used at home minus own best."""
    return span(
        [
            (row.seed, (row.at_home.found - row.alone.found) / row.cases, row.draws.share_found)
            for row in rows
            if row.draws and row.alone
        ],
        _overlap(rows),
    )


def shared_auroc(rows: Sequence[PairedRow]) -> Span | None:
    """Return the AUROC of the shared model as it comes; .5 is guessing."""
    draws = [(row.seed, row.auroc, row.draws.auroc) for row in rows if row.draws]
    return span(draws, _overlap(rows))


def _overlap(rows: Sequence[PairedRow] | Sequence[KindRow]) -> float:
    return max((row.overlap for row in rows), default=0.0)


def gain_in_kinds(rows: Sequence[KindRow], *, at_false_positives: bool = False) -> Span | None:
    """Return recall of all rows' cases together, used at home minus own best.

    Args:
        rows: of one question.
        at_false_positives: where as many unlabelled units are reviewed as the budget says, not
            within the budget.
    """
    rows = [row for row in rows if row.cases]
    if not rows:
        return None
    seeds = sorted({row.seed for row in rows})
    cells = np.array([_cells([r for r in rows if r.seed == s], at_false_positives) for s in seeds])
    generator = np.random.default_rng(SEED)
    worlds = generator.integers(len(seeds), size=(WORLDS, len(seeds)))
    drawn, again = np.empty(WORLDS), 1.0 + (len(seeds) - 1) * _overlap(rows)
    for at, chosen in enumerate(worlds):
        mixed = [
            generator.multinomial(max(1, round(one.sum() / again)), one / one.sum())
            for one in cells[chosen]
        ]
        drawn[at] = _difference(np.sum(mixed, axis=0))
    low, high = np.percentile(drawn, INTERVAL)
    return Span(value=_difference(cells.sum(axis=0)), low=float(low), high=float(high))


def _cells(rows: Sequence[KindRow], at_false_positives: bool) -> list[int]:
    """Return cases found at home only, alone only, and by both or none."""
    end = "_at" if at_false_positives else ""
    home, alone, both, cases = (
        sum(int(getattr(row, name)) for row in rows)
        for name in (f"at_home{end}", f"alone{end}", f"both{end}", "cases")
    )
    return [home - both, alone - both, cases - home - alone + 2 * both]


def _difference(cells: NDArray[np.int64]) -> float:
    return float((cells[0] - cells[1]) / cells.sum())


LEAST_SHOWN: Final = 5  # held-out cases; a figure about fewer is about persons
