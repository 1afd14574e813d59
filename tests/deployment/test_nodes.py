"""Institutions' nodes at a stock SuperLink, over TLS with node authentication.

Everything between the custodians and the coordinator's rounds is a real process or a real
socket here; the custodians are served by this process, the rounds run in it.
"""

import grp
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from tests.bench import NAMES, Bench, MakeBench, make_study, make_sums
from tests.certificates import Authority
from tests.deployment.conftest import Nodes
from tests.superlink import Superlink

from fieldfare.client.fleet import APP_FAILED, BUNDLE_REFUSED
from fieldfare.client.institution.founding import found_institution
from fieldfare.client.node import OBJECTIONS
from fieldfare.server.channel import Channel
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.exchange import RECORD, Call, refusal_in

BANKS: Final = NAMES[:3]
HELLO: Final = Call.HELLO.message_type
ANSWER_SECONDS: Final = 20.0
NOBODY: Final = 65534  # uid and gid of a user who owns nothing


def three_banks(make_bench: MakeBench) -> Bench:
    study = make_study()
    return make_bench(study, {name: make_sums(study, 100, seed=i) for i, name in enumerate(BANKS)})


def start_all(nodes: Nodes, bench: Bench) -> None:
    for name in bench.names:
        nodes.serve(name, bench.custodian(name))
        nodes.start(nodes.settings(name))
    nodes.superlink.wait_online(len(bench.names))


def ask(grid: Any, node: int, message_type: str = HELLO, **records: Any) -> Message:
    """Send one message and wait for what comes back."""
    content: Any = {name: ConfigRecord(dict(r)) for name, r in records.items()} or {
        RECORD: ConfigRecord({"study": b"nothing", "last_reply": b""})
    }
    (sent,) = grid.push_messages([Message(RecordDict(content), node, message_type)])
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end:
        for reply in grid.pull_messages([sent]):
            return reply  # type: ignore[no-any-return]
        time.sleep(0.03)
    raise AssertionError("an answer expected, none in time")


def until(true: Callable[[], bool], seconds: float = ANSWER_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def children(process: "subprocess.Popen[bytes]") -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in found.split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def sockets_of(pid: int) -> set[str]:
    """Inodes of a process's sockets."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def listening(pid: int) -> set[str]:
    """Inodes of sockets at which a process listens: TCP, UDP and unix."""
    found = set()
    for table in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        found |= {row[9] for row in rows if row[3] == "0A"}
    for table in ("udp", "udp6"):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        found |= {row[9] for row in rows}
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    found |= {row[6] for row in unix if int(row[3], 16) & 0x10000}  # __SO_ACCEPTCON
    return found & sockets_of(pid)


# -- what a run needs, and what is refused ---------------------------------------------------------


def test_three_institutions_run_over_their_nodes(make_bench: MakeBench, nodes: Nodes) -> None:
    bench = three_banks(make_bench)
    start_all(nodes, bench)
    with nodes.superlink.grid() as grid:
        outcome = bench.federation.job("over-nodes").run(Channel(grid))
    assert outcome.participants == BANKS
    planned = bench.plan.training.cost * bench.plan.training.steps + bench.plan.evaluation.cost
    for name in bench.names:
        assert bench.ledger(name).spent() == planned
        bench.ledger(name).verify()
    for process in nodes.started:
        (child,) = children(process)
        assert not listening(child)
        assert not listening(process.pid)


def test_what_no_node_answers(make_bench: MakeBench, nodes: Nodes) -> None:
    bench = three_banks(make_bench)
    start_all(nodes, bench)
    link = nodes.superlink
    big: dict[str, Any] = {RECORD: {"study": b"x"}, "other": {"more": b"y"}}
    with link.grid("6.6.6") as grid:  # another bundle
        for node in grid.get_node_ids():
            reply = ask(grid, node)
            assert (reply.error.code, reply.error.reason) == said("bundle", BUNDLE_REFUSED)
    with link.grid(surprise="anything") as grid:
        for node in grid.get_node_ids():
            reply = ask(grid, node)
            assert (reply.error.code, reply.error.reason) == said("configuration")
    with link.grid(job="monday.1") as grid:
        for node in grid.get_node_ids():
            for kind in ("train", "evaluate", "query", "query.describe", "train.hello"):
                assert ask(grid, node, kind).error.reason == said("type")[1]
            assert ask(grid, node, **big).error.reason == said("size")[1]
            refusal = refusal_in(ask(grid, node).content[RECORD])
            assert refusal is not None
            assert refusal.code is RefusalCode.UNKNOWN_STUDY
    assert all(bench.ledger(name).spent() == 0 for name in bench.names)


def said(rule: str, code: int = APP_FAILED) -> tuple[int, str]:
    return code, OBJECTIONS[rule].reason


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


def test_a_superlink_of_another_authority_is_not_spoken_to(nodes: Nodes, tmp_path: Path) -> None:
    settings = nodes.settings("bank-a")
    other = Authority.make(tmp_path, "other").folder / "authority.pem"
    shutil.copy(other, settings.with_name("authority.pem"))
    nodes.start(settings)
    until(lambda: "it starts again in" in nodes.log(settings).read_text())
    assert "certificate verify failed" in nodes.log(settings).read_text().lower()
    assert nodes.superlink.online() == 0


# -- how it stops ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told_to_and_signs_off(sent: signal.Signals, nodes: Nodes) -> None:
    process = nodes.start(nodes.settings("bank-a"))
    nodes.superlink.wait_online(1)
    (child,) = children(process)
    process.send_signal(sent)
    assert process.wait(ANSWER_SECONDS) == 0
    assert not alive(child)
    assert nodes.superlink.online() == 0


def test_nothing_is_left_of_a_node_whose_parent_was_killed(nodes: Nodes) -> None:
    process = nodes.start(nodes.settings("bank-a"))
    nodes.superlink.wait_online(1)
    (child,) = children(process)
    process.kill()
    process.wait()
    until(lambda: not alive(child))
    nodes.superlink.wait_online(0)  # it signed off


@pytest.mark.faults
def test_a_killed_node_comes_back_when_its_lease_has_ended(
    make_bench: MakeBench, nodes: Nodes
) -> None:
    bench = three_banks(make_bench)
    start_all(nodes, bench)
    victim = nodes.started[0]
    (child,) = children(victim)
    os.kill(child, signal.SIGKILL)
    written = nodes.log(nodes.folder / "node-bank-a" / "node.toml")
    until(lambda: written.read_text().count("admitted as node") == 2, 120)
    nodes.superlink.wait_online(3)
    assert "ended with status -9" in written.read_text()
    with nodes.superlink.grid() as grid:
        outcome = bench.federation.job("after-a-kill").run(Channel(grid))
    assert outcome.participants == BANKS


# -- as another user -------------------------------------------------------------------------------


def as_nobody(*command: str | Path) -> list[str | Path]:
    """A command run as a user with no rights, in the custodian's group alone."""
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *user, "--inh-caps=-all", *command]


