"""The ServerApp: carries out a run, release by release; a job in, an outcome out.

Flower's Message API only. What a job needs is given to it; nothing is read from the
bundle that Flower ships. Which release comes next, and what follows from its sum, is the
run's own (`shared/run`).

The federation's evaluation is post-processing of one noisy table: negatives and positives by
public score bin, summed over all hold-outs with noise of known sigma. Each metric comes with a
95 % interval that includes both the noise and the chance of which units were held out.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import rfc8785
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.opening import open_federation
from fieldfare.server.run.record import DecodedSum, Record
from fieldfare.server.run.rounds import Federation, SecureSums
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RunError
from fieldfare.shared.evaluation.groups import Interval
from fieldfare.shared.evaluation.score_table import Counts, inner_edges, project
from fieldfare.shared.protocol.messages import NO_LAST_SUM, ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.queries.questions import QuestionGroup
from fieldfare.shared.run.kinds.groups import read_groups
from fieldfare.shared.run.kinds.kind import Release
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.results import AnswerSum
from fieldfare.shared.study.study import Study

REPLICATES: Final = 600
LOW, HIGH = 2.5, 97.5  # percentiles of a 95 % interval
CALIBRATION_SIGMAS: Final = 3.0  # a calibration point rests on at least this many sigma
MIN_CELL: Final = 10.0


def curve_metrics(negatives: Counts, positives: Counts, budget: float) -> NDArray[np.float64]:
    """Return AUROC, average precision, precision and recall at the budget, row by row.

    Args:
        negatives: float64 (rows, bins), lowest scores first.
        positives: float64 (rows, bins).
        budget: share of all units that is reviewed, highest scores first.

    Returns:
        float64 (rows, 4); NaN where a class is missing. Units of one bin count as tied
        in AUROC and as evenly mixed in the others.
    """
    negatives, positives = negatives[:, ::-1], positives[:, ::-1]  # highest scores first
    total_n, total_p = negatives.sum(axis=1), positives.sum(axis=1)
    above_n = np.cumsum(negatives, axis=1) - negatives
    above_p = np.cumsum(positives, axis=1) - positives
    with np.errstate(divide="ignore", invalid="ignore"):
        below = total_n[:, None] - above_n - negatives / 2
        auroc = (positives * below).sum(axis=1) / (total_p * total_n)
        middle_p, middle_n = above_p + positives / 2, above_n + negatives / 2
        precision = middle_p / (middle_p + middle_n)
        average = np.nansum(positives * precision, axis=1) / total_p
        reviewed = budget * (total_n + total_p)
        share = np.clip((reviewed[:, None] - above_n - above_p) / (negatives + positives), 0, 1)
        found = np.nansum(np.nan_to_num(share) * positives, axis=1)
        metrics = np.stack([auroc, average, found / reviewed, found / total_p], axis=1)
    np.clip(metrics, 0.0, 1.0, out=metrics)  # rounding may pass an end by a last bit
    metrics[(total_n <= 0) | (total_p <= 0)] = np.nan
    return metrics


def evaluate(
    study: Study, noisy: Counts, sigma: float, generator: np.random.Generator
) -> dict[str, Any] | None:
    """Turn one released table of counts into metrics with intervals.

    Args:
        study: bins, budget, prevalence.
        noisy: float64 (2 * bins,), negatives by bin, then positives.
        sigma: standard deviation of the noise in each cell: of all shares in the sum, which is
            more than the plan's sigma (`ReleaseTerms.noise_on_sum`).
        generator: draws the replicates of the parametric bootstrap; post-processing only.

    Returns:
        The documented `released_metrics`; None when noise leaves no class to measure.
    """
    table = noisy.reshape(2, -1)
    negatives, positives = project(table)
    budget = study.evaluation.alert_budget
    point = curve_metrics(negatives[None], positives[None], budget)[0]
    if np.isnan(point).any():
        return None
    shape = (REPLICATES, table.shape[1])
    draws = [
        project(generator.poisson(row, shape) + generator.normal(0.0, sigma, shape))
        for row in (negatives, positives)
    ]
    replicates = curve_metrics(draws[0], draws[1], budget)
    names = ("auroc", "average_precision", "precision", "recall")
    metrics: dict[str, Any] = {
        name: _interval(point[i], replicates[:, i]).as_dict() for i, name in enumerate(names)
    }
    metrics["alert_budget"] = budget
    metrics["units"] = _total(table.sum(), sigma, table.size).as_dict()
    metrics["positives"] = _total(table[1].sum(), sigma, table.shape[1]).as_dict()
    metrics["sigma"] = sigma
    metrics["calibration"] = calibration(study, table, sigma)
    return metrics


def _interval(point: float, replicates: NDArray[np.float64]) -> Interval:
    """Return the percentile bootstrap interval of a rate (Efron-Tibshirani 1993, section 13).

    A rate lives between 0 and 1 and is often near an end: percentiles keep to that range,
    where a pivotal interval would reach past an end and be cut short of the other.
    """
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < REPLICATES // 2:
        return Interval(float(point), 0.0, 1.0)  # too noisy to say anything: say so
    low, high = np.percentile(finite, [LOW, HIGH])
    return Interval(float(point), float(min(low, point)), float(max(high, point)))


def _total(value: float, sigma: float, cells: int) -> Interval:
    """Return a count's interval: the noise of the cells that it adds up."""
    half = 1.96 * sigma * float(np.sqrt(cells))
    return Interval(max(0.0, float(value)), max(0.0, float(value) - half), float(value) + half)


