"""The training loop: a secure sum, a step of Adam, a checkpoint; again."""

from collections.abc import Callable
from dataclasses import dataclass

from fieldfare.server.checkpoint import Checkpoints
from fieldfare.server.rounds import SecureSums, Sum
from fieldfare.shared.adam import TrainingState, next_state
from fieldfare.shared.models import model_for
from fieldfare.shared.plan import ReleaseKind
from fieldfare.shared.score_bins import prevalence_log_odds
from fieldfare.shared.study import Study

OnStep = Callable[[TrainingState, Sum], None]


@dataclass(frozen=True)
class Training:
    """One run's training."""

    study: Study
    sums: SecureSums
    checkpoints: Checkpoints | None = None
    on_step: OnStep | None = None

    def run(self) -> TrainingState:
        """Train from the last checkpoint, or from the public prevalence, to the last step.

        Raises:
            RunError: a sum could not be collected; the checkpoint stands.
        """
        state = self._resumed()
        if state is None:
            state = TrainingState.start(
                model_for(self.study).initial(prevalence_log_odds(self.study))
            )
            self.sums.rehearse(state.parameters)
            self._save(state)  # custodians rehearse a run once: a resumed one must know
        while state.step < self.study.training.steps:
            total = self.sums.collect(ReleaseKind.TRAINING, state.step, state.parameters)
            state = next_state(self.study, state, total.values)
            # Saved before the next request: a crash repeats at most one R, which is free.
            self._save(state)
            if self.on_step:
                self.on_step(state, total)
        return state

    def _save(self, state: TrainingState) -> None:
        if self.checkpoints:
            self.checkpoints.save(state)

    def _resumed(self) -> TrainingState | None:
        return self.checkpoints.load() if self.checkpoints else None
