"""A whole simulation in memory: one study over one population, beside its baselines.

Nothing is written but ledgers, in a folder that goes with the run; `simulate.py` writes files of
what comes of it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.stack import is_stackable
from fieldfare.client.records.sources.source import Table
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.answers.analytics import read_answers
from fieldfare.server.run.server_app import Outcome
from fieldfare.shared.errors import UsageError
from fieldfare.shared.joining.figures import Facts, figures
from fieldfare.shared.joining.rows import PairedRow
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import PICOMU2, Plan, plan_for
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.results import AnswerSum
from fieldfare.shared.study.study import Study
from fieldfare.simulations.beside import ALONE, SideProcess
from fieldfare.simulations.engines.conducting import Members, Stepped, conducted
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.engines.one_pass import InstitutionUnits, OnePass
from fieldfare.simulations.engines.ray_actors import grouped
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import HomedInstitution, HomeInRun, LocalFederation
from fieldfare.simulations.federation.found import found_figures, rank_held, rank_hidden
from fieldfare.simulations.federation.homes import (
    AT_HOME,
    Homes,
    Models,
    OwnFits,
    homes_of,
    own_fits,
    rows_of,
)
from fieldfare.simulations.federation.noise_audit import (
    NoiseTallies,
    WatchedRecord,
    WatchedSums,
    audited,
)
from fieldfare.simulations.federation.others import OtherModel, TrainingInputs, beside
from fieldfare.simulations.federation.population import (
    MeasuredUnits,
    Overlap,
    Population,
    RecordsChoice,
    given_holdout,
    held_out,
    institutions_of,
    load_population,
)
from fieldfare.simulations.federation.reviews import Reviews, fairness_figures, reviews_of
from fieldfare.simulations.federation.true_answers import answers_beside_truth
from fieldfare.simulations.metrics import alerts, chances, group_rows, mean_of, measure
from fieldfare.simulations.report.curves import ModelScores

RESULTS_FORMAT: Final = 1
FEDERATED: Final = "federated"
START: Final = "start"  # the public start, untouched
ALONE_START: Final = "alone_start"  # each institution by itself, without privacy, from there

MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- a folder that nobody else may open is made in it
COINS: Final = 2**18  # the stream of an audit's coins, far from the federation's own
LEDGER_ENTRY: Final = 1 << 15  # bytes beside a reply's vector, at most

Parameters = NDArray[np.float64]
Chances = dict[str, Parameters]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The inputs of a simulation.

    Attributes:
        study: the study.
        choice: where records are and who holds them.
        holdout_files: as `choice.records`; they replace the hold-out for `models` only.
        baselines: which to train.
        others: models of others beside these; their makers see more than a sum.
        seed: fixes split, partition and simulated noise; never exact noise.
        protection: exact or simulated.
        world: what an invented population is, for the reader; no model sees it.
        home: of the institution that takes part from one, and uses the model there.
        engine: what carries the federation out.
        ray_address: HOST:PORT of a cluster; None: the engine `ray` starts one on this machine.
        workers: of the cluster that is started here; None: one for each core.
    """

    study: Study
    choice: RecordsChoice
    holdout_files: Sequence[str] | Mapping[str, Table] = ()
    baselines: tuple[Baseline, ...] = tuple(Baseline)
    others: Sequence[OtherModel] = ()
    seed: int = 0
    protection: Protection = Protection.SIMULATED
    world: Mapping[str, Any] | None = None
    home: HomedInstitution | None = None
    engine: Engine = Engine.CUSTODIANS
    ray_address: str | None = None
    workers: int | None = None

    @property
    def ledgers(self) -> Path:
        """The folder in which a folder for ledgers is made where memory does not hold them."""
        return Path(tempfile.gettempdir())


@dataclass
class Clock:
    """Seconds since the start, of its parts and of every step."""

    started: float = field(default_factory=time.perf_counter)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    marks: dict[str, float] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)

    @property
    def so_far(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self.started, 4)

    def mark(self, name: str, since: float) -> None:
        """Keep how long something took that began at `since` (seconds of `perf_counter`)."""
        self.marks[name] = round(time.perf_counter() - since, 4)

    def timing(self) -> dict[str, Any]:
        """Return `timing` of results.json up to now."""
        found = {"started": self.date, "total_seconds": self.so_far, **self.marks}
        if self.steps:
            found["training_seconds"] = round(float(np.sum(self.steps)), 4)
            found["step_seconds_median"] = round(float(np.median(self.steps)), 6)
        return found


