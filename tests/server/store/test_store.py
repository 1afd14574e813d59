"""Runs: their states, who may change them, and what is for good."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from fieldfare.server.store.rows import Progress, RunRow, RunStatus
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.privacy.sides import SideCosts

NOW: Final = datetime(2025, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)
LATER: Final = NOW + timedelta(hours=1)
STUDY: Final = "a" * 64
RUN: Final = "run-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with run_store(tmp_path / "runs.sqlite") as opened:
        opened.create(RUN, STUDY, NOW)
        yield opened


def test_a_new_run_waits(store: RunStore, tmp_path: Path) -> None:
    expected = RunRow(RUN, STUDY, RunStatus.WAITING, "", None, NOW, None, None)
    assert store.row(RUN) == expected
    with run_store(tmp_path / "runs.sqlite") as again:
        assert again.rows() == (expected,)


def test_runs_are_listed_by_age(store: RunStore) -> None:
    store.create("a-younger-run", "b" * 64, LATER)
    store.create("an-older-run", "c" * 64, NOW - timedelta(days=1))
    assert [row.run for row in store.rows()] == ["an-older-run", RUN, "a-younger-run"]


@pytest.mark.parametrize("call", ["row", "stop_requested", "request_stop"])
def test_an_unknown_run_is_said(store: RunStore, call: str) -> None:
    with pytest.raises(UsageError, match="known run, found 'run-9'"):
        getattr(store, call)("run-9")
    with pytest.raises(UsageError):
        store.set_state("run-9", RunStatus.RUNNING, "", NOW)
    with pytest.raises(UsageError):
        store.set_flower_run("run-9", 7)


def test_an_id_names_one_run(store: RunStore) -> None:
    with pytest.raises(UsageError, match="again"):
        store.create(RUN, "b" * 64, NOW)


@pytest.mark.parametrize("state", RunStatus)
def test_one_run_of_a_study_at_a_time(store: RunStore, state: RunStatus) -> None:
    store.set_state(RUN, state, "", NOW)
    store.create("of-another-study", "b" * 64, NOW)
    if state.ended:
        store.create("run-2", STUDY, LATER)
        assert store.row("run-2").state is RunStatus.WAITING
    else:
        with pytest.raises(
            UsageError, match=f"run-1, which is {state.value}: wait for it, or .* stop"
        ):
            store.create("run-2", STUDY, LATER)


def test_a_state_says_when_and_why_it_ended(store: RunStore) -> None:
    store.set_state(RUN, RunStatus.RUNNING, "", NOW)
    assert store.row(RUN).ended is None
    store.set_state(RUN, RunStatus.FAILED, "below the minimum", LATER)
    assert store.row(RUN).ended == LATER
    assert store.row(RUN).reason == "below the minimum"
    store.set_state(RUN, RunStatus.RUNNING, "", LATER)
    assert store.row(RUN).ended is None


def test_finished_is_for_good(store: RunStore) -> None:
    store.set_state(RUN, RunStatus.FINISHED, "", NOW)
    store.set_state(RUN, RunStatus.FINISHED, "", LATER)  # said again
    for state in set(RunStatus) - {RunStatus.FINISHED}:
        with pytest.raises(RunError, match="finished for good"):
            store.set_state(RUN, state, "", LATER)
    with pytest.raises(UsageError, match="finished: start another run"):
        store.reopen(store.row(RUN), LATER)


def test_a_wish_to_stop_outlives_the_start_of_the_process(store: RunStore) -> None:
    assert not store.stop_requested(RUN)
    assert store.request_stop(RUN).state is RunStatus.STOPPING
    store.set_state(RUN, RunStatus.RUNNING, "", LATER)
    assert store.stop_requested(RUN)
    store.set_state(RUN, RunStatus.STOPPED, "as asked", LATER)
    assert store.stop_requested(RUN)  # also for a process that was taken for dead
    store.set_state(RUN, RunStatus.FAILED, "another end", LATER)
    assert not store.stop_requested(RUN)
    store.set_state(RUN, RunStatus.STOPPED, "as asked", LATER)
    with pytest.raises(UsageError, match="goes on, found run-1, which is stopped"):
        store.request_stop(RUN)


@pytest.mark.parametrize("state", [s for s in RunStatus if s is not RunStatus.FINISHED])
def test_a_run_waits_again_when_it_is_reopened(store: RunStore, state: RunStatus) -> None:
    store.set_flower_run(RUN, 2**64 - 1)
    store.set_state(RUN, state, "why", LATER)
    store.reopen(store.row(RUN), LATER)
    row = store.row(RUN)
    assert (row.state, row.reason, row.ended) == (RunStatus.WAITING, "", None)
    assert row.flower_run == 2**64 - 1


def test_of_two_who_reopen_a_run_one_does(store: RunStore) -> None:
    store.set_state(RUN, RunStatus.FAILED, "", NOW)
    seen = store.row(RUN)
    store.reopen(seen, NOW)
    with pytest.raises(UsageError, match="changed meanwhile"):
        store.reopen(seen, NOW)
    with pytest.raises(UsageError, match="changed meanwhile"):
        store.reopen(replace(store.row(RUN), flower_run=8), NOW)


def test_a_run_is_not_reopened_beside_another_of_its_study(store: RunStore) -> None:
    store.set_state(RUN, RunStatus.FAILED, "", NOW)
    store.create("run-2", STUDY, LATER)
    with pytest.raises(UsageError, match="run-2, which is waiting"):
        store.reopen(store.row(RUN), LATER)


def test_a_purged_run_cannot_go_on(store: RunStore) -> None:
    store.set_state(RUN, RunStatus.FAILED, "", NOW)
    store.purge(LATER)
    with pytest.raises(UsageError, match="were deleted at the end of their time"):
        store.reopen(store.row(RUN), LATER)


def test_progress_comes_with_the_row(store: RunStore) -> None:
    progress = Progress(
        3, 40, 2, 0.25, SideCosts(training=123_456_789_012, holdout=9), "evaluation", LATER
    )
    store.append(RUN, (), progress=progress)
    assert store.row(RUN).progress == progress
