"""`coordinator runs` and `run ...` over a real SuperLink; a test plays the process of a run."""

import json
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from fcntl import ioctl
from typing import Any, Final

import pytest
from tests.support.homes.keyed_coordinators import STUDY, KeyedCoordinator, progress, said
from tests.support.network.coordinator import RunningSuperlink, running_superlink
from tests.support.system.processes import until

from fieldfare.server.cli import runs as cli_runs
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.errors import StudyError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.system.private_files import create_private

Read = pytest.CaptureFixture[str]
ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(scope="module")
def link(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[KeyedCoordinator, RunningSuperlink]]:
    """A coordinator whose SuperLink runs; nobody but the tests carries out runs."""
    made = KeyedCoordinator.found(tmp_path_factory.mktemp("served"))
    propose(made.home, made.study, made.signer)
    made.approve()
    with running_superlink(made.home) as superlink:
        yield made, superlink


@pytest.fixture
def served(
    link: tuple[KeyedCoordinator, RunningSuperlink], capsys: Read
) -> Iterator[KeyedCoordinator]:
    """The same one with no run that goes on."""
    yield link[0]
    with link[0].store() as store:
        for row in store.rows():
            if not row.state.ended:
                store.set_state(row.run, RunStatus.FAILED, "the test is over", datetime.now(UTC))


def begin(keyed: KeyedCoordinator, capsys: Read) -> str:
    """Start a run, and do what its process does first."""
    # Other tests have spent the study's budget.
    assert keyed.command("run", "start", "payments", "--json", "--force") == 0
    run = str(said(capsys)["run"])
    put(keyed, run, RunStatus.RUNNING)
    return run


def put(keyed: KeyedCoordinator, run: str, state: RunStatus, reason: str = "") -> None:
    with keyed.store() as store:
        store.set_state(run, state, reason, datetime.now(UTC))


def step(keyed: KeyedCoordinator, run: str, number: int, **changes: Any) -> None:
    with keyed.store() as store:
        store.append(run, (), progress=progress(number, **changes))
        store.put_status(run, "bank-a", "answered", datetime.now(UTC))


@pytest.mark.promises
def test_a_run_may_begin_later_by_itself(served: KeyedCoordinator, capsys: Read) -> None:
    start = ("run", "start", "payments", "--force", "--not-before")
    assert served.command(*start, "2025-01-01 02:00") == 2
    assert "--not-before: expected a time to come" in capsys.readouterr().err
    assert served.command(*start, "2125-01-01T02:00", "--run", "later") == 0
    assert "begins after 2125-01-01 02:00 UTC: later" in capsys.readouterr().out
    assert served.command("runs", "--json") == 0
    found = next(one for one in said(capsys) if one["run"] == "later")
    assert (found["life"], found["state"]) == ("scheduled", "waiting")
    assert found["note"] == "it begins by itself, not before 2125-01-01 02:00 UTC"
    assert served.command("run", "stop", "later", "--grace", "0") == 0
    capsys.readouterr()
    assert served.command("runs", "--json") == 0
    found = next(one for one in said(capsys) if one["run"] == "later")
    assert (found["life"], found["state"]) == ("ended", "stopped")


def flower_state(keyed: KeyedCoordinator, flower_run: int | None) -> str:
    assert flower_run is not None
    with control(control_target(keyed.home)) as superlink:
        return superlink.run_status(flower_run).state


def end_flower_run(keyed: KeyedCoordinator, run: str) -> None:
    """Let the SuperLink take the run's process for gone."""
    with keyed.store() as store, control(control_target(keyed.home)) as superlink:
        superlink.stop_run(store.row(run).flower_run or 0)


