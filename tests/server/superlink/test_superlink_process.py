"""The process that serves the SuperLink: starting, stopping, and what it refuses to start with."""

import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.support.network.coordinator import (
    SUPERLINK,
    RunningSuperlink,
    new_home,
    new_node,
    running_superlink,
)
from tests.support.rows import night
from tests.support.system.processes import listening, until

from fieldfare.client.node.fleet import SuperlinkEndpoint, joined
from fieldfare.server.home.initial_setup import build_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.process import terms_of
from fieldfare.server.superlink.retention import flower_environment
from fieldfare.server.superlink.superlink import control

WAIT_SECONDS: Final = 120.0


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    return new_home(tmp_path / "home")


def refused(home: CoordinatorHome) -> "subprocess.CompletedProcess[str]":
    """Start it, and wait until it ends by itself."""
    with subprocess.Popen(
        [sys.executable, "-I", "-m", SUPERLINK, home.path],
        env=flower_environment({}, home.path),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        status = process.wait(WAIT_SECONDS)
    return subprocess.CompletedProcess([], status, "", said)


def test_it_serves_two_places_and_no_more_and_ends_when_told(home: CoordinatorHome) -> None:
    with running_superlink(home) as superlink:
        assert len(listening(superlink.process.pid)) == 2
        said = superlink.log()
        for shown in (superlink.public, superlink.local, str(home.audit_log)):
            assert shown in said
        assert superlink.stop() == 0
    assert superlink.log() == said  # and nothing of what it left undone


@pytest.mark.promises
def test_it_says_what_time_it_is(home: CoordinatorHome) -> None:
    """Nodes whose clocks are far off are refused: this is how people there find out why."""
    with running_superlink(home) as superlink, httpx.Client(verify=superlink.trust) as client:
        found = client.get(f"https://{superlink.public}/health").headers["date"]
    assert abs(parsedate_to_datetime(found).timestamp() - time.time()) < 300


@pytest.mark.promises
def test_it_ends_with_its_parent(home: CoordinatorHome) -> None:
    with running_superlink(home) as superlink:
        assert superlink.process.stdin is not None
        superlink.process.stdin.close()
        assert superlink.process.wait(WAIT_SECONDS) == 0


def test_what_it_keeps_is_private(home: CoordinatorHome) -> None:
    with running_superlink(home):
        modes = {path.name: path.stat().st_mode & 0o777 for path in home.state.iterdir()}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.faults
def test_nodes_and_runs_are_there_after_it_was_killed(home: CoordinatorHome) -> None:
    key, line = new_node()
    authority = home.authority.read_bytes()
    with running_superlink(home) as superlink:
        with control(control_target(home)) as link:
            node = link.register_node(line, "bank-a")
            run = link.start_run(build_bundle(), {"study": "s", "run": "r"})
        superlink.kill()
        again = RunningSuperlink(home)
        again.start()
        try:
            with control(control_target(home)) as link:
                assert [each.node for each in link.nodes()] == [node]
                assert link.run_status(run).state == "pending"
                with joined(SuperlinkEndpoint(again.public, authority), key) as fleet:
                    assert fleet.node_id == node
        finally:
            again.stop()


@pytest.mark.promises
def test_a_finished_run_is_purged_at_the_start(home: CoordinatorHome) -> None:
    with running_superlink(home), control(control_target(home)) as link:
        run = link.start_run(build_bundle(), {"study": "s", "run": "r"})
        link.stop_run(run)
    with closing(sqlite3.connect(home.superlink_database)) as database, database:
        database.execute(
            "INSERT INTO message_res (message_id, run_id, content)"
            " SELECT 'm', run_id, 'LEFTOVER-PAYLOAD' FROM run"
        )

    def left() -> bool:
        files = home.state.glob("superlink.sqlite*")
        return any(b"LEFTOVER-PAYLOAD" in path.read_bytes() for path in files)

    assert left()
    with running_superlink(home):
        until(lambda: not left())


@pytest.mark.parametrize("place", ["public", *night("local")])
def test_a_port_that_is_taken_is_said_with_what_to_do(place: str, home: CoordinatorHome) -> None:
    settings = load_settings(home)
    port = settings.bind_port if place == "public" else settings.local_port
    with socket.create_server(("127.0.0.1", port)):
        ended = refused(home)
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}: expected a free port of this host" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.promises
def test_a_certificate_of_another_key_is_said_with_what_to_do(
    home: CoordinatorHome, tmp_path: Path
) -> None:
    other = new_home(tmp_path / "other")
    home.server_key.write_bytes(other.server_key.read_bytes())
    ended = refused(home)
    assert ended.returncode == 2
    assert "expected a certificate that fits its key" in ended.stderr
    assert "coordinator renew certificate" in ended.stderr
    assert "PRIVATE" not in ended.stderr


@pytest.mark.promises
def test_a_folder_that_is_no_home_is_said_so(tmp_path: Path) -> None:
    ended = refused(CoordinatorHome(tmp_path))
    assert ended.returncode == 2
    assert "a coordinator's folder" in ended.stderr


def test_its_terms_are_the_homes_and_show_no_secret(home: CoordinatorHome) -> None:
    terms = terms_of(home)
    settings = load_settings(home)
    assert (terms.host, terms.port) == (settings.bind_host, settings.bind_port)
    assert terms.local_port == settings.local_port
    for path in (home.control_token, home.runtime_token):
        assert path.read_text() not in repr(terms)
    assert terms.control_token == home.control_token.read_text()
    assert terms.runtime_token == home.runtime_token.read_bytes()


def test_who_connects_and_says_nothing_is_hung_up_on(
    home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a shorter patience; a connection that asks now and then stays."""
    script = tmp_path / "impatient.py"
    script.write_text(
        "import sys\nfrom fieldfare.server.superlink import process as p\n"
        "from fieldfare.server.superlink.connections import ConnectionLimits\n"
        "sys.exit(p.main(sys.argv[1:], ConnectionLimits(head_seconds=1.0)))\n"
    )
    superlink = RunningSuperlink(home)
    superlink.start([sys.executable, "-I", str(script), str(home.path)])
    host, _, port = superlink.public.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=WAIT_SECONDS) as plain,
            superlink.trust.wrap_socket(plain, server_hostname=host) as silent,
            httpx.Client(verify=superlink.trust) as client,
        ):
            silent.sendall(b"GET /health HT")  # and no more
            for _ in range(4):
                assert client.get(f"https://{superlink.public}/health").is_success
                time.sleep(0.5)
            with suppress(ConnectionResetError):
                assert silent.recv(100) == b""
    finally:
        superlink.stop()
