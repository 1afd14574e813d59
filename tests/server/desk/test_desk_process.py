"""The desk as a process: for its own user alone, with a protected key, and through a kill -9."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Final

import pytest
from tests.support.homes.keyed_coordinators import STUDY, KeyedCoordinator
from tests.support.system.processes import until

from fieldfare.server.desk.calls import (
    PROPOSE,
    ActNote,
    ProposeForm,
    coordinator_desk,
    desk_socket,
)
from fieldfare.server.home.initial_setup import keep_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.studies.proposals import proposal
from fieldfare.shared.errors import KeysError, RunError
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.system.key_files import read_signing_key, signing_pem
from fieldfare.shared.system.processes import given_line

WAIT_SECONDS: Final = 120.0
SECRET: Final = b"open sesame, now"


@contextmanager
def desk_of(
    home: CoordinatorHome, passphrase: bytes | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-I", "-m", "fieldfare.server.desk.process", str(home.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(given_line(passphrase))
        process.stdin.flush()
        try:
            until(coordinator_desk(home).runs, WAIT_SECONDS)
            yield process
        finally:
            process.terminate()


def asked() -> ProposeForm:
    return ProposeForm(text=STUDY, study=parse_study(STUDY).id, person="otto")


def written(home: CoordinatorHome) -> int:
    return home.decisions.read_text().count('"study proposed"')


@pytest.mark.faults
def test_a_kill_in_the_middle_of_a_proposal_loses_nothing_and_signs_once(
    keyed: KeyedCoordinator,
) -> None:
    keep_bundle(keyed.home)
    path = keyed.home.study(parse_study(STUDY).id)
    with desk_of(keyed.home) as process:
        place = desk_socket(keyed.home).stat()
        assert stat.S_IMODE(place.st_mode) == 0o600

        def first() -> None:
            with suppress(RunError):
                coordinator_desk(keyed.home).ask(PROPOSE, asked())

        thread = Thread(target=first)
        thread.start()
        until(path.exists, WAIT_SECONDS)
        process.kill()
        thread.join()
    signed = path.read_bytes()
    with desk_of(keyed.home):
        done = coordinator_desk(keyed.home).ask(PROPOSE, asked())
    assert (done.new, done.note) == (False, ActNote.LATER)  # no SuperLink is there
    assert path.read_bytes() == signed
    assert proposal(keyed.home, done.of).study == parse_study(STUDY)
    assert written(keyed.home) == 1


@pytest.mark.faults
def test_a_protected_key_signs_with_what_came_over_standard_input(
    keyed: KeyedCoordinator,
) -> None:
    keep_bundle(keyed.home)
    key = read_signing_key(keyed.home.signing_key, None)
    keyed.home.signing_key.write_bytes(signing_pem(key, SECRET))
    with desk_of(keyed.home), pytest.raises(KeysError, match="passphrase"):
        coordinator_desk(keyed.home).ask(PROPOSE, asked())
    assert not keyed.home.study(parse_study(STUDY).id).exists()
    with desk_of(keyed.home, SECRET):
        assert coordinator_desk(keyed.home).ask(PROPOSE, asked()).note is ActNote.LATER
    with pytest.raises(RunError, match="fieldfare coordinator start"):
        coordinator_desk(keyed.home).ask(PROPOSE, asked())