def runs(command: Sequence[str | Path]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def python_of_nobody(nodes: Nodes) -> Path:
    """A Python that another user can run, with what is installed here."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("root and setpriv are needed to become another user")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, f"/usr/bin/{version}"):
        python = _environment(nodes.folder / f"python-{Path(found).name}", found, version)
        again = "import fieldfare.client, subprocess as s, sys; s.run([sys.executable, '-c', '1'])"
        if runs(as_nobody(python, "-I", "-c", again)):
            return python
    pytest.skip("another user can run no Python of this version here")


def _environment(folder: Path, python: str, version: str) -> Path:
    """An environment of an interpreter that finds the packages of this one."""
    packages = folder / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(Path(python).resolve())
    (folder / "pyvenv.cfg").write_text(f"home = {Path(python).resolve().parent}\n")
    return folder / "bin" / "python"


def start_as_nobody(nodes: Nodes, python: Path) -> "subprocess.Popen[bytes]":
    """Run bank-a's node from a folder that is the other user's."""
    settings = nodes.settings("bank-a")
    for path in (settings.parent, *settings.parent.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    command = as_nobody(python, "-I", "-c", "from fieldfare.shared.cli import main; main()")
    process = nodes.start(settings, command)
    nodes.superlink.wait_online(1)
    return process


def test_a_node_needs_the_sockets_group_and_nothing_else(
    python_of_nobody: Path, make_bench: MakeBench, nodes: Nodes
) -> None:
    bench = three_banks(make_bench)
    home = found_institution(nodes.folder / "home", "bank-a")
    home.ledger.touch()
    nodes.serve("bank-a", bench.custodian("bank-a"), grp.getgrgid(NOBODY).gr_name)
    (child,) = children(start_as_nobody(nodes, python_of_nobody))
    assert Path(f"/proc/{child}").stat().st_uid == NOBODY
    with nodes.superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        assert refusal_in(ask(grid, node).content[RECORD]) is not None
    for path in (home.identity_key, home.holdout_key, home.node_key, home.policy, home.ledger):
        assert runs(["cat", path])
        assert not runs(as_nobody("cat", path)), path
    assert not runs(as_nobody("ls", home.path))


def test_without_the_group_there_is_no_custodian(
    python_of_nobody: Path, make_bench: MakeBench, nodes: Nodes
) -> None:
    bench = three_banks(make_bench)
    nodes.serve("bank-a", bench.custodian("bank-a"))  # in this user's own group
    start_as_nobody(nodes, python_of_nobody)
    with nodes.superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        assert ask(grid, node).error.reason == "RunError"


def test_the_superlink_is_a_stock_one(superlink: Superlink) -> None:
    command = Path(f"/proc/{superlink.process.pid}/cmdline").read_text()
    assert "flower-superlink" in command
