"""The SuperLink's state for who only watches: what the SuperLink itself would say of it."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from tests.support.homes.coordinators import NOW
from tests.support.homes.papers import node_called
from tests.support.homes.superlinks import add_flower_run, add_node

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.superlink.facts import FlowerRunStatus
from fieldfare.server.superlink.state_view import SILENT, NodeContact, SuperlinkView
from fieldfare.shared.errors import RunError

MINUTE = timedelta(minutes=1)
Look = Callable[[], SuperlinkView]


@pytest.fixture
def look(coordinator_home: CoordinatorHome) -> Look:
    return lambda: SuperlinkView(coordinator_home.superlink_database, lambda: NOW)


def contact(look: Look, name: str) -> NodeContact:
    return look().contacts()[node_called(name)]


def test_who_is_there_and_who_is_gone(coordinator_home: CoordinatorHome, look: Look) -> None:
    assert look().contacts() == {}
    begun = NOW - 60 * MINUTE
    times: dict[str, datetime] = {"here": NOW + MINUTE, "silent": NOW - MINUTE}
    for name, until in times.items():
        add_node(coordinator_home, node_called(name), since=begun, until=until)
    add_node(coordinator_home, node_called("never"))
    add_node(coordinator_home, node_called("left"), since=begun, until=NOW, status="offline")
    add_node(coordinator_home, node_called("out"), since=begun, until=NOW, status="unregistered")
    assert contact(look, "here") == NodeContact(begun, None, admitted=True)
    assert contact(look, "here").connected
    # The SuperLink marks it when somebody asks; its time is over all the same.
    assert contact(look, "silent") == NodeContact(begun, NOW - MINUTE, admitted=True)
    assert contact(look, "never") == NodeContact(None, None, admitted=True)
    assert contact(look, "left") == NodeContact(begun, NOW, admitted=True)
    assert contact(look, "out") == NodeContact(begun, NOW, admitted=False)
    assert [one.connected for one in look().contacts().values()].count(True) == 1


def test_how_runs_stand(coordinator_home: CoordinatorHome, look: Look) -> None:
    big = 2**64 - 5  # an id that SQLite holds with a sign
    add_flower_run(coordinator_home, -5, running=NOW, until=NOW + MINUTE)
    add_flower_run(coordinator_home, 2)
    add_flower_run(coordinator_home, 3, running=NOW - 2 * MINUTE, until=NOW - MINUTE)
    ended = {"finished": NOW, "running": NOW, "sub_status": "completed", "details": "well"}
    add_flower_run(coordinator_home, 4, **ended)  # type: ignore[arg-type] # each has its own type
    assert look().run_status(big) == FlowerRunStatus("running", "")
    assert look().run_status(2) == FlowerRunStatus("pending", "")
    assert look().run_status(3) == FlowerRunStatus("failed", SILENT)
    assert look().run_status(4) == FlowerRunStatus("completed", "well")
    assert look().run_status(9).state == "failed"


def test_nothing_is_written_and_trouble_is_said(
    coordinator_home: CoordinatorHome, look: Look
) -> None:
    assert look().run_status(1).state == "failed"
    assert not coordinator_home.superlink_database.exists()
    coordinator_home.superlink_database.write_bytes(b"no database at all")
    with pytest.raises(RunError, match="expected the SuperLink's state"):
        look().contacts()
