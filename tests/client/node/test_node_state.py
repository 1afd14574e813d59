"""What a node writes down is read by whoever may, and a dead node is known as that."""

import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldfare.client.node.state import (
    HEARD_SECONDS,
    SIZE,
    LinkState,
    NodeReport,
    NodeState,
    read_node_state,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
STAMP = "2025-06-01T12:00:00+00:00"


def report(path: Path, seconds: list[float] | None = None) -> NodeReport:
    passed = seconds or [0.0]
    return NodeReport(path, "hub:8000", lambda: NOW, lambda: passed[0])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    assert read_node_state(path) is None
    made = report(path)
    assert read_node_state(path) == (
        NodeState(link=LinkState.CONNECTING, since=STAMP, superlink="hub:8000"),
        True,
    )
    made.connected(2**63)
    made.arrived()
    assert read_node_state(path) == (
        NodeState(
            link=LinkState.CONNECTED,
            since=STAMP,
            superlink="hub:8000",
            node=str(2**63),
            heard=STAMP,
            message=STAMP,
        ),
        True,
    )
    made.ended("not admitted:\n\x1b[31m" + "x" * 10_000)
    found = read_node_state(path)
    assert found is not None
    assert found[0].link is LinkState.ENDED
    assert found[0].reason.isprintable()
    assert path.stat().st_size == SIZE
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_that_it_is_heard_of_is_written_now_and_then(tmp_path: Path) -> None:
    path, passed = tmp_path / "node.json", [0.0]
    made = report(path, passed)
    made.heard()
    before = path.stat().st_mtime_ns
    made.heard()
    assert path.stat().st_mtime_ns == before
    passed[0] = HEARD_SECONDS
    made.heard()
    assert path.stat().st_mtime_ns > before


def test_a_second_node_does_not_take_over(tmp_path: Path) -> None:
    first = report(tmp_path / "node.json")
    with pytest.raises(BlockingIOError):
        report(tmp_path / "node.json")
    first.ended("")


DIES = """
import os, sys
from pathlib import Path
from fieldfare.client.node.state import NodeReport
NodeReport(Path(sys.argv[1]), "hub:8000").connected(7)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_node_wrote_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    subprocess.run([sys.executable, "-c", DIES, path], check=False, timeout=60)
    found = read_node_state(path)
    assert found is not None
    state, alive = found
    assert (state.link, state.node, alive) == (LinkState.ENDED, "7", False)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 10])
def test_something_else_is_no_state(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.json"
    path.write_bytes(content)
    assert read_node_state(path) is None