def calibration(study: Study, table: Counts, sigma: float) -> list[dict[str, float]]:
    """Return predicted against observed rates, over runs of bins that noise lets us see.

    Neighbouring bins are merged, from the highest down, until a point rests on at least
    max(10, 3 sigma) units per noisy cell that it adds up.
    """
    predicted = _bin_probabilities(study)
    points = []
    start = table.shape[1]
    for stop in range(table.shape[1] - 1, -1, -1):
        block = table[:, stop:start]
        noise = sigma * float(np.sqrt(block.size))
        units = float(block.sum())
        if units < max(MIN_CELL, CALIBRATION_SIGMAS * noise):
            continue
        points.append(_calibration_point(block, predicted[stop:start], sigma))
        start = stop
    return points[::-1]


def _calibration_point(
    block: Counts, predicted: NDArray[np.float64], sigma: float
) -> dict[str, float]:
    units = float(block.sum())
    weights = np.maximum(block.sum(axis=0), 0.0)
    observed = float(np.clip(block[1].sum() / units, 0.0, 1.0))
    noise = sigma * float(np.sqrt(block.shape[1])) / units
    chance = float(np.sqrt(max(observed * (1 - observed), 1 / units) / units))
    half = 1.96 * float(np.hypot(noise, chance))
    return {
        "predicted": float(np.average(predicted, weights=weights)),
        "observed": observed,
        "low": max(0.0, observed - half),
        "high": min(1.0, observed + half),
        "units": units,
    }


def _bin_probabilities(study: Study) -> NDArray[np.float64]:
    """Return the probability that each bin's middle stands for; the outer bins use their edge."""
    edges = inner_edges(study)
    inner = (edges[1:] + edges[:-1]) / 2
    middles: Counts = np.concatenate([edges[:1], inner, edges[-1:]])
    odds: Counts = np.exp(middles)
    return odds / (1.0 + odds)


