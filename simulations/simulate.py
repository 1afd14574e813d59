"""`fieldfare simulate`: one study over one population, against its baselines."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records import Records, read_records
from fieldfare.client.sums import StudySums
from fieldfare.server.analytics import read_answers
from fieldfare.server.app import Outcome
from fieldfare.server.record import AnswerSum, Sum
from fieldfare.shared.adam import TrainingState
from fieldfare.shared.basis import EncodedUnits, concatenate
from fieldfare.shared.errors import UsageError
from fieldfare.shared.messages import Assurance
from fieldfare.shared.models import RiskModel, model_for
from fieldfare.shared.pages.shapes import shapes_of
from fieldfare.shared.plan import PICOMU2, Plan, plan_for
from fieldfare.shared.study import Study
from fieldfare.simulations.answers import answers_beside_truth
from fieldfare.simulations.artefacts import write_json, write_model
from fieldfare.simulations.baselines import Baseline, Trainer
from fieldfare.simulations.federation import LocalFederation, holdout_key
from fieldfare.simulations.measure import alerts, group_rows, mean_of, measure, probabilities
from fieldfare.simulations.population import Population, RecordsChoice, load_population
from fieldfare.simulations.report import ModelScores, write_answers_report, write_report

RESULTS_FORMAT = 1
FEDERATED = "federated"

Parameters = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Attributes:
        study: the study.
        choice: where records are and who holds them.
        out: folder for results.
        holdout_file: replaces the hold-out for `models` only.
        baselines: which to train.
        seed: fixes split, partition and simulated noise; never exact noise.
        assurance: exact or simulated.
        world: what an invented population is, for the reader; no model sees it.
    """

    study: Study
    choice: RecordsChoice
    out: Path
    holdout_file: Path | None = None
    baselines: tuple[Baseline, ...] = tuple(Baseline)
    seed: int = 0
    assurance: Assurance = Assurance.SIMULATED
    world: Mapping[str, Any] | None = None


@dataclass
class _Clock:
    started: float = field(default_factory=time.perf_counter)
    marks: dict[str, float] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)

    def mark(self, name: str, since: float) -> None:
        self.marks[name] = round(time.perf_counter() - since, 4)


def simulate(task: Simulation, progress: Progress | None = None) -> dict[str, Any]:
    """Run a simulation and write its files; returns the content of `results.json`.

    Raises:
        FieldfareError: by whose fault it is; see `fieldfare.shared.errors`.
    """
    clock = _Clock()
    make_folder(task.out)
    population = load_population(task.study, task.choice, seed=task.seed)
    test = _test_units(task, population)
    clock.mark("loading_seconds", clock.started)
    sums = {
        name: StudySums.prepare(
            task.study,
            records.data,
            population.holdout[name],
            records.asked_units(name, key=holdout_key(task.seed)),
        )
        for name, records in population.records.items()
    }
    outcome, plan, participants = _federate(task, sums, clock, progress)
    since = time.perf_counter()
    models: dict[str, dict[str, Parameters]] = {}
    if task.study.trains:
        models = {FEDERATED: {"": outcome.parameters}}
        models |= _baselines(task, plan, sums, outcome.answers, progress)
    clock.mark("baselines_seconds", since)
    results = _results(task, plan, outcome, participants, population, models, test)
    for found in outcome.answers:
        results["answers"] = _answers(task.study, plan, found, sums)
    _write(task, results, models, test, clock)
    return results


def _answers(
    study: Study, plan: Plan, found: AnswerSum, sums: Mapping[str, StudySums]
) -> list[dict[str, Any]]:
    """Read the answers, and set what they would be without privacy beside them."""
    answers = read_answers(plan, found.questions, found.values, institutions=found.participants)
    return answers_beside_truth(study, answers, sums)


