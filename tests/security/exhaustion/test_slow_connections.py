"""Connections that dribble keep nobody out: by strangers, by many, from the node's own address.

A real SuperLink process and real sockets. `head_seconds` is shorter than in a deployment.
"""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import cycle
from typing import Final

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from tests.support.network.coordinator import (
    RunningSuperlink,
    new_home,
    new_node,
    script_with_limits,
    signed,
)
from tests.support.system.processes import until

from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.superlink import control

MANY: Final = 256
HEAD_SECONDS: Final = 3.0
ATTACK_SECONDS: Final = 12.0  # at least: until nodes had so many answers, and attackers none
ANSWERED: Final = 10
HALF_A_LINE: Final = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Y: "
HEALTH: Final = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    folder = tmp_path_factory.mktemp("coordinator")
    script = script_with_limits(folder, head_seconds=HEAD_SECONDS)
    running = RunningSuperlink(new_home(folder / "home"))
    running.start([sys.executable, "-I", str(script), str(running.home.path)])
    yield running
    running.stop()


@contextmanager
def connected(superlink: RunningSuperlink, address: str) -> Iterator[ssl.SSLSocket]:
    host, _, port = superlink.public.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 30, (address, 0)) as plain,
        superlink.trust.wrap_socket(plain, server_hostname=host) as connection,
    ):
        yield connection


@contextmanager
def half_asked(superlink: RunningSuperlink, address: str) -> Iterator[ssl.SSLSocket]:
    """A connection that had its answer and then sends half a line."""
    with connected(superlink, address) as connection:
        connection.sendall(HEALTH)
        connection.recv(4096)
        connection.sendall(HALF_A_LINE)
        yield connection


class Dribblers:
    """Connections that ask once, and then send half a line, a byte at a time."""

    def __init__(self, superlink: RunningSuperlink, addresses: Sequence[str], many: int) -> None:
        self._superlink, self._many = superlink, many
        self._addresses = cycle(addresses)
        self._stop = threading.Event()
        self.came = self.lost = 0

    @property
    def all_came(self) -> bool:
        return self.came >= self._many

    @property
    def are_hung_up_on(self) -> bool:
        """All came, and a good part of them had to come again."""
        return self.all_came and self.lost > self._many / 4

    def run(self) -> None:
        with ExitStack() as stack:
            held: list[ssl.SSLSocket] = []
            while not self._stop.is_set():
                while len(held) < self._many and not self._stop.is_set():
                    with suppress(OSError):
                        held.append(stack.enter_context(self._one()))
                        self.came += 1
                    if self.came % 32 == 0:
                        self._dribble(held)
                self._dribble(held)
                self._stop.wait(0.5)

    def _one(self) -> AbstractContextManager[ssl.SSLSocket]:
        return half_asked(self._superlink, next(self._addresses))

    def _dribble(self, held: list[ssl.SSLSocket]) -> None:
        for one in list(held):
            try:
                one.sendall(b"x")
            except OSError:
                held.remove(one)
                self.lost += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


ONE: Final = ("127.0.0.2",)
OWN: Final = ("127.0.0.1",)
SEVERAL: Final = tuple(f"127.0.0.{number}" for number in range(2, 8))


@pytest.mark.faults
@pytest.mark.parametrize("addresses", [ONE, OWN, SEVERAL], ids=["one", "its own", "six"])
def test_dribbling_connections_keep_no_node_out(
    superlink: RunningSuperlink, addresses: tuple[str, ...]
) -> None:
    """From another address, from the nodes' own as behind one router, and from several."""
    key, line = new_node()
    with control(control_target(superlink.home)) as link:
        node = link.register_node(line, f"bank-{len(addresses)}-{addresses[0][-1]}")
    pull = PullMessagesRequest(node=Node(node_id=node)).SerializeToString(deterministic=True)
    dribblers = Dribblers(superlink, addresses, MANY)
    answered = 0
    with dribblers.at_work(), httpx.Client(verify=superlink.trust, timeout=30) as steady:
        end = time.monotonic() + ATTACK_SECONDS
        while time.monotonic() < end or answered < ANSWERED or not dribblers.are_hung_up_on:
            with httpx.Client(verify=superlink.trust, timeout=30) as fresh:  # a node that starts
                for client in (fresh, steady):
                    answer = client.post(
                        f"https://{superlink.public}/v1/fleet/pull-messages",
                        content=pull,
                        headers={"content-type": "application/protobuf"} | signed(key),
                    )
                    assert answer.status_code == 200, answer.text
                assert fresh.get(f"https://{superlink.public}/health").status_code == 200
            answered += 1
            time.sleep(0.25)
    until(lambda: "expected few connections from unknown keys" in superlink.log())


@pytest.mark.faults
def test_a_head_without_end_is_hung_up_on(superlink: RunningSuperlink) -> None:
    sent, part = 0, b"X: " + b"y" * 16_000 + b"\r\n"
    with connected(superlink, "127.0.0.2") as connection, suppress(OSError):
        connection.sendall(HALF_A_LINE)
        while sent < 64 * 1024 * 1024:
            connection.sendall(part)
            sent += len(part)
    assert sent < 16 * 1024 * 1024
