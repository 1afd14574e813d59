"""The custodian as a child: its passphrase comes through a pipe, and its end is its parent's."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.homes.institutions import NAMES, Coordinator
from tests.support.system.processes import core_limits, until

from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import pin_roster
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.shared.system.processes import given_line

NAME = NAMES[0]
PASSPHRASE = b"a long enough passphrase"
PATIENCE = 60.0


@pytest.fixture
def protected(coordinator: Coordinator) -> Home:
    """A home whose identity is under a passphrase."""
    home = create_institution(
        coordinator.folder / "protected",
        "bank-p",
        coordinator=coordinator.public,
        passphrase=PASSPHRASE,
    )
    coordinator.homes["bank-p"] = home
    pin_roster(home, coordinator.signed_roster())
    return home


def started(home: Home) -> "subprocess.Popen[bytes]":
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # whatever the shell of these tests says
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "fieldfare.client.daemon.process", home.path],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def process(protected: Home) -> Iterator["subprocess.Popen[bytes]"]:
    child = started(protected)
    yield child
    child.kill()
    child.communicate()


def test_it_serves_with_the_passphrase_and_ends_with_its_pipe(
    protected: Home, process: "subprocess.Popen[bytes]"
) -> None:
    assert process.stdin is not None
    process.stdin.write(given_line(PASSPHRASE))
    process.stdin.flush()
    until(lambda: custodian_status(protected.admin_socket), PATIENCE)
    assert PASSPHRASE not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    with suppress(PermissionError):  # it is not dumpable: this user may not look either
        assert PASSPHRASE not in Path(f"/proc/{process.pid}/environ").read_bytes()
    assert core_limits(process.pid) == ["0", "0"]
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    process.stdin = None


def test_without_it_it_says_what_is_missing(process: "subprocess.Popen[bytes]") -> None:
    """Its pipe stays open meanwhile: at its end the child ends, whatever it was about to say."""
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(given_line(None))
    process.stdin.flush()
    assert process.wait(PATIENCE) == 2
    said = process.stderr.read()
    assert b"fieldfare: custodian: " in said
    assert b"expected a passphrase, found none" in said
    assert b"Traceback" not in said
