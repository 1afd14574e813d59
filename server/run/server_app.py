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

from fieldfare.server.run.channel import Channel
from fieldfare.server.run.evaluation import read_groups, read_metrics
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.opening import open_federation
from fieldfare.server.run.record import AnswerSum, GroupsSum, NoRecord, Record, Standing, Sum
from fieldfare.server.run.rounds import Federation, SecureSums
from fieldfare.server.run.training import Trained, Training
from fieldfare.shared.evaluation.score_table import alert_threshold, with_threshold
from fieldfare.shared.protocol.plan import ReleaseKind
from fieldfare.shared.queries.questions import QuestionGroup
from fieldfare.shared.run.last_sum import LastSum
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state, summed_again


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
    record: Record = field(default_factory=NoRecord)
    on_step: Callable[[TrainingState, Sum], None] | None = None
    on_open: Callable[[Federation], None] | None = None
    later: tuple[QuestionGroup, ...] = ()
    outcome: Outcome | None = None
    _debits: dict[str, int] = field(default_factory=dict)

    def run(self, channel: Channel) -> Outcome:
        """Open, rehearse, train, evaluate, ask; or go on where the run stands.

        Raises:
            StoppedError: the run was asked to end; it can be resumed.
            StudyError: later questions that the study does not allow; nothing was sent.
            RunError: the run could not be finished; says at which step and why.
        """
        for index, questions in enumerate(self.later):
            self.terms.plan.question_terms(self._later_step(index), questions)
        standing = self.record.standing()
        self._debits = dict(standing.debits)
        federation = open_federation(channel, self.terms, self.record, standing)
        if self.on_open:
            self.on_open(federation)
        sums = SecureSums(channel, federation, self.record, standing)
        study = self.terms.plan.study
        training = Training(study, sums, self.record, self._stepped)
        metrics: dict[str, Any] | None = None
        groups: GroupsSum | None = None
        if self.later:
            model = training.rehearsed(standing).model
            answers = self._answered_later(sums, standing)
        elif study.asks_for_knots:  # training follows from the answers
            answers, trained = self._trained_on_answers(sums, training, standing)
            model = trained.state.model
            metrics, groups = self._evaluated(sums, trained, standing)
        else:
            trained = training.run(standing)
            model = trained.state.model
            if study.trains:
                metrics, groups = self._evaluated(sums, trained, standing)
            answers = standing.answers or self._answered(sums)
        self.outcome = Outcome(
            model,
            metrics,
            tuple(sums.present),
            max(self._debits.values(), default=0),
            sums.failed,
            answers,
            read_groups(self.terms.plan, groups),
        )
        return self.outcome

    def _trained_on_answers(
        self, sums: SecureSums, training: Training, standing: Standing
    ) -> tuple[tuple[AnswerSum, ...], Trained]:
        """Ask what the study declares, unless that was done before, and train on those knots."""
        state, last, answers = training.rehearsed(standing), standing.last, standing.answers
        plan = self.terms.plan
        questions, step = plan.study.questions, plan.query.first_step
        if not answers and questions is not None:
            total = self._total(sums, questions, step)
            answers, last = (_answer_in(total, questions, step),), total.as_last
        if state.step == 0 and answers:
            state = initial_state(plan.study, answers[0].values)
        return answers, training.train(state, last)

    def _answered(self, sums: SecureSums) -> tuple[AnswerSum, ...]:
        """Ask what the study declares, in one exchange."""
        plan = self.terms.plan
        questions = plan.study.questions
        return () if questions is None else (self._asked(sums, questions, plan.query.first_step),)

    def _answered_later(self, sums: SecureSums, standing: Standing) -> tuple[AnswerSum, ...]:
        """Ask the later questions, each group in one exchange, from where the run stands."""
        answers = list(standing.answers)
        for index, questions in enumerate(self.later[len(answers) :], len(answers)):
            if standing.asked != questions or index > len(standing.answers):
                self.record.asking(questions)
            answers.append(self._asked(sums, questions, self._later_step(index)))
        return tuple(answers)

    def _later_step(self, index: int) -> int:
        return self.terms.plan.allowance.first_step + index

    def _asked(self, sums: SecureSums, questions: QuestionGroup, step: int) -> AnswerSum:
        return _answer_in(self._total(sums, questions, step), questions, step)

    def _total(self, sums: SecureSums, questions: QuestionGroup, step: int) -> Sum:
        total = sums.ask(questions, step)
        cost = self.terms.plan.question_terms(step, questions).cost
        self._add_debits(total, cost)
        self.record.answered(total, questions)
        return total

    def _evaluated(
        self, sums: SecureSums, trained: Trained, standing: Standing
    ) -> tuple[dict[str, Any] | None, GroupsSum | None]:
        """Evaluate and count by group, as far as that was not done before an interruption."""
        model, last = trained.state.model, standing.last
        if standing.metrics is not None:
            found = json.loads(standing.metrics) if standing.metrics else None
        else:
            step = self.terms.plan.evaluation.first_step
            total = sums.collect(ReleaseKind.EVALUATION, step, model, trained.last)
            self._account(total, ReleaseKind.EVALUATION)
            found, last = self._metrics(total, model), total.as_last
            self.record.evaluated(total, "" if found is None else rfc8785.dumps(found).decode())
        if not self.terms.plan.study.groups:
            return found, None
        return found, standing.groups or self._grouped(sums, model, last)

    def _grouped(self, sums: SecureSums, model: NDArray[np.float64], table: LastSum) -> GroupsSum:
        """Count alerts by group, from the score that the evaluation's table gives."""
        plan = self.terms.plan
        threshold = alert_threshold(plan.study, summed_again(plan.evaluation, table.vectors))
        bound, step = with_threshold(model, threshold), plan.fairness.first_step
        total = sums.collect(ReleaseKind.FAIRNESS, step, bound, table)
        self._account(total, ReleaseKind.FAIRNESS)
        self.record.grouped(total, threshold)
        return GroupsSum(threshold, total.values, len(total.participants))

    def _stepped(self, state: TrainingState, total: Sum) -> None:
        self._account(total, ReleaseKind.TRAINING)
        if self.on_step:
            self.on_step(state, total)

    def _account(self, total: Sum, kind: ReleaseKind) -> None:
        self._add_debits(total, self.terms.plan.terms(kind).cost)

    def _add_debits(self, total: Sum, cost: int) -> None:
        for institution, releases in total.debits.items():
            self._debits[institution] = self._debits.get(institution, 0) + releases * cost

    def _metrics(self, total: Sum, model: NDArray[np.float64]) -> dict[str, Any] | None:
        return read_metrics(self.terms.plan, total.values, len(total.participants), model)


def _answer_in(total: Sum, questions: QuestionGroup, step: int) -> AnswerSum:
    return AnswerSum(questions, total.values, len(total.participants), step)


def server_app(job: Job) -> ServerApp:
    """Return a ServerApp that carries out one job."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 -- Flower's signature
        job.run(Channel(grid))

    return app