def test_a_run_is_started_under_an_id_of_its_own(served: KeyedCoordinator, capsys: Read) -> None:
    assert served.command("run", "start", served.study.id[:6], "--json", "--force") == 0
    found = said(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-payments-[0-9a-f]{6}", found["run"])
    assert found["study"] == served.study.id
    assert flower_state(served, found["flower_run"]) == "pending"
    with served.store() as store:
        assert store.row(found["run"]).flower_run == found["flower_run"]
        assert store.row(found["run"]).state is RunStatus.WAITING


def test_a_chosen_id_is_kept_and_the_next_step_said(served: KeyedCoordinator, capsys: Read) -> None:
    assert served.command("run", "start", "payments", "--run", "first", "--force") == 0
    assert capsys.readouterr().out.splitlines() == [
        "started: first",
        f"Next: fieldfare coordinator runs first --home {served.home.path}",
    ]
    assert served.command("run", "start", "payments", "--run", "no spaces") == 2
    assert "--run: expected 1 to 64 letters" in capsys.readouterr().err


def test_a_second_run_of_a_study_is_refused(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    assert served.command("run", "start", "payments") == 2
    assert f"{run}, which is running: wait for it, or fieldfare coordinator run stop" in (
        capsys.readouterr().err
    )


def test_a_run_that_nothing_is_left_for_is_refused(keyed: KeyedCoordinator, capsys: Read) -> None:
    made = propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    with keyed.store() as store:
        store.create("first", keyed.study.id, datetime.now(UTC))
        store.set_state("first", RunStatus.FAILED, "", datetime.now(UTC))
        for spent, status in ((0, 1), (plan_for(made.study).study_limit // 2, 3)):
            store.append("first", (), progress=progress(2, spent=SideCosts(training=spent)))
            named = ("--run", f"after-{spent}")
            assert keyed.command("run", "start", "payments", *named) == status
            err = capsys.readouterr().err
            assert ("institutions will refuse; resume an earlier run" in err) == (status == 3)
            assert ("fieldfare coordinator start" in err) == (status == 1)  # no SuperLink
        assert [row.run for row in store.rows()] == ["first", "after-0"]
        assert keyed.command("run", "start", "payments", "--force") == 1
    assert "warning: budget: a run costs epsilon" in capsys.readouterr().err


def test_a_run_whose_metrics_noise_hides_is_refused(keyed: KeyedCoordinator, capsys: Read) -> None:
    keyed.study_file.write_text(STUDY.replace("units = 60000", "units = 600"))
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    assert keyed.command("run", "start", "payments") == 3
    lines = capsys.readouterr().err.splitlines()
    assert "positives in the hold-out, so that noise does not hide every metric" in lines[0]
    assert lines[-1] == (
        "fieldfare: nothing was started and nothing spent; --force starts it anyway"
    )


def test_a_run_of_a_study_without_a_unit_is_refused(keyed: KeyedCoordinator, capsys: Read) -> None:
    keyed.study_file.write_text(STUDY.replace('unit = "customer"\n', ""))
    with pytest.raises(StudyError, match="names its unit"):
        propose(keyed.home, keyed.study, keyed.signer)
    # Proposed by an earlier version.
    create_private(keyed.home.study(keyed.study.id), offer_study(keyed.study, keyed.signer))
    keyed.approve()
    assert keyed.command("run", "start", "payments") == 3
    assert "records.unit: expected the column that names each unit" in capsys.readouterr().err


def test_too_few_approvals_are_asked_for_and_then_refused(
    keyed: KeyedCoordinator, capsys: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve("bank-a")
    assert keyed.command("run", "start", "payments") == 1  # nobody can be asked: no SuperLink
    asked = "too few approvals are known: asking the institutions"
    assert capsys.readouterr().err.startswith(asked)
    monkeypatch.setattr(
        cli_runs, "ask_institutions", lambda _coordinator, _found: keyed.approve("bank-b")
    )
    assert keyed.command("run", "start", "payments") == 3
    lines = capsys.readouterr().err.splitlines()
    assert "approvals: expected 3 or more that count, found 2 (bank-c: not heard yet)" in lines[1]
    monkeypatch.setattr(cli_runs, "ask_institutions", lambda _coordinator, _found: keyed.approve())
    assert keyed.command("run", "start", "payments") == 1
    assert "--force" not in capsys.readouterr().err


def test_a_run_needs_a_study_and_a_roster(keyed: KeyedCoordinator, capsys: Read) -> None:
    assert keyed.command("run", "start", "payments") == 2
    assert "see `fieldfare coordinator studies`" in capsys.readouterr().err
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.home.roster.unlink()
    assert keyed.command("run", "start", "payments") == 2
    assert "found none: fieldfare coordinator roster" in capsys.readouterr().err


def test_a_run_that_cannot_be_started_is_kept_as_failed(
    keyed: KeyedCoordinator, capsys: Read
) -> None:
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    assert keyed.command("run", "start", "payments", "--run", "first") == 1
    assert "start it with `fieldfare coordinator start`" in capsys.readouterr().err
    assert keyed.command("runs") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:3] == ["first", "payments", "failed"]


def test_a_process_that_answers_is_stopped_after_its_step(
    served: KeyedCoordinator, capsys: Read
) -> None:
    run = begin(served, capsys)
    process = served.process("run", "stop", run[:-3])
    with served.store() as store:
        until(lambda: store.stop_requested(run))
    put(served, run, RunStatus.STOPPED, "asked to, after step 2")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [
        f"{run}: stopped: asked to, after step 2",
        f"Next: fieldfare coordinator run resume {run} --home {served.home.path}",
    ]


def test_a_process_that_does_not_answer_is_ended(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    with served.store() as store:
        flower_run = store.row(run).flower_run
    assert served.command("run", "stop", run, "--grace", "0", "--json") == 0
    found = said(capsys)
    assert (found["state"], found["life"]) == ("stopped", "ended")
    assert found["reason"] == "its process did not end within 0 s and was ended"
    assert flower_state(served, flower_run) == "stopped"
    assert served.command("run", "stop", run) == 2


def test_a_stopped_run_is_resumed_with_a_new_flower_run(
    served: KeyedCoordinator, capsys: Read
) -> None:
    run = begin(served, capsys)
    step(served, run, 2)
    assert served.command("run", "resume", run) == 2
    assert (
        f"found it running; a process that died is noticed within a minute: see fieldfare "
        f"coordinator runs {run}" in capsys.readouterr().err
    )
    put(served, run, RunStatus.STOPPED)
    with served.store() as store:
        before = store.row(run).flower_run
    assert served.command("run", "resume", run) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"resumed after step 2: {run}"
    with served.store() as store:
        row = store.row(run)
    assert (row.state, row.flower_run != before) == (RunStatus.WAITING, True)
    assert flower_state(served, row.flower_run) == "pending"
    put(served, run, RunStatus.FINISHED)
    assert served.command("run", "resume", run) == 2
    assert "finished: start another run" in capsys.readouterr().err


def test_a_dead_run_is_shown_as_interrupted(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    step(served, run, 3)
    end_flower_run(served, run)
    assert served.command("runs", "--json") == 0
    found = said(capsys)[-1]
    assert (found["run"], found["state"], found["life"]) == (run, "running", "interrupted")
    assert served.command("runs") == 0
    out = capsys.readouterr().out
    assert "interrupted" in out
    resumed = f"fieldfare coordinator run resume {run} --home {served.home.path}"
    assert "".join(resumed.split()) in "".join(out.split())  # on as many lines as it takes
    assert served.command("runs", run) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{run}: interrupted, step 3 of 4, 0.25 s, epsilon ")
    assert served.command("run", "stop", run) == 0  # nobody is waited for
    assert "its process was gone" in capsys.readouterr().out


def test_no_run_is_said(keyed: KeyedCoordinator, capsys: Read) -> None:
    assert keyed.command("runs") == 0
    assert (
        capsys.readouterr().out
        == f"no run yet: fieldfare coordinator run start STUDY --home {keyed.home.path}\n"
    )
    for command in (("run", "stop"), ("run", "resume"), ("runs",)):
        assert keyed.command(*command, "absent") == 2
        assert "see `fieldfare coordinator runs`" in capsys.readouterr().err


def act(keyed: KeyedCoordinator, run: str, see: Callable[[], object]) -> None:
    """What a short run's process writes; each of its steps is waited for to be seen."""
    for number in (1, 4):
        step(keyed, run, number)
        see()
    with keyed.store() as store:
        store.put_metrics(run, '{"auroc":{"high":0.9,"low":0.7,"value":0.8}}')
    put(keyed, run, RunStatus.FINISHED)


@pytest.mark.promises
def test_a_pipe_gets_lines_until_the_end(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    process = served.process("runs", run)
    assert process.stdout is not None
    said = [process.stdout.readline()]
    act(served, run, lambda: said.append(process.stdout.readline()))  # type: ignore[union-attr]
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    lines = [*(line.rstrip("\n") for line in said), *out.splitlines()]
    assert lines[0].startswith(f"{run}: running, epsilon 0")
    assert lines[1].startswith(f"{run}: running, step 1 of 4, 0.25 s, epsilon 0.")
    assert lines[2].startswith(f"{run}: running, step 4 of 4, 0.25 s, epsilon 0.")
    assert lines[3].startswith(f"{run}: finished, step 4 of 4")
    assert lines[4:] == [f"{run}: finished", "released AUROC 0.800 (95 %: 0.700 to 0.900)"]


def test_programs_get_json_lines(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    process = served.process("runs", run, "--json")
    assert process.stdout is not None
    first, *seen = [process.stdout.readline()]
    act(served, run, lambda: seen.append(process.stdout.readline()))  # type: ignore[union-attr]
    out, _ = process.communicate(timeout=120)
    rest = [json.loads(text) for text in (*seen, *out.splitlines())]
    assert json.loads(first)["progress"] is None
    assert [one["progress"]["step"] for one in rest][-1] == 4
    assert rest[-1]["state"] == "finished"
    assert rest[-1]["metrics"]["auroc"]["value"] == 0.8
    assert process.returncode == 0


@pytest.mark.promises
def test_ctrl_c_leaves_the_run_alone(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    process = served.process("runs", run)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    again = f"fieldfare coordinator runs {run} --home {served.home.path}"
    assert err == f"the run goes on; watch it again: {again}\n"
    with served.store() as store:
        row = store.row(run)
    assert row.state is RunStatus.RUNNING
    assert flower_state(served, row.flower_run) == "pending"


@pytest.mark.promises
def test_a_terminal_gets_a_live_screen(served: KeyedCoordinator, capsys: Read) -> None:
    run = begin(served, capsys)
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NO_COLOR"}}
    process = served.process(
        *("runs", run),
        stdout=follower,
        stderr=follower,
        stdin=follower,
        env=environment | {"TERM": "xterm"},
    )
    os.close(follower)
    seen = bytearray()

    def shows(text: str) -> Callable[[], bool]:
        def look() -> bool:
            with suppress(OSError):  # the other end is closed
                seen.extend(os.read(leader, 65536))
            return text in ESCAPES.sub("", seen.decode(errors="replace"))

        return look

    until(shows("running"))
    act(served, run, lambda: until(shows("step")))
    until(shows("finished"))
    assert process.wait(120) == 0
    with suppress(OSError):
        while more := os.read(leader, 65536):
            seen.extend(more)
    os.close(leader)
    text = ESCAPES.sub("", seen.decode()).replace("\r", "")
    last = [row.rstrip() for row in text[text.rindex("payments  ") :].splitlines()]
    assert last[0].startswith(f"payments  {run}  finished -")
    assert last[1].split(maxsplit=1)[1] == "step 4 of 4  [########################] 100 %"
    assert any(row.split() == ["bank-b", "not", "heard", "yet"] for row in last)
    assert any(row.startswith("released  AUROC 0.800") for row in last)


@pytest.mark.promises
def test_a_superlink_that_is_away_is_said_and_waited_for(
    keyed: KeyedCoordinator, capsys: Read
) -> None:
    propose(keyed.home, keyed.study, keyed.signer)
    with keyed.store() as store:
        store.create("first", keyed.study.id, datetime.now(UTC))
        store.set_flower_run("first", 7)
        store.set_state("first", RunStatus.RUNNING, "", datetime.now(UTC))
    assert keyed.command("run", "stop", "first", "--grace", "0") == 1
    assert "repeat this when the SuperLink runs" in capsys.readouterr().err
    assert keyed.command("run", "resume", "first") == 1
    assert "nobody knows whether it goes on" in capsys.readouterr().err
    process = keyed.process("runs", "first")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("first: stopping")
    put(keyed, "first", RunStatus.STOPPED)
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, "first: stopped" in out) == (1, True)
