"""What each institution has by itself, and what the shared model is worth when used at home.

    alone    its own best model: additive, boosting or their stack, chosen by cross-validation
    at_home  the stack of that and the shared model, as `fieldfare institution tune` makes it

Both learn from the institution's own training units, without privacy, and stay there; its own
hold-out chooses nothing (client/scoring/stack.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.scoring.own_fits import SumModel
from fieldfare.client.scoring.stack import own_best
from fieldfare.client.scoring.tuning import own_models, stacked
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.metrics import Metrics, chances, measure

AT_HOME: Final = "at_home"
RESAMPLES: Final = 400
MOST_CELLS: Final = 2_000_000  # of resamples times units in hand at once
INTERVAL: Final = (2.5, 97.5)  # percent
COMPARED: Final = ("average_precision", "recall_at_budget")

Models = dict[str, SumModel]


@dataclass(frozen=True, eq=False)
class Homes:
    """Models by institution.

    Attributes:
        alone: the own best ones.
        at_home: the shared one used at home.
    """

    alone: Models
    at_home: Models


def homes_of(
    study: Study,
    shared: NDArray[np.float64],
    training: Mapping[str, EncodedUnits],
    said: Callable[[int, int], None] = lambda *_: None,
) -> Homes:
    """Fit both for every institution.

    Args:
        study: of features, texts or vectors.
        shared: float64 (entries,), the shared model.
        training: units by institution, held-out ones left out.
        said: told how many institutions are done, of how many.
    """
    alone, at_home, model = {}, {}, model_for(study)
    for done, (name, data) in enumerate(training.items()):
        said(done, len(training))
        try:
            own = own_models(study, shared, data)
        except UsageError:  # too few negatives: nothing to weigh by
            own = None
        made = stacked(study, shared, data, own)
        alone[name] = own_best(study, data, shared) if own is None else own.best().fitted
        at_home[name] = SumModel(model, made.parameters, made.forest)
    return Homes(alone, at_home)


def own_figures(
    homes: Homes, shared: SumModel, held: Mapping[str, EncodedUnits], budget: float
) -> dict[str, dict[str, Metrics]]:
    """Return figures on each institution's own held-out units, by model and institution.

    Args:
        homes: models by institution.
        shared: the shared model.
        held: held-out units by institution.
        budget: share of units that are reviewed.
    """
    models = {
        "federated": dict.fromkeys(held, shared),
        "alone": homes.alone,
        AT_HOME: homes.at_home,
    }
    return {
        key: {
            name: measure(data.labels, chances(one[name].scores(data)), budget)
            for name, data in held.items()
        }
        for key, one in models.items()
    }


def gain_at_home(
    homes: Homes, held: Mapping[str, EncodedUnits], budget: float, seed: int
) -> dict[str, dict[str, float]]:
    """Return what using the shared model at home adds, on institutions' own held-out units.

    The mean over institutions of at home minus alone, with 95 % of resamples of the held-out units
    of each; the chance of training units and of noise is not in it.

    Args:
        homes: models by institution.
        held: held-out units by institution; those that lack a class are left out.
        budget: share of units that are reviewed.
        seed: of the resamples.
    """
    rows = []
    for name, data in held.items():
        if 0 < int(data.labels.sum()) < len(data):
            first, second = (one[name].scores(data) for one in (homes.at_home, homes.alone))
            generator = np.random.default_rng(seed)
            rows.append(_differences(data.labels, first, second, budget, generator))
    if not rows:
        return {}
    table = np.nanmean(np.array(rows), axis=0)  # (1 + resamples, measures)
    low, high = np.nanpercentile(table[1:], INTERVAL, axis=0)
    return {
        name: {"value": float(table[0, at]), "low": float(low[at]), "high": float(high[at])}
        for at, name in enumerate(COMPARED)
    }


def _differences(
    labels: NDArray[np.uint8],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    budget: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return float64 (1 + resamples, 2): differences in average precision and recall."""
    units, block = len(labels), max(1, MOST_CELLS // len(labels))
    found = [_compared(labels, (first, second), np.ones((1, units), np.int64), budget)]
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        times = generator.multinomial(units, np.full(units, 1 / units), size=size)
        found.append(_compared(labels, (first, second), times, budget))
    return np.concatenate(found)


def _compared(
    labels: NDArray[np.uint8],
    pair: tuple[NDArray[np.float64], NDArray[np.float64]],
    weights: NDArray[np.int64],
    budget: float,
) -> NDArray[np.float64]:
    first, second = (_weighted(labels, scores, weights, budget) for scores in pair)
    return np.asarray(first - second, dtype=np.float64)


def _weighted(
    labels: NDArray[np.uint8],
    scores: NDArray[np.float64],
    weights: NDArray[np.int64],
    budget: float,
) -> NDArray[np.float64]:
    """Return float64 (resamples, 2): average precision and recall of units that count often."""
    order = np.argsort(-scores, kind="stable")
    counts = weights[:, order]
    cases = counts * labels[order]
    above, good = np.cumsum(counts, axis=1), np.cumsum(cases, axis=1)
    total = good[:, -1].astype(np.float64)
    total[total == 0] = np.nan
    precision = (cases * good / np.maximum(above, 1)).sum(axis=1) / total
    limit = max(1, round(budget * len(labels)))
    inside = np.clip(limit - (above - counts), 0, counts) / np.maximum(counts, 1)
    recall = (inside * cases).sum(axis=1) / total
    return np.stack([precision, recall], axis=1)
