"""`Fleet`, `WatchedSuperlink` and the one in memory keep to `Superlink`, as a node uses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from flwr.app import Message
from tests.client.node.test_fleet import Store, message
from tests.client.node.test_node import Memory

from fieldfare.client.node.fleet import Fleet, error_reply
from fieldfare.client.node.node import Superlink
from fieldfare.client.node.process import WatchedSuperlink
from fieldfare.client.node.state import NodeReport


def in_memory(folder: Path) -> tuple[Superlink, list[Message]]:
    del folder
    made = Memory()
    made.put()
    return made, made.sent


def real(folder: Path) -> tuple[Superlink, list[Message]]:
    del folder
    store = Store()
    store.announce(message(study=b"x"))
    made = store.fleet()
    assert isinstance(made, Fleet)
    return made, store.replies


def watched(folder: Path) -> tuple[Superlink, list[Message]]:
    inside, sent = real(folder)
    return WatchedSuperlink(inside, NodeReport(folder / "state.json", "superlink:1")), sent


LINKS: Final[dict[str, Callable[[Path], tuple[Superlink, list[Message]]]]] = {
    "memory": in_memory,
    "fleet": real,
    "watched": watched,
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_message_comes_is_pulled_and_answered_once(kind: str, tmp_path: Path) -> None:
    link, sent = LINKS[kind](tmp_path)
    assert link.node_id > 0
    arrival = link.receive()
    assert arrival is not None
    assert link.run(arrival.envelope.metadata.run_id).bundle
    pulled = link.pull(arrival)
    assert pulled.metadata.message_type == arrival.envelope.metadata.message_type
    link.send(error_reply(arrival, 1, "no"))
    assert len(sent) == 1
    assert link.receive() is None