@dataclass(frozen=True, eq=False)
class SimulationOutcome:
    """The outcome of a simulation.

    Attributes:
        task: its inputs.
        plan: of the study: every release with its noise.
        outcome: of the federation's run: parameters, released figures, what was spent.
        models: by name, then by institution; "" for one of all. Empty where nothing is trained.
        chances: float64 (measured units,) by the same names.
        measured: the units that models were measured on, with their owners.
        results: the content of results.json but for `files`, `timing` and `home`.
        clock: what took how long.
        used: gives `home` of results.json, where the model is used in one.
    """

    task: Experiment
    plan: Plan
    outcome: Outcome
    models: Mapping[str, Models]
    chances: Mapping[str, Chances]
    measured: MeasuredUnits
    results: Mapping[str, Any]
    clock: Clock
    used: Callable[[], dict[str, Any]] | None = None

    @property
    def parameters(self) -> Parameters:
        """float64 (entries,): the shared model's."""
        return self.models[FEDERATED][""].parameters

    def scores(self) -> dict[str, list[ModelScores]]:
        """Return every model's chances of the measured units, for curves and intervals."""
        labels = self.measured.data.labels
        return {
            key: [
                ModelScores(name=name or key, labels=labels, probabilities=one)
                for name, one in scored.items()
            ]
            for key, scored in self.chances.items()
        }


def simulated(
    task: Experiment, progress: Progress | None = None, both: SideProcess = ALONE
) -> SimulationOutcome:
    """Run a simulation; nothing of it is written.

    Args:
        task: its inputs.
        progress: told what is done.
        both: where work may be done beside the federation.

    Raises:
        FieldfareError: by whose fault it is; see `fieldfare.shared.errors`.
    """
    clock = Clock()
    task.engine.check(task.protection, has_home=task.home is not None)
    task.engine.check_cluster(task.ray_address, task.workers)
    population = load_population(task.study, task.choice, seed=task.seed)
    test = (
        given_holdout(task.study, task.choice, task.holdout_files, list(population.records))
        if task.holdout_files
        else held_out(population)
    )
    clock.mark("loading_seconds", clock.started)
    institutions = institutions_of(task.study, population, seed=task.seed)
    sums = {one.name: one.sums(task.study) for one in institutions if _looks_at_each(task)}
    fits = _own_fits(task, population, both)
    outcome, noise = _federate(task, institutions, sums, (clock, progress))
    plan, participants = noise.plan, len(outcome.participants)
    since = time.perf_counter()
    models: dict[str, Models] = {}
    homes: Homes | None = None
    others: list[dict[str, Any]] = []
    used: Callable[[], dict[str, Any]] | None = None
    if task.study.trains:
        models = {FEDERATED: {"": SumModel(model_for(task.study), outcome.parameters)}}
        trainer = _trainer(task, plan, sums, outcome)
        models |= _baselines(task, trainer, (progress, both))
        if fits is not None:
            homes = _homes(fits(outcome.parameters), outcome.parameters, (progress, both))
            models |= {Baseline.ALONE.value: homes.alone, AT_HOME: homes.at_home}
            if task.home is not None:
                used = task.home.used(homes.tuned[task.home.name], both)
        if task.others:
            given = TrainingInputs(trainer, population.training)
            others = _others(task, given, test, progress)
    clock.mark("baselines_seconds", since)
    scored = {key: _score(trained, test) for key, trained in models.items()}
    results = _results(task, plan, outcome, participants, population, models, (test, scored))
    budget = task.study.evaluation.alert_budget
    if homes is not None and (task.world or {}).get("known"):
        everybody = rank_hidden(population, homes, models[FEDERATED][""])
        results |= found_figures("truth", everybody, budget)
    elif models:
        results |= found_figures("labels", rank_held(models, test), budget)
    if others:
        results["others"] = others
    for found in outcome.answers:
        results["answers"] = _answers(task.study, plan, found, institutions)
    audit = audited(noise, np.random.default_rng([task.seed, COINS]))
    results["audit"] = None if audit is None else audit.as_dict()
    return SimulationOutcome(task, plan, outcome, models, scored, test, results, clock, used)


def _looks_at_each(task: Experiment) -> bool:
    """Tell whether sums of single institutions are looked at: by custodians and by baselines."""
    begun = task.study.public_start is not None  # each goes on from it alone, too
    return task.engine is Engine.CUSTODIANS or bool(task.baselines or task.others) or begun


