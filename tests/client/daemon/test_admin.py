"""The administration's socket: who reaches it, what it tells, and that it takes nothing in."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, clock
from tests.support.system.processes import until

from fieldfare.client.daemon import process
from fieldfare.client.daemon.process import ADMIN_LIMITS, admin_socket, administration
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.wire.admin_client import custodian_status, request_reload
from fieldfare.shared.desk import answering
from fieldfare.shared.desk.answering import serving_desk
from fieldfare.shared.desk.calls import LARGEST_ASKED, Nothing, read_answer
from fieldfare.shared.errors import ProtocolError, RunError, UsageError
from fieldfare.shared.system.sockets import UnixSocket

NAME = NAMES[0]


@pytest.fixture
def reloader(coordinator: Coordinator) -> Iterator[CustodianReloader]:
    home = coordinator.homes[NAME].path
    with custodian_reloader(
        CustodianInputs(home=home, passphrase=None, environment={}, clock=clock)
    ) as made:
        yield made


@pytest.fixture
def path(
    reloader: CustodianReloader, room: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    monkeypatch.setattr(process, "ADMIN_LIMITS", replace(ADMIN_LIMITS, arrive_seconds=1.0))
    path = room.with_name("admin.sock")
    with serving_desk(administration(reloader), UnixSocket(path, mode=0o600, directory_mode=0o700)):
        yield path


def connected(path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(60)
    line.connect(os.fspath(path))
    return line


def heard(path: Path, content: bytes) -> bytes:
    """What it says to bytes as they are."""
    with connected(path) as line, suppress(BrokenPipeError, ConnectionResetError):
        line.sendall(content)
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(65536), b""))
    return b""


def question(call: str) -> bytes:
    return json.dumps({"call": call, "asked": {}}).encode()


def test_it_tells_how_the_custodian_stands(reloader: CustodianReloader, path: Path) -> None:
    assert custodian_status(path) == reloader.status()


def test_it_follows_when_it_is_told_to(path: Path, coordinator: Coordinator) -> None:
    coordinator.pin(coordinator.roster(version=2))
    report = request_reload(path)
    assert report is not None
    assert report.changed == ["roster version 2 (was 1)"]
    status = custodian_status(path)
    assert status is not None
    assert status.roster == 2


def test_only_its_owner_reaches_it(path: Path, coordinator: Coordinator) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    where = admin_socket(coordinator.institution(NAME))
    assert (where.path, where.group) == (coordinator.homes[NAME].admin_socket, None)
    assert (where.mode, where.directory_mode) == (0o600, 0o700)


@pytest.mark.parametrize(
    "content",
    [
        question("custodian.approve"),
        question("decide"),
        b'{"call": "custodian.reload", "asked": {"study": "x"}}',
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\xff" * 100,
        b"",
    ],
)
def test_nothing_else_is_there_and_nothing_is_taken_in(
    reloader: CustodianReloader, path: Path, coordinator: Coordinator, content: bytes
) -> None:
    coordinator.pin(coordinator.roster(version=2))
    with pytest.raises(ProtocolError):
        read_answer(heard(path, content), Nothing)
    assert reloader.status().roster == 1  # it was not made to look


def test_what_is_too_large_is_refused(
    reloader: CustodianReloader, path: Path, coordinator: Coordinator
) -> None:
    coordinator.pin(coordinator.roster(version=2))
    assert heard(path, question("custodian.reload") + b" " * LARGEST_ASKED) == b""
    assert reloader.status().roster == 1
    assert heard(path, question("custodian.reload"))
    assert reloader.status().roster == 2


def test_half_open_lines_are_let_go_and_a_flood_is_told_that_it_is_busy(path: Path) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(path)) for _ in range(ADMIN_LIMITS.places)]
        with pytest.raises(RunError, match=r"^the custodian is busy: ask again$"):
            custodian_status(path)
        for line in lines:
            assert line.recv(1) == b""  # closed, after the time to arrive
        assert custodian_status(path) is not None


def test_a_status_is_told_while_a_look_loads_records(
    reloader: CustodianReloader, path: Path
) -> None:
    with ThreadPoolExecutor() as pool:
        with reloader._following:
            looks = [pool.submit(request_reload, path) for _ in range(ADMIN_LIMITS.places - 1)]
            status = custodian_status(path)
            assert status is not None
            assert status.busy
            assert not any(look.done() for look in looks)
        assert all(look.result(60) for look in looks)


def test_looks_that_nobody_waits_for_leave_a_place_for_a_status(
    reloader: CustodianReloader, path: Path
) -> None:
    with reloader._following:
        for _ in range(ADMIN_LIMITS.places):
            with pytest.raises(RunError, match=r"has not answered yet|is busy"):
                request_reload(path, 0.2)
        assert custodian_status(path) is not None


def test_a_look_goes_on_where_nobody_waits_for_it(
    reloader: CustodianReloader, path: Path, coordinator: Coordinator
) -> None:
    coordinator.pin(coordinator.roster(version=2))
    with reloader._following:
        with pytest.raises(RunError, match="the custodian has not answered yet"):
            request_reload(path, 0.2)
        assert reloader.status().roster == 1
    until(lambda: reloader.status().roster == 2)


def test_another_user_is_refused_whatever_the_socket_s_mode(
    reloader: CustodianReloader,
    path: Path,
    coordinator: Coordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coordinator.pin(coordinator.roster(version=2))
    monkeypatch.setattr(answering, "peer_user", lambda _line: os.geteuid() + 1)
    with pytest.raises(UsageError, match=r"a user who may ask the custodian, found number \d+$"):
        request_reload(path)
    assert reloader.status().roster == 1


def test_root_asks_as_the_custodian_s_own_user_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "peer_user", lambda _line: 0)
    assert custodian_status(path) is not None
