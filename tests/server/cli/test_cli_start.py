"""`fieldfare coordinator start` as a person meets it: one command, all of it, and no more."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from tests.support.network.coordinator import RunningSuperlink, new_home
from tests.support.system.processes import alive, children, core_limits, until

from fieldfare.server.cli import coordinator
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.cli.root import run
from fieldfare.shared.system.key_files import read_signing_key, signing_pem
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.system.processes import Child

COMMAND: Final = Path(sys.executable).with_name("fieldfare")
WAIT_SECONDS: Final = 120.0


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    return new_home(tmp_path / "home")


class Started:
    """The command, and what it said so far."""

    def __init__(self, home: CoordinatorHome, *options: str) -> None:
        self.home = home
        self.errors = home.path.parent / "errors"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [COMMAND, "coordinator", "start", "--home", home.path, *options], stderr=errors
            )

    def said(self) -> str:
        return self.errors.read_text()

    def up(self) -> list[int]:
        """Wait until it serves; returns its children."""
        until(RunningSuperlink(self.home).healthy, WAIT_SECONDS)
        return children(self.process)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)


@pytest.fixture
def started(home: CoordinatorHome) -> Iterator[Started]:
    made = Started(home)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.faults), signal.SIGTERM]
)
def test_it_says_where_it_listens_and_stops_with_everything(number: int, started: Started) -> None:
    pids = started.up()
    assert len(pids) == 3
    superlink = RunningSuperlink(started.home)

    def is_said(shown: str) -> bool:
        lines = [line for line in started.said().splitlines() if line.startswith("fieldfare: ")]
        return any(line.endswith(shown) or f"{shown}," in line for line in lines)

    for shown in (superlink.public, superlink.local, str(started.home.audit_log)):
        until(partial(is_said, shown))  # it passes on what its children write
    assert started.end(number) == 0
    assert not [pid for pid in pids if alive(pid)]
    assert "Traceback" not in started.said()


@pytest.mark.promises
def test_a_second_start_is_refused_and_hurts_nothing(started: Started) -> None:
    started.up()
    second = subprocess.run(
        [COMMAND, "coordinator", "start", "--home", started.home.path],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    assert second.returncode == 2
    assert f"found one that runs as process {started.process.pid}" in second.stderr
    assert RunningSuperlink(started.home).healthy()


@pytest.mark.faults
def test_what_dies_is_started_again(started: Started) -> None:
    superlink, *_ = pids = started.up()
    os.kill(superlink, signal.SIGKILL)
    until(lambda: "superlink: ended with status -9" in started.said(), WAIT_SECONDS)
    until(RunningSuperlink(started.home).healthy, WAIT_SECONDS)
    assert started.end(signal.SIGTERM) == 0
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.faults
def test_nothing_outlives_it_when_it_is_killed_and_it_starts_again(started: Started) -> None:
    pids = started.up()
    started.process.kill()
    started.process.wait()
    until(lambda: not [pid for pid in pids if alive(pid)], WAIT_SECONDS)
    again = Started(started.home)
    again.up()
    assert again.end(signal.SIGINT) == 0


@pytest.mark.promises
def test_a_protected_key_is_asked_for_its_passphrase_before_anything_starts(
    home: CoordinatorHome, tmp_path: Path
) -> None:
    key = read_signing_key(home.signing_key, None)
    home.signing_key.write_bytes(signing_pem(key, b"open sesame, now"))
    refused = Started(home)
    assert refused.process.wait(WAIT_SECONDS) == 2
    assert "passphrase" in refused.said()
    create_private(tmp_path / "passphrase", b"open sesame, now\n")
    started = Started(home, "--passphrase-file", str(tmp_path / "passphrase"))
    for pid in (*started.up(), started.process.pid):
        assert core_limits(pid) == ["0", "0"]
        for name in ("cmdline", "environ"):
            with suppress(PermissionError):  # it is not dumpable: this user may not look either
                assert b"sesame" not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert started.end(signal.SIGTERM) == 0


@pytest.mark.promises
def test_a_folder_that_is_no_home_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    started = Started(CoordinatorHome(tmp_path / "home"))
    assert started.process.wait(WAIT_SECONDS) == 2
    assert "make one with `fieldfare coordinator init`" in started.said()


@pytest.mark.faults
def test_a_port_that_is_taken_ends_all_of_it(home: CoordinatorHome) -> None:
    place = RunningSuperlink(home).local
    with socket.create_server(("127.0.0.1", int(place.rpartition(":")[2]))):
        started = Started(home)
        assert started.process.wait(WAIT_SECONDS) == 2
    assert "expected a free port of this host" in started.said()


@pytest.mark.parametrize(("deep", "desks"), [(1, 1), (110, 0)])
def test_a_folder_too_deep_for_a_socket_costs_the_desk_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    deep: int,
    desks: int,
) -> None:
    ran: list[str] = []

    def supervised(children: Sequence[Child], _say: object) -> int:
        ran.extend(one.name for one in children)
        return 0

    monkeypatch.setattr(coordinator, "supervise_many", supervised)
    home = new_home(tmp_path / ("d" * deep) / "home")
    assert run(("coordinator", "start", "--home", str(home.path))) == 0
    assert ran == ["superlink", "runs", *(["desk"] * desks)]
    assert ("too long for a socket" in capsys.readouterr().err) is not bool(desks)
