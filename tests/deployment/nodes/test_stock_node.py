"""A stock `flower-supernode` with the ClientApp of this project speaks to a custodian too."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.deployment.conftest import Nodes, ask
from tests.support.federations.bench import Bench
from tests.support.network.superlink import BIN, quiet_environment
from tests.support.system.ports import free_port

from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in

pytestmark = pytest.mark.faults  # slow: processes of several parts


def test_a_stock_node_answers(nodes: Nodes, bench: Bench) -> None:
    nodes.serve("bank-a", bench.custodian("bank-a"))
    settings = nodes.settings("bank-a")
    command: list[str | Path] = [BIN / "flower-supernode"]
    command += ["--superlink", nodes.superlink.address]
    command += ["--root-certificates", settings.with_name("authority.pem")]
    command += ["--auth-supernode-private-key", settings.parent / "keys" / "node"]
    command += ["--port", str(free_port())]
    command += ["--node-config", f'custodian="{nodes.socket("bank-a")}"']
    environment = quiet_environment(nodes.folder / "flower")
    environment["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # of what it starts
    with nodes.log(settings).open("wb") as log:
        nodes.started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    nodes.superlink.wait_online(1)
    with nodes.superlink.grid() as grid:
        (node,) = grid.get_node_ids()
        reply = ask(grid, node, seconds=60)
        assert not reply.has_error(), (reply.error, nodes.log(settings).read_text()[-3000:])
        refusal = refusal_in(reply.content[RECORD])
    assert refusal is not None
    assert refusal.code is RefusalCode.UNKNOWN_STUDY
