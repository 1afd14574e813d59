"""What a decision's screen says of the custodian: it follows, it cannot, or nobody is there."""

from tests.support.homes.administrations import SameBytes, administration_of, served_at
from tests.support.homes.institutions import NAMES, Coordinator

from fieldfare.client.daemon.telling import NOBODY, notify_custodian
from fieldfare.client.wire.admin_calls import ReloadReport, StudyStatus

NAME = NAMES[0]


def told(coordinator: Coordinator) -> str:
    institution = coordinator.institution(NAME)
    return notify_custodian(institution.home, 5)


def test_without_a_custodian_it_is_in_force_later(coordinator: Coordinator) -> None:
    assert told(coordinator) == NOBODY


def test_what_changed_is_said(coordinator: Coordinator) -> None:
    report = ReloadReport(
        changed=["roster version 2 (was 1)"],
        trouble="",
        left_out=[StudyStatus(id="a" * 64, serving=False, reason="approve it again")],
    )
    with administration_of(coordinator.homes[NAME].admin_socket, report=report):
        assert told(coordinator).splitlines() == [
            "in force now",
            "  roster version 2 (was 1)",
            "  left out: aaaaaaaaaaaa: approve it again",
        ]


def test_a_closed_door_is_said(coordinator: Coordinator) -> None:
    report = ReloadReport(changed=[], trouble="expected a roster", left_out=[])
    with administration_of(coordinator.homes[NAME].admin_socket, report=report):
        assert told(coordinator) == "in force now: NOTHING IS SERVED: expected a roster"


def test_a_custodian_that_gives_no_answer_fails_no_decision(coordinator: Coordinator) -> None:
    with served_at(coordinator.homes[NAME].admin_socket, SameBytes(b"\xff")):
        assert told(coordinator).startswith("the custodian follows as soon as it is free")
