"""The training loop: a secure sum, a step of Adam, both kept; again."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fieldfare.server.run.record import NoRecord, Record, Standing, Sum
from fieldfare.server.run.rounds import SecureSums
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.plan import ReleaseKind
from fieldfare.shared.run.last_sum import LastSum
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state, stepped
from fieldfare.shared.study.study import Study

OnStep = Callable[[TrainingState, Sum], None]


class StoppedError(RunError):
    """The run was asked to end; it can be resumed."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The parameters where training ended, and the last sum."""

    state: TrainingState
    last: LastSum


@dataclass(frozen=True)
class Training:
    """One run's training."""

    study: Study
    sums: SecureSums
    record: Record = field(default_factory=NoRecord)
    on_step: OnStep | None = None

    def run(self, standing: Standing) -> Trained:
        """Train from where the run stands, or from the public prevalence, to the last step.

        Raises:
            StoppedError: the run was asked to end, between two steps.
            RunError: a sum could not be collected; the kept steps stand.
        """
        return self.train(self.rehearsed(standing), standing.last)

    def train(self, state: TrainingState, last: LastSum) -> Trained:
        """Train from `state`, which follows from the sum `last`, to the last step.

        Raises:
            StoppedError, RunError: as `run`.
        """
        first = self.sums.federation.plan.training.first_step
        while state.step < self.study.training.steps:
            self._check_wanted(state)
            step = first + state.step
            total = self.sums.collect(ReleaseKind.TRAINING, step, state.parameters, last)
            state = stepped(self.study, state, total.values, len(total.participants))
            last = total.as_last
            # Kept before the next request: a crash repeats at most one R, which is free.
            self.record.summed(total, state)
            if self.on_step:
                self.on_step(state, total)
        self._check_wanted(state)
        return Trained(state, last)

    def rehearsed(self, standing: Standing) -> TrainingState:
        """Rehearse, unless that was done before; return where training stands."""
        if standing.state is not None:
            return standing.state
        state = initial_state(self.study)
        self._check_wanted(state)
        # Custodians rehearse a run once: a resumed one must know.
        self.record.summed(self.sums.rehearse(state.parameters), state)
        return state

    def _check_wanted(self, state: TrainingState) -> None:
        if self.record.stopping():
            raise StoppedError(f"stopped after step {state.step} as requested: resume it")
