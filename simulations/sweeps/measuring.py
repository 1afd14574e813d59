"""What comes of one point: a row for each model, on each institution's held-out units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fieldfare.client.own_model.own_customers import HomeFits
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.stack import is_stackable
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.server_app import Outcome
from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.models import UnitSums, model_for, trained_model
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import PICOMU2, Plan, plan_for
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import plain
from fieldfare.simulations.engines.conducting import conducted
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.engines.one_pass import InstitutionUnits, OnePass
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import LocalFederation
from fieldfare.simulations.federation.homes import Models, OwnFits, homes_of, own_fits
from fieldfare.simulations.federation.population import (
    Population,
    check_minimum,
    institutions_of,
    load_population,
)
from fieldfare.simulations.metrics import METRICS, Metrics, chances, mean_of, measure
from fieldfare.simulations.sweeps.faults import CountedGrid, Faults, SimulatedTime
from fieldfare.simulations.sweeps.plan import Learner
from fieldfare.simulations.sweeps.points import SweepGrid, SweepPoint
from fieldfare.simulations.sweeps.traffic import CountedRun

OWN: Final = "own"  # an institution's own held-out units
ALL: Final = "all"  # those of all institutions, together
MEAN: Final = "mean"  # over institutions, of each one's own
MOST_FAILURE: Final = 300  # characters of why a run did not end

Vector = NDArray[np.float64]


class MeasuredModel(BaseModel):
    """One model on some held-out units.

    Attributes:
        learner: who learned it.
        institution: whose units; empty for all of them.
        held: `own`, `all` or `mean`.
        training_units, held_units, held_positives: counts.
        metrics: those of `simulations.metrics`; None where a class is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learner: Learner
    institution: str
    held: str
    training_units: int
    held_units: int
    held_positives: int
    metrics: dict[str, float | None]


