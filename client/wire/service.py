"""The custodian as a process: its calls over gRPC, on a unix socket or mutual TLS.

The limits here hold against every process that has the socket (docs/design.md, "Processes and
zones"). A call takes one of few places and has limits of bytes and, in each phase, of time: to
arrive, to get its turn, to be read. There is no plaintext port, no reflection and no method but
those of one service.

Edge cases:
    | a call | gets |
    |---|---|
    | above its bytes | RESOURCE_EXHAUSTED, before anything is parsed |
    | while all places are taken | RESOURCE_EXHAUSTED |
    | whose message does not come, or whose answer is not read | cancelled; its place is free |
    | whose turn does not come in time | DEADLINE_EXCEEDED; nothing was done |
    | whose caller went away before its turn | nothing is done |
    | whose caller is shut out before its turn | PERMISSION_DENIED; nothing was done |
    | whose caller is shut out while it is answered | PERMISSION_DENIED, in the answer's place |
    | whose caller goes away during a release | it is committed; a repeat gets the same bytes |
    | that meets a defect | INTERNAL without a text; the log names the error's type only |

One thread keeps the time limits of all calls: a thread for each limit, as `threading.Timer` starts
one, costs a call about a millisecond and lets a caller create a thread with every call.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import BoundedSemaphore, Condition, Thread
from typing import TYPE_CHECKING, Any, Final

import grpc

from fieldfare.client.wire.calls import CALLS, LARGEST_FRAME, SERVICE, CustodianPort
from fieldfare.client.wire.frames import unix_address
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.sockets import Claim, UnixSocket, claimed

if TYPE_CHECKING:
    from fieldfare.client.wire.tls import TlsPort


class TimeLimits:
    """Ends calls that take too long; at most one limit for each key at a time."""

    def __init__(self) -> None:
        """Keep no limit yet."""
        self._changed = Condition()
        self._limits: dict[object, tuple[float, Callable[[], object]]] = {}
        self._closed = False

    def set(self, key: object, seconds: float, end: Callable[[], object]) -> None:
        """Call `end` in so many seconds, in place of an earlier limit of `key`."""
        due = time.monotonic() + seconds
        with self._changed:
            self._limits[key] = (due, end)
            if due <= min(other for other, _ in self._limits.values()):
                self._changed.notify()

    def clear(self, key: object) -> None:
        """Forget the limit of `key`, if it has one."""
        with self._changed:
            self._limits.pop(key, None)

    def run(self) -> None:
        """End calls that are due, until closed."""
        while not self._closed:
            for end in self._due():
                end()

    def close(self) -> None:
        """End nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _due(self) -> list[Callable[[], object]]:
        """Wait for the next limit; returns what is due then."""
        with self._changed:
            next_due = min((due for due, _ in self._limits.values()), default=None)
            wait = None if next_due is None else next_due - time.monotonic()
            if not self._closed and (wait is None or wait > 0):
                self._changed.wait(wait)
            now = time.monotonic()
            keys = [key for key, (due, _) in self._limits.items() if due <= now]
            return [self._limits.pop(key)[1] for key in keys]


@contextmanager
def time_limits() -> Iterator[TimeLimits]:
    """Keep time limits in a thread of their own."""
    limits = TimeLimits()
    thread = Thread(target=limits.run, name="time limits", daemon=True)
    thread.start()
    try:
        yield limits
    finally:
        limits.close()
        thread.join()


# -- service --------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

_CONNECTIONS: Final = 64  # so that idle ones cannot use up the open files that the ledger needs
# Of one connection. Well above the calls at once: gRPC counts a stream for a while after its
# answer was read, and would refuse the next call of an honest caller.
_STREAMS: Final = 100

Peer = Mapping[str, Iterable[bytes]]


@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """How much of the custodian a caller can take.

    Attributes:
        calls: in work or waiting at once; the others are refused.
        turns: calls in work at once.
        arrive_seconds: for a call's message to arrive.
        turn_seconds: to wait for calls that came before.
        read_seconds: for the caller to read its answer.
        stop_seconds: that calls in work have to finish when the service stops.
    """

    calls: int = 8
    turns: int = 1
    arrive_seconds: float = 10.0
    turn_seconds: float = 60.0
    read_seconds: float = 30.0
    stop_seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """The calls that are served.

    Attributes:
        name: as gRPC knows it.
        answers: for each call, a function from a frame to a frame.
        largest: the largest frame that asks something, in bytes, by call.
        frame: no frame is larger, whichever way it goes, in bytes.
    """

    name: str
    answers: Mapping[str, Callable[[bytes], bytes]]
    largest: Mapping[str, int]
    frame: int


def data_plane(answered: CustodianPort) -> Service:
    """Return the custodian's data plane, which `answered` answers call by call."""
    return Service(
        name=SERVICE,
        answers={call.value: partial(answered, call) for call in CALLS},
        largest={call.value: shape.largest for call, shape in CALLS.items()},
        frame=LARGEST_FRAME,
    )


