"""Every figure of a simulation as one row: which model, whose units, which metric, its interval."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldfare.simulations.metrics import METRICS
from fieldfare.simulations.report.curves import (
    CurveInterval,
    ModelScores,
    auroc_interval,
    average_precision_interval,
    brier_interval,
    precision_interval,
    recall_interval,
)

POOLED: Final = "pooled"  # the hold-outs of all institutions together
OWN: Final = "own"  # the institution's own hold-out
RELEASED: Final = "released"  # what the federation itself measured through the door, with noise


class TidyRow(NamedTuple):
    """One figure.

    Attributes:
        model: `federated`, `at_home`, or a baseline.
        institution: whose model or units; "" for all together.
        held_out: `pooled`, `own` or `released`.
        metric: of `simulations.metrics`; a released one's name may differ.
        value: None where a class is missing.
        low: end of the 95 % interval; None where it cannot be said.
        high: the other end.
    """

    model: str
    institution: str
    held_out: str
    metric: str
    value: float | None
    low: float | None
    high: float | None


def tidy_rows(
    results: Mapping[str, Any],
    scores: Mapping[str, Sequence[ModelScores]],
    owners: NDArray[Any],
    budget: float,
) -> Iterator[TidyRow]:
    """Yield every figure of a simulation that trained a model.

    Intervals of `pooled` and `own` are over the choice of held-out units alone; those of
    `released` hold the noise too.

    Args:
        results: content of results.json.
        scores: by model, of the pooled hold-out: one of all, or one for each institution.
        owners: text (units,), the institution of each held-out unit.
        budget: share of units that are reviewed.
    """
    for model, measured in results["models"].items():
        given = scores[model]
        yield from _rows((model, "", POOLED), measured, given, budget)
        named = {one.name: one for one in given}
        for name, found in measured["per_institution"].items():
            one = named.get(name, given[0])
            yield from _rows((model, name, POOLED), found[POOLED], [one], budget)
            yield from _rows((model, name, OWN), found[OWN], [_of(one, owners == name)], budget)
    for metric, found in (results.get("released_metrics") or {}).items():
        if isinstance(found, Mapping) and "value" in found:
            ends = found.get("low"), found.get("high")
            yield TidyRow("federated", "", RELEASED, metric, found["value"], *ends)


def _of(scores: ModelScores, chosen: NDArray[np.bool_]) -> ModelScores:
    return replace(scores, labels=scores.labels[chosen], probabilities=scores.probabilities[chosen])


def _rows(
    where: tuple[str, str, str],
    values: Mapping[str, float | None],
    scores: Sequence[ModelScores],
    budget: float,
) -> Iterator[TidyRow]:
    intervals: dict[str, Callable[[float], CurveInterval | None]] = {
        "auroc": lambda _: auroc_interval(scores),
        "average_precision": lambda value: average_precision_interval(scores, value),
        "brier": lambda _: brier_interval(scores),
        "precision_at_budget": lambda _: precision_interval(scores, budget),
        "recall_at_budget": lambda _: recall_interval(scores, budget),
    }
    for metric in METRICS:
        value = values[metric]
        found = None if value is None else intervals[metric](value)
        ends = (None, None) if found is None else (found.low, found.high)
        yield TidyRow(*where, metric, value, *ends)
