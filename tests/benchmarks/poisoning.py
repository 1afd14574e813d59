"""What one member that lies can do to a model: a blind vector at every step, in range.

    python -m tests.benchmarks.poisoning [--people 8000] [--seed 0] [--json]

The banks of the invented world train together. One of them answers each training step with a
vector that it made up, from the parameters that the request brings and nothing else, so
committing before anybody opens does not hinder it. It points from where the model is to where it
wants it, as long as a multiple of what its own units could honestly give. The target is the honest
model turned round. What comes of it: the direction of the finished model, and the recall at the
alert budget on all held-out customers. Nothing is promised: SECURITY.md names the figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.harness import FOLDER, Bench
from tests.support.records.frozen_worlds import frozen_study

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import RunError
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import MONTHS, PREVALENCE
from fieldfare.simulations.federation.federation import LocalFederation, holdout_key
from fieldfare.simulations.federation.population import (
    Population,
    RecordsChoice,
    load_population,
)
from fieldfare.simulations.metrics import alerts
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.studies import INSTITUTION, pack_for, write_units
from fieldfare.simulations.world.writing import write_world

FACTORS: Final = "0.25,1,4"
STOPPED: Final = "the run stopped: out of range"
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class PoisonedSums(StudySums):
    """One member's sums, of which its training steps are lies.

    Attributes:
        target: float64 (entries,), where it wants the model.
        reach: the length of its vectors, in multiples of C times its training units.
    """

    target: Values | None = None
    reach: float = 0.0

    def vector(
        self, kind: ReleaseKind, parameters: Values, geometry: Geometry | None = None
    ) -> NDArray[np.int64]:
        """Return the sum that is asked for; for training a vector towards the target."""
        if kind is not ReleaseKind.TRAINING or self.target is None:
            return super().vector(kind, parameters, geometry)
        away, bits = parameters - self.target, self.model.vectors.gamma_bits
        if geometry is not None:
            away = geometry.turned_plain(geometry.plain(parameters) - self.target)
            bits = geometry.gamma_bits
        length = self.reach * self.training_count * self.study.privacy.clipping_norm
        unit = away / max(float(np.linalg.norm(away)), 1e-12)
        return np.rint(np.ldexp(length * unit, bits)).astype(np.int64)


def lying(honest: StudySums, target: Values, reach: float) -> PoisonedSums:
    """Return a member's sums with lies for its training steps."""
    own = {field.name: getattr(honest, field.name) for field in fields(StudySums)}
    return PoisonedSums(**own, target=target, reach=reach)


def _trained(study: Study, sums: Mapping[str, StudySums], seed: int) -> Values:
    with LocalFederation(study, sums, Protection.SIMULATED, seed=seed) as federation:
        return federation.run(federation.job()).parameters


def _population(study: Study, people: int, seed: int, folder: Path) -> Population:
    world, units = folder / "world", folder / "units.parquet"
    write_world(
        WorldPlan.of(people=people, months=MONTHS, seed=seed, prevalence=PREVALENCE, version=1),
        world,
    )
    write_units(world, pack_for([feature.name for feature in study.features], own_pack()), units)
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION)
    return load_population(study, choice, seed=seed)


def _recall(study: Study, sums: Sequence[StudySums], parameters: Values) -> float:
    scores = np.concatenate([one.model.scores(parameters, one.holdout) for one in sums])
    labels = np.concatenate([one.holdout.labels for one in sums])
    reviewed = alerts(scores, study.evaluation.alert_budget)
    return float(labels[reviewed].sum() / labels.sum())


def measure(people: int = 8_000, seed: int = 0, factors: str = FACTORS) -> dict[str, Any]:
    """Train with one member that lies, at several lengths of its vectors."""
    study = frozen_study()
    with TemporaryDirectory(prefix=FOLDER) as folder:
        population = _population(study, people, seed, Path(folder))
    honest = {
        name: StudySums.prepare(
            study,
            records.data,
            population.holdout[name],
            records.asked_units(name, key=holdout_key(seed)),
        )
        for name, records in population.records.items()
    }
    liar = min(honest, key=lambda name: honest[name].training_count)
    model = _trained(study, honest, seed)
    share = honest[liar].training_count / sum(one.training_count for one in honest.values())
    rows: list[dict[str, float | None]] = [
        {"reach": 0.0, "towards": -1.0, "recall": _recall(study, [*honest.values()], model)}
    ]
    for reach in map(float, factors.split(",")):
        sums = honest | {liar: lying(honest[liar], -model, reach)}
        try:
            bent = _trained(study, sums, seed)
        except RunError:
            rows.append({"reach": reach, "towards": None, "recall": None})
            continue
        towards = float(np.corrcoef(bent, -model)[0, 1])
        rows.append(
            {"reach": reach, "towards": towards, "recall": _recall(study, [*honest.values()], bent)}
        )
    return {"liar": liar, "share": share, "rows": rows}


def words(found: Mapping[str, Any]) -> list[str]:
    """Return a line for each length of the lies."""
    said = [f"{found['liar']} lies; it holds {found['share']:.0%} of the training units"]
    for row in found["rows"]:
        name = "honest" if not row["reach"] else f"{row['reach']:g} times its units x C"
        if row["recall"] is None:
            said.append(f"  {name}: {STOPPED}")
        else:
            bent = f"correlation with its target {row['towards']:+.2f}"
            said.append(f"  {name}: recall at the budget {row['recall']:.3f}, {bent}")
    return said


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()
