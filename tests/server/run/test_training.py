"""Training as the coordinator carries it out: rehearse once, step, keep; and go on from there."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.federations.settings import (
    STEPS,
    Book,
    MakeSetting,
    Setting,
    collect,
    exact_gradient,
    make_study,
)
from tests.support.runs.steps import open_federation, replay_step

from fieldfare.server.run.record import DecodedSum, Record
from fieldfare.server.run.rounds import SecureSums
from fieldfare.server.run.server_app import Job, RunStoppedError
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import RunError
from fieldfare.shared.evaluation.score_table import prevalence_log_odds
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import NO_LAST_SUM, ReleaseKind
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state

LONG = make_study(training={"steps": 8})
Seen = list[tuple[TrainingState, DecodedSum]]


def job_of(setting: Setting, record: Record | None = None) -> tuple[Job, Seen]:
    """A job, and what it says of its steps."""
    job, seen = setting.federation.job("run"), []
    job.record = record or Record()
    job.on_step = lambda state, total: seen.append((state, total))
    return job, seen


@dataclass
class Full(Record):
    """A disk that is full from some step on."""

    step: int

    def _append(self, leaves: Any, state: Any = None, total: DecodedSum | None = None) -> None:
        if total is not None and state.results.steps >= self.step:
            raise RunError("kept steps expected: No space left on device")
        super()._append(leaves, state, total)


@dataclass
class Wanted(Record):
    """Somebody asks for the run to end once so many sums were kept."""

    sums: int
    kept: list[int] = field(default_factory=list)

    def keep_sum(self, total: DecodedSum) -> None:
        super().keep_sum(total)
        self.kept.append(self.run.results.steps)

    def stopping(self) -> bool:
        return len(self.kept) >= self.sums


def test_training_starts_at_the_public_prevalence_and_makes_every_step(setting: Setting) -> None:
    job, seen = job_of(setting)
    outcome = setting.run(job)
    assert [s.step for s, _ in seen] == list(range(1, STEPS + 1))
    assert job.record.run.results.training is seen[-1][0]
    assert outcome.parameters is not None
    assert job.record.last == seen[-1][1].as_last
    start = np.zeros_like(seen[-1][0].parameters)
    start[0] = prevalence_log_odds(setting.federation.study)
    expected = exact_gradient(setting, tuple(setting.sums), start)
    sigma = setting.federation.plan.training.sigma
    noise = seen[0][1].values - expected
    assert np.abs(noise).max() < 6 * sigma  # the sum of the records at the start, and noise
    assert np.abs(noise).max() > 0


def test_every_step_follows_from_the_vectors_before_it(make_setting: MakeSetting) -> None:
    """As custodians and auditors take it, bit for bit."""
    setting = make_setting(LONG, Protection.EXACT)
    job, seen = job_of(setting)
    setting.run(job)
    state, plan = initial_state(LONG), setting.federation.plan
    for found, total in seen:
        vectors = list(total.vectors.values())
        seeds = [claimed(reply, "seed") or "" for reply in total.replies.values()]
        state = replay_step(plan, state, plan.training, vectors, seeds)
        assert found.to_bytes() == state.to_bytes()
    assert len(seen) == LONG.training.steps


def test_a_run_rehearses_once_and_a_step_is_kept_before_the_next_is_asked_for(
    setting: Setting,
) -> None:
    kept: list[tuple[int, int]] = []

    class Watched(Record):
        def _append(self, leaves: Any, state: Any = None, total: DecodedSum | None = None) -> None:
            super()._append(leaves, state, total)
            if total is not None:
                kept.append((state.results.steps, setting.debits()["bank-a"]))

    setting.run(job_of(setting, Watched())[0])
    assert kept == [*((step, step) for step in range(STEPS + 1)), (STEPS, STEPS + 1)]


@pytest.mark.parametrize("step", [1, 5])
def test_a_disk_that_is_full_ends_the_run_with_at_most_one_sum_unkept(
    make_setting: MakeSetting, step: int
) -> None:
    setting = make_setting(LONG, seed=3)
    job, _ = job_of(setting, Full(step))
    with pytest.raises(RunError, match="No space left"):
        setting.run(job)
    assert setting.debits() == dict.fromkeys(setting.sums, step)  # one more than is kept
    assert job.record.run.results.steps == step - 1


@pytest.mark.parametrize("sums", range(1, LONG.training.steps + 2))
def test_a_run_stops_between_two_steps_when_somebody_asks(
    make_setting: MakeSetting, sums: int
) -> None:
    setting = make_setting(LONG)
    with pytest.raises(RunStoppedError, match=f"stopped after step {sums - 1} .*resume it"):
        setting.run(job_of(setting, Wanted(sums))[0])
    assert setting.debits() == dict.fromkeys(setting.sums, sums - 1)


def test_a_run_that_is_not_wanted_any_more_asks_for_no_release(setting: Setting) -> None:
    asked: set[str] = set()
    grid = setting.federation.grid(tap=lambda m: asked.add(m.metadata.message_type))
    with pytest.raises(RunStoppedError, match="stopped after step 0"):
        job_of(setting, Wanted(0))[0].run(setting.over(grid))
    assert asked == {"query.hello", "query.open", "query.agree"}


def test_a_stopped_run_goes_on_where_it_stood(make_setting: MakeSetting, tmp_path: Path) -> None:
    whole, stopped = make_setting(LONG, seed=3), make_setting(LONG, seed=3)
    uninterrupted = Book.begin(whole, tmp_path / "whole").carry_on()
    book = Book.begin(stopped, tmp_path / "stopped")
    with book.record() as record:
        job = book.job(record)

        def ask(state: TrainingState, total: DecodedSum) -> None:
            del total
            if state.step == 3:
                record.store.request_stop(book.run)

        job.on_step = ask
        with pytest.raises(RunStoppedError, match="after step 3"):
            stopped.run(job)
    assert stopped.debits() == dict.fromkeys(stopped.sums, 3)
    with book.record() as record:
        record.store.set_state(book.run, RunStatus.STOPPED, "", book.now)
        record.store.reopen(record.store.row(book.run), datetime.now(UTC))
    resumed = book.carry_on()
    assert resumed.parameters.tobytes() == uninterrupted.parameters.tobytes()
    assert stopped.debits() == whole.debits()


def test_training_goes_on_with_the_sum_that_led_to_it(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """Without it custodians that have answered the step after it answer, and no others do."""
    setting = make_setting(LONG, Protection.EXACT)
    book = Book.begin(setting, tmp_path / "runs")

    def cut(state: TrainingState, total: DecodedSum) -> None:
        if state.step == 3:
            raise ConnectionError(total.attempt)

    with book.record() as record:
        job = book.job(record)
        job.on_step = cut
        with pytest.raises(ConnectionError):
            setting.run(job)
    with book.record() as record:
        record.checkpoint()
        assert record.last != NO_LAST_SUM
        record.last = NO_LAST_SUM
        with pytest.raises(RunError, match="not_recomputed"):
            setting.run(book.job(record))
    assert setting.debits() == dict.fromkeys(setting.sums, 3)
    assert book.carry_on().attempts == 0  # nobody had answered: the same request again
    assert setting.debits() == dict.fromkeys(setting.sums, LONG.training.steps + 1)


def test_without_a_record_the_same_run_is_not_started_twice(setting: Setting) -> None:
    """Custodians count a run's openings: a second start is found out before it costs anything."""
    setting.run(job_of(setting)[0])
    paid = setting.debits()
    with pytest.raises(RunError, match=r"open: bank-a takes no part .*replay_changed"):
        setting.run(job_of(setting)[0])
    assert setting.debits() == paid


def test_an_evaluation_belongs_after_training(setting: Setting) -> None:
    channel = setting.channel()
    sums = SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))
    parameters = np.zeros(setting.federation.plan.training.vectors.entries)
    with pytest.raises(RunError, match="not_in_plan"):
        collect(sums, ReleaseKind.EVALUATION, 0, parameters)
    assert setting.debits() == dict.fromkeys(setting.sums, 0)
