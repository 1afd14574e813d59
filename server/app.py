"""The ServerApp: opens a run, trains, evaluates; a job in, an outcome out.

Flower's Message API only. What a job needs is given to it; nothing is read from the
bundle that Flower ships.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rfc8785
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from fieldfare.server.channel import Channel
from fieldfare.server.evaluation import evaluate
from fieldfare.server.hello import RunTerms
from fieldfare.server.opening import open_federation
from fieldfare.server.record import AnswerSum, NoRecord, Record, Standing, Sum
from fieldfare.server.rounds import Federation, SecureSums
from fieldfare.server.training import Trained, Training
from fieldfare.shared.adam import TrainingState
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.messages import parameters_to_bytes
from fieldfare.shared.plan import ReleaseKind


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a finished run leaves behind.

    Attributes:
        parameters: float64 (entries,), the averaged model.
        released_metrics: what the federation measured of itself; None if noise hid it.
        participants: institutions of the last sum.
        spent: 1e-12 mu^2 debited by the institution that answered most.
        attempts: attempts that failed.
        answers: the sum of the declared questions; None where there are none.
    """

    parameters: NDArray[np.float64]
    released_metrics: dict[str, Any] | None
    participants: tuple[str, ...]
    spent: int
    attempts: int
    answers: AnswerSum | None = None


@dataclass(eq=False)
class Job:
    """One run for the coordinator to carry out."""

    terms: RunTerms
    record: Record = field(default_factory=NoRecord)
    on_step: Callable[[TrainingState, Sum], None] | None = None
    on_open: Callable[[Federation], None] | None = None
    outcome: Outcome | None = None
    _debits: dict[str, int] = field(default_factory=dict)

    def run(self, channel: Channel) -> Outcome:
        """Open, rehearse, train, evaluate, ask; or go on where the run stands.

        Raises:
            StoppedError: somebody asked for the run to end; it can be resumed.
            RunError: the run could not be finished; says at which step and why.
        """
        standing = self.record.standing()
        self._debits = dict(standing.debits)
        federation = open_federation(channel, self.terms, self.record, standing)
        if self.on_open:
            self.on_open(federation)
        sums = SecureSums(channel, federation, self.record, standing)
        study = self.terms.plan.study
        trained = Training(study, sums, self.record, self._stepped).run(standing)
        metrics = self._evaluated(sums, trained, standing) if study.trains else None
        answers = self._answered(sums, standing)
        self.outcome = Outcome(
            trained.state.model,
            metrics,
            tuple(sums.present),
            max(self._debits.values(), default=0),
            sums.failed,
            answers,
        )
        return self.outcome

    def _answered(self, sums: SecureSums, standing: Standing) -> AnswerSum | None:
        """Ask what the study declares, in one exchange, unless that was done before."""
        if standing.answers is not None:
            return standing.answers
        plan = self.terms.plan
        questions = plan.study.questions
        if questions is None:
            return None
        total = sums.ask(questions, plan.query.first_step)
        self._account(total, ReleaseKind.QUERY)
        self.record.answered(total, questions)
        return AnswerSum(questions, total.values, len(total.participants))

    def _evaluated(
        self, sums: SecureSums, trained: Trained, standing: Standing
    ) -> dict[str, Any] | None:
        """Evaluate, unless that was done before the run was interrupted."""
        if standing.metrics is not None:
            return json.loads(standing.metrics) if standing.metrics else None
        step, model = self.terms.plan.study.training.steps, trained.state.model
        total = sums.collect(ReleaseKind.EVALUATION, step, model, trained.last)
        self._account(total, ReleaseKind.EVALUATION)
        found = self._metrics(total, model)
        self.record.evaluated(total, "" if found is None else rfc8785.dumps(found).decode())
        return found

    def _stepped(self, state: TrainingState, total: Sum) -> None:
        self._account(total, ReleaseKind.TRAINING)
        if self.on_step:
            self.on_step(state, total)

    def _account(self, total: Sum, kind: ReleaseKind) -> None:
        cost = self.terms.plan.terms(kind).cost
        for institution, releases in total.debits.items():
            self._debits[institution] = self._debits.get(institution, 0) + releases * cost

    def _metrics(self, total: Sum, model: NDArray[np.float64]) -> dict[str, Any] | None:
        """Evaluate; replicates are seeded by what was released, so anybody gets the same."""
        seed = int(bytes_hash(parameters_to_bytes(model) + total.values.tobytes())[:16], 16)
        sigma = self.terms.plan.evaluation.sigma
        study = self.terms.plan.study
        return evaluate(study, total.values, sigma, np.random.default_rng(seed))


def server_app(job: Job) -> ServerApp:
    """Return a ServerApp that carries out one job."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's signature
        job.run(Channel(grid))

    return app
