"""Three institutions' nodes at a stock SuperLink, over TLS with node authentication.

Everything between the custodians and the coordinator's rounds is a real process or a real
socket here; the custodians are served by this process, the rounds run in it.
"""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.deployment.conftest import BANKS, Nodes, ask
from tests.support.federations.bench import Bench
from tests.support.network.superlink import Superlink
from tests.support.system.processes import children, listening

from fieldfare.client.node.fleet import APP_FAILED, BUNDLE_REFUSED
from fieldfare.client.node.node import OBJECTIONS
from fieldfare.server.run.channel import UNLISTED, GridChannel
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in

pytestmark = pytest.mark.faults  # slow: processes of several parts


def said(rule: str, code: int = APP_FAILED) -> tuple[int, str]:
    return code, OBJECTIONS[rule].reason


def test_the_superlink_is_a_stock_one(superlink: Superlink) -> None:
    command = Path(f"/proc/{superlink.process.pid}/cmdline").read_text()
    assert "flower-superlink" in command


def test_three_institutions_run_over_their_nodes(bench: Bench, banks: Nodes) -> None:
    """Hello, open, agree, rehearsal, every step and the evaluation, to the last debit."""
    with banks.superlink.grid() as grid:
        outcome = bench.federation.job("over-nodes").run(GridChannel(grid))
    assert outcome.participants == BANKS
    planned = bench.plan.run_costs.total
    for name in bench.names:
        assert bench.ledger(name).spent() == planned
        bench.ledger(name).verify()


def test_a_run_of_another_bundle_is_answered_by_nobody(bench: Bench, banks: Nodes) -> None:
    spent = [bench.ledger(name).spent() for name in bench.names]
    with banks.superlink.grid("6.6.6") as grid:
        nodes = list(grid.get_node_ids())
        assert len(nodes) == len(BANKS)
        for node in nodes:
            reply = ask(grid, node)
            assert (reply.error.code, reply.error.reason) == said("bundle", BUNDLE_REFUSED)
        with pytest.raises(RunError, match=rf"3 institutions, found 0 .*{UNLISTED}"):
            bench.federation.job("changed").run(GridChannel(grid))
    assert [bench.ledger(name).spent() for name in bench.names] == spent


def test_a_run_with_a_setting_that_nobody_knows_is_answered_by_nobody(banks: Nodes) -> None:
    with banks.superlink.grid(surprise="anything") as grid:
        for node in grid.get_node_ids():
            reply = ask(grid, node)
            assert (reply.error.code, reply.error.reason) == said("configuration")


@pytest.mark.parametrize("kind", ["train", "evaluate", "query", "query.describe", "train.hello"])
def test_only_calls_of_the_protocol_are_answered(kind: str, banks: Nodes) -> None:
    with banks.superlink.grid() as grid:
        node = next(iter(grid.get_node_ids()))
        reply = ask(grid, node, kind)
    assert (reply.error.code, reply.error.reason) == said("type")


def test_a_run_may_name_its_study_and_itself_and_ask_one_record_at_a_time(banks: Nodes) -> None:
    two: dict[str, Any] = {RECORD: {"study": b"x"}, "other": {"more": b"y"}}
    with banks.superlink.grid(study="5f" * 32, run="monday.1") as grid:
        for node in grid.get_node_ids():
            assert ask(grid, node, **two).error.reason == said("size")[1]
            refusal = refusal_in(ask(grid, node).content[RECORD])
            assert refusal is not None
            assert refusal.code is RefusalCode.UNKNOWN_STUDY


def test_a_node_can_be_reached_by_nobody(banks: Nodes) -> None:
    for process in banks.started:
        for pid in (process.pid, *children(process)):
            assert not listening(pid)
    with socket.create_server(("127.0.0.1", 0)):
        assert listening(os.getpid())  # the same look sees one that listens