def make_folder(out: Path) -> None:
    """Make the folder for results, if it is not there.

    Raises:
        UsageError: something else is in its place, or it may not be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: a folder expected, found: {error.strerror}") from None


@dataclass(frozen=True, eq=False)
class _TestUnits:
    """The units that `models` are measured on."""

    data: EncodedUnits
    owners: NDArray[Any]
    audit: NDArray[Any] | None


def _test_units(task: Simulation, population: Population) -> _TestUnits:
    """Return the pooled hold-out, or the rows of `--holdout-file`."""
    if task.holdout_file is not None:
        records = read_records(
            [task.holdout_file],
            task.study,
            audit_column=task.choice.audit_column,
        )
        # A hold-out file names no institutions, so nobody has an `own` part of it.
        return _TestUnits(records.data, np.full(len(records), ""), records.audit)
    parts: list[tuple[str, Records]] = [
        (name, records.select(population.holdout[name]))
        for name, records in population.records.items()
    ]
    audits = [records.audit for _, records in parts]
    return _TestUnits(
        concatenate([records.data for _, records in parts]),
        np.concatenate([np.full(len(records), name) for name, records in parts]),
        np.concatenate([a for a in audits if a is not None]) if task.choice.audit_column else None,
    )


def _federate(
    task: Simulation,
    sums: Mapping[str, StudySums],
    clock: _Clock,
    progress: Progress | None,
) -> tuple[Outcome, Plan, int]:
    """Run the federation: real custodians, real door, real rounds."""
    since = time.perf_counter()
    last = [since]

    def stepped(state: TrainingState, total: Sum) -> None:
        del total
        now = time.perf_counter()
        clock.steps.append(now - last[0])
        last[0] = now
        if progress:
            progress("training together", state.step, task.study.training.steps)

    # Ledgers of a simulated federation live as long as its one run.
    with (
        tempfile.TemporaryDirectory(dir=task.out, prefix=".ledgers-") as folder,
        LocalFederation(
            task.study, sums, task.assurance, seed=task.seed, directory=Path(folder)
        ) as federation,
    ):
        job = federation.job()
        job.on_step = stepped
        last[0] = time.perf_counter()
        outcome = federation.run(job)
        for custodian in federation.custodians.values():
            custodian.finish(task.study.id)
    clock.mark("federation_seconds", since)
    return outcome, federation.plan, len(outcome.participants)


def _baselines(
    task: Simulation,
    plan: Plan,
    sums: Mapping[str, StudySums],
    answers: Sequence[AnswerSum],
    progress: Progress | None,
) -> dict[str, dict[str, Parameters]]:
    training = {name: part.training for name, part in sums.items()}
    units = {name: part.training_count for name, part in sums.items()}
    answer = answers[0].values if answers else None
    # In local mode baselines take as many steps, at the same price each, all of them by sums.
    stepwise = plan_for(task.study.stepwise) if task.study.training.local else plan
    trainer = Trainer(stepwise, training, units, task.seed, answer)
    trained = {}
    for index, baseline in enumerate(task.baselines):
        if progress:
            progress(f"baseline {baseline.value}", index, len(task.baselines))
        trained[baseline.value] = trainer.train(baseline)
    return trained


def _results(
    task: Simulation,
    plan: Plan,
    outcome: Outcome,
    participants: int,
    population: Population,
    models: Mapping[str, Mapping[str, Parameters]],
    test: _TestUnits,
) -> dict[str, Any]:
    study = task.study
    names = list(population.records)
    model = model_for(study)
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
        "institutions": [
            {"name": name, "units": len(records)} for name, records in population.records.items()
        ],
        "privacy": _privacy(task, plan, outcome, participants),
        "models": {
            key: _model_metrics(model, trained, names, test, study.evaluation.alert_budget)
            for key, trained in models.items()
        },
        "released_metrics": outcome.released_metrics,
    }
    if outcome.released_groups is not None:
        results["released_groups"] = outcome.released_groups
    if task.world is not None:
        results["world"] = dict(task.world)
    if test.audit is not None and task.study.trains:
        results["groups"] = _groups(task, model, outcome.parameters, test)
    return results


def _privacy(task: Simulation, plan: Plan, outcome: Outcome, participants: int) -> dict[str, Any]:
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
        "noise": task.assurance.value,
        "masked": task.assurance is Assurance.EXACT,
        "epsilon_if_masks_fail": plan.epsilon_if_masks_fail(participants),
        "failed_attempts": outcome.attempts,
    }


def _model_metrics(
    model: RiskModel,
    trained: Mapping[str, Parameters],
    names: list[str],
    test: _TestUnits,
    budget: float,
) -> dict[str, Any]:
    """Measure one model of all, or one model for each institution."""
    labels = test.data.labels
    scored = {key: probabilities(model, p, test.data) for key, p in trained.items()}
    pooled = {key: measure(labels, scores, budget) for key, scores in scored.items()}
    rows = {}
    for name in names:
        key = name if name in trained else ""
        own = test.owners == name
        rows[name] = {"pooled": pooled[key], "own": measure(labels[own], scored[key][own], budget)}
    return {**mean_of(list(pooled.values())), "per_institution": rows}


def _groups(
    task: Simulation, model: RiskModel, parameters: Parameters, test: _TestUnits
) -> dict[str, Any]:
    """Alerts and false positives by a column that no model has seen."""
    if test.audit is None:
        raise UsageError("an audit column expected")
    budget = task.study.evaluation.alert_budget
    reviewed = alerts(probabilities(model, parameters, test.data), budget)
    return {
        "column": task.choice.audit_column,
        "alert_budget": budget,
        "rows": group_rows(test.audit, test.data.labels, reviewed),
    }


def _write(
    task: Simulation,
    results: dict[str, Any],
    models: Mapping[str, Mapping[str, Parameters]],
    test: _TestUnits,
    clock: _Clock,
) -> None:
    """Write model, report and results; results last, so that their presence means all is there."""
    (task.out / "results.json").unlink(missing_ok=True)  # of an earlier run: no longer whole
    if not task.study.trains:
        _write_answers(task, results, clock)
        return
    parameters = models[FEDERATED][""]
    write_model(task.out, task.study, parameters)
    since = time.perf_counter()
    model = model_for(task.study)
    scores = {
        key: [
            ModelScores(
                name=name or key,
                labels=test.data.labels,
                probabilities=probabilities(model, p, test.data),
            )
            for name, p in trained.items()
        ]
        for key, trained in models.items()
    }
    results["files"] = {
        name: name for name in ("results.json", "report.html", "model.json", "model.safetensors")
    }
    results["timing"] = {"total_seconds": 0.0, **clock.marks, **_step_times(clock)}
    write_report(
        task.out / "report.html",
        results=results,
        scores=scores,
        shapes=shapes_of(task.study, parameters),
    )
    results["timing"]["report_seconds"] = round(time.perf_counter() - since, 4)
    results["timing"]["total_seconds"] = round(time.perf_counter() - clock.started, 4)
    write_json(task.out / "results.json", results)


def _write_answers(task: Simulation, results: dict[str, Any], clock: _Clock) -> None:
    """Write the report and results of a study that only asks questions."""
    results["files"] = {name: name for name in ("results.json", "report.html")}
    results["timing"] = {
        **clock.marks,
        "total_seconds": round(time.perf_counter() - clock.started, 4),
    }
    write_answers_report(task.out / "report.html", results)
    write_json(task.out / "results.json", results)


def _step_times(clock: _Clock) -> dict[str, float]:
    return {
        "training_seconds": round(float(np.sum(clock.steps)), 4),
        "step_seconds_median": round(float(np.median(clock.steps)), 6),
    }
