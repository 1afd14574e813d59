"""Flower's fleet connection as a node uses it; the only module here that reaches inside flwr.

tests/client/node/test_flwr_contract.py fixes the names used from there and how they behave, so that
another version of flwr fails in a test and not in an institution. A bundle is never fetched:
nothing here names the call that would fetch it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    pull_and_inflate_object_from_tree,
)
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import fleet_http_connection
from flwr.supernode.fleet_http_client import FleetHttpClient
from google.protobuf.message import DecodeError

from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES
from fieldfare.shared.system.processes import stop_put_off
from fieldfare.shared.terminal.texts import ascii_line

PULL_BACKOFF_SECONDS: Final = 0.05  # flwr's own 1 s would be most of an exchange
PULL_SECONDS: Final = 60.0  # flwr's own two hours would hold up every other message
HANDSHAKE_PAUSE_SECONDS: Final = 1.0
LARGEST_RESPONSE: Final = MAX_MESSAGE_BYTES + 64 * 1024  # bytes: a message, and Flower's frame
LONGEST_REASON: Final = 300  # characters of what a SuperLink says that are shown

APP_FAILED: Final = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
BUNDLE_REFUSED: Final = int(ErrorCode.INVALID_FAB)

# What a link that fails, or a peer that sends nonsense, makes flwr raise.
_LINK_FAULTS: Final = (httpx.HTTPError, httpx.InvalidURL, ObjectPushError, ObjectPullError)
_NONSENSE: Final = (DecodeError, ValueError, LookupError, TypeError)

P = ParamSpec("P")
T = TypeVar("T")


class NotAdmittedError(RunError):
    """The SuperLink does not let this node in, or cannot be reached safely."""


class RunOverError(RunError):
    """The run that a message belongs to has ended."""


class LinkError(RunError):
    """The SuperLink failed, or sent something that cannot be read."""


@dataclass(frozen=True)
class SuperlinkEndpoint:
    """Where the SuperLink is.

    Attributes:
        address: host:port.
        authority: PEM of the authority that signed its certificate.
    """

    address: str
    authority: bytes


@dataclass(frozen=True)
class Arrival:
    """A message that arrived without its content.

    Attributes:
        envelope: its metadata, as the SuperLink tells it.
        objects: how many objects its content has.
        tree: the object tree by which they are pulled.
    """

    envelope: Message
    objects: int
    tree: Any


@dataclass(frozen=True)
class ReportedRun:
    """A run's bundle and configuration, as the SuperLink reports them.

    Attributes:
        bundle: sha256 of the run's bundle, hex.
        configuration: the coordinator's settings for this run.
    """

    bundle: str
    configuration: Mapping[str, Any]


class Fleet:
    """The SuperLink, seen from a node that it let in; heartbeats go on by themselves.

    Every method waits for as long as the SuperLink cannot be reached, with a growing pause.
    """

    def __init__(self, callbacks: tuple[Any, ...]) -> None:
        """Take flwr's connection; the call that fetches bundles is dropped here."""
        node_id, receive, send, get_run, _get_fab, pull, push, confirm = callbacks
        self.node_id: int = node_id
        self._receive, self._send = _patient(receive), _patient(send)
        self._get_run, self._pull = _patient(get_run), _patient(pull)
        self._push, self._confirm = _patient(push), _patient(confirm)

    def receive(self) -> Arrival | None:
        """Return the next message, or None.

        Raises:
            LinkError: the SuperLink failed.
        """
        with _translated():
            found = self._receive()
        if found is None:
            return None
        envelope, tree = found
        run = envelope.metadata.run_id
        # What flwr makes messages by; nothing in this process has another task.
        TaskIdentity.task_id = TaskIdentity.run_id = run
        TaskIdentity.node_id = self.node_id
        return Arrival(envelope, sum(1 for _ in iterate_object_tree(tree)), tree)

    def run(self, run_id: int) -> ReportedRun:
        """Return the SuperLink's report on a run.

        Raises:
            LinkError, RunOverError: it says nothing.
        """
        with _translated():
            run = self._get_run(run_id)
        return ReportedRun(run.fab_hash, dict(run.override_config))

    def pull(self, arrival: Arrival) -> Message:
        """Fetch the content of a message.

        Raises:
            LinkError, RunOverError: it did not come whole, or is none, or is another message's.
        """
        run = arrival.envelope.metadata.run_id
        with _translated():
            message = pull_and_inflate_object_from_tree(
                arrival.tree,
                lambda name: bytes(self._pull(run, name)),
                lambda name: self._confirm(run, name),
                return_type=Message,
                max_time=PULL_SECONDS,
                initial_backoff=PULL_BACKOFF_SECONDS,
            )
            message.metadata.__dict__["_message_id"] = arrival.tree.object_id
        if _address(message) != _address(arrival.envelope) or not message.has_content():
            raise LinkError("expected the content of the message that was announced, found another")
        return message

    def send(self, reply: Message) -> None:
        """Send a reply; how long it took to make, which Flower would be told, is not said.

        Raises:
            LinkError, RunOverError: it did not arrive.
        """
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with _translated(), no_object_id_recompute():
            # A piece is taken once: a SuperLink that is killed after it stored one, and before it
            # said so, refuses the one that flwr repeats. Asked again, it wants what is missing.
            if self._refused(reply) and (refused := self._refused(reply)):
                raise LinkError(
                    f"expected a reply that the SuperLink stores, found {refused} parts refused"
                )

    def _refused(self, reply: Message) -> int:
        """Send a reply, piece by piece; returns how many were refused."""
        run, objects, refused = reply.metadata.run_id, get_all_nested_objects(reply), 0
        wanted, session = self._send(reply, get_object_tree(reply), 0.0)
        for name in wanted & set(objects):
            try:
                self._push(run, session, name, objects[name].deflate())
            except ObjectPushError:  # the others are still wanted
                refused += 1
        return refused


