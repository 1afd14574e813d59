"""The loop: rehearse once, step, keep; and go on from what was kept as if nothing had happened."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.server.conftest import STEPS, Book, MakeSetting, Setting, exact_gradient, make_study

from fieldfare.server.run.opening import open_federation
from fieldfare.server.run.record import NoRecord, Standing, Sum
from fieldfare.server.run.rounds import SecureSums
from fieldfare.server.run.training import StoppedError, Training
from fieldfare.server.store.rows import RunState
from fieldfare.shared.errors import RunError
from fieldfare.shared.evaluation.score_table import prevalence_log_odds
from fieldfare.shared.privacy.samplers import Assurance
from fieldfare.shared.protocol.plan import ReleaseKind
from fieldfare.shared.run.last_sum import NO_LAST_SUM
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state, replay_step

LONG = make_study(training={"steps": 8})


def sums_of(setting: Setting, run: str = "run") -> SecureSums:
    channel = setting.channel()
    return SecureSums(channel, open_federation(channel, setting.federation.job(run).terms))


@dataclass(frozen=True)
class Full(NoRecord):
    """A disk that is full from some step on."""

    step: int

    def summed(self, total: Sum, state: TrainingState) -> None:
        del total
        if state.step >= self.step:
            raise RunError("kept steps expected: No space left on device")


@dataclass(frozen=True)
class Wanted(NoRecord):
    """Somebody asks for the run to end once so many sums were kept."""

    sums: int
    kept: list[int] = field(default_factory=list)

    def summed(self, total: Sum, state: TrainingState) -> None:
        del total
        self.kept.append(state.step)

    def stopping(self) -> bool:
        return len(self.kept) >= self.sums


def test_training_starts_at_the_public_prevalence_and_makes_every_step(setting: Setting) -> None:
    study = setting.federation.study
    seen: list[tuple[TrainingState, Sum]] = []
    training = Training(study, sums_of(setting), on_step=lambda s, t: seen.append((s, t)))
    trained = training.run(Standing())
    assert [s.step for s, _ in seen] == list(range(1, STEPS + 1))
    assert trained.state is seen[-1][0]
    assert trained.last == seen[-1][1].as_last
    start = np.zeros_like(trained.state.parameters)
    start[0] = prevalence_log_odds(study)
    expected = exact_gradient(setting, tuple(setting.sums), start)
    sigma = setting.federation.plan.training.sigma
    noise = seen[0][1].values - expected
    assert np.abs(noise).max() < 6 * sigma  # the sum of the records at the start, and noise
    assert np.abs(noise).max() > 0


def test_every_step_follows_from_the_vectors_before_it(make_setting: MakeSetting) -> None:
    """As custodians and auditors take it, bit for bit."""
    setting = make_setting(LONG, Assurance.EXACT)
    seen: list[tuple[TrainingState, Sum]] = []
    Training(LONG, sums_of(setting), on_step=lambda s, t: seen.append((s, t))).run(Standing())
    state = initial_state(LONG)
    for found, total in seen:
        vectors = list(total.vectors.values())
        state = replay_step(LONG, state, setting.federation.plan.training, vectors)
        assert found.to_bytes() == state.to_bytes()
    assert len(seen) == LONG.training.steps


def test_a_run_rehearses_once_and_before_anything_is_paid(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = sums_of(setting)
    paid: list[dict[str, int]] = []
    rehearse = sums.rehearse

    def watched(parameters: NDArray[np.float64]) -> Sum:
        total = rehearse(parameters)
        paid.append(setting.debits())
        return total

    monkeypatch.setattr(sums, "rehearse", watched)
    Training(setting.federation.study, sums).run(Standing())
    assert paid == [dict.fromkeys(setting.sums, 0)]
    assert setting.debits() == dict.fromkeys(setting.sums, STEPS)


def test_a_step_is_kept_before_the_next_is_asked_for(setting: Setting) -> None:
    kept: list[tuple[int, int]] = []

    class Watched(NoRecord):
        def summed(self, total: Sum, state: TrainingState) -> None:
            del total
            kept.append((state.step, setting.debits()["bank-a"]))

    Training(setting.federation.study, sums_of(setting), Watched()).run(Standing())
    assert kept == [(step, step) for step in range(STEPS + 1)]


@pytest.mark.parametrize("step", [1, 5])
def test_a_disk_that_is_full_ends_the_run_with_at_most_one_sum_unkept(
    make_setting: MakeSetting, step: int
) -> None:
    setting = make_setting(LONG, seed=3)
    with pytest.raises(RunError, match="No space left"):
        Training(LONG, sums_of(setting), Full(step)).run(Standing())
    assert setting.debits() == dict.fromkeys(setting.sums, step)  # one more than is kept


@pytest.mark.parametrize("sums", range(1, LONG.training.steps + 2))
def test_a_run_stops_between_two_steps_when_somebody_asks(
    make_setting: MakeSetting, sums: int
) -> None:
    setting = make_setting(LONG)
    with pytest.raises(StoppedError, match=f"stopped after step {sums - 1} .*resume it"):
        Training(LONG, sums_of(setting), Wanted(sums)).run(Standing())
    assert setting.debits() == dict.fromkeys(setting.sums, sums - 1)


def test_a_run_that_is_not_wanted_any_more_is_not_begun(setting: Setting) -> None:
    asked: list[Any] = []
    channel = setting.over(setting.federation.grid(tap=asked.append))
    sums = SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))
    asked.clear()
    with pytest.raises(StoppedError, match="stopped after step 0"):
        Training(setting.federation.study, sums, Wanted(0)).run(Standing())
    assert asked == []


def test_a_stopped_run_goes_on_where_it_stood(make_setting: MakeSetting, tmp_path: Path) -> None:
    whole, stopped = make_setting(LONG, seed=3), make_setting(LONG, seed=3)
    uninterrupted = Book.begin(whole, tmp_path / "whole").carry_on()
    book = Book.begin(stopped, tmp_path / "stopped")
    with book.record() as record:
        job = book.job(record)

        def ask(state: TrainingState, total: Sum) -> None:
            del total
            if state.step == 3:
                record.store.request_stop(book.run)

        job.on_step = ask
        with pytest.raises(StoppedError, match="after step 3"):
            stopped.run(job)
    assert stopped.debits() == dict.fromkeys(stopped.sums, 3)
    with book.record() as record:
        record.store.set_state(book.run, RunState.STOPPED, "", book.now)
        record.store.reopen(record.store.row(book.run))
    resumed = book.carry_on()
    assert resumed.parameters.tobytes() == uninterrupted.parameters.tobytes()
    assert stopped.debits() == whole.debits()


def test_a_finished_training_is_not_trained_again(setting: Setting) -> None:
    study = setting.federation.study
    trained = Training(study, sums_of(setting)).run(Standing())
    paid = setting.debits()
    standing = Standing(state=trained.state, last=trained.last)
    again = Training(study, sums_of(setting)).run(standing)
    assert again.state is trained.state
    assert again.last == trained.last
    assert setting.debits() == paid


def test_training_goes_on_from_a_standing_with_its_last_sum(make_setting: MakeSetting) -> None:
    """Without it custodians that have answered the step after it answer, and no others do."""
    setting = make_setting(LONG, Assurance.EXACT)
    seen: list[tuple[TrainingState, Sum]] = []
    stop = Wanted(4)
    training = Training(LONG, sums_of(setting), stop, lambda s, t: seen.append((s, t)))
    with pytest.raises(StoppedError):
        training.run(Standing())
    state, last = seen[-1][0], seen[-1][1].as_last
    with pytest.raises(RunError, match="not_recomputed"):
        Training(LONG, sums_of(setting)).run(Standing(state=state, last=NO_LAST_SUM))
    trained = Training(LONG, sums_of(setting)).run(Standing(state=state, last=last))
    assert trained.state.step == LONG.training.steps
    assert setting.debits() == dict.fromkeys(setting.sums, LONG.training.steps)


def test_without_a_record_the_same_run_is_not_started_twice(setting: Setting) -> None:
    """The custodians' keys have moved on: a second start is found out before it costs anything."""
    Training(setting.federation.study, sums_of(setting)).run(Standing())
    paid = setting.debits()
    with pytest.raises(RunError, match=r"at least 3 institutions.*step_closed"):
        Training(setting.federation.study, sums_of(setting)).run(Standing())
    assert setting.debits() == paid


def test_an_evaluation_belongs_after_training(setting: Setting) -> None:
    sums = sums_of(setting)
    parameters = np.zeros(setting.federation.plan.training.vectors.entries)
    with pytest.raises(RunError, match="not_in_plan"):
        sums.collect(ReleaseKind.EVALUATION, 0, parameters)
    assert setting.debits() == dict.fromkeys(setting.sums, 0)