def read_metrics(
    plan: Plan, table: Counts, participants: int, model: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Read one released table of counts: `evaluate` with the noise that is on this sum.

    Replicates are seeded by the released sum, so that every reader gets the same figures.

    Args:
        plan: of the study.
        table: float64 (2 * bins,), the decoded sum.
        participants: institutions whose shares of the noise are in it.
        model: float64 (entries,), the parameters that were evaluated.
    """
    seed = int(bytes_hash(parameters_to_bytes(model) + table.tobytes())[:16], 16)
    tolerance = plan.study.privacy.collusion_tolerance
    noise = plan.evaluation.noise_on_sum(participants, tolerance)
    return evaluate(plan.study, table, noise, np.random.default_rng(seed))


# -- server app -----------------------------------------------------------------------------------


class RunStoppedError(RunError):
    """Somebody asked for the run to end; it can be resumed."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a finished run.

    Attributes:
        parameters: float64 (entries,), the averaged model.
        released_metrics: what the federation measured of itself; None if noise hid it.
        participants: institutions of the last sum.
        spent: 1e-12 mu^2 debited by the institution that answered most.
        attempts: attempts that failed.
        answers: the sums of the questions that were asked; of the declared ones, one.
        released_groups: how alerts fall on groups; None where the study has none.
    """

    parameters: NDArray[np.float64]
    released_metrics: dict[str, Any] | None
    participants: tuple[str, ...]
    spent: int
    attempts: int
    answers: tuple[AnswerSum, ...] = ()
    released_groups: dict[str, Any] | None = None


@dataclass(eq=False)
class Job:
    """One run for the coordinator to carry out.

    Attributes:
        terms: the terms that it is opened with.
        record: keeps it.
        on_step: called after each training step.
        on_open: called when it is open.
        later: groups of questions that it is for, within the study's allowance; with any,
            nothing is trained, and what the study declares is not asked.
        outcome: of the finished run.
    """

    terms: RunTerms
    record: Record = field(default_factory=Record)
    on_step: Callable[[TrainingState, DecodedSum], None] | None = None
    on_open: Callable[[Federation], None] | None = None
    later: tuple[QuestionGroup, ...] = ()
    outcome: Outcome | None = None
    _metrics: dict[str, Any] | None = None

    def run(self, channel: GridChannel) -> Outcome:
        """Open the run and collect release after release; or go on where it stands.

        Raises:
            StoppedError: the run was asked to end; it can be resumed.
            StudyError: later questions that the study does not allow; nothing was sent.
            RunError: the run could not be finished; says at which step and why.
        """
        plan, record = self.terms.plan, self.record
        for index, questions in enumerate(self.later):
            plan.question_terms(plan.allowance.first_step + index, questions)
        standing = record.standing()
        federation = open_federation(channel, self.terms, record, standing)
        if record.state is None:
            record.begin(federation.agreed, federation.roster)
        if self.on_open:
            self.on_open(federation)
        self._metrics = _parsed(record.run.results.metrics)
        sums = SecureSums(channel, federation, record, standing)
        while (release := self._due()) is not None:
            self._collect(sums, release)
        self.outcome = self._outcome(sums)
        return self.outcome

    def _due(self) -> Release | None:
        """Return what to collect next; later questions are written down before they are asked."""
        results = self.record.run.results
        answered = results.answered
        if self.later and results.rehearsed and answered == len(results.later) < len(self.later):
            self.record.asking(self.later[answered])
        release = self.record.run.expected()
        if release is not None and release.kind.stops and self.record.stopping():
            raise RunStoppedError(
                f"stopped after step {results.steps} as somebody asked: resume it"
            )
        return release

    def _collect(self, sums: SecureSums, release: Release) -> None:
        """Collect one release, and keep its sum and what follows from it."""
        record, plan, before = self.record, self.terms.plan, self.record.run
        release.kind.check_participants(plan, before.results, sums.present)
        last = record.last if release.kind.follows else NO_LAST_SUM
        total = sums.collect(release, before.content.data, last)
        metrics = ""
        if release.kind.release is ReleaseKind.EVALUATION:
            self._metrics = self._read(total)
            metrics = "" if self._metrics is None else rfc8785.dumps(self._metrics).decode()
        # Kept before the next request: a crash repeats at most one R, which is free.
        record.summed(total, metrics)
        state = record.run.results.training
        if self.on_step and state is not None and release.kind.release is ReleaseKind.TRAINING:
            self.on_step(state, total)

    def _read(self, total: DecodedSum) -> dict[str, Any] | None:
        count = len(total.participants)
        return read_metrics(self.terms.plan, total.values, count, self._model())

    def _model(self) -> NDArray[np.float64]:
        training = self.record.run.results.training
        if training is None:
            raise RunError("expected a run that was rehearsed, found none")
        return training.model

    def _outcome(self, sums: SecureSums) -> Outcome:
        state = self.record.run
        return Outcome(
            self._model(),
            self._metrics,
            tuple(sums.present),
            max(state.debits.values(), default=0),
            sums.failed,
            state.results.answers,
            read_groups(self.terms.plan, state.results.groups),
        )


def _parsed(metrics: str | None) -> dict[str, Any] | None:
    """Return what an evaluation before an interruption said."""
    found: dict[str, Any] | None = json.loads(metrics) if metrics else None
    return found


def server_app(job: Job) -> ServerApp:
    """Return a ServerApp that carries out one job."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's signature
        job.run(GridChannel(grid))

    return app
