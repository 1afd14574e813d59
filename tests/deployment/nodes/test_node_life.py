"""How a node comes and goes: admitted or not, stopped, killed, its SuperLink gone."""

import shutil
import signal
from pathlib import Path
from threading import Event
from typing import Any, Final

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from tests.deployment.conftest import BANKS, HELLO, Nodes, ask
from tests.support.federations.bench import Bench
from tests.support.network.certificates import Authority
from tests.support.network.served import serving
from tests.support.system.processes import alive, children, until

from fieldfare.client.node.fleet import APP_FAILED
from fieldfare.client.wire.tls import TlsPort
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in
from fieldfare.shared.protocol.messages import Refusal

pytestmark = pytest.mark.faults  # slow: processes of several parts

STOP_SECONDS: Final = 60.0
LEASE_SECONDS: Final = 120.0  # Flower's 60, a pause of 30, and this machine's own time


def test_a_custodian_that_is_down_is_an_error_without_a_text(nodes: Nodes) -> None:
    nodes.start(nodes.settings("bank-a"))
    nodes.superlink.wait_online(1)
    with nodes.superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        reply = ask(grid, node)
    assert (reply.error.code, reply.error.reason) == (APP_FAILED, "RunError")


def test_a_node_that_nobody_registered_says_so_and_waits(nodes: Nodes) -> None:
    settings = nodes.settings("stranger", register=False)
    process = nodes.start(settings)
    until(lambda: "it starts again in" in nodes.log(settings).read_text())
    assert process.poll() is None
    written = nodes.log(settings).read_text()
    assert "not admitted by" in written
    assert "compare address, authority, clock, and the node key" in written
    assert nodes.superlink.online() == 0


def test_a_node_that_was_expelled_goes_on_asking_to_be_let_in(nodes: Nodes) -> None:
    settings = nodes.settings("bank-a")
    process = nodes.start(settings)
    nodes.superlink.wait_online(1)
    nodes.superlink.expel_all()
    until(lambda: "it starts again in" in nodes.log(settings).read_text())
    until(lambda: "not admitted by" in nodes.log(settings).read_text())
    assert process.poll() is None


def test_a_superlink_of_another_authority_is_not_spoken_to(nodes: Nodes, tmp_path: Path) -> None:
    settings = nodes.settings("bank-a")
    other = Authority.make(tmp_path, "other").folder / "authority.pem"
    shutil.copy(other, settings.with_name("authority.pem"))
    nodes.start(settings)
    until(lambda: "it starts again in" in nodes.log(settings).read_text())
    assert "certificate verify failed" in nodes.log(settings).read_text().lower()
    assert nodes.superlink.online() == 0


def test_it_stops_when_told_to_and_signs_off(nodes: Nodes) -> None:
    process = nodes.start(nodes.settings("bank-a"))
    nodes.superlink.wait_online(1)
    (child,) = children(process)
    process.send_signal(signal.SIGINT)  # as typed at a terminal
    assert process.wait(STOP_SECONDS) == 0
    assert not alive(child)
    assert nodes.superlink.online() == 0


def test_a_custodian_on_another_machine_is_asked_over_mutual_tls(
    nodes: Nodes, bench: Bench
) -> None:
    link = Authority.make(nodes.folder, "link")
    theirs, ours = link.issue("localhost"), link.issue("node.bank-a")
    settings = nodes.settings("bank-a")
    with serving(
        bench.custodian("bank-a"), TlsPort("127.0.0.1", 0, theirs, "node.bank-a")
    ) as found:
        lines = [line for line in settings.read_text().splitlines() if "custodian" not in line]
        lines += ["[custodian]", 'host = "localhost"', f"port = {found.port}"]
        lines += [f'certificate = "{ours.certificate}"', f'key = "{ours.key}"']
        lines += [f'authority = "{ours.authority}"', ""]
        settings.write_text("\n".join(lines))
        nodes.start(settings)
        nodes.superlink.wait_online(1)
        with nodes.superlink.grid() as grid:
            (node,) = grid.get_node_ids()
            assert refusal_in(ask(grid, node).content[RECORD]) is not None
        nodes.stop()


class Slow:
    """A custodian in the middle of something long."""

    def __init__(self) -> None:
        self.begun, self.gate = Event(), Event()

    def describe(self, **_: object) -> Refusal:
        self.begun.set()
        assert self.gate.wait(120)
        return Refusal(RefusalCode.UNKNOWN_STUDY)


def test_it_stops_in_the_middle_of_a_custodians_answer(nodes: Nodes) -> None:
    slow = Slow()
    nodes.serve("bank-a", slow)
    process = nodes.start(nodes.settings("bank-a"))
    nodes.superlink.wait_online(1)
    with nodes.superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        content: Any = {RECORD: ConfigRecord({"study": b"x", "last_reply": b""})}
        grid.push_messages([Message(RecordDict(content), node, HELLO)])
        assert slow.begun.wait(STOP_SECONDS)
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
    slow.gate.set()
    assert nodes.superlink.online() == 0  # it had the time to sign off


def test_nothing_is_left_of_a_node_whose_parent_was_killed(nodes: Nodes) -> None:
    process = nodes.start(nodes.settings("bank-a"))
    nodes.superlink.wait_online(1)
    (child,) = children(process)
    process.kill()
    process.wait()
    until(lambda: not alive(child))
    nodes.superlink.wait_online(0)  # it signed off


def test_a_superlink_that_was_killed_is_found_again(banks: Nodes) -> None:
    logs = [banks.log(banks.folder / f"node-{name}" / "node.toml") for name in BANKS]
    until(lambda: all("admitted as node" in log.read_text() for log in logs))
    admitted = [log.read_text().count("admitted as node") for log in logs]
    banks.superlink.kill()
    until(lambda: all("retrying in" in log.read_text() for log in logs))
    banks.superlink.start()
    until(lambda: all("Connection successful" in log.read_text() for log in logs), LEASE_SECONDS)
    banks.superlink.wait_online(len(BANKS), LEASE_SECONDS)
    with banks.superlink.grid() as grid:
        assert not any(ask(grid, node).has_error() for node in grid.get_node_ids())
    # The same processes carried on: nobody had to wait for a lease.
    assert [log.read_text().count("admitted as node") for log in logs] == admitted
    assert all(process.poll() is None for process in banks.started)