class BoundedClient(FleetHttpClient):
    """Flower's client, which reads no more of a response than the largest message has.

    Nor does it unpack anything, or go where a SuperLink sends it on to.
    """

    dated: ClassVar[Callable[[str], None]] = staticmethod(lambda _: None)

    def __init__(self, *given: Any, **named: Any) -> None:
        """As Flower's own; `dated` is told the date of every answer."""
        super().__init__(*given, **named)
        self._client.follow_redirects = False
        self._client.headers["accept-encoding"] = "identity"
        self._client.event_hooks = {"response": [_bound, self._date]}  # before a body is read
        self._signed_on: int | None = None  # the number by which the SuperLink let it in

    def ActivateNode(self, request: Any) -> Any:  # noqa: N802 -- the name in flwr
        """Sign on; a stop in the middle of it acts once the number is known."""
        with stop_put_off():
            response = super().ActivateNode(request)
            self._signed_on = response.node_id
            return response

    def DeactivateNode(self, request: Any) -> Any:  # noqa: N802 -- the name in flwr
        """Sign off; where the answer is nonsense, that is a failure like any other.

        Raises:
            httpx.HTTPError, RuntimeError: it failed. All that flwr passes over, as it then ends.
        """
        self._signed_on = None
        try:
            return super().DeactivateNode(request)
        except (*_NONSENSE, LinkError):
            raise RuntimeError("expected an answer of the SuperLink, found other bytes") from None

    def __exit__(self, *given: object) -> None:
        """Sign off where flwr did not: it was stopped before it had noted that it is let in."""
        if self._signed_on is not None:
            with suppress(httpx.HTTPError, RuntimeError):
                self.DeactivateNode(DeactivateNodeRequest(node_id=self._signed_on))
        super().__exit__(*given)

    def _date(self, response: httpx.Response) -> None:
        type(self).dated(response.headers.get("date", ""))


def _bound(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise LinkError("expected an uncompressed response, found a compressed one")
    response.stream = _BoundedStream(response)


class _BoundedStream(httpx.SyncByteStream):
    def __init__(self, response: httpx.Response) -> None:
        self._stream: Any = response.stream

    def __iter__(self) -> Iterator[bytes]:
        came = 0
        for part in self._stream:
            came += len(part)
            if came > LARGEST_RESPONSE:
                raise LinkError(
                    f"expected at most {LARGEST_RESPONSE} bytes of the SuperLink, found more"
                )
            yield part

    def close(self) -> None:
        self._stream.close()


def error_reply(arrival: Arrival, code: int, reason: str) -> Message:
    """Return the error message for a message that is not answered."""
    return Message(Error(code, reason), reply_to=arrival.envelope)


@contextmanager
def joined(
    link: SuperlinkEndpoint,
    key: ec.EllipticCurvePrivateKey,
    dated: Callable[[str], None] = lambda _: None,
) -> Iterator[Fleet]:
    """Let the SuperLink know this node, and sign off at the end.

    Args:
        link: where the SuperLink is.
        key: the node's.
        dated: takes the date of every answer, as it stands there (RFC 9110, section 6.6.1).

    After NotAdmittedError the process ends within 5 seconds, whatever it does (flwr_exit).

    Raises:
        NotAdmittedError: the SuperLink refused, or its certificate is another authority's.
    """
    module: Any = fleet_http_connection
    module.FleetHttpClient = BoundedClient
    BoundedClient.dated = staticmethod(dated)
    connection = module.http_request_response(
        link.address,
        insecure=False,
        root_certificates=link.authority,
        authentication_keys=(key, key.public_key()),
    )
    try:
        callbacks = connection.__enter__()
    except SystemExit as left:
        # flwr ends the process here; what it met is the context of that.
        raise NotAdmittedError(_reason(left.__context__)) from None
    try:
        yield Fleet(callbacks)
    finally:
        # Without what was raised: flwr would log it, with its text, and swallow it.
        connection.__exit__(None, None, None)


def _patient(call: Callable[P, T]) -> Callable[P, T]:
    """Return a call that waits, too, where flwr gives up: after a handshake that was cut.

    flwr takes it for a refused certificate. It is what a proxy does whose SuperLink is being
    restarted; a node that ended over it would be let in again only when its lease is over.
    """

    def repeated(*given: P.args, **named: P.kwargs) -> T:
        """Call again while the line is refused; a wrong certificate ends it."""
        while True:
            try:
                return call(*given, **named)
            except httpx.ConnectError as error:
                if "certificate" in str(error).lower():
                    raise
                time.sleep(HANDSHAKE_PAUSE_SECONDS)

    return repeated


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RunNotRunningException:
        raise RunOverError("expected a run that goes on, found one that has ended") from None
    except _LINK_FAULTS as error:
        raise LinkError(f"expected an answer of the SuperLink: {_reason(error)}") from None
    except _NONSENSE as error:
        found = type(error).__name__
        raise LinkError(f"expected a message that can be read, found {found}") from None


def _address(message: Message) -> tuple[object, ...]:
    found = message.metadata
    return (found.run_id, found.message_type, found.src_node_id, found.dst_node_id)


def _reason(error: BaseException | None) -> str:
    """Return what a SuperLink or the link said, fit for a terminal."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.HTTPStatusError):
        text = f"status {error.response.status_code}: {error.response.text}"
    return ascii_line(text)[:LONGEST_REASON]