class PointRows(BaseModel):
    """What came of one point.

    Attributes:
        key: what it depends on, hashed.
        failure: why the run did not end; empty where it did.
        institutions: that took part at the start.
        participants: of the last sum; 0 where the run did not end.
        units: that took part, held-out ones included.
        epsilon_spent: by the institution that answered most.
        sigma: of the noise on a sum of training, in its units.
        failed_attempts: of all sums.
        rounds, bytes_down, bytes_up: see `faults.CountedGrid`.
        rows: of models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    failure: str = ""
    institutions: int
    participants: int = 0
    units: int
    epsilon_spent: float | None = None
    sigma: float
    failed_attempts: int | None = None
    rounds: int
    bytes_down: int
    bytes_up: int
    rows: tuple[MeasuredModel, ...] = ()


@dataclass
class SharedSplit:
    """The points that share records, split and own models.

    Attributes:
        grid: of the sweep.
        population: records by institution, and which units are held out.
        training, held: units by institution.
    """

    grid: SweepGrid
    population: Population
    training: Mapping[str, EncodedUnits]
    held: Mapping[str, EncodedUnits]
    _kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, grid: SweepGrid, point: SweepPoint) -> "SharedSplit":
        """Read the records of a point and split them.

        Raises:
            UsageError, RecordsError: they do not fit.
        """
        study, choice = grid.study(point), point.choice(grid.plan.records)
        population = load_population(study, choice, seed=point.seed)
        return cls(grid, population, population.training, population.held)

    def rows(self, point: SweepPoint) -> PointRows:
        """Run one point, and measure what comes of it."""
        return Measurement.of(self, point).rows()

    def once(self, key: Any, made: Any) -> Any:
        """Return what does not change from point to point; it is made once."""
        if key not in self._kept:
            self._kept[key] = made()
        return self._kept[key]


@dataclass
class Measurement:
    """One point of a block.

    Attributes:
        block: its records.
        study, plan: what is run.
        institutions: everybody's units and streams of noise.
    """

    block: SharedSplit
    point: SweepPoint
    study: Study
    plan: Plan
    institutions: Sequence[InstitutionUnits]

    @classmethod
    def of(cls, block: SharedSplit, point: SweepPoint) -> "Measurement":
        """Prepare a point.

        Raises:
            UsageError: fewer institutions than its study needs; others of its block may need less.
        """
        study, population = block.grid.study(point), block.population
        check_minimum(study, len(population.records))
        institutions = institutions_of(study, population, seed=point.seed)
        return cls(block, point, study, plan_for(study), institutions)

    @cached_property
    def sums(self) -> Mapping[str, StudySums]:
        """Prepared sums by institution."""
        return {one.name: one.sums(self.study) for one in self.institutions}

    def rows(self) -> PointRows:
        """Run the federation and measure every model that the sweep names."""
        found = PointRows(
            key=self.block.grid.key(self.point),
            institutions=len(self.institutions),
            units=sum(len(one) for one in self.block.population.records.values()),
            sigma=self._sigma(),
            rounds=0,
            bytes_down=0,
            bytes_up=0,
        )
        failure, outcome, counted = self._run()
        sent = {"rounds": counted.rounds, "bytes_down": counted.down, "bytes_up": counted.up}
        told = {} if outcome is None else self._told(outcome)
        return found.model_copy(update={"failure": failure, **sent, **told})

    def _run(self) -> tuple[str, Outcome | None, CountedGrid | CountedRun]:
        """Return why the run did not end, or what it came to; and what was sent in it."""
        point, engine = self.point, self.block.grid.plan.engine
        faults = (point.dropouts or 0.0, point.stragglers or 0.0)
        if engine is Engine.CUSTODIANS or any(faults):
            return self._by_custodians(*faults)
        names = [one.name for one in self.institutions]
        counted = CountedRun(self.plan, names)
        members = OnePass(self.plan, self.institutions)
        try:
            return "", conducted(self.plan, members, names, on_asked=counted.asked), counted
        except RunError as error:  # that a run does not end is a result, too
            return plain(str(error), MOST_FAILURE), None, counted

    def _by_custodians(
        self, dropouts: float, stragglers: float
    ) -> tuple[str, Outcome | None, CountedGrid]:
        """Run it whole, on a simulated clock: real custodians, real door, real rounds."""
        study, seed = self.study, self.point.seed
        with LocalFederation(study, self.sums, Protection.SIMULATED, seed=seed) as federation:
            nodes = federation.nodes.values()
            faults = Faults.of(dropouts, stragglers, nodes=nodes, plan=self.plan, seed=seed)
            grid, time = federation.grid_of(CountedGrid, faults), SimulatedTime()
            channel = GridChannel(grid, monotonic=time.monotonic, sleep=time.sleep)
            try:
                return "", federation.job().run(channel), grid
            except RunError as error:
                return plain(str(error), MOST_FAILURE), None, grid

    def _sigma(self) -> float:
        count, tolerance = len(self.institutions), self.study.privacy.collusion_tolerance
        return float(self.plan.training.noise_on_sum(count, tolerance))

    def _told(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "participants": len(outcome.participants),
            "epsilon_spent": self.plan.epsilon(outcome.spent / PICOMU2),
            "failed_attempts": outcome.attempts,
            "rows": tuple(self._measured(outcome)),
        }

    def _measured(self, outcome: Outcome) -> Iterator[MeasuredModel]:
        shared = SumModel(model_for(self.study), outcome.parameters)
        yield from self._of(Learner.FEDERATED, {"": shared})
        measures, stacked = self.block.grid.plan.measures, is_stackable(self.study)
        alone: Models = {}
        if measures(Learner.ALONE) or measures(Learner.AT_HOME):
            alone = self._alone(outcome)
        if measures(Learner.ALONE):
            yield from self._of(Learner.ALONE, alone)
        if measures(Learner.AT_HOME) and stacked:
            fits = self._fits(outcome.parameters)
            yield from self._of(Learner.AT_HOME, homes_of(fits, outcome.parameters).at_home)
        if measures(Learner.POOLED):
            yield from self._of(Learner.POOLED, {"": self._pooled(outcome)})

    def _fits(self, shared: Vector) -> OwnFits:
        """Return own models; of a shared one they need no more than knots that follow from it."""
        study = self.study

        def made() -> list[HomeFits]:
            return own_fits(study, self.block.training)(shared).fits()

        fits = made() if study.asks_for_knots else self.block.once("fits", made)
        # What follows the shared model's steps takes those of this point.
        mine = [replace(one, study=study) for one in fits]
        return OwnFits(self.block.training, lambda *_: mine)

    def _alone(self, outcome: Outcome) -> Models:
        if is_stackable(self.study):
            fits = self._fits(outcome.parameters)
            return dict(zip(fits.training, (one.alone for one in fits.fits()), strict=True))
        model, training = model_for(self.study), self.study.training.model_dump_json()

        def made() -> dict[str, Vector]:
            sums = {name: one.training for name, one in self.sums.items()}
            return self._trainer(sums, outcome).train(Baseline.ALONE)

        found = self.block.once(("alone", training), made)
        return {name: SumModel(model, one) for name, one in found.items()}

    def _pooled(self, outcome: Outcome) -> SumModel:
        """Return a model of all records in one place, without privacy, in plain coordinates."""
        study = self.study
        model = model_for(study)

        def made() -> Vector:
            """Train the pool without privacy."""
            together = concatenate(list(self.block.training.values()))
            sums = {"": trained_model(study).prepare(together)}
            return self._trainer(sums, outcome).train(Baseline.CENTRAL)[""]

        training = study.training.model_dump_json()
        same = ("pooled", training, self.point if study.asks_for_knots else None)
        return SumModel(model, self.block.once(same, made))

    def _trainer(self, sums: Mapping[str, UnitSums], outcome: Outcome) -> Trainer:
        counts = {name: len(one) for name, one in self.block.training.items()}
        return Trainer.beside(self.plan, outcome, sums, counts, self.point.seed)

    def _of(self, learner: Learner, models: Models) -> Iterator[MeasuredModel]:
        held, training = self.block.held, self.block.training
        budget = self.study.evaluation.alert_budget
        found: list[Metrics] = []
        for name, data in held.items():
            scores = models[name if name in models else ""].scores(data)
            found.append(measure(data.labels, chances(scores), budget))
            yield _row(learner, name, OWN, (len(training[name]), data.labels), found[-1])
        labels = np.concatenate([data.labels for data in held.values()])
        units = (sum(map(len, training.values())), labels)
        yield _row(learner, "", MEAN, units, mean_of(found))
        if "" in models:
            scores = np.concatenate([models[""].scores(data) for data in held.values()])
            yield _row(learner, "", ALL, units, measure(labels, chances(scores), budget))


def _row(
    learner: Learner,
    institution: str,
    held: str,
    units: tuple[int, NDArray[np.uint8]],
    metrics: Metrics,
) -> MeasuredModel:
    learned, labels = units
    return MeasuredModel(
        learner=learner,
        institution=institution,
        held=held,
        training_units=learned,
        held_units=len(labels),
        held_positives=int(labels.sum()),
        metrics={name: metrics[name] for name in METRICS},
    )
