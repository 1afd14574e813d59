"""Asking a custodian that runs, one that does not, and something that is none."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldfare.client.daemon.admin_client import custodian_status, request_reload
from fieldfare.client.daemon.service import Service, serving_calls
from fieldfare.client.wire.administration import ADMIN_SERVICE
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.system.sockets import UnixSocket


def a_service(answer: Callable[[bytes], bytes]) -> Service:
    calls = {"Status": answer, "Reload": answer}
    return Service(name=ADMIN_SERVICE, answers=calls, largest=dict.fromkeys(calls, 10), frame=100)


def test_nobody_is_none(room: Path) -> None:
    assert custodian_status(room) is None
    assert request_reload(room) is None


def test_what_a_dead_process_left_is_nobody(room: Path) -> None:
    room.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(room))
    assert room.exists()
    assert custodian_status(room) is None


@pytest.mark.parametrize("content", [b"\n\x02{}", b"\xff\xff", b"x" * 5])
def test_an_answer_of_another_kind_is_said(room: Path, content: bytes) -> None:
    with (
        serving_calls(a_service(lambda _: content), UnixSocket(room)),
        pytest.raises(RunError, match="this version's custodian"),
    ):
        custodian_status(room)


def test_a_defect_is_said(room: Path) -> None:
    def broken(_: bytes) -> bytes:
        raise ValueError("secret")

    with serving_calls(a_service(broken), UnixSocket(room)):
        with pytest.raises(RunError, match="found INTERNAL") as found:
            request_reload(room)
        assert "secret" not in str(found.value)


def test_something_else_in_its_place_is_no_custodian(room: Path) -> None:
    room.parent.mkdir()
    room.write_text("")
    assert custodian_status(room) is None


def test_another_users_socket_is_said(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: socket.socket, address: str) -> None:
        del self, address
        raise PermissionError

    monkeypatch.setattr(socket.socket, "connect", denied)
    with pytest.raises(UsageError, match="the custodian's own user"):
        custodian_status(room)