class _Boundary:
    """Stands between gRPC's threads and the functions that answer."""

    def __init__(
        self,
        service: Service,
        limits: ServiceLimits,
        admits: Callable[[Peer], bool],
        time: TimeLimits,
    ) -> None:
        self._service = service
        self._limits = limits
        self._time = time
        self._admits = admits
        self._places = BoundedSemaphore(limits.calls)
        self._turn = BoundedSemaphore(limits.turns)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return gRPC's handlers: raw bytes in, raw bytes out.

        As streams of one message, which is the same on the wire: so the wait for the
        message is here, where it has a limit, and not in gRPC, where it has none.
        """
        return grpc.method_handlers_generic_handler(
            self._service.name,
            {
                call: grpc.stream_unary_rpc_method_handler(partial(self._handle, call))
                for call in self._service.answers
            },
        )

    def _handle(self, call: str, frames: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        self._check_admitted(context)
        self._enter(context)
        self._time.set(context, self._limits.arrive_seconds, partial(_cancel, context))
        frame = _arrived(self._service.largest[call], frames, context)
        self._time.clear(context)
        content = self._in_turn(call, frame, context)
        if content is None:
            context.abort(grpc.StatusCode.INTERNAL, "")
        self._check_admitted(context)  # what was signed under a new authority is not for it
        self._time.set(context, self._limits.read_seconds, partial(_cancel, context))
        return content

    def _check_admitted(self, context: grpc.ServicerContext) -> None:
        """Refuse a caller that is shut out by now, whenever its call began."""
        peer: Any = context.auth_context()  # lists of names, whatever the stubs say
        if not self._admits(peer):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "expected the node's certificate")

    def _enter(self, context: grpc.ServicerContext) -> None:
        """Take a place until the call has ended, also for its caller."""
        if not self._places.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls: ask again later")

        def leave() -> None:
            self._time.clear(context)
            self._places.release()

        if not context.add_callback(leave):  # it has ended already
            leave()
            context.abort(grpc.StatusCode.CANCELLED, "")

    def _in_turn(self, call: str, frame: bytes, context: grpc.ServicerContext) -> bytes | None:
        """Answer once calls that came before have been answered; None for a defect."""
        seconds = min(self._limits.turn_seconds, context.time_remaining())
        if not self._turn.acquire(timeout=seconds):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "its turn did not come in time")
        try:
            if not context.is_active():  # whoever asked has gone: spend nothing on it
                context.abort(grpc.StatusCode.CANCELLED, "")
            self._check_admitted(context)  # a caller may wait for long with its message
            return self._answered(call, frame)
        finally:
            self._turn.release()

    def _answered(self, call: str, frame: bytes) -> bytes | None:
        try:
            return self._service.answers[call](frame)
        except Exception as error:  # noqa: BLE001 -- a process boundary: gRPC would send its text
            log.error("%s failed: %s", call, type(error).__name__)  # noqa: TRY400 -- type only
            return None


def _cancel(context: grpc.ServicerContext) -> None:
    with suppress(ValueError):  # what gRPC says of a call that is over
        context.cancel()


def _arrived(largest: int, frames: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    frame = next(frames, None)
    if frame is None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "expected one message, found none")
    if len(frame) > largest:
        context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"expected at most {largest} bytes, found {len(frame)}",
        )
    return frame


@dataclass(frozen=True)
class RunningService:
    """A service that is being served.

    Attributes:
        port: of a TlsPort; 0 for a unix socket.
    """

    server: grpc.Server
    port: int

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the service ends, at most so many seconds."""
        self.server.wait_for_termination(seconds)


@contextmanager
def serving_calls(
    service: Service,
    where: "UnixSocket | TlsPort",
    limits: ServiceLimits | None = None,
    beside: Sequence[Service] = (),
) -> Iterator[RunningService]:
    """Serve any service; afterwards no call is in work any more.

    Args:
        service: has all places of the limits.
        where: its socket or port.
        limits: how much a caller can take.
        beside: services at the same place, each with one place and turn of its own.

    Raises:
        UsageError: the socket or port cannot be had, or certificates cannot be read.
    """
    given = limits or ServiceLimits()
    alone = replace(given, calls=1, turns=1)
    with ExitStack() as stack:
        place = stack.enter_context(claimed(where)) if isinstance(where, UnixSocket) else where
        # Left only when the last release is committed: nobody closes a ledger under it.
        calls = given.calls + len(beside)
        workers = stack.enter_context(ThreadPoolExecutor(calls, "custodian"))
        options = _options(given, service.frame)
        server = grpc.server(workers, options=options, maximum_concurrent_rpcs=calls)
        admits = _anybody if isinstance(where, UnixSocket) else where.admits
        time = stack.enter_context(time_limits())
        boundaries = [_Boundary(service, given, admits, time)]
        boundaries += [_Boundary(one, alone, admits, time) for one in beside]
        server.add_generic_rpc_handlers([one.handlers() for one in boundaries])
        port = _bind(server, place)
        server.start()
        stack.callback(lambda: server.stop(given.stop_seconds).wait())
        if isinstance(place, Claim):
            place.publish()  # the name appears when it is answered
        yield RunningService(server, port)


def _anybody(peer: Peer) -> bool:
    """Admit every user whom the file system lets connect."""
    del peer
    return True


def _bind(server: grpc.Server, where: "Claim | TlsPort") -> int:
    """Bind to a claimed socket or a port; there is no third, plaintext way."""
    if isinstance(where, Claim):
        address = unix_address(where.binding)
        credentials = grpc.local_server_credentials(grpc.LocalConnectionType.UDS)
    else:
        address = where.address
        credentials = where.files.server_credentials()
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError:
        raise UsageError(
            f"{address}: expected an address that can be bound: check whether it is in use, or of "
            "another machine"
        ) from None
    return 0 if isinstance(where, Claim) else port


def _options(limits: ServiceLimits, frame: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", frame),
        ("grpc.max_send_message_length", frame),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.max_allowed_incoming_connections", _CONNECTIONS),
        ("grpc.max_connection_idle_ms", 60_000),
        ("grpc.server_handshake_timeout_ms", int(1000 * limits.arrive_seconds)),
        ("grpc.keepalive_time_ms", 60_000),  # finds callers that are gone without a word
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 60_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.compression_enabled_algorithms_bitset", 1),  # identity: nothing grows when read
        ("grpc.so_reuseport", 0),  # a port has one custodian
    ]
