"""A custodian of a test's federation, served by the real service and spoken to over its socket."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.bench import Bench
from tests.support.network.calling import Caller, connected

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.wire.frames import unix_address
from fieldfare.client.wire.service import RunningService, ServiceLimits, data_plane, serving_calls
from fieldfare.client.wire.tls import TlsPort
from fieldfare.shared.system.sockets import UnixSocket

QUICK: Final = ServiceLimits(
    calls=4, arrive_seconds=2.0, turn_seconds=1.0, read_seconds=2.0, stop_seconds=60.0
)


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory with a short path: a socket's has at most 107 bytes, and pytest's are long."""
    directory = Path(tempfile.mkdtemp(prefix="ff-"))
    yield directory / "run" / "custodian.sock"
    shutil.rmtree(directory)


@contextmanager
def serving(
    custodian: Custodian, where: UnixSocket | TlsPort, limits: ServiceLimits | None = None
) -> Iterator[RunningService]:
    """Serve a custodian's calls; afterwards none is in work any more."""
    with serving_calls(data_plane(partial(answer, custodian)), where, limits) as found:
        yield found


@contextmanager
def served(
    bench: Bench, name: str, path: Path, limits: ServiceLimits | None = None
) -> Iterator[Caller]:
    """Put what speaks over the socket in the place of the custodian, as a node would.

    The bench goes on playing every party, and everything that it asks of `name` goes
    through the socket.
    """
    inside: Any = bench.custodian(name)
    custodians: Any = bench.federation.custodians
    with serving(inside, UnixSocket(path), limits), connected(path) as remote:
        custodians[name] = remote
        remote._party = inside._party  # type: ignore[attr-defined] # what the test itself knows
        try:
            yield remote
        finally:
            custodians[name] = inside


def hostile_channel(path: Path) -> grpc.Channel:
    """A channel without a single limit of its own."""
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    return grpc.secure_channel(unix_address(path), credentials, options)


class Gated:
    """Unit sums that wait for a gate, so that a test can act in the middle of a release."""

    def __init__(self, entries: int) -> None:
        self.begun, self.gate, self.sums = Event(), Event(), 0
        self._entries = entries

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        del parameters
        self.sums += 1
        self.begun.set()
        assert self.gate.wait(60)
        return np.zeros(self._entries, dtype=np.int64)

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


def raw(channel: grpc.Channel, path: str) -> Any:
    """A call that sends any bytes; `status_of` tells how it ended."""
    return channel.unary_unary(path)


def status_of(call: Any) -> grpc.StatusCode:
    """How a call ended, waiting for it; OK where it was answered."""
    code: grpc.StatusCode = call.code()
    return code
