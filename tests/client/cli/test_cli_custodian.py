import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    home_study,
)
from tests.support.homes.journals import logged_text
from tests.support.network.calling import connected
from tests.support.rows import night

from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.daemon.process import LOOK_SECONDS, socket_of
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.open import open_custody
from fieldfare.client.journal.journal import Journal, verify
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Approval, Refusal, open_envelope

NAME = NAMES[0]
PATIENCE = 60.0
COMMAND = "import sys; from fieldfare.shared.cli.root import run; sys.exit(run(sys.argv[1:]))"

Process = subprocess.Popen[str]


@contextmanager
def started(home: Home) -> Iterator[Process]:
    """The real command, ended when the test is done with it."""
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "institution", "custodian", "--home", str(home.path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def told(child: Process, text: str) -> None:
    """Wait until the command says a line with `text`."""
    assert child.stderr is not None
    lines = []
    for line in child.stderr:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(lines)


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def describe(home: Home, study: str) -> bytes | Refusal:
    with connected(home.custodian_socket) as custodian:
        answer = custodian.describe(study)
        return answer.approval if isinstance(answer, HelloAnswer) else answer


@pytest.fixture
def approved(coordinator: Coordinator, custody_of: OpenCustody) -> str:
    study = home_study()
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], study)
    custody.ledger.close()
    return study.id


def test_it_answers_for_approved_studies_and_for_no_other(
    coordinator: Coordinator, approved: str
) -> None:
    home = coordinator.homes[NAME]
    with started(home) as child:
        told(child, "serving on")

        envelope = describe(home, approved)
        assert isinstance(envelope, bytes)
        roster = coordinator.institution(NAME).roster
        approval = open_envelope(envelope, Approval, roster, Protection.EXACT).body
        assert (approval.study, approval.institution) == (approved, NAME)
        assert describe(home, "0" * 64) == Refusal(RefusalCode.UNKNOWN_STUDY)


@pytest.mark.promises
def test_a_withdrawal_takes_effect_without_a_restart(
    coordinator: Coordinator, approved: str
) -> None:
    home = coordinator.homes[NAME]
    with started(home) as child:
        told(child, "serving on")
        journal = Journal.open(home.log_folder, clock=clock)
        with open_custody(coordinator.institution(NAME), None, clock) as custody:
            Rejecter(home, custody.ledger, journal, "tester", NOW).withdraw(approved, "no more")

        assert describe(home, approved) == Refusal(RefusalCode.UNKNOWN_STUDY)
        told(child, "in force: approvals were read again")


def test_an_approval_takes_effect_without_a_restart(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    home, study = coordinator.homes[NAME], home_study()
    with started(home) as child:
        told(child, "serving on")
        assert describe(home, study.id) == Refusal(RefusalCode.UNKNOWN_STUDY)

        approve_all(coordinator, [custody_of(NAME)], study)

        assert eventually(lambda: isinstance(describe(home, study.id), bytes))


@pytest.mark.parametrize("stop", [signal.SIGTERM, *night(signal.SIGINT)])
def test_it_ends_cleanly_when_it_is_told_to(
    coordinator: Coordinator, approved: str, stop: signal.Signals
) -> None:
    del approved
    home = coordinator.homes[NAME]
    with started(home) as child:
        told(child, "serving on")
        child.send_signal(stop)
        assert child.wait(PATIENCE) == 0

    assert not home.custodian_socket.exists()
    assert verify(home.log_folder).sequence >= 0
    log = logged_text(home.log_folder)
    assert '"event":"start"' in log
    assert '"event":"stop"' in log


@pytest.mark.faults
def test_killed_it_starts_again_over_what_it_left(coordinator: Coordinator, approved: str) -> None:
    home = coordinator.homes[NAME]
    with started(home) as child:
        told(child, "serving on")
        child.kill()
        child.wait(PATIENCE)
    with started(home) as child:
        told(child, "serving on")
        assert isinstance(describe(home, approved), bytes)


@pytest.mark.promises
def test_a_second_one_is_refused(coordinator: Coordinator, approved: str) -> None:
    del approved
    home = coordinator.homes[NAME]
    with started(home) as first:
        told(first, "serving on")
        with started(home) as second:
            assert second.wait(PATIENCE) == 2


def test_without_a_home_it_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path / "nowhere")
    with started(home) as child:
        assert child.wait(PATIENCE) == 2


def test_the_socket_is_where_the_settings_say(coordinator: Coordinator, tmp_path: Path) -> None:
    home = coordinator.homes[NAME]
    assert socket_of(coordinator.institution(NAME)).path == home.custodian_socket

    elsewhere = tmp_path / "run" / "c.sock"
    coordinator.edit(home.settings, 'socket = ""', f'socket = "{elsewhere}"')
    assert socket_of(coordinator.institution(NAME)).path == elsewhere


def command(home: Home, *words: str) -> str:
    """Run another command of the institution; returns its screen."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "institution", *words, "--home", str(home.path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return done.stdout


@pytest.mark.promises
def test_what_a_command_decides_is_in_force_when_it_ends(coordinator: Coordinator) -> None:
    home, study = coordinator.homes[NAME], coordinator.receive(home_study(), NAME).study.id
    with started(home) as child:
        told(child, "serving on")
        said = command(home, "approve", study[:12], "--yes")
        assert f"in force now\n  study {study[:12]} is served\n" in said
        assert isinstance(describe(home, study), bytes)

        roster = coordinator.file(
            "roster.signed", coordinator.signed_roster(coordinator.roster(version=2))
        )
        said = command(home, "roster", "accept", str(roster), "--yes")
        assert "in force now\n  roster version 2 (was 1)\n" in said
        assert describe(home, study) == Refusal(RefusalCode.UNKNOWN_STUDY)

        said = command(home, "keys", "rotate")
        assert "in force now: NOTHING IS SERVED" in said
        child.terminate()
        assert child.wait(PATIENCE) == 0


@pytest.mark.promises
def test_a_file_in_the_middle_of_being_written_closes_no_door(
    coordinator: Coordinator, approved: str
) -> None:
    home = coordinator.homes[NAME]
    policy = home.policy.read_text()
    with started(home) as child:
        told(child, "serving on")

        def serves() -> bool:
            return isinstance(describe(home, approved), bytes)

        kept = 0
        while kept < 8:  # as an editor does it: empty for a moment, then whole
            begun = time.monotonic()
            home.policy.write_text("")
            time.sleep(0.05)
            home.policy.write_text(policy)
            if time.monotonic() - begun > LOOK_SECONDS / 2:
                assert eventually(serves)  # the machine stood still: that was more than a moment
                continue
            time.sleep(0.25)
            assert serves()
            kept += 1
        home.policy.write_text("nonsense")
        assert eventually(lambda: describe(home, approved) == Refusal(RefusalCode.UNKNOWN_STUDY))
        told(child, "nothing is served: ")
        home.policy.write_text(policy)
        assert eventually(serves)
        told(child, "in force: studies are served again")
