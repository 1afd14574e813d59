"""A way to a server on this host that can be cut: what is sent meanwhile arrives afterwards."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

CHUNK: Final = 1 << 16


@dataclass
class Way:
    """Passes connections on to a port of this host.

    While it is cut, both sides see what a broken line shows: connections that stand and say
    nothing, and new ones that nobody answers.
    """

    target: int
    _open: threading.Event = field(default_factory=threading.Event)
    _server: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        """Where it is to be found."""
        return int(self._server.getsockname()[1])

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Let nothing through."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def serve(self) -> None:
        """Pass connections on until the way is closed."""
        self._open.set()
        with suppress(OSError):  # closed
            while True:
                near, _ = self._server.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._server.close()

    def _connect(self, near: socket.socket) -> None:
        self._open.wait()
        with suppress(OSError):
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pass_on, args=(far, near), daemon=True).start()
            self._pass_on(near, far)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), source, sink:
            while found := source.recv(CHUNK):
                self._open.wait()
                sink.sendall(found)


@contextmanager
def way_to(port: int) -> Iterator[Way]:
    """A way to a port of this host."""
    way = Way(port)
    threading.Thread(target=way.serve, daemon=True).start()
    try:
        yield way
    finally:
        way.close()
