"""A listener of three addresses, /metrics, /healthz and /readyz, and no other.

It takes GET alone, reads no body, asks nobody for a name and tells nobody's secret: what it says is
numbers of this machine's own process. It listens where its setting says, which is nowhere unless
somebody wrote an address down. A scrape asks for the state anew.

- /healthz: 200 while what this speaks for lives, else 503.
- /readyz: 200 where the work can be done now, else 503; either way a line for each part.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.addresses import ip_of, split_address
from fieldfare.shared.watch.exposition import exposition, of_this_machine
from fieldfare.shared.watch.metrics import READY, MetricSample, Probe

METRICS: Final = "/metrics"
HEALTH: Final = "/healthz"
READINESS: Final = "/readyz"
PLAIN: Final = "text/plain; charset=utf-8"
READ_SECONDS: Final = 5.0  # for each read
MOST_SECONDS: Final = 10.0  # for a question and its answer
POLL_SECONDS: Final = 0.1  # in which a stop is noticed
MOST_AT_ONCE: Final = 8


@dataclass(frozen=True)
class WatchSource:
    """What a process tells when it is asked.

    Attributes:
        role: as build_info names it.
        samples: of its present state.
        probes: what has to be there for its work.
        alive: whether what it speaks for lives, whatever it lacks.
    """

    role: str
    samples: Callable[[], Iterable[MetricSample]]
    probes: Callable[[], Sequence[Probe]]
    alive: Callable[[], bool] = lambda: True


Answered = tuple[HTTPStatus, str, bytes]


def respond(source: WatchSource, method: str, path: str) -> Answered:
    """Return status, content type and body of a request."""
    if method != "GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, PLAIN, b"expected GET\n"
    if path == HEALTH:
        good = source.alive()
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        return status, PLAIN, b"alive\n" if good else b"gone\n"
    if path not in {METRICS, READINESS}:
        return HTTPStatus.NOT_FOUND, PLAIN, b"expected /metrics, /healthz or /readyz\n"
    probes = source.probes()
    ready = all(one.good for one in probes)
    if path == READINESS:
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return status, PLAIN, "".join(_line(one) for one in probes).encode()
    samples = [*of_this_machine(source.role), *source.samples(), MetricSample(READY, float(ready))]
    return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, exposition(samples)


def _line(probe: Probe) -> str:
    return f"{probe.part}: {'ok' if probe.good else probe.says}\n"


@contextmanager
def watched_at(address: str, source: WatchSource) -> Iterator[int]:
    """Answer at `host:port` until the block ends; gives the port.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    host, port = split_address(address)
    try:
        server = _bound(host, port, source)
    except OSError as error:
        found = os.strerror(error.errno) if error.errno else "no such address"
        raise UsageError(
            f"watch = {address}: expected a free port of this machine, found: {found}: end what "
            "listens there, or choose another port"
        ) from None
    with server:
        thread = threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), name="watch", daemon=True
        )
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _bound(host: str, port: int, source: WatchSource) -> WSGIServer:
    places = threading.BoundedSemaphore(MOST_AT_ONCE)

    class Listener(ThreadingMixIn, WSGIServer):
        """One family of addresses, and so many requests at once."""

        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        block_on_close = False
        daemon_threads = True

        def server_bind(self) -> None:
            """Bind without asking for the name of this machine."""
            TCPServer.server_bind(self)  # the base's own would ask DNS for this machine's name
            self.server_name, self.server_port = host, self.server_address[1]
            self.setup_environ()

        def process_request(self, request: Any, client_address: Any) -> None:
            """Take a question while a place is free."""
            if not places.acquire(blocking=False):
                self.shutdown_request(request)
                return
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread could be started
                places.release()
                raise

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            """Answer, and free the place; a request sent byte by byte is closed too."""
            late = threading.Timer(MOST_SECONDS, _hang_up, (request,))
            late.daemon = True
            late.start()
            try:
                super().process_request_thread(request, client_address)
            finally:
                late.cancel()
                places.release()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a reader that hung up is no news."""

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        """Answer one question (PEP 3333)."""
        if not _is_asked_for(environ.get("HTTP_HOST", ""), host):
            status, kind, body = HTTPStatus.MISDIRECTED_REQUEST, PLAIN, b"another host\n"
        else:
            status, kind, body = respond(source, environ["REQUEST_METHOD"], environ["PATH_INFO"])
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start(f"{status.value} {status.phrase}", headers)
        return [body]

    server = Listener((host, port), _QuietHandler)
    server.set_app(application)
    return server


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        request.shutdown(socket.SHUT_RDWR)


def _is_asked_for(named: str, host: str) -> bool:
    """Tell whether a Host header names this listener: no page of another name reads it."""
    name = urlsplit(f"//{named}").hostname or ""
    return name in {host.lower(), "localhost"} or ip_of(name) is not None


class _QuietHandler(WSGIRequestHandler):
    """A request is no line of a log, and a connection without one is closed."""

    timeout = READ_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's name
        """Say nothing."""
