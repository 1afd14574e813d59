"""The administration's socket: who reaches it, what it tells, and that it takes nothing in."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.homes.institutions import NAMES, Coordinator, clock
from tests.support.network.served import hostile_channel, raw, status_of

from fieldfare.client.daemon.admin_client import custodian_status, request_reload
from fieldfare.client.daemon.process import (
    ADMIN_LIMITS,
    LARGEST_ADMIN_QUESTION,
    admin_socket,
    administration,
)
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.daemon.service import serving_calls
from fieldfare.client.wire.administration import ADMIN_SERVICE
from fieldfare.client.wire.frames import SERVICE
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
def path(reloader: CustodianReloader, room: Path) -> Iterator[Path]:
    path = room.with_name("admin.sock")
    with serving_calls(
        administration(reloader), UnixSocket(path, mode=0o600, directory_mode=0o700), ADMIN_LIMITS
    ):
        yield path


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


def test_it_is_where_the_settings_say(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.edit(
        coordinator.homes[NAME].settings, 'admin_socket = ""', f'admin_socket = "{tmp_path}/a.sock"'
    )
    assert admin_socket(coordinator.institution(NAME)).path == tmp_path / "a.sock"


@pytest.mark.parametrize("method", [f"/{SERVICE}/Release", f"/{ADMIN_SERVICE}/Approve"])
def test_nothing_else_is_there(path: Path, method: str) -> None:
    with hostile_channel(path) as channel:
        call = raw(channel, method).future(b"", timeout=60)
        assert status_of(call) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("frame", [b"\xff" * 100, b"\n\x80", b""])
def test_what_a_frame_holds_changes_nothing(
    reloader: CustodianReloader, path: Path, frame: bytes
) -> None:
    with hostile_channel(path) as channel:
        call: Any = raw(channel, f"/{ADMIN_SERVICE}/Status").future(frame, timeout=60)
        assert status_of(call) is grpc.StatusCode.OK
    assert custodian_status(path) == reloader.status()


def test_a_frame_that_is_too_large_is_refused(path: Path) -> None:
    with hostile_channel(path) as channel:
        call = raw(channel, f"/{ADMIN_SERVICE}/Reload").future(
            bytes(LARGEST_ADMIN_QUESTION + 1), timeout=60
        )
        assert status_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
