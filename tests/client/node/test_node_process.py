"""The process of a node: how it ends, for every reason; admitted ones are in tests/deployment."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.support.network.certificates import Authority
from tests.support.network.superlink import new_node_key, quiet_environment
from tests.support.system.ports import free_port

from fieldfare.client.node.process import EXIT_AGAIN, EXIT_STOPPED
from fieldfare.shared.system.processes import EXIT_DEFECT

PROCESS: Final = "fieldfare.client.node.process"
WAIT_SECONDS: Final = 120.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A node whose SuperLink is not there."""
    (Authority.make(tmp_path).folder / "authority.pem").rename(tmp_path / "authority.pem")
    (tmp_path / "keys").mkdir()
    new_node_key(tmp_path / "keys" / "node")
    path = tmp_path / "node.toml"
    path.write_text(
        f'superlink = "127.0.0.1:{free_port()}"\n'
        f'bundles = ["{"ab" * 32}"]\ncustodian = "custodian.sock"\n'
    )
    return path


@pytest.fixture
def start(settings: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def run(arguments: Sequence[Path] | None = None) -> "subprocess.Popen[str]":
        given = [settings] if arguments is None else arguments
        running.append(
            subprocess.Popen(
                [sys.executable, "-I", "-m", PROCESS, *given],
                env=quiet_environment(tmp_path / "flwr"),
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()


def said_until(process: "subprocess.Popen[str]", text: str) -> None:
    """Read what it says until a text comes."""
    assert process.stderr is not None
    end = time.monotonic() + WAIT_SECONDS
    for line in process.stderr:
        if text in line:
            return
        assert time.monotonic() < end
    raise AssertionError(f"expected {text!r}, the process ended")


def test_it_waits_for_a_superlink_that_is_not_there_and_stops_at_once(start: Start) -> None:
    process = start()
    said_until(process, "Connection attempt failed, retrying")
    process.terminate()
    assert process.wait(WAIT_SECONDS) == EXIT_STOPPED


def test_it_ends_with_its_parent(start: Start) -> None:
    process = start()
    said_until(process, "Connection attempt failed, retrying")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(WAIT_SECONDS) == EXIT_STOPPED


def test_a_superlink_that_does_not_take_its_signature_is_signed_on_to_again(start: Start) -> None:
    """flwr tells a node so by SIGINT to its own process."""
    process = start()
    said_until(process, "Connection attempt failed, retrying")
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_SECONDS) == EXIT_AGAIN
    assert process.stderr is not None
    said = process.stderr.read()
    assert "does not take this node's signature" in said
    assert "clock" in said  # the likeliest of its reasons


def test_settings_that_went_bad_end_it(start: Start, settings: Path) -> None:
    settings.write_text("nothing = 1\n")
    process = start()
    assert process.wait(WAIT_SECONDS) == 2
    assert process.stderr is not None
    written = process.stderr.read()
    assert "fieldfare: node: " in written
    assert "Traceback" not in written


def test_certificates_that_went_bad_end_it(start: Start, settings: Path) -> None:
    table = '{host = "c", port = 1, certificate = "gone.pem", key = "gone", authority = "gone"}'
    settings.write_text(settings.read_text().replace('"custodian.sock"', table))
    process = start()
    assert process.wait(WAIT_SECONDS) == 2
    assert process.stderr is not None
    assert "gone: expected a readable PEM file" in process.stderr.read()


def test_a_defect_is_shown_and_ends_it(start: Start) -> None:
    process = start([])  # its one caller always names a file
    assert process.wait(WAIT_SECONDS) == EXIT_DEFECT
    assert process.stderr is not None
    assert "Traceback" in process.stderr.read()


def test_a_heartbeat_that_fails_for_good_ends_the_process() -> None:
    """flwr's heartbeats are a thread, whose failure would otherwise go by unseen."""
    program = f"""
import threading, time
import {PROCESS} as process
process._listen()
try:
    threading.Thread(target=lambda: 1 / 0).start()
    time.sleep(60)
except process.NodeDismissedError:
    print("dismissed")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    assert done.stdout == "dismissed\n", done.stderr
