"""The same study's results at a lower prevalence: noise stays, and cases shrink."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.sums import StudySums
from fieldfare.shared.basis import concatenate
from fieldfare.shared.models import model_for
from fieldfare.shared.plan import plan_for
from fieldfare.shared.study import Study
from fieldfare.simulations.baselines import Baseline, Trainer
from fieldfare.simulations.measure import measure, probabilities
from fieldfare.simulations.population import RecordsChoice, load_population

_STREAM: Final = 2**18  # far from those that deal rows and draw noise


@dataclass(frozen=True)
class Rarer:
    """A study with fewer labelled units to learn from.

    Attributes:
        share: of the labelled training units that were kept.
        prevalence: labelled share of what was learned from.
        positives: labelled units that were learned from.
        together: recall at the alert budget, learned by all at the study's epsilon; as much
            noise as Fieldfare adds (all n shares of it), from the fast seeded source.
        alone: the same, of institutions alone without privacy, on average.
    """

    share: float
    prevalence: float
    positives: int
    together: float | None
    alone: float | None


def rarer(study: Study, choice: RecordsChoice, *, share: float, seed: int) -> dict[str, Any]:
    """Learn from all training units but a share of the labelled ones; returns `Rarer` as data.

    The hold-out keeps all that it has, so that recall rests on as many cases as in the run
    that this stands beside.
    """
    ungrouped = study.evaluation.model_copy(update={"groups": ()})
    study = study.model_copy(update={"evaluation": ungrouped})  # nothing is released here
    population = load_population(study, choice, seed=seed)
    generator = np.random.default_rng([seed, _STREAM])
    sums, counts, positives, test = {}, {}, 0, []
    for name, records in population.records.items():
        held = population.holdout[name]
        test.append(records.select(held).data)
        kept = records.select(~held & _kept(records.data.labels, share, generator))
        part = StudySums.prepare(study, kept.data, np.zeros(len(kept), bool))
        sums[name], counts[name] = part.training, part.training_count
        positives += int(kept.data.labels.sum())
    trainer = Trainer(plan_for(study), sums, counts, seed)
    held_out, model = concatenate(test), model_for(study)
    models = {
        "together": [trainer.federated()],
        "alone": list(trainer.train(Baseline.ALONE).values()),
    }
    found: dict[str, float | None] = {}
    for key, learned in models.items():
        rows = [
            measure(
                held_out.labels,
                probabilities(model, parameters, held_out),
                study.evaluation.alert_budget,
            )["recall_at_budget"]
            for parameters in learned
        ]
        known = [value for value in rows if value is not None]
        found[key] = float(np.mean(known)) if known else None
    prevalence = positives / max(1, sum(counts.values()))
    return asdict(Rarer(share, prevalence, positives, found["together"], found["alone"]))


def _kept(
    labels: NDArray[np.uint8], share: float, generator: np.random.Generator
) -> NDArray[np.bool_]:
    return np.asarray((labels == 0) | (generator.random(len(labels)) < share))
