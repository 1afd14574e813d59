"""A node as another OS user: the socket's group is all that it needs, and the home stays shut."""

import grp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.deployment.conftest import Nodes, ask
from tests.support.federations.bench import Bench
from tests.support.system.environments import environment
from tests.support.system.processes import children, runs

from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in

pytestmark = pytest.mark.faults  # slow: processes of several parts

NOBODY: Final = 65534  # uid and gid of a user who owns nothing


def as_nobody(*command: str | Path) -> list[str | Path]:
    """A command run as a user with no rights, in the custodian's group alone."""
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return ["setpriv", *user, "--inh-caps=-all", *command]


@pytest.fixture
def python_of_nobody(nodes: Nodes) -> Path:
    """A Python that another user can run, with what is installed here."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("root and setpriv are needed to become another user")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, f"/usr/bin/{version}"):
        python = environment(nodes.folder / f"python-{Path(found).name}", found)
        again = "import fieldfare.client, subprocess as s, sys; s.run([sys.executable, '-c', '1'])"
        if runs(as_nobody(python, "-I", "-c", again)):
            return python
    pytest.skip("another user can run no Python of this version here")


def start_as_nobody(nodes: Nodes, python: Path) -> "subprocess.Popen[bytes]":
    """Run bank-a's node from a folder that is the other user's."""
    settings = nodes.settings("bank-a")
    for path in (settings.parent, *settings.parent.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    command = as_nobody(python, "-I", "-c", "from fieldfare.shared.cli.root import main; main()")
    process = nodes.start(settings, command)
    nodes.superlink.wait_online(1)
    return process


def test_a_node_needs_the_sockets_group_and_nothing_else(
    python_of_nobody: Path, bench: Bench, nodes: Nodes
) -> None:
    home = create_institution(nodes.folder / "home", "bank-a")
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
    python_of_nobody: Path, bench: Bench, nodes: Nodes
) -> None:
    nodes.serve("bank-a", bench.custodian("bank-a"))  # in this user's own group
    start_as_nobody(nodes, python_of_nobody)
    with nodes.superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        assert ask(grid, node).error.reason == "RunError"
