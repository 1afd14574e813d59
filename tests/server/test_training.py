"""The loop: rehearse once, step, save; and go on from a checkpoint as if nothing had happened."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.server.conftest import STEPS, MakeSetting, Setting, exact_gradient, make_study

from fieldfare.server.app import Job
from fieldfare.server.checkpoint import Checkpoints
from fieldfare.server.opening import open_federation
from fieldfare.server.record import Sum
from fieldfare.server.rounds import SecureSums
from fieldfare.server.training import Training
from fieldfare.shared.adam import TrainingState
from fieldfare.shared.errors import RunError
from fieldfare.shared.messages import Assurance
from fieldfare.shared.plan import ReleaseKind
from fieldfare.shared.score_bins import prevalence_log_odds

LONG = make_study(training={"steps": 8})


@dataclass(frozen=True)
class FullFrom(Checkpoints):
    """A disk that is full from some step on."""

    step: int

    def save(self, state: TrainingState) -> None:
        if state.step >= self.step:
            raise RunError("a checkpoint could not be written: No space left on device")
        super().save(state)


def sums_of(setting: Setting, run: str = "run") -> SecureSums:
    channel = setting.channel()
    return SecureSums(channel, open_federation(channel, setting.federation.job(run).terms))


def job_of(setting: Setting, run: str, path: Path) -> Job:
    job = setting.federation.job(run)
    job.checkpoints = Checkpoints(path, setting.federation.study.id, run)
    return job


def test_training_starts_at_the_public_prevalence_and_makes_every_step(setting: Setting) -> None:
    study = setting.federation.study
    seen: list[tuple[TrainingState, Sum]] = []
    training = Training(study, sums_of(setting), on_step=lambda s, t: seen.append((s, t)))
    state = training.run()
    assert [s.step for s, _ in seen] == list(range(1, STEPS + 1))
    assert state is seen[-1][0]
    start = np.zeros_like(state.parameters)
    start[0] = prevalence_log_odds(study)
    expected = exact_gradient(setting, tuple(setting.sums), start)
    sigma = setting.federation.plan.training.sigma
    noise = seen[0][1].values - expected
    assert np.abs(noise).max() < 6 * sigma  # the sum of the records at the start, and noise
    assert np.abs(noise).max() > 0


def test_a_run_rehearses_once_and_before_anything_is_paid(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = sums_of(setting)
    paid: list[dict[str, int]] = []
    rehearse = sums.rehearse

    def watched(parameters: NDArray[np.float64]) -> None:
        rehearse(parameters)
        paid.append(setting.debits())

    monkeypatch.setattr(sums, "rehearse", watched)
    Training(setting.federation.study, sums).run()
    assert paid == [dict.fromkeys(setting.sums, 0)]
    assert setting.debits() == dict.fromkeys(setting.sums, STEPS)


@pytest.mark.parametrize("step", [1, 5])
def test_a_resumed_run_ends_at_the_model_of_an_uninterrupted_one(
    make_setting: MakeSetting, tmp_path: Path, step: int
) -> None:
    """Seeded noise: both federations draw the same, so the models may be compared bit for bit."""
    whole, broken = make_setting(LONG, seed=3), make_setting(LONG, seed=3)
    uninterrupted = whole.run(job_of(whole, "run", tmp_path / "whole"))

    first = job_of(broken, "run", tmp_path / "broken")
    first.checkpoints = FullFrom(tmp_path / "broken", LONG.id, "run", step)
    with pytest.raises(RunError, match="No space left"):
        broken.run(first)
    assert broken.debits() == dict.fromkeys(broken.sums, step)  # one more than is saved
    resumed = broken.run(job_of(broken, "run", tmp_path / "broken"))

    assert resumed.parameters.tobytes() == uninterrupted.parameters.tobytes()
    assert broken.debits() == whole.debits()  # the step that was repeated was free


def test_exact_replies_come_back_as_they_left(make_setting: MakeSetting, tmp_path: Path) -> None:
    """From a checkpoint in mid-run, the same requests meet the same stored bytes: no new noise."""
    setting = make_setting(LONG, Assurance.EXACT)
    path, kept = tmp_path / "run", tmp_path / "kept"
    job = job_of(setting, "run", path)
    replies: dict[int, dict[str, bytes]] = {}

    def remember(state: TrainingState, total: Sum) -> None:
        replies[state.step] = dict(total.replies)
        if state.step == LONG.training.steps // 2:
            shutil.copy(path, kept)

    job.on_step = remember
    uninterrupted, paid = setting.run(job), setting.debits()

    shutil.copy(kept, path)
    again = job_of(setting, "run", path)
    repeated: dict[int, dict[str, bytes]] = {}
    again.on_step = lambda state, total: repeated.update({state.step: dict(total.replies)})
    resumed = setting.run(again)

    assert sorted(repeated) == [5, 6, 7, 8]
    assert repeated == {step: replies[step] for step in repeated}
    assert resumed.parameters.tobytes() == uninterrupted.parameters.tobytes()
    assert resumed.released_metrics == uninterrupted.released_metrics
    assert setting.debits() == paid


def test_a_finished_training_is_not_trained_again(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting()
    study, sums = setting.federation.study, sums_of(setting)
    checkpoints = Checkpoints(tmp_path / "run", study.id, "run")
    state = Training(study, sums, checkpoints).run()
    paid = setting.debits()
    loaded = Training(study, sums_of(setting), checkpoints).run()
    assert loaded.model.tobytes() == state.model.tobytes()
    assert setting.debits() == paid


def test_without_a_checkpoint_the_same_run_is_not_started_twice(setting: Setting) -> None:
    """The custodians' keys have moved on: a second start is found out before it costs anything."""
    Training(setting.federation.study, sums_of(setting)).run()
    paid = setting.debits()
    with pytest.raises(RunError, match=r"at least 3 institutions expected.*step_closed"):
        Training(setting.federation.study, sums_of(setting)).run()
    assert setting.debits() == paid


def test_an_evaluation_belongs_after_training(setting: Setting) -> None:
    sums = sums_of(setting)
    parameters = np.zeros(setting.federation.plan.training.vectors.entries)
    with pytest.raises(RunError, match="not_in_plan"):
        sums.collect(ReleaseKind.EVALUATION, 0, parameters)
    assert setting.debits() == dict.fromkeys(setting.sums, 0)
