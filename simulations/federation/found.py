"""Who finds how many cases by reviewing a share of the customers: alone, and together.

Of an invented world the truth judges, over all customers whom their bank does not know as a case,
as a bank would look at them: most were trained on as ordinary ones, so that what is fitted at home
scores them out of fold. Of other records labels judge, over held-out units alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.paired import HeldScores, budget_of
from fieldfare.client.scoring.readings import NONE_HOLDS, tiers_of
from fieldfare.client.scoring.selection import AlertBudget, alerted, queue_of
from fieldfare.simulations.federation.homes import AT_HOME, Homes
from fieldfare.simulations.federation.population import MeasuredUnits, Population
from fieldfare.simulations.metrics import UNKNOWN

SURE: Final = 0.95  # of an interval
COUNTED: Final = (
    *("customers", "known", "cases", "reviews"),
    *("alone", "together", "shared", "only_alone", "only_together"),
)
"""What is counted of each institution, and of all."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class JudgedUnits:
    """Units of one institution that are ranked, and which of them are cases.

    Attributes:
        scores: of each model; `at_home` is together.
        cases: bool (units,).
        tiers: int8 (units,), who is looked at last; None: nobody.
        known: cases of which the institution knows, that are not among the units.
    """

    scores: HeldScores
    cases: Mask
    tiers: NDArray[np.int8] | None = None
    known: int = 0

    def counts(self, budget: float) -> dict[str, int]:
        """Count what each model finds by reviewing a share of the units."""
        units, scores = len(self.cases), self.scores
        reviews = budget_of(units, budget)
        tiers = np.full(units, NONE_HOLDS, np.int8) if self.tiers is None else self.tiers
        alone, together, shared = (
            alerted(queue_of(one, tiers), AlertBudget(units=reviews)) & self.cases
            for one in (scores.alone, scores.at_home, scores.shared)
            if one is not None
        )
        counted = (
            *(units, self.known, self.cases.sum(), reviews),
            *(alone.sum(), together.sum(), shared.sum()),
            *((alone & ~together).sum(), (together & ~alone).sum()),
        )
        return dict(zip(COUNTED, map(int, counted), strict=True))


def difference(only_together: int, only_alone: int) -> dict[str, float]:
    """Return how many cases more are found together, with an interval of 95 %.

    Of the cases that one side alone finds, each is found together with one probability (McNemar
    1947), whose interval is exact (Clopper and Pearson 1934).
    """
    many, tail = only_together + only_alone, (1 - SURE) / 2
    low = betaincinv(only_together, only_alone + 1, tail) if only_together else 0.0
    high = betaincinv(only_together + 1, only_alone, 1 - tail) if only_alone else 1.0
    ends = (float(many * (2 * end - 1)) for end in (low, high))
    return {"value": only_together - only_alone, **dict(zip(("low", "high"), ends, strict=True))}


def found_figures(judge: str, units: Mapping[str, JudgedUnits], budget: float) -> dict[str, Any]:
    """Return `found` of results.json: counts of all institutions and of each; {} without a case.

    Args:
        judge: "truth" or "labels".
        units: by institution.
        budget: share of units that are reviewed.
    """
    counts = {name: one.counts(budget) for name, one in units.items() if len(one.cases)}
    total = {key: sum(one[key] for one in counts.values()) for key in COUNTED}
    if not total["cases"]:
        return {}
    rows = [{"name": name, **_set_against(one)} for name, one in counts.items()]
    terms = {"judge": judge, "alert_budget": budget}
    return {"found": {**terms, **_set_against(total), "institutions": rows}}


def _set_against(counts: dict[str, int]) -> dict[str, Any]:
    return {**counts, "difference": difference(counts["only_together"], counts["only_alone"])}


def rank_hidden(population: Population, homes: Homes, shared: SumModel) -> dict[str, JudgedUnits]:
    """Return all customers whom their institution does not know as a case, by institution."""
    return dict(_rank_each(population, homes, shared))


def _rank_each(
    population: Population, homes: Homes, shared: SumModel
) -> Iterator[tuple[str, JudgedUnits]]:
    for name, records in population.records.items():
        if records.audit is None:
            continue
        alone, home = homes.alone[name].scores, homes.at_home[name].scores
        scores = [alone(records.data), home(records.data), shared.scores(records.data)]
        seen = ~population.holdout[name]
        for place, apart in enumerate(homes.apart.get(name, ())):
            if apart is not None:  # scores of models that had not seen the unit
                scores[place][seen] = apart
        free = records.data.labels == 0
        tiers = None if records.beside is None else tiers_of(records.beside)[free]
        chosen = HeldScores(scores[0][free], scores[2][free], scores[1][free])
        cases, known = (records.audit == UNKNOWN)[free], int((~free).sum())
        yield name, JudgedUnits(chosen, cases, tiers, known)


def rank_held(
    models: Mapping[str, Mapping[str, SumModel]], test: MeasuredUnits
) -> dict[str, JudgedUnits]:
    """Return each institution's own held-out units, whose labels judge; {} without own models.

    Args:
        models: by kind, then by institution; "" for one of all.
        test: held-out units and whose they are.
    """
    alone, found = models.get("alone"), dict[str, JudgedUnits]()
    for name in alone or {}:
        data = test.data.select(test.owners == name)
        together = models.get(AT_HOME, {}).get(name, models["federated"][""])
        each = (alone[name], models["federated"][""], together) if alone else ()
        scores = HeldScores(*(one.scores(data) for one in each))
        found[name] = JudgedUnits(scores, data.labels == 1)
    return found
