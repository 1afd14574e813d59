"""`institution start` at a real SuperLink: it connects, says so, and comes back after a kill."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.deployment.conftest import COMMAND, STOP_SECONDS, ask
from tests.support.homes.institutions import NAMES, Coordinator
from tests.support.network.superlink import Superlink
from tests.support.system.processes import alive, children, until

from fieldfare.client.home.keys import load_node_key
from fieldfare.client.home.layout import Home
from fieldfare.client.node.state import LinkState, NodeState, read_node_state
from fieldfare.client.node.terms import load_node_terms
from fieldfare.client.oversight.link import link_checks
from fieldfare.client.oversight.overview import Overview, overview
from fieldfare.client.oversight.overview_screen import overview_lines
from fieldfare.client.oversight.preflight import CheckInput, CheckOutcome, findings
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in
from fieldfare.shared.system.clock import utc_now

pytestmark = pytest.mark.faults  # slow: processes of several parts


NAME: Final = NAMES[0]


@pytest.fixture
def home(coordinator: Coordinator, superlink: Superlink) -> Home:
    """A home that joined the SuperLink."""
    home = coordinator.homes[NAME]
    public = load_node_key(home).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    superlink.register(pem, f"{coordinator.folder.name}-{NAME}")
    shutil.copy(superlink.authority, home.path / "authority.pem")
    (home.path / "node.toml").write_text(
        f'superlink = "{superlink.address}"\nbundles = ["{superlink.bundle()[1]}"]\n'
    )
    return home


@pytest.fixture
def started(home: Home, superlink: Superlink) -> Iterator["subprocess.Popen[bytes]"]:
    with (home.path.parent / "start.log").open("ab") as log:
        process = subprocess.Popen(
            [COMMAND, "institution", "start", "--home", home.path], stdout=log, stderr=log
        )
    superlink.wait_online(1)
    yield process
    process.terminate()
    assert process.wait(STOP_SECONDS) == 0
    superlink.wait_online(0)  # it signed off


def state(home: Home) -> NodeState | None:
    found = read_node_state(home.run / "node.json")
    return found[0] if found is not None and found[1] else None


def connected(home: Home) -> bool:
    found = state(home)
    return found is not None and found.link is LinkState.CONNECTED


def look(home: Home) -> Overview:
    return overview(home, home.path / "node.toml", utc_now())


def row(home: Home, topic: str) -> str:
    return " ".join(line[14:] for line in overview_lines(look(home)) if line.startswith(topic))


def test_it_answers_through_its_node_and_says_how_it_stands(
    home: Home, superlink: Superlink, started: Any
) -> None:
    until(lambda: connected(home))
    until(lambda: row(home, "custodian").startswith("serving 0 studies"), STOP_SECONDS)
    assert f"connected to {superlink.address}" in row(home, "node")
    with superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        refusal = refusal_in(ask(grid, node).content[RECORD])
    assert refusal is not None
    assert refusal.code is RefusalCode.UNKNOWN_STUDY
    found = state(home)
    assert found is not None
    assert found.message
    assert "unknown_study 1" in row(home, "refusals")


def test_the_way_to_a_real_superlink_is_open(home: Home) -> None:
    terms = CheckInput("node.toml", lambda: load_node_terms(home.path / "node.toml"))
    found = {one.topic: one.outcome for one in findings(link_checks(terms))}
    assert found == {
        "connection": CheckOutcome.PASS,
        "certificate": CheckOutcome.WARN,  # the tests' authority signs for a day
        "clock": CheckOutcome.PASS,
    }


def test_a_killed_custodian_serves_again_and_the_node_stays(
    home: Home, superlink: Superlink, started: "subprocess.Popen[bytes]"
) -> None:
    until(lambda: connected(home))
    both = children(started)
    custodian = next(
        pid for pid in both if b"client.daemon.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    (node,) = set(both) - {custodian}
    os.kill(custodian, signal.SIGKILL)
    until(lambda: not alive(custodian))
    until(lambda: row(home, "custodian").startswith("serving"), STOP_SECONDS)
    assert alive(node)
    with superlink.grid() as grid:
        (number,) = grid.get_node_ids()
        assert refusal_in(ask(grid, number).content[RECORD]) is not None
