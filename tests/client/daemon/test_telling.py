"""What a decision's screen says of the custodian: it follows, it cannot, or nobody is there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.support.homes.institutions import NAMES, Coordinator

from fieldfare.client.daemon.admin_client import NOBODY, notify_custodian
from fieldfare.client.daemon.process import admin_socket
from fieldfare.client.daemon.service import Service, serving_calls
from fieldfare.client.daemon.status import ReloadReport, StudyNow
from fieldfare.client.wire import admin_pb2 as pb
from fieldfare.client.wire.administration import ADMIN_SERVICE

NAME = NAMES[0]


@contextmanager
def answering(coordinator: Coordinator, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    calls = {"Reload": answer}
    service = Service(name=ADMIN_SERVICE, answers=calls, largest={"Reload": 10}, frame=10_000)
    with serving_calls(service, admin_socket(coordinator.institution(NAME))):
        yield


def told(coordinator: Coordinator) -> str:
    institution = coordinator.institution(NAME)
    return notify_custodian(institution.home, institution.settings, 5)


def test_without_a_custodian_it_is_in_force_later(coordinator: Coordinator) -> None:
    assert told(coordinator) == NOBODY


def test_what_changed_is_said(coordinator: Coordinator) -> None:
    report = ReloadReport(
        changed=["roster version 2 (was 1)"],
        trouble="",
        left_out=[StudyNow(id="a" * 64, serving=False, reason="approve it again")],
    )
    content = pb.ReloadAnswer(report=report.to_bytes()).SerializeToString()
    with answering(coordinator, lambda _: content):
        assert told(coordinator).splitlines() == [
            "in force now",
            "  roster version 2 (was 1)",
            "  left out: aaaaaaaaaaaa: approve it again",
        ]


def test_a_closed_door_is_said(coordinator: Coordinator) -> None:
    report = ReloadReport(changed=[], trouble="expected a roster", left_out=[])
    content = pb.ReloadAnswer(report=report.to_bytes()).SerializeToString()
    with answering(coordinator, lambda _: content):
        assert told(coordinator) == "in force now: NOTHING IS SERVED: expected a roster"


@pytest.mark.parametrize("content", [b"\xff"])
def test_a_custodian_that_gives_no_answer_fails_no_decision(
    coordinator: Coordinator, content: bytes
) -> None:
    with answering(coordinator, lambda _: content):
        assert told(coordinator).startswith("the custodian follows as soon as it is free")
