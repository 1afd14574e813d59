"""uvicorn behind a door of our own: who may hold a connection to the public port, and how long.

uvicorn counts all connections as one crowd, waits for the head of a request for ever, and is told
who calls only after TLS. Here a connection is counted by its address before it costs a handshake,
and closed as `connections` says. Behind a proxy that the settings name, the address is the one
that the proxy says.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import uvicorn

from fieldfare.server.superlink.connections import (
    ConnectionLimits,
    Connections,
    Peer,
    RequestState,
    address_of,
)
from fieldfare.server.superlink.proxy_header import bytes_missing, source_in
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.flood import Flood

LOOKS: Final = 4  # in the time that a head may take
PAUSE_SECONDS: Final = 0.5  # where no file is left for a connection

log = logging.getLogger(__name__)


class OneOfSeveral(uvicorn.Server):
    """One of several in a loop: signals are for the loop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


class GuardedServer(OneOfSeveral):
    """A server that accepts connections itself.

    Args:
        config: with TLS.
        limits: of connections.
        proxies: addresses from which a PROXY header comes first and is believed; nobody else's is.
    """

    def __init__(
        self, config: uvicorn.Config, limits: ConnectionLimits, proxies: Collection[str] = ()
    ) -> None:
        """Serve nobody yet."""
        super().__init__(config)
        self.open = Connections(limits)
        self._proxies = frozenset(proxies)
        self._ends: dict[Peer, Callable[[], object]] = {}
        self._unnamed: dict[Peer, Callable[[], object]] = {}  # of proxies, without header so far
        self._chores: set[asyncio.Task[None]] = set()
        self._flood: Flood[str] = Flood()

    def vouch(self, peer: Peer, key: bytes) -> None:
        """Give a connection a node's place: a fresh signature by `key` came over it."""
        self._hang_up(self.open.vouch(peer, key))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen at bound sockets."""
        await super().startup(sockets=[])
        for place in sockets or ():
            place.setblocking(False)
            self._start(self._accept(place))
        self._start(self._look())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody any more, and let calls in work finish."""
        for chore in self._chores:
            chore.cancel()
        await super().shutdown(sockets=sockets)

    def _start(self, chore: Any) -> None:
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _accept(self, place: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(place)
            except OSError:  # it went away again, or no file is left: others wait in the kernel
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            peer = (str(address[0]), int(address[1]))
            if peer[0] in self._proxies:
                self._start(self._introduce(accepted, peer))
            else:
                self._enter(accepted, peer)

    def _enter(self, accepted: socket.socket, peer: Peer) -> None:
        """Count a connection, and let it go on."""
        if peer in self._ends:  # of two proxies, or of one that lies: one of both is nobody
            accepted.close()
            return
        self._ends[peer] = partial(accepted.shutdown, socket.SHUT_RDWR)
        gone = self.open.enter(peer)
        if gone is not None:
            self._tell(gone)
            self._hang_up(gone)
        self._start(self._greet(accepted, peer))

    async def _introduce(self, accepted: socket.socket, proxy: Peer) -> None:
        """Let a proxy say whom it passes on; nothing of the connection is counted before."""
        self._unnamed[proxy] = partial(accepted.shutdown, socket.SHUT_RDWR)
        if len(self._unnamed) > self.open.limits.of_strangers:
            with suppress(OSError):
                self._unnamed.pop(next(iter(self._unnamed)))()
        try:
            async with asyncio.timeout(self.open.limits.head_seconds):
                peer = await _introduced(accepted)
        except (OSError, ProtocolError) as error:  # TimeoutError is an OSError
            accepted.close()
            if self._flood.admits(proxy[0], 1, time.monotonic()):
                found = str(error) or "expected a PROXY header in time, found none"
                log.warning("%s, a proxy of coordinator.toml: %s", proxy[0], found)
        else:
            self._enter(accepted, peer or proxy)
        finally:
            self._unnamed.pop(proxy, None)

    async def _greet(self, accepted: socket.socket, peer: Peer) -> None:
        """Agree on TLS; from then on the connection answers for itself."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(_connection_class(self.config), self, peer),
                accepted,
                ssl=self.config.ssl,
                ssl_handshake_timeout=self.open.limits.head_seconds,
            )
        except OSError:  # no TLS, none in time, or gone
            self.left(peer)

    def came(self, peer: Peer, transport: asyncio.Transport) -> None:
        """Take note that a connection has agreed on TLS."""
        if peer in self._ends:
            self._ends[peer] = transport.abort
        else:  # its place was needed meanwhile
            transport.abort()

    def left(self, peer: Peer) -> None:
        """Take note that a connection is gone."""
        self._ends.pop(peer, None)
        self.open.leave(peer)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self.open.limits.head_seconds / LOOKS)
            held: list[Any] = list(self.server_state.connections)
            states = {one.peer: RequestState(one.cycle, one.answering) for one in held}
            for peer in self.open.late(states, time.monotonic()):
                self._hang_up(peer)
            for many in self._flood.over(time.monotonic()):
                log.warning("%s: %d more of them within a minute", many.kind, many.lines)

    def _hang_up(self, peer: Peer | None) -> None:
        end = None if peer is None else self._ends.pop(peer, None)
        if end is not None:
            with suppress(OSError):  # gone by itself
                end()

    def _tell(self, peer: Peer) -> None:
        address = address_of(peer)
        if self._flood.admits(address, 1, time.monotonic()):
            log.warning(
                "%s: expected few connections from unknown keys, found more than it may hold: the "
                "oldest are closed; let only members' addresses in at your firewall "
                "(docs/coordinator.md)",
                address,
            )


class _GuardedProtocol:
    """What is added to uvicorn's own protocol; mixed in before it, for it is chosen late."""

    def __init__(self, server: GuardedServer, peer: Peer) -> None:
        state: dict[str, Any] = {
            "config": server.config,
            "server_state": server.server_state,
            "app_state": server.lifespan.state,
        }
        super().__init__(**state)
        self._server, self.peer = server, peer
        self._head = 0

    @property
    def answering(self) -> bool:
        cycle: Any = getattr(self, "cycle", None)
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Count a connection in before anything is read."""
        made: Any = super()
        made.connection_made(transport)
        self.client = self.peer  # uvicorn sees the proxy, where there is one
        self._server.came(self.peer, transport)

    def data_received(self, data: bytes) -> None:
        """Read on while the head is no longer than it may be."""
        if self._head > self._server.open.limits.head_bytes:
            transport: Any = getattr(self, "transport", None)
            transport.abort()
            return
        made: Any = super()
        made.data_received(data)
        self._head = 0 if self.answering else self._head + len(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Count the connection out."""
        made: Any = super()
        made.connection_lost(error)
        self._server.left(self.peer)


async def _introduced(accepted: socket.socket) -> Peer | None:
    """Read a PROXY header and no byte more; returns as `source_in`.

    Raises:
        ProtocolError: it is none.
        OSError: the connection is gone.
    """
    header, loop = bytearray(), asyncio.get_running_loop()
    while missing := bytes_missing(bytes(header)):
        part = await loop.sock_recv(accepted, missing)
        if not part:
            raise ProtocolError("expected a whole PROXY header, found a part of it")
        header += part
    return source_in(bytes(header))


def _connection_class(config: uvicorn.Config) -> Any:
    return type("GuardedConnection", (_GuardedProtocol, config.http_protocol_class), {})
