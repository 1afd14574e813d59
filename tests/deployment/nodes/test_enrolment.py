"""From nothing to a node that is let in, by the commands that people type, and out again."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.support.system.ports import free_port
from tests.support.system.processes import until

from fieldfare.client.home.keys import identity_fingerprint
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.roster import pinned_roster
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.identity import fingerprint

pytestmark = pytest.mark.faults  # slow: processes of several parts

COMMAND: Final = Path(sys.executable).with_name("fieldfare")
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0


@dataclass
class Site:
    """A coordinator and an institution, each in a folder of its own, and the files between them."""

    folder: Path
    stack: ExitStack

    @property
    def coordinator_home(self) -> CoordinatorHome:
        return CoordinatorHome(self.folder / "coordinator")

    @property
    def bank(self) -> Home:
        return Home(self.folder / "bank")

    def coordinator(self, *arguments: str) -> int:
        return run(["coordinator", *arguments, "--home", str(self.coordinator_home.path)])

    def institution(self, *arguments: str) -> int:
        return run(["institution", *arguments, "--home", str(self.bank.path)])

    def keep_running(self, *command: str) -> Path:
        """Start a command that is stopped at the end; returns its log."""
        path = self.folder / f"{command[0]}.log"
        with path.open("ab") as log:
            process = subprocess.Popen([COMMAND, *command], stdout=log, stderr=log)
        self.stack.callback(process.wait, STOP_SECONDS)
        self.stack.callback(process.terminate)
        return path

    def statuses(self) -> dict[str, str]:
        """What the SuperLink says of nodes; nothing where it does not answer yet."""
        try:
            with control(control_target(self.coordinator_home)) as link:
                return {node.name: node.status for node in link.nodes()}
        except RunError:
            return {}

    def let_in(self) -> set[str]:
        return {name for name, status in self.statuses().items() if status != "unregistered"}


@pytest.fixture
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="ff-"))
    with ExitStack() as stack:
        yield Site(folder, stack)
    shutil.rmtree(folder)


def spoken(public: str) -> str:
    return fingerprint(bytes.fromhex(public))


def found(site: Site) -> None:
    port, local = free_port(), free_port()
    address = ["--address", f"127.0.0.1:{port}", "--bind", f"127.0.0.1:{port}"]
    assert site.coordinator("init", "Coordinator", *address, "--local-port", str(local)) == 0


def test_five_commands_make_a_member_whose_node_is_let_in(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    found(site)
    site.keep_running("coordinator", "start", "--home", str(site.coordinator_home.path))

    # What is read aloud is given as an option: both sides compare, nothing is just believed.
    invitation, enrolment = str(site.coordinator_home.invitation), str(site.folder / "enrolment")
    coordinator_said = ["--fingerprint", spoken(roster_public(site.coordinator_home))]
    assert site.institution("init", "--id", "bank-a") == 0
    assert site.institution("join", invitation, *coordinator_said, "--out", enrolment) == 0
    bank_said = ["--fingerprint", identity_fingerprint(site.bank)]
    assert site.coordinator("enrol", enrolment, *bank_said) == 0
    assert site.coordinator("roster", "--multiplicity", "1") == 0
    assert site.institution("roster", "accept", str(site.coordinator_home.roster), "--yes") == 0

    key = pinned_coordinator(site.bank, load_policy(site.bank))
    assert pinned_roster(site.bank, key).ids == ("bank-a",)
    until(lambda: site.let_in() == {"bank-a"}, START_SECONDS)
    node = site.keep_running("institution", "node", "--home", str(site.bank.path))
    until(lambda: site.statuses().get("bank-a") == "online", START_SECONDS)
    until(lambda: "admitted as node" in node.read_text())

    capsys.readouterr()
    assert site.coordinator("enrol", enrolment) == 0  # the same file again
    assert "nothing changed" in capsys.readouterr().out
    assert site.coordinator("remove", "bank-a", "--yes") == 0
    assert "removed bank-a" in capsys.readouterr().out
    assert site.let_in() == set()  # the command settled that, or the runner a moment before it
    until(lambda: "not admitted" in node.read_text(), START_SECONDS)
    assert site.coordinator("enrol", enrolment, "--yes") == 0
    assert "does not take bank-a's node" in capsys.readouterr().out

    assert site.institution("keys", "rotate", "node") == 0
    assert site.institution("join", invitation) == 0
    assert site.coordinator("enrol", str(site.bank.path / "bank-a.enrolment"), "--yes") == 0
    until(lambda: site.statuses().get("bank-a") == "online", START_SECONDS)


def test_who_enrolled_while_the_superlink_was_down_is_let_in_when_it_starts(site: Site) -> None:
    found(site)
    assert site.institution("init", "--id", "bank-a") == 0
    assert site.institution("join", str(site.coordinator_home.invitation), "--yes") == 0
    sent = str(site.bank.path / "bank-a.enrolment")
    assert site.coordinator("enrol", sent, "--yes") == 0
    site.keep_running("coordinator", "start", "--home", str(site.coordinator_home.path))
    until(lambda: site.let_in() == {"bank-a"}, START_SECONDS)
