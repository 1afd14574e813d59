"""The ServerApp: opens a run, trains, evaluates; a job in, an outcome out.

Flower's Message API only. What a job needs is given to it; nothing is read from the
bundle that Flower ships.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from fieldfare.server.channel import Channel
from fieldfare.server.checkpoint import Checkpoints
from fieldfare.server.evaluation import evaluate
from fieldfare.server.opening import RunTerms, open_federation
from fieldfare.server.rounds import SecureSums, Sum
from fieldfare.server.training import Training
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
    """

    parameters: NDArray[np.float64]
    released_metrics: dict[str, Any] | None
    participants: tuple[str, ...]
    spent: int
    attempts: int


@dataclass(eq=False)
class Job:
    """One run for the coordinator to carry out."""

    terms: RunTerms
    checkpoints: Checkpoints | None = None
    on_step: Callable[[TrainingState, Sum], None] | None = None
    on_open: Callable[[tuple[str, ...]], None] | None = None
    outcome: Outcome | None = None
    _debits: dict[str, int] = field(default_factory=dict)
    _failed: int = 0

    def run(self, channel: Channel) -> Outcome:
        """Open, rehearse, train, evaluate.

        Raises:
            RunError: the run could not be finished; says at which step and why.
        """
        federation = open_federation(channel, self.terms)
        if self.on_open:
            self.on_open(tuple(sorted(federation.participants)))
        sums = SecureSums(channel, federation)
        study = self.terms.plan.study
        state = Training(study, sums, self.checkpoints, self._stepped).run()
        model = state.model
        total = sums.collect(ReleaseKind.EVALUATION, study.training.steps, model)
        self._account(total, ReleaseKind.EVALUATION)
        self.outcome = Outcome(
            model,
            self._metrics(total, model),
            total.participants,
            max(self._debits.values(), default=0),
            self._failed,
        )
        return self.outcome

    def _stepped(self, state: TrainingState, total: Sum) -> None:
        self._account(total, ReleaseKind.TRAINING)
        if self.on_step:
            self.on_step(state, total)

    def _account(self, total: Sum, kind: ReleaseKind) -> None:
        cost = self.terms.plan.terms(kind).cost
        self._failed += total.attempt
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