def _answers(
    study: Study, plan: Plan, found: AnswerSum, institutions: Sequence[InstitutionUnits]
) -> list[dict[str, Any]]:
    """Read the answers, and set the answers without privacy beside them."""
    answers = read_answers(plan, found.questions, found.values, institutions=found.participants)
    return answers_beside_truth(study, answers, {one.name: one for one in institutions})


def _federate(
    task: Experiment,
    institutions: Sequence[InstitutionUnits],
    sums: Mapping[str, StudySums],
    watched: tuple[Clock, Progress | None],
) -> tuple[Outcome, NoiseTallies]:
    """Run the federation by the engine that was chosen; its sums are watched."""
    clock, progress = watched
    since = time.perf_counter()
    last = [since]

    def stepped(state: TrainingState) -> None:
        """Note how long a step took, and say how far the run is."""
        now = time.perf_counter()
        clock.steps.append(now - last[0])
        last[0] = now
        if progress:
            progress("training together", state.step, task.study.training.steps)

    if task.engine is Engine.CUSTODIANS:
        outcome, noise = _by_custodians(task, sums, stepped, last)
    else:
        noise = NoiseTallies(plan_for(task.study))
        with _members(task, noise.plan, institutions) as members:
            names = [one.name for one in institutions]
            last[0] = time.perf_counter()
            outcome = conducted(noise.plan, members, names, on_step=stepped, on_sum=noise.take)
    clock.mark("federation_seconds", since)
    return outcome, noise


@contextmanager
def _members(
    task: Experiment, plan: Plan, institutions: Sequence[InstitutionUnits]
) -> Iterator[Members]:
    """Bring all institutions together: in this process, or in groups in processes of Ray."""
    if task.engine is Engine.RAY:
        with grouped(plan, institutions, address=task.ray_address, workers=task.workers) as groups:
            yield groups
    else:
        yield OnePass(plan, institutions)


def _by_custodians(
    task: Experiment, sums: Mapping[str, StudySums], stepped: Stepped, last: list[float]
) -> tuple[Outcome, NoiseTallies]:
    """Run it whole: real custodians, real door, real rounds."""
    # Ledgers of a simulated federation live as long as its one run.
    place = _place_of_ledgers(task, len(sums))
    watched = {name: WatchedSums.of(one) for name, one in sums.items()}
    with (
        tempfile.TemporaryDirectory(dir=place, prefix=f".ledgers-{os.getpid()}-") as folder,
        _home(task, Path(folder)) as home,
        LocalFederation(
            task.study, watched, task.protection, seed=task.seed, directory=Path(folder), home=home
        ) as federation,
    ):
        job = federation.job()
        job.record = record = WatchedRecord(federation.plan, watched)
        job.on_step = lambda state, _: stepped(state)
        last[0] = time.perf_counter()
        outcome = federation.run(job)
        if home is not None:
            home.institution.delivered(job, federation.identities)
        for name in federation.ledgers:  # a home's approval stays
            federation.custodians[name].finish(task.study.id)
    return outcome, record


@contextmanager
def _home(task: Experiment, folder: Path) -> Iterator[HomeInRun | None]:
    """Found the home of the institution that has one, for as long as the run lasts."""
    if task.home is None:
        yield None
        return
    with task.home.founded(folder) as key:
        yield HomeInRun(task.home, key, folder)


def _place_of_ledgers(task: Experiment, institutions: int) -> Path:
    """Return where ledgers go that nobody reads again: memory, where they fit in twice.

    They are written and committed as on a disk, for which all institutions of one process would
    wait one after the other: a third of the time of a run.
    """
    kept = sum(
        (terms.steps + terms.spare) * (LEDGER_ENTRY + 8 * terms.vectors.entries)
        for terms in plan_for(task.study).releases
    )
    writable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)
    fits = writable and shutil.disk_usage(MEMORY).free >= 2 * institutions * kept
    return MEMORY if fits else task.ledgers


def _trainer(
    task: Experiment, plan: Plan, sums: Mapping[str, StudySums], outcome: Outcome
) -> Trainer:
    """Return what baselines learn from, on the federation's own knots and coordinates."""
    training = {name: part.training for name, part in sums.items()}
    units = {name: part.training_count for name, part in sums.items()}
    turned = {name: part.turned for name, part in sums.items() if part.turned is not None}
    plain = Trainer.beside(plan, outcome, training, units, task.seed)
    return replace(plain, turned=turned, geometry=outcome.geometry)


