"""On whom reviews fall: each institution's own queue at the alert budget, as `score` makes it.

A simulation knows the persona of everybody and every label; an institution knows its own columns
and what people found (`fieldfare institution evaluate --by`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.scoring.readings import NONE_HOLDS, tiers_of
from fieldfare.client.scoring.selection import AlertBudget, alerted, queue_of
from fieldfare.simulations.federation.population import Population
from fieldfare.simulations.metrics import UNKNOWN, group_rows


@dataclass(frozen=True, eq=False)
class Reviews:
    """Held-out units, and who of them is reviewed within their own institution's budget.

    Attributes:
        labels: uint8 (units,).
        groups: text (units,) of the audit column.
        reviewed: bool (units,), where whom a harmless reading fits comes last.
        by_score: bool (units,), the same by the score alone.
    """

    labels: NDArray[np.uint8]
    groups: NDArray[Any]
    reviewed: NDArray[np.bool_]
    by_score: NDArray[np.bool_]


def reviews_of(
    models: Mapping[str, SumModel], population: Population, budget: AlertBudget
) -> Reviews:
    """Make every institution's queue of its held-out units.

    Args:
        models: by institution: what ranks there.
        population: records with an audit column.
        budget: of each institution.
    """
    parts = []
    for name, everyone in population.records.items():
        records = everyone.select(population.holdout[name])
        scores, beside = models[name].scores(records.data), records.beside
        tiers = np.full(len(records), NONE_HOLDS, np.int8) if beside is None else tiers_of(beside)
        groups = np.full(len(records), "") if records.audit is None else records.audit
        queues = (queue_of(scores, tiers), queue_of(scores))
        parts.append((records.data.labels, groups, *(alerted(one, budget) for one in queues)))
    return Reviews(*map(np.concatenate, zip(*parts, strict=True)))


def fairness_figures(found: Reviews) -> dict[str, Any]:
    """Return the rows of the fairness table, and what harmless readings cost in recall.

    Cases of which nobody knows are in no row: whoever reviews them does so rightly.
    """
    cases, told = found.labels == 1, found.groups != UNKNOWN
    groups, labels = found.groups[told], found.labels[told]
    return {
        "rows": group_rows(groups, labels, found.reviewed[told]),
        "rows_by_score": group_rows(groups, labels, found.by_score[told]),
        "recall": _share(found.reviewed, cases),
        "recall_by_score": _share(found.by_score, cases),
    }


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    return float(part[whole].mean()) if whole.any() else None
