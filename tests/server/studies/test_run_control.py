"""Runs from outside: nothing is started twice, nothing dead is shown as running."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import home_study
from tests.support.network.scripted import Scripted, Status

from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.studies.proposals import Proposal
from fieldfare.server.studies.run_control import (
    await_end,
    find_run,
    new_run_id,
    resume,
    say_hello,
    start,
    stop,
)
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.shared.errors import RunError, UsageError

NOW: Final = datetime(2025, 6, 1, 23, 30, tzinfo=UTC)
STUDY: Final = "a" * 64
RUN: Final = "run-1"
BUNDLE: Final = b"bundle"


@pytest.fixture
def control() -> Scripted:
    return Scripted()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with run_store(tmp_path / "runs.sqlite") as opened:
        yield opened


def begin(store: RunStore, control: Scripted, state: RunStatus = RunStatus.RUNNING) -> None:
    start(store, control, BUNDLE, RUN, STUDY, NOW)
    control.statuses[1] = Status("running")
    store.set_state(RUN, state, "", NOW)


def test_a_start_says_which_study_and_run(store: RunStore, control: Scripted) -> None:
    start(store, control, BUNDLE, RUN, STUDY, NOW)
    assert control.started == [(BUNDLE, {"study": STUDY, "run": RUN})]
    row = store.row(RUN)
    assert (row.state, row.flower_run, row.study) == (RunStatus.WAITING, 1, STUDY)
    assert inspect_run(store, control, RUN).life is Life.ALIVE


@pytest.mark.parametrize("run", ["", "a b", "../x", "x" * 65, "é"])
def test_an_id_is_checked_before_anything_is_kept(
    store: RunStore, control: Scripted, run: str
) -> None:
    with pytest.raises(UsageError, match="--run: expected 1 to 64 letters"):
        start(store, control, BUNDLE, run, STUDY, NOW)
    assert (store.rows(), control.started) == ((), [])


def test_a_study_runs_once_at_a_time(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    with pytest.raises(UsageError, match="run-1, which is running"):
        start(store, control, BUNDLE, "run-2", STUDY, NOW)
    assert len(control.started) == 1
    start(store, control, BUNDLE, "run-2", "b" * 64, NOW)


def test_a_run_that_could_not_be_started_is_failed_and_resumed(
    store: RunStore, control: Scripted
) -> None:
    control.reachable = False
    with pytest.raises(RunError, match="SuperLink"):
        start(store, control, BUNDLE, RUN, STUDY, NOW)
    assert store.row(RUN).state is RunStatus.FAILED
    assert "not started: expected a SuperLink at" in store.row(RUN).reason
    control.reachable = True
    resume(store, control, BUNDLE, RUN, NOW)
    assert control.started == [(BUNDLE, {"study": STUDY, "run": RUN})]


@pytest.mark.parametrize(
    ("flower", "life", "word"),
    [
        ("pending", Life.ALIVE, "running"),
        ("starting", Life.ALIVE, "running"),
        ("running", Life.ALIVE, "running"),
        ("completed", Life.INTERRUPTED, "interrupted"),
        ("failed", Life.INTERRUPTED, "interrupted"),
        ("stopped", Life.INTERRUPTED, "interrupted"),
        ("", Life.INTERRUPTED, "interrupted"),
    ],
)
def test_a_dead_process_does_not_look_alive(
    store: RunStore, control: Scripted, flower: str, life: Life, word: str
) -> None:
    begin(store, control)
    control.statuses[1] = Status(flower)
    seen = inspect_run(store, control, RUN)
    assert (seen.life, seen.word) == (life, word)
    resume_it = "fieldfare coordinator run resume run-1"
    assert seen.command == (resume_it if life is Life.INTERRUPTED else "")


def test_what_the_superlink_was_told_is_said(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    control.statuses[1] = Status("failed", "the process was killed by signal 9")
    assert inspect_run(store, control, RUN).note == "the process was killed by signal 9"


def test_a_run_without_a_process_was_interrupted(store: RunStore, control: Scripted) -> None:
    store.create(RUN, STUDY, NOW)
    seen = inspect_run(store, control, RUN)
    assert (seen.life, "never started" in seen.note) == (Life.INTERRUPTED, True)


def test_an_end_that_was_written_meanwhile_counts(store: RunStore, control: Scripted) -> None:
    begin(store, control)

    class EndsFirst(Scripted):
        def run_status(self, run: int) -> Status:  # noqa: ARG002 -- the interface's argument
            store.set_state(RUN, RunStatus.FINISHED, "", NOW)
            return Status("completed")

    seen = inspect_run(store, EndsFirst(), RUN)
    assert (seen.life, seen.word, seen.note, seen.command) == (Life.ENDED, "finished", "", "")


def test_without_a_superlink_nothing_is_claimed(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    control.reachable = False
    seen = inspect_run(store, control, RUN)
    assert (seen.life, seen.word) == (Life.UNKNOWN, "running")
    assert "nobody knows whether it goes on: expected a SuperLink at" in seen.note
    store.set_state(RUN, RunStatus.STOPPED, "", NOW)
    ended = inspect_run(store, control, RUN)  # that needs no SuperLink
    assert (ended.life, ended.command.split()[-2:]) == (Life.ENDED, ["resume", RUN])


@pytest.mark.parametrize("state", [RunStatus.STOPPED, RunStatus.FAILED])
def test_a_run_that_ended_early_is_resumed_with_the_same_ids(
    store: RunStore, control: Scripted, state: RunStatus
) -> None:
    begin(store, control, state)
    before = resume(store, control, BUNDLE, RUN, NOW)
    assert before.state is state
    assert [given for _, given in control.started] == [{"study": STUDY, "run": RUN}] * 2
    assert (store.row(RUN).state, store.row(RUN).flower_run) == (RunStatus.WAITING, 2)


def test_an_interrupted_run_is_resumed(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    control.statuses[1] = Status("failed")
    resume(store, control, BUNDLE, RUN, NOW)
    assert inspect_run(store, control, RUN).life is Life.ALIVE


def test_a_run_is_not_resumed_while_it_goes_on(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    with pytest.raises(UsageError, match="found it running"):
        resume(store, control, BUNDLE, RUN, NOW)
    control.reachable = False
    with pytest.raises(RunError, match="nobody knows"):
        resume(store, control, BUNDLE, RUN, NOW)
    assert len(control.started) == 1


def test_a_finished_run_is_not_resumed(store: RunStore, control: Scripted) -> None:
    begin(store, control, RunStatus.FINISHED)
    with pytest.raises(UsageError, match="is finished: start another run"):
        resume(store, control, BUNDLE, RUN, NOW)
    assert len(control.started) == 1


def stop_it(store: RunStore, control: Scripted, grace: float = 10.0) -> RunRow:
    return stop(
        store,
        control,
        RUN,
        grace_seconds=grace,
        now=lambda: NOW,
        monotonic=lambda: control.clock,
        sleep=control.sleep,
    )


def test_a_process_that_hears_the_wish_ends_by_itself(store: RunStore, control: Scripted) -> None:
    begin(store, control)

    def answer(clock: float) -> None:
        if clock > 2 and store.stop_requested(RUN):
            store.set_state(RUN, RunStatus.STOPPED, "asked to, after step 7", NOW)

    control.each_second = answer
    assert stop_it(store, control).reason == "asked to, after step 7"
    assert control.stopped == []
    assert 2 < control.clock < 3


def test_a_process_that_does_not_answer_is_ended(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    row = stop_it(store, control)
    assert (row.state, control.stopped) == (RunStatus.STOPPED, [1])
    assert row.reason == "its process did not end within 10 s and was ended"
    assert control.clock >= 10


def test_a_process_that_finishes_while_it_is_ended_has_finished(
    store: RunStore, control: Scripted
) -> None:
    begin(store, control)

    class FinishesFirst(Scripted):
        def stop_run(self, run: int) -> None:  # noqa: ARG002 -- the interface's argument
            store.set_state(RUN, RunStatus.FINISHED, "", NOW)

    assert stop_it(store, FinishesFirst({1: Status("running")})).state is RunStatus.FINISHED


def test_a_dead_run_is_stopped_at_once(store: RunStore, control: Scripted) -> None:
    begin(store, control)
    control.statuses[1] = Status("failed")
    row = stop_it(store, control)
    assert (row.state, row.reason) == (RunStatus.STOPPED, "its process was gone")
    assert (control.clock, control.stopped) == (0, [])


def test_the_wish_to_stop_stays_where_nobody_can_be_asked(
    store: RunStore, control: Scripted
) -> None:
    begin(store, control)
    control.reachable = False
    with pytest.raises(RunError, match="repeat this when the SuperLink runs"):
        stop_it(store, control)
    assert store.row(RUN).state is RunStatus.STOPPING


def test_what_has_ended_is_not_stopped(store: RunStore, control: Scripted) -> None:
    begin(store, control, RunStatus.FINISHED)
    with pytest.raises(UsageError, match="run-1, which is finished"):
        stop_it(store, control)


def test_a_hello_names_no_run(control: Scripted) -> None:
    assert say_hello(control, BUNDLE, STUDY) == 1
    assert control.started == [(BUNDLE, {"study": STUDY, "run": ""})]


def wait(control: Scripted, seconds: float) -> Status:
    found = await_end(
        control, 1, seconds=seconds, monotonic=lambda: control.clock, sleep=control.sleep
    )
    return Status(found.state, found.reason)


def test_the_end_of_a_hello_is_awaited(control: Scripted) -> None:
    say_hello(control, BUNDLE, STUDY)

    def end(clock: float) -> None:
        if clock > 3:
            control.statuses[1] = Status("completed")

    control.each_second = end
    assert wait(control, 10) == Status("completed")
    assert 3 < control.clock < 4


def test_a_hello_that_takes_too_long_is_said(control: Scripted) -> None:
    say_hello(control, BUNDLE, STUDY)
    with pytest.raises(RunError, match=r"within 10 s, found .* pending: is `fieldfare coord"):
        wait(control, 10)


def test_run_ids_say_the_day_and_the_study(store: RunStore, control: Scripted) -> None:
    study = home_study(name="n" * 64)
    made = new_run_id(Proposal(study.id, study, b"", NOW), NOW, bytes([1, 2, 255]))
    assert made == f"2025-06-01-{'n' * 40}-0102ff"
    start(store, control, BUNDLE, made, STUDY, NOW)


def test_runs_are_found_by_their_beginning(store: RunStore) -> None:
    for number, run in enumerate(("june-1", "june-10", "july-1")):
        store.create(run, f"{number}" * 64, NOW)
    assert find_run(store, "june-1").run == "june-1"  # an id, though another begins with it
    assert find_run(store, "jul").run == "july-1"
    with pytest.raises(UsageError, match="'june', which fits june-1, june-10: give more"):
        find_run(store, "june")
    for text in ("", "may", "x" * 300):
        with pytest.raises(UsageError, match="see `fieldfare coordinator runs`"):
            find_run(store, text)