def _baselines(
    task: Experiment, trainer: Trainer, around: tuple[Progress | None, SideProcess]
) -> dict[str, Models]:
    (progress, both), trained = around, dict[str, Models]()
    model = model_for(task.study)
    if task.study.public_start is not None:
        alone = trainer.train(Baseline.ALONE).items()
        trained[START] = {"": SumModel(model, trainer.untouched())}
        trained[ALONE_START] = {name: SumModel(model, one) for name, one in alone}
    # Own best models come from _homes.
    chosen = [b for b in task.baselines if b is not Baseline.ALONE or not is_stackable(task.study)]

    def said(place: int) -> None:
        if progress:
            progress(f"baseline {chosen[place].value}", place, len(chosen))

    found = dict(zip(chosen, both.share(trainer.train, [(b,) for b in chosen], said), strict=True))
    for baseline in task.baselines:
        learned = found.get(baseline, {})
        trained[baseline.value] = {name: SumModel(model, one) for name, one in learned.items()}
    return trained


def _others(
    task: Experiment, given: TrainingInputs, test: MeasuredUnits, progress: Progress | None
) -> list[dict[str, Any]]:
    """Let models of others learn, one after the other, and measure them."""
    rows = []
    for place, other in enumerate(task.others):
        if progress:
            progress(
                f"{other.called}, whose maker sees {other.sees.value}", place, len(task.others)
            )
        rows.append(beside(other, given, test, task.study.evaluation.alert_budget))
    return rows


def _own_fits(
    task: Experiment, population: Population, both: SideProcess
) -> Callable[[Parameters], OwnFits] | None:
    """Begin to fit own models where they are asked for; see `own_fits`."""
    study = task.study
    if not study.trains or Baseline.ALONE not in task.baselines or not is_stackable(study):
        return None
    return own_fits(study, population.training, both)


def _homes(fits: OwnFits, shared: Parameters, around: tuple[Progress | None, SideProcess]) -> Homes:
    """Find each institution's own best model, and the shared one used at home."""
    progress, both = around

    def said(done: int, total: int) -> None:
        if progress:
            progress("used at home", done, total)

    return homes_of(fits, shared, said, both)


def _results(
    task: Experiment,
    plan: Plan,
    outcome: Outcome,
    participants: int,
    population: Population,
    models: Mapping[str, Models],
    measured: tuple[MeasuredUnits, Mapping[str, Chances]],
) -> dict[str, Any]:
    study, (test, scored) = task.study, measured
    names = list(population.records)
    results: dict[str, Any] = {
        "format": RESULTS_FORMAT,
        "study": {
            "name": study.name,
            "id": study.id,
            "purpose": study.purpose,
            "prohibited_uses": list(study.prohibited_uses),
            "unit": study.records.unit,
            "model": study.model.kind,
            "steps": study.training.steps,
            "mode": study.training.mode,
            "local_steps": study.training.local_steps if study.training.local else None,
        },
        "version": version("fieldfare"),
        "seed": task.seed,
        "institutions": [
            {"name": name, "units": len(records), **_measured_on(test, test.of(name))}
            for name, records in population.records.items()
        ],
        "privacy": {
            **_privacy(task, plan, outcome, participants),
            "multiplicity": _multiplicity(plan, Overlap.of(study, population)),
        },
        "models": {
            key: _model_metrics(one, names, test, study.evaluation.alert_budget)
            for key, one in scored.items()
        },
        "released_metrics": outcome.released_metrics,
    }
    if outcome.released_groups is not None:
        results["released_groups"] = outcome.released_groups
    if outcome.released_guard is not None:
        results["released_guard"] = outcome.released_guard
    if task.world is not None:
        results["world"] = dict(task.world)
    if test.audit is not None and task.study.trains:
        results["groups"] = _groups(task, models, population, test)
    if AT_HOME in models:
        rows = _own_rows(task, models, population, test)
        facts = Facts.of(study, unknown=(_rest(task),))
        results["joining"] = figures(facts, rows)
    return results


def _own_rows(
    task: Experiment, models: Mapping[str, Models], population: Population, test: MeasuredUnits
) -> list[PairedRow]:
    """Compare the shared model at home with the own best ones, each on its own hold-out."""
    held = population.held  # in the same order as in `test`, where that is of them
    if task.holdout_files:
        held = {name: test.data.select(test.owners == name) for name in population.records}
    learned = {
        name: int(records.data.labels[~population.holdout[name]].sum())
        for name, records in population.records.items()
    }
    homes = Homes(models[Baseline.ALONE.value], models[AT_HOME])
    terms = (task.study.evaluation.alert_budget, task.seed)
    return rows_of(homes, models[FEDERATED][""], learned, held, terms)


