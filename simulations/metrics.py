"""Exact metrics on raw hold-out records, which only a simulation can see."""

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from fieldfare.client.scoring.selection import AlertBudget, alerted
from fieldfare.shared.evaluation.groups import ratio_of
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import RiskModel

Metrics = dict[str, float | None]
UNKNOWN: Final = "unknown_case"
"""The group of cases of which no institution knows; only an invented world can tell."""
METRICS = ("auroc", "average_precision", "brier", "precision_at_budget", "recall_at_budget")


def probabilities(
    model: RiskModel, parameters: NDArray[np.float64], data: EncodedUnits
) -> NDArray[np.float64]:
    """Return float64 (units,): 1 / (1 + exp(-score))."""
    return chances(model.scores(parameters, data))


def chances(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64 (units,): 1 / (1 + exp(-score)), of log-odds."""
    return 1.0 / (1.0 + np.exp(-np.clip(scores, -500.0, 500.0)))


def alerts(scores: NDArray[np.float64], budget: float) -> NDArray[np.bool_]:
    """Return bool (units,): the `budget` share of units with the highest scores, at least one.

    Ties are dealt as in every evaluation, never in the order of the file.
    """
    count = min(len(scores), max(1, round(budget * len(scores))))
    return alerted(scores, AlertBudget(units=count))


def measure(labels: NDArray[np.uint8], scores: NDArray[np.float64], budget: float) -> Metrics:
    """Return the metrics of `METRICS`; all null where a class is missing."""
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        return dict.fromkeys(METRICS)
    reviewed = alerts(scores, budget)
    found = int(labels[reviewed].sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what is handled above
        return {
            "auroc": float(roc_auc_score(labels, scores)),
            "average_precision": float(average_precision_score(labels, scores)),
            "brier": float(brier_score_loss(labels, scores)),
            "precision_at_budget": found / int(reviewed.sum()),
            "recall_at_budget": found / positives,
        }


def mean_of(rows: list[Metrics]) -> Metrics:
    """Return the unweighted mean of each metric over rows that have it."""
    means: Metrics = {}
    for name in METRICS:
        values = [value for row in rows if (value := row[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
    return means


def group_rows(
    groups: NDArray[Any], labels: NDArray[np.uint8], reviewed: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return units, alerts and the false-positive rate of each group (harm rule 5).

    `times` is how many times as often unlabelled units of the group are reviewed as all other
    unlabelled ones, with an interval of 95 %; null where it cannot be said.
    """
    rows, everybody = [], labels == 0
    for name in sorted(set(groups.tolist())):
        inside = groups == name
        negatives = inside & (labels == 0)
        wrong = int((negatives & reviewed).sum())
        total = int(negatives.sum())
        rest = everybody & ~inside
        times = ratio_of((wrong, total), (int((rest & reviewed).sum()), int(rest.sum())))
        rows.append(
            {
                "name": name,
                "units": int(inside.sum()),
                "positives": int(labels[inside].sum()),
                "alerts": int((inside & reviewed).sum()),
                "false_positives": wrong,
                "false_positive_rate": wrong / total if total else None,
                "times": times.as_dict() if times else None,
            }
        )
    return rows
