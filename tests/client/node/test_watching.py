"""What a node tells of itself."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.client.node.test_node import Memory

from fieldfare.client.node.node import Node
from fieldfare.client.node.watching import (
    LATELY,
    NodeMoment,
    NodeStatus,
    node_probes,
    node_samples,
)
from fieldfare.shared.watch import metrics

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def told(seen: NodeStatus, now: datetime = NOW) -> dict[tuple[str, tuple[str, ...]], float]:
    samples = list(node_samples(NodeMoment(now, seen, NOW + timedelta(days=30))))
    assert {one.metric for one in samples} <= set(metrics.OF_NODE)
    return {(one.metric.name, one.labels): one.value for one in samples}


def test_before_anything_was_heard_it_is_not_connected() -> None:
    found = told(NodeStatus(lambda: NOW))
    assert found["fieldfare_node_connected", ()] == 0
    assert ("fieldfare_node_heard_timestamp_seconds", ()) not in found
    assert found["fieldfare_certificate_days", ("authority",)] == 30
    assert found["fieldfare_node_messages_total", ("release", "answered")] == 0


def test_a_superlink_that_fell_silent_is_not_connected() -> None:
    seen = NodeStatus(lambda: NOW)
    seen.note_heard(message=True)
    assert told(seen, NOW + LATELY)["fieldfare_node_connected", ()] == 1
    assert told(seen, NOW + LATELY * 1.01)["fieldfare_node_connected", ()] == 0


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("Mon, 01 Jun 2026 12:05:00 GMT", 300.5),
        ("Mon, 01 Jun 2026 11:59:59 GMT", -0.5),
        ("", None),
        ("soon", None),
        ("Mon, 99 Jun 2026 12:05:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),  # ended the node
    ],
)
def test_the_clock_is_compared_with_the_date_of_an_answer(text: str, offset: float | None) -> None:
    seen = NodeStatus(lambda: NOW)
    seen.note_date(text)
    assert seen.offset == offset


def test_messages_are_counted_by_what_became_of_them() -> None:
    """Through the real node: one is refused; a type of nobody is other."""
    link, seen = Memory(), NodeStatus(lambda: NOW)
    link.put()
    node = Node(link, lambda message, _: message, frozenset(), tell=seen.note_outcome)
    assert node.step()  # its bundle is on no list
    seen.note_outcome("query.anything", "failed")
    found = told(seen)
    counted = {key[1]: value for key, value in found.items() if key[0].endswith("_total") and value}
    assert sum(counted.values()) == 2
    assert ("other", "failed") in counted
    assert {outcome for _, outcome in counted} == {"failed", "refused"}


def test_it_is_ready_where_both_sides_are_there(tmp_path: Path) -> None:
    seen, place = NodeStatus(lambda: NOW), tmp_path / "c.sock"
    assert [one.good for one in node_probes(seen, place, NOW)] == [False, False]
    seen.note_heard(message=False)
    with socket.socket(socket.AF_UNIX) as custodian:
        custodian.bind(str(place))
        custodian.listen()
        assert [one.good for one in node_probes(seen, place, NOW)] == [True, True]
    assert [one.good for one in node_probes(seen, place, NOW)] == [True, False]
