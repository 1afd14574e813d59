"""Runs go on by themselves: after a pause, five times, within spares and budget, and no new one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.homes.keyed_coordinators import KeyedCoordinator, progress

from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.rows import Restarts, RunRow, RunStatus
from fieldfare.server.studies import run_control
from fieldfare.server.studies.open_coordinator import OpenCoordinator
from fieldfare.server.studies.proposing import propose
from fieldfare.server.studies.resuming import (
    MOST,
    NextAct,
    RunAct,
    RunSituation,
    carry_on,
    next_act,
)
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.superlink.facts import FlowerRunStatus
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.quiet_hours import quiet_hours

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
ROW: Final = RunRow("run-1", "a" * 64, RunStatus.FAILED, "", 1, NOW, NOW, None)
FAILED: Final = RunSituation(ROW, Life.ENDED, Restarts(begun=NOW), carried=True, alone=True)
INTERRUPTED: Final = replace(
    FAILED, row=replace(ROW, state=RunStatus.RUNNING, ended=None), life=Life.INTERRUPTED
)
SCHEDULED: Final = RunSituation(
    replace(ROW, state=RunStatus.WAITING, ended=None, flower_run=None),
    Life.SCHEDULED,
    Restarts(not_before=NOW + timedelta(hours=3)),
    carried=True,
    alone=True,
)
LONG: Final = NOW + timedelta(days=2)


@pytest.mark.parametrize("run", [FAILED, INTERRUPTED])
def test_pauses_grow_and_end_after_five(run: RunSituation) -> None:
    for done, minutes in enumerate((1, 4, 16, 64, 256)):
        again = replace(run, restarts=Restarts(done, NOW))
        due = NOW + minutes * MINUTE
        assert next_act(again, due - MINUTE / 2, None, MINUTE) == NextAct(RunAct.WAIT, due)
        assert next_act(again, due, None, MINUTE) == NextAct(RunAct.CARRY_ON, due)
    assert (
        next_act(replace(run, restarts=Restarts(MOST, NOW)), LONG, None, MINUTE).act
        is RunAct.NOTHING
    )


@pytest.mark.parametrize(
    "run",
    [
        replace(FAILED, row=replace(ROW, state=RunStatus.STOPPED)),
        replace(FAILED, row=replace(ROW, state=RunStatus.FINISHED)),
        replace(INTERRUPTED, row=replace(ROW, state=RunStatus.STOPPING)),
        replace(FAILED, row=replace(ROW, purged=True)),
        replace(FAILED, restarts=Restarts(begun=NOW, needs_person=True)),
        replace(FAILED, restarts=Restarts()),  # of before runs went on by themselves
        replace(FAILED, carried=False),
        replace(FAILED, alone=False),
        replace(INTERRUPTED, life=Life.ALIVE),
        replace(INTERRUPTED, life=Life.UNKNOWN),
        replace(SCHEDULED, carried=False),
        replace(SCHEDULED, alone=False),
    ],
)
def test_everything_else_waits_for_a_person(run: RunSituation) -> None:
    assert next_act(run, LONG, None, MINUTE).act is RunAct.NOTHING


def test_a_run_that_was_let_be_for_a_week_stays_as_it_is() -> None:
    assert next_act(FAILED, NOW + timedelta(days=7), None, MINUTE).act is RunAct.CARRY_ON
    assert next_act(FAILED, NOW + timedelta(days=7, seconds=1), None, MINUTE).act is RunAct.NOTHING
    long = replace(INTERRUPTED, row=replace(INTERRUPTED.row, progress=progress(1, at=LONG)))
    assert next_act(long, LONG + timedelta(days=6), None, MINUTE).act is RunAct.CARRY_ON


def test_an_earliest_start_is_kept_and_quiet_hours_put_off() -> None:
    quiet = quiet_hours("14:30-18:00")
    due = NOW + timedelta(hours=3)
    assert next_act(SCHEDULED, NOW, None, MINUTE) == NextAct(RunAct.WAIT, due)
    assert next_act(SCHEDULED, due, None, MINUTE).act is RunAct.CARRY_ON
    assert next_act(SCHEDULED, due, quiet, MINUTE) == NextAct(RunAct.WAIT, NOW.replace(hour=18))
    assert next_act(SCHEDULED, NOW.replace(hour=18), quiet, MINUTE).act is RunAct.CARRY_ON
    later = NOW.replace(hour=17)
    assert next_act(FAILED, later, quiet, MINUTE) == NextAct(RunAct.WAIT, NOW.replace(hour=18))


@given(
    run=st.builds(
        RunSituation,
        row=st.builds(
            replace,
            st.just(ROW),
            state=st.sampled_from(RunStatus),
            purged=st.booleans(),
            ended=st.sampled_from([None, NOW, LONG]),
        ),
        life=st.sampled_from(Life),
        restarts=st.builds(
            Restarts,
            automatic=st.integers(0, 7),
            begun=st.sampled_from([None, NOW, LONG]),
            not_before=st.sampled_from([None, NOW, LONG]),
            needs_person=st.booleans(),
        ),
        carried=st.booleans(),
        alone=st.booleans(),
    ),
    now=st.datetimes(datetime(2026, 5, 1), datetime(2026, 7, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_whatever_the_state_nothing_goes_on_that_may_not(run: RunSituation, now: datetime) -> None:
    found = next_act(run, now, None, MINUTE)
    if found.act is RunAct.CARRY_ON:
        assert run.carried
        assert run.alone
        assert not run.restarts.needs_person
        assert run.restarts.automatic < MOST or run.life is Life.SCHEDULED
        assert run.row.state not in {RunStatus.STOPPED, RunStatus.STOPPING, RunStatus.FINISHED}
        assert run.life not in {Life.ALIVE, Life.UNKNOWN}


# -- over a run store -----------------------------------------------------------------------------


@dataclass
class Link:
    """A SuperLink on which runs end as a test says, or at which a process is killed."""

    states: dict[int, str] = field(default_factory=dict)
    killed: bool = False
    reachable: bool = True
    answers: bool = True

    def start_run(self, bundle: bytes, configuration: Mapping[str, str]) -> int:
        del bundle, configuration
        if not self.reachable:
            raise RunError("expected a SuperLink, found none")
        if self.killed:
            raise KeyboardInterrupt
        self.states[len(self.states) + 1] = "running"
        return len(self.states)

    def stop_run(self, run: int) -> None:
        self.states[run] = "stopped"

    def nodes(self) -> tuple[object, ...]:
        if not self.answers:
            raise RunError("expected a SuperLink, found none")
        return ()

    def run_status(self, run: int) -> FlowerRunStatus:
        return FlowerRunStatus(self.states.get(run, ""), "")


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def opened(keyed: KeyedCoordinator, link: Link) -> Iterator[OpenCoordinator]:
    propose(keyed.home, keyed.study, keyed.signer)
    text = keyed.home.settings.read_text()
    keyed.home.settings.write_text(text.replace("resume_runs = false", "resume_runs = true"))
    with keyed.store() as store:
        yield OpenCoordinator(keyed.home, store, link)


def begin(opened: OpenCoordinator, keyed: KeyedCoordinator) -> None:
    run_control.start(opened.store, opened.control, b"bundle", "run-1", keyed.study.id, NOW)


def look(opened: OpenCoordinator, now: datetime) -> list[str]:
    return [*carry_on(opened, load_settings(opened.home), now)]


def test_an_interrupted_run_is_resumed_five_times_and_then_left(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    said = []
    for minute in range(0, 3 * 24 * 60, 5):
        link.states[len(link.states)] = "failed"
        said += look(opened, NOW + minute * MINUTE)
    assert said == [
        f"run run-1: resumed by itself, {number} of at most 5 times" for number in range(1, 6)
    ]
    assert len(link.states) == 6
    assert [row.run for row in opened.store.rows()] == ["run-1"]
    # A person begins the count anew.
    run_control.resume(opened.store, link, b"bundle", "run-1", NOW + timedelta(days=3))
    link.states[7] = "failed"
    assert len(look(opened, NOW + timedelta(days=3, minutes=1))) == 1


def test_where_it_is_switched_off_nothing_goes_on(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    link.states[1] = "failed"
    text = keyed.home.settings.read_text()
    keyed.home.settings.write_text(text.replace("resume_runs = true", "resume_runs = false"))
    assert look(opened, NOW + 10 * MINUTE) == []


def test_a_run_whose_spares_or_budget_are_used_is_left(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    link.states[1] = "failed"
    store, spares = opened.store, keyed.study.spare_releases
    assert spares
    for _ in range(spares):
        store.add_losses("run-1", ["bank-a"], debited=True)
    assert look(opened, NOW + 10 * MINUTE) == []
    delivering = replace(progress(4, at=NOW), phase="delivery")
    store.append("run-1", (), progress=delivering)
    assert len(look(opened, NOW + 10 * MINUTE)) == 1  # nothing is released any more


def test_a_run_of_a_spent_study_is_left(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    link.states[1] = "failed"
    opened.store.append("run-1", (), progress=progress(1, at=NOW, spent=SideCosts(all=10**15)))
    assert look(opened, NOW + 10 * MINUTE) == []


def test_a_run_that_needs_a_person_is_left(
    opened: OpenCoordinator, keyed: KeyedCoordinator
) -> None:
    begin(opened, keyed)
    opened.store.set_state("run-1", RunStatus.FAILED, "rehearsal failed", NOW)
    opened.store.note_needs_person("run-1")
    assert look(opened, NOW + timedelta(days=1)) == []


def test_a_newer_run_of_the_study_leaves_an_older_one_to_a_person(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    opened.store.set_state("run-1", RunStatus.FAILED, "", NOW)
    run_control.start(opened.store, link, b"", "run-2", keyed.study.id, NOW + MINUTE)
    opened.store.set_state("run-2", RunStatus.FINISHED, "", NOW + MINUTE)
    assert look(opened, NOW + 10 * MINUTE) == []


def test_a_scheduled_run_begins_once_and_can_be_stopped_before(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    due, store = NOW + timedelta(hours=1), opened.store
    run_control.schedule(store, "run-1", keyed.study.id, due, NOW)
    assert inspect_run(store, link, "run-1").word == "scheduled"
    assert look(opened, due - MINUTE) == []
    assert look(opened, due) == ["run run-1: begun as planned, not before 2026-06-01 13:00 UTC"]
    assert inspect_run(store, link, "run-1").life is Life.ALIVE
    assert store.restarts("run-1").automatic == 0
    store.set_state("run-1", RunStatus.FINISHED, "", due)
    run_control.schedule(store, "run-2", keyed.study.id, due + timedelta(hours=1), due)
    run_control.stop(
        store,
        link,
        "run-2",
        grace_seconds=0,
        now=lambda: due,
        monotonic=lambda: 0.0,
        sleep=lambda _: None,
    )
    assert look(opened, due + timedelta(days=1)) == []
    assert len(link.states) == 1


def test_a_time_that_is_over_is_refused(opened: OpenCoordinator, keyed: KeyedCoordinator) -> None:
    with pytest.raises(UsageError, match="--not-before: expected a time to come"):
        run_control.schedule(opened.store, "run-1", keyed.study.id, NOW, NOW)
    assert opened.store.rows() == ()


def test_a_kill_before_the_start_counts_it_and_starts_nothing_twice(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    link.states[1], link.killed = "failed", True
    with pytest.raises(KeyboardInterrupt):
        look(opened, NOW + MINUTE)
    assert opened.store.restarts("run-1") == Restarts(1, NOW + MINUTE)
    link.killed = False
    assert look(opened, NOW + 2 * MINUTE) == []
    assert look(opened, NOW + 5 * MINUTE) == ["run run-1: resumed by itself, 2 of at most 5 times"]
    assert len(link.states) == 2


def test_a_superlink_that_is_down_uses_up_no_try(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    opened.store.set_state("run-1", RunStatus.FAILED, "", NOW)
    link.answers = link.reachable = False
    for hour in range(1, 24):
        with pytest.raises(RunError, match="found none"):
            look(opened, NOW + timedelta(hours=hour))
    link.answers = link.reachable = True
    assert look(opened, NOW + timedelta(days=1)) == [
        "run run-1: resumed by itself, 1 of at most 5 times"
    ]


def test_a_start_that_fails_is_said_and_tried_again_later(
    opened: OpenCoordinator, keyed: KeyedCoordinator, link: Link
) -> None:
    begin(opened, keyed)
    opened.store.set_state("run-1", RunStatus.FAILED, "", NOW)
    link.reachable = False
    assert look(opened, NOW + MINUTE) == [
        "run run-1: not resumed: expected a SuperLink, found none"
    ]
    link.reachable = True
    assert look(opened, NOW + 2 * MINUTE) == []
    assert len(look(opened, NOW + 5 * MINUTE)) == 1
