"""A SuperLink behind a proxy: whom its header names is counted and logged, and no other header is.

A real SuperLink process; a PROXY header is written as a proxy writes it. Only 127.0.0.9 is named.
"""

import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import pytest
from tests.support.network.coordinator import RunningSuperlink, new_home, script_with_limits
from tests.support.system.processes import until

PROXY: Final = "127.0.0.9"
HEAD_SECONDS: Final = 4.0  # sixteen connections are made before the first is used
PLACES: Final = 8
HEALTH: Final = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
NOWHERE: Final = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    folder = tmp_path_factory.mktemp("coordinator")
    script = script_with_limits(folder, head_seconds=HEAD_SECONDS, of_address=PLACES)
    running = RunningSuperlink(new_home(folder / "home"))
    text = running.home.settings.read_text()
    running.home.settings.write_text(text.replace("proxies = []", f'proxies = ["{PROXY}"]'))
    running.start([sys.executable, "-I", str(script), str(running.home.path)])
    yield running
    running.stop()


@contextmanager
def plain(superlink: RunningSuperlink, address: str) -> Iterator[socket.socket]:
    host, _, port = superlink.public.rpartition(":")
    with socket.create_connection((host, int(port)), 20, (address, 0)) as connection:
        yield connection


@contextmanager
def connected(
    superlink: RunningSuperlink, header: bytes, address: str = PROXY
) -> Iterator[ssl.SSLSocket]:
    with plain(superlink, address) as connection:
        connection.sendall(header)
        with superlink.trust.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped:
            yield wrapped


def header(source: str, port: int) -> bytes:
    return f"PROXY TCP4 {source} 192.0.2.1 {port} 8443\r\n".encode()


def answer(connection: ssl.SSLSocket, asked: bytes) -> bytes:
    connection.sendall(asked)
    return connection.recv(4096)


def hung_up_on(connection: ssl.SSLSocket) -> bool:
    try:
        return not answer(connection, HEALTH)
    except OSError:
        return True


def logged(superlink: RunningSuperlink) -> list[dict[str, Any]]:
    return [json.loads(line) for line in superlink.home.audit_log.read_text().splitlines()]


@pytest.mark.parametrize(
    ("begin", "peer"),
    [
        (header("192.0.2.7", 40_000), "192.0.2.7"),
        (
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
            + bytes([192, 0, 2, 8, 192, 0, 2, 1])
            + bytes([1, 2, 3, 4]),
            "192.0.2.8",
        ),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", PROXY),
    ],
    ids=["text", "binary", "six", "unknown"],
)
def test_the_log_names_whom_the_proxy_passes_on(
    superlink: RunningSuperlink, begin: bytes, peer: str
) -> None:
    with connected(superlink, begin) as connection:
        assert answer(connection, NOWHERE).startswith(b"HTTP/1.1 404")
    until(lambda: peer in {line["peer"] for line in logged(superlink)})


def test_a_header_of_anybody_else_is_refused(superlink: RunningSuperlink) -> None:
    for address in ("127.0.0.1", "127.0.0.2"):
        with (
            pytest.raises(OSError, match=r"(?i)ssl|reset|eof"),
            connected(superlink, header("192.0.2.66", 1), address),
        ):
            pass
        with connected(superlink, b"", address) as direct:
            assert answer(direct, HEALTH).startswith(b"HTTP/1.1 200")
    assert "192.0.2.66" not in {line["peer"] for line in logged(superlink)}


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 192.0", b"PROXY TCP4 1 2 3 4\r\n", HEALTH])
def test_a_proxy_without_a_whole_header_is_hung_up_on(
    superlink: RunningSuperlink, sent: bytes
) -> None:
    with plain(superlink, PROXY) as connection:
        connection.sendall(sent)
        with suppress(OSError):  # it may have hung up already
            connection.shutdown(socket.SHUT_WR)
        assert not _received(connection)
    until(lambda: f"{PROXY}, a proxy of coordinator.toml: expected" in superlink.log())


def test_a_slow_header_ends_in_time_and_keeps_nobody_out(superlink: RunningSuperlink) -> None:
    begun = time.monotonic()
    with plain(superlink, PROXY) as slow:
        slow.sendall(b"PROXY UNKNOWN ")
        slow.settimeout(HEAD_SECONDS / 10)
        others = 0
        while _is_open(slow):
            slow.sendall(b"x")
            with connected(superlink, header("192.0.2.9", 1000 + others)) as quick:
                assert answer(quick, HEALTH).startswith(b"HTTP/1.1 200")
            others += 1
            assert time.monotonic() < begun + 30
    assert others >= 2
    assert time.monotonic() >= begun + HEAD_SECONDS / 2


def test_one_address_behind_the_proxy_uses_up_its_own_places_alone(
    superlink: RunningSuperlink,
) -> None:
    """Where the proxy's own address is counted, the first connection is the first to go."""
    with ExitStack() as stack:
        other = stack.enter_context(connected(superlink, header("198.51.100.1", 1)))
        assert not hung_up_on(other)
        flood = [
            stack.enter_context(connected(superlink, header("203.0.113.5", 2000 + number)))
            for number in range(2 * PLACES)
        ]
        assert [hung_up_on(one) for one in flood] == [True] * PLACES + [False] * PLACES
        assert not hung_up_on(other)
    until(lambda: "203.0.113.5: expected few connections from unknown keys" in superlink.log())


def test_a_second_connection_of_one_source_does_not_replace_the_first(
    superlink: RunningSuperlink,
) -> None:
    with connected(superlink, header("198.51.100.2", 7)) as first:
        assert not hung_up_on(first)
        with (
            pytest.raises(OSError, match=r"(?i)ssl|reset|eof"),
            connected(superlink, header("198.51.100.2", 7)),
        ):
            pass
        assert not hung_up_on(first)
    # And the place is free again.
    until(lambda: _greets(superlink, header("198.51.100.2", 7)))


def _greets(superlink: RunningSuperlink, begin: bytes) -> bool:
    try:
        with connected(superlink, begin):
            return True
    except OSError:
        return False


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionError:
        return b""


def _is_open(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except ConnectionError:
        return False