def _rest(task: Experiment) -> str:
    """Say which command answers the rest of whether to join."""
    command = "fieldfare study join"
    if task.world is None:
        command += " STUDY.toml --records FILE"
    return (
        "One run of one seed does not tell: fewer labels, roles that are rare here, a scenario "
        "never seen here, a newcomer, the months that a new scenario takes to show, what of a "
        "gain is only that more models are weighed, and intervals "
        f"over several seeds. `{command} --out FOLDER` computes them."
    )


def _measured_on(test: MeasuredUnits, own: NDArray[np.int64]) -> dict[str, int]:
    """Say how many of an institution's own units models are measured on, and how many labelled."""
    return {"measured_units": len(own), "measured_positives": int(test.data.labels[own].sum())}


def _privacy(task: Experiment, plan: Plan, outcome: Outcome, participants: int) -> dict[str, Any]:
    privacy = task.study.privacy
    main = plan.training if task.study.trains else plan.query
    sensitivity = main.sensitivity
    spent = outcome.spent / PICOMU2
    return {
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "mu2_planned": plan.mu2,
        "mu2_spent": spent,
        "epsilon_spent": plan.epsilon(spent),
        "sigma": main.sigma,
        "sensitivity": sensitivity.l2(plan.relation) if sensitivity else 0.0,
        "clipping_norm": main.vectors.clipping_norm,
        "collusion_tolerance": privacy.collusion_tolerance,
        "participants": participants,
        "noise": task.protection.value,
        "masked": task.protection is Protection.EXACT,
        "epsilon_if_masks_fail": plan.epsilon_if_masks_fail(participants),
        "failed_attempts": outcome.attempts,
    }


def _multiplicity(plan: Plan, found: Overlap) -> dict[str, Any]:
    """Say what multiplicity these records need, and what holds for who stands at most places.

    A unit at k institutions moves a sum by k vectors where M are counted in, so its mu is k / M
    times the plan's (docs/design.md, "One person, several units").
    """
    counted = plan.study.privacy.multiplicity
    times = max(1.0, found.most / counted)
    return {
        "study": counted,
        "needed": max(1, found.most),
        "by": "id" if found.by_id else "content",
        "units": found.units,
        "several": found.several,
        "beyond": found.beyond,
        "epsilon_of_worst": plan.epsilon(plan.mu2 * times**2),
    }


def _score(trained: Models, test: MeasuredUnits) -> Chances:
    return {name: chances(one.scores(test.data)) for name, one in trained.items()}


def _model_metrics(
    scored: Chances, names: list[str], test: MeasuredUnits, budget: float
) -> dict[str, Any]:
    """Measure one model of all, or one model for each institution."""
    labels = test.data.labels
    pooled = {key: measure(labels, scores, budget) for key, scores in scored.items()}
    rows = {}
    for name in names:
        key = name if name in scored else ""
        own = test.of(name)
        rows[name] = {"pooled": pooled[key], "own": measure(labels[own], scored[key][own], budget)}
    return {**mean_of(list(pooled.values())), "per_institution": rows}


def _groups(
    task: Experiment, models: Mapping[str, Models], population: Population, test: MeasuredUnits
) -> dict[str, Any]:
    """On whom reviews fall, by a column that no model has seen."""
    budget = task.study.evaluation.alert_budget
    said = {"column": task.choice.audit_column, "alert_budget": budget}
    if not task.holdout_files:
        ranked_by = AT_HOME if AT_HOME in models else FEDERATED
        found = {
            key: _reviewed(models[key], population, budget)
            for key in dict.fromkeys((ranked_by, Baseline.ALONE.value))
            if key in models
        }
        return said | {"ranked_by": ranked_by} | fairness_figures(found[ranked_by])
    if test.audit is None:
        raise UsageError("expected an audit column, found none")
    reviewed = alerts(chances(models[FEDERATED][""].scores(test.data)), budget)
    rows = group_rows(test.audit, test.data.labels, reviewed)
    return said | {"ranked_by": FEDERATED, "rows": rows}


def _reviewed(models: Models, population: Population, budget: float) -> Reviews:
    own = {name: models[name if name in models else ""] for name in population.records}
    return reviews_of(own, population, AlertBudget(share=budget))
