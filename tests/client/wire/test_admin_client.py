"""Asking a custodian that runs, one that does not, and something that is none."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes.administrations import (
    SameBytes,
    administration_of,
    served_at,
    status_with,
)

from fieldfare.client.daemon.process import ADMIN_LIMITS
from fieldfare.client.wire import admin_client
from fieldfare.client.wire.admin_calls import RELOAD, STATUS, CustodianStatus, ReloadReport
from fieldfare.client.wire.admin_client import custodian_status, request_reload
from fieldfare.client.wire.service import Service, serving_calls
from fieldfare.shared.desk import asking
from fieldfare.shared.desk.answering import Desk, DeskLine
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.system.sockets import UnixSocket

ME = os.geteuid()


def test_a_custodian_says_how_it_stands_and_what_changed(room: Path) -> None:
    status = status_with(trouble="expected a roster", yearly_left=7)
    report = ReloadReport(changed=["policy"], records=["3 rows"], trouble="", left_out=[])
    with administration_of(room, status, report):
        assert custodian_status(room) == status
        assert request_reload(room) == report


def test_nobody_is_none(room: Path) -> None:
    assert custodian_status(room) is None
    assert request_reload(room) is None


def test_what_a_dead_process_left_is_nobody(room: Path) -> None:
    room.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(room))
    assert room.exists()
    assert custodian_status(room) is None


def test_something_else_in_its_place_is_no_custodian(room: Path) -> None:
    room.parent.mkdir()
    room.write_text("")
    assert custodian_status(room) is None


@pytest.mark.parametrize(
    "content", [b"\xff\xff", b"{}", b'{"answered":{}}', b'{"answered":{"format":2}}', b"[" * 30_000]
)
def test_an_answer_of_another_kind_is_said(room: Path, content: bytes) -> None:
    with (
        served_at(room, SameBytes(content)),
        pytest.raises(RunError, match="this version's custodian, found another: restart it"),
    ):
        custodian_status(room)


def test_a_custodian_that_knows_no_such_call_is_of_another_version(room: Path) -> None:
    with (
        served_at(room, Desk([], lambda: {ME})),
        pytest.raises(RunError, match="this version's custodian, found another: restart it"),
    ):
        request_reload(room)


def test_a_custodian_that_speaks_grpc_yet_is_told_to_be_restarted(room: Path) -> None:
    service = Service(
        name="fieldfare.admin.v1.Administration",
        answers={"Status": lambda _: b""},
        largest={"Status": 1024},
        frame=1024,
    )
    with serving_calls(service, UnixSocket(room)), pytest.raises(RunError, match="restart it"):
        custodian_status(room)


def test_a_defect_is_said_without_its_text(room: Path) -> None:
    def broken(asked: Nothing, user: int) -> ReloadReport:
        raise ValueError("secret")

    with served_at(room, Desk([DeskLine(RELOAD, broken)], lambda: {ME})):
        with pytest.raises(RunError, match="expected an answer of the custodian") as found:
            request_reload(room)
        assert "secret" not in str(found.value)


def test_a_custodian_that_hangs_is_said(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = socket.socketpair()

    def never(asked: Nothing, user: int) -> CustodianStatus:
        ends[0].recv(1)  # until the test is over
        return status_with()

    desk = Desk([DeskLine(STATUS, never), DeskLine(RELOAD, never)], lambda: {ME}, ADMIN_LIMITS)
    with served_at(room, desk):
        with pytest.raises(RunError, match="the custodian has not answered yet") as found:
            request_reload(room, 0.2)
        assert "ask again" in str(found.value)
        assert "page" not in str(found.value)
        ends[1].close()
    ends[0].close()


def test_another_users_socket_is_said(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: socket.socket, address: str) -> None:
        raise PermissionError

    with administration_of(room):
        monkeypatch.setattr(socket.socket, "connect", denied)
        with pytest.raises(UsageError, match="the custodian's own user"):
            custodian_status(room)


def test_another_user_who_answers_is_asked_nothing(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the mode of its socket: who serves there may be anybody."""
    heard: list[str] = []

    def reload(asked: Nothing, user: int) -> ReloadReport:
        heard.append("asked")
        return ReloadReport(changed=[], trouble="", left_out=[])

    with served_at(room, Desk([DeskLine(RELOAD, reload)], lambda: {ME})):
        monkeypatch.setattr(asking, "peer_user", lambda _line: ME + 1)
        with pytest.raises(UsageError, match=f"the custodian of user number {ME}, found another"):
            request_reload(room)
        assert not heard


@pytest.mark.parametrize(("asks", "answers"), [(1000, 1000), (0, 1001)])
def test_root_asks_whoever_owns_the_socket_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: int, answers: int
) -> None:
    def stat(self: Path) -> Any:
        owner = 1001 if self == tmp_path else 1002
        return os.stat_result((0o700, 0, 0, 1, owner, 0, 0, 0, 0, 0))

    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: asks)
        patch.setattr(Path, "stat", stat)
        found = admin_client._owner(tmp_path / "admin.sock")
    assert found == answers
