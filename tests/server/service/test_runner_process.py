"""The runner's process: how it starts and ends, and that nodes are as the enrolments say."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.network.coordinator import new_home

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.node_registration import RegistrationChanges
from fieldfare.server.service import runner_process
from fieldfare.server.service.runner_process import (
    CONTINUE_SECONDS,
    DELETE_SECONDS,
    SETTLE_SECONDS,
    NodeRegistrar,
    RetentionWorker,
    RunResumer,
    run_command,
)
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.server.superlink.control import control_target
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.study.allowed_packages import VARIABLE
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

NOTHING: Final = RegistrationChanges((), 0, ())


class Steps:
    """In place of the SuperLink: what settling finds, one answer after another."""

    def __init__(self, *answers: RegistrationChanges | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, *_: object) -> RegistrationChanges:
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else NOTHING
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    return new_home(tmp_path / "home")


@pytest.fixture
def said() -> list[str]:
    return []


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settling(home: CoordinatorHome, said: list[str], clock: Clock) -> NodeRegistrar:
    return NodeRegistrar(home, said.append, clock)


def given(monkeypatch: pytest.MonkeyPatch, *answers: RegistrationChanges | Exception) -> Steps:
    steps = Steps(*answers)
    monkeypatch.setattr(runner_process, "settle_nodes", steps)
    return steps


def test_nodes_are_settled_at_the_start_and_when_a_paper_came(
    settling: NodeRegistrar, home: CoordinatorHome, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = given(
        monkeypatch,
        RegistrationChanges(("bank-a", "bank-b"), 0, ()),
        RegistrationChanges((), 2, ()),
    )
    settling()
    settling()
    assert steps.calls == 1
    home.enrolment("bank-c").write_text("{}")
    monkeypatch.setattr(runner_process, "members", lambda _: ())
    settling()
    settling()
    assert steps.calls == 2
    assert said == ["nodes may sign on now: bank-a, bank-b", "nodes taken off: 2"]


def test_nodes_are_settled_again_after_a_while(
    settling: NodeRegistrar, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = given(monkeypatch)
    settling()
    clock.seconds += SETTLE_SECONDS - 1
    settling()
    assert steps.calls == 1
    clock.seconds += 1
    settling()
    assert steps.calls == 2


def test_what_is_wrong_is_said_once_for_as_long_as_it_stays_so(
    settling: NodeRegistrar, clock: Clock, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = RegistrationChanges((), 0, (("bank-a", "expected a new key"),))
    steps = given(
        monkeypatch, refused, refused, UsageError("a paper is damaged"), NOTHING, RunError("away")
    )
    for _ in range(5):
        settling()
        clock.seconds += SETTLE_SECONDS
    assert steps.calls == 5
    assert said == [
        "nodes are not as the enrolments say: bank-a: expected a new key",
        "nodes are not as the enrolments say: a paper is damaged",
        "nodes are not as the enrolments say: away",
    ]


def test_a_run_is_started_without_a_secret_in_its_arguments(
    home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLWR_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv(VARIABLE, "acme-nets==1.2.0")
    command = run_command(home, b"open sesame")
    assert command.command == [
        sys.executable,
        "-I",
        "-m",
        "fieldfare.server.service.run_process",
        str(home.path),
    ]
    assert command.address == control_target(home).address
    assert "FLWR_LOG_LEVEL" not in command.environment
    assert command.environment[VARIABLE] == "acme-nets==1.2.0"
    assert "sesame" not in repr(command)


def test_runs_go_on_by_themselves_now_and_then(
    home: CoordinatorHome, said: list[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[list[str] | Exception] = [
        ["run-1: resumed"],
        RunError("no store"),
        RunError("no store"),
        [],
    ]

    def carried_on(*_: object) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(runner_process, "carry_on", carried_on)
    continuing = RunResumer(home, said.append, clock)
    while answers:
        before = len(answers)
        continuing()
        continuing()  # not yet
        assert len(answers) == before - 1
        clock.seconds += CONTINUE_SECONDS
    assert said == ["run-1: resumed", "no run goes on by itself: no store"]


def test_what_is_due_is_deleted_at_the_start_and_once_a_day(
    home: CoordinatorHome, said: list[str], clock: Clock
) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    deleting = RetentionWorker(home, None, said.append, clock)
    for run in ("first", "second"):
        with run_store(home.runs_database) as store:
            store.create(run, "a" * 64, long_ago)
            store.append(run, [Leaf(LeafKind.REPLY, b"")], blobs={"b" * 64: b"vector"})
            store.set_state(run, RunStatus.FINISHED, "", long_ago)
        deleting()
        deleting()  # not yet
        clock.seconds += DELETE_SECONDS
    assert said == ["1 masked vectors deleted, 1 statements signed"] * 2
    with run_store(home.runs_database) as store:
        assert len(store.deletion_statements()) == 2
