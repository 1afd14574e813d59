"""The ServerApp: carries out a run, release by release; a job in, an outcome out.

Flower's Message API only. What a job needs is given to it; nothing is read from the
bundle that Flower ships. Which release comes next, and what follows from its sum, is the
run's own (`shared/run`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from fieldfare.server.run.blame import asked_for_keys
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms, hello
from fieldfare.server.run.opening import Opener
from fieldfare.server.run.record import DecodedSum, Record
from fieldfare.server.run.rounds import Federation, SecureSums
from fieldfare.shared.errors import RunError
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.messages import NO_LAST_SUM, ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.groups import read_groups
from fieldfare.shared.run.kinds.guard import read_guard
from fieldfare.shared.run.kinds.kind import Release
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.results import AnswerSum, Results
from fieldfare.shared.study.questions import QuestionGroup


class RunStoppedError(RunError):
    """Somebody asked for the run to end; it can be resumed."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a finished run.

    Attributes:
        parameters: float64 (entries,), the averaged model, without its coordinates.
        released_metrics: what the federation measured of itself; None if noise hid it.
        participants: institutions of the last sum.
        spent: 1e-12 mu^2 debited by the institution that answered most.
        attempts: attempts that failed.
        answers: the sums of the questions that were asked; of the declared ones, one.
        released_groups: how alerts fall on groups; None where the study has none.
        geometry: the coordinates that the model was trained in; None: the features' own.
        released_guard: what became of the public start; None where the study has none.
    """

    parameters: NDArray[np.float64]
    released_metrics: dict[str, Any] | None
    participants: tuple[str, ...]
    spent: int
    attempts: int
    answers: tuple[AnswerSum, ...] = ()
    released_groups: dict[str, Any] | None = None
    geometry: Geometry | None = None
    released_guard: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        plan: Plan,
        results: Results,
        participants: tuple[str, ...],
        *,
        spent: int,
        attempts: int = 0,
    ) -> "Outcome":
        """Return what the results of a finished run come to.

        Raises:
            RunError: it was not even rehearsed.
        """
        model = results.plain_model
        if model is None:
            raise RunError("expected a run that was rehearsed, found none")
        return cls(
            model,
            _parse_metrics(results.metrics),
            participants,
            spent,
            attempts,
            results.answers,
            read_groups(plan, results.groups),
            results.geometry,
            read_guard(plan, results.guard),
        )


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
        checkpoint = record.checkpoint()
        if record.state is not None and record.state.results.remains:
            heard = hello(channel, replace(self.terms, run=""), record)
            nodes = {name: approved.node for name, approved in heard.approvals.items()}
            raise asked_for_keys(channel, self.terms, record, nodes)
        opener = Opener(channel, self.terms, record)
        federation = opener.begin(checkpoint)
        if record.state is None:
            record.begin(federation.agreed, federation.roster)
        if self.on_open:
            self.on_open(federation)
        sums = SecureSums(channel, federation, record, checkpoint, opener.anew)
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
        first = before.sums == 1  # the rehearsal goes along with whatever comes after it
        last = record.last if release.kind.follows or first else NO_LAST_SUM
        total = sums.collect(release, before.content.data, last)
        # Kept before the next request: a crash repeats at most one R, which is free.
        record.keep_sum(total)
        if record.run.results.remains:
            raise asked_for_keys(sums.channel, self.terms, record, sums.federation.nodes)
        state = record.run.results.training
        if self.on_step and state is not None and release.kind.release is ReleaseKind.TRAINING:
            self.on_step(state, total)

    def _outcome(self, sums: SecureSums) -> Outcome:
        state = self.record.run
        spent = max((one.total for one in state.debits.values()), default=0)
        plan, present = self.terms.plan, tuple(sums.present)
        return Outcome.of(plan, state.results, present, spent=spent, attempts=sums.failed)


def _parse_metrics(metrics: str | None) -> dict[str, Any] | None:
    """Return what an evaluation said; None where noise hid it, or there was none."""
    found: dict[str, Any] | None = json.loads(metrics) if metrics else None
    return found


def server_app(job: Job) -> ServerApp:
    """Return a ServerApp that carries out one job."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's signature
        job.run(GridChannel(grid))

    return app
