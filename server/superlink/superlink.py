"""Flower's SuperLink as a coordinator uses it; the only server module that reaches inside flwr.

Three things are taken from there: the app that nodes and runs talk to, the control API that
starts runs and registers nodes, and the Grid of one run. What is taken, and how it behaves, is
held by tests/server/superlink/test_flwr_contract.py, so that another version of flwr fails in
a test. Who may call what is decided before Flower's app is reached (gate.py).

Beside them stand the errors of a link as a terminal shows them.
"""

import base64
import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Final

import httpx
from flwr.app import Error, Message
from flwr.app.message import make_message
from flwr.common.constant import (
    ISOLATION_MODE_PROCESS,
    TRANSPORT_TYPE_GRPC_RERE,
    ErrorCode,
    SubStatus,
)
from flwr.common.event_log_plugin import EventLogWriterPlugin
from flwr.common.serde import fab_to_proto, run_from_proto, user_config_to_proto
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto import control_pb2, message_pb2, runtime_pb2
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.supercore.constant import TASK_TOKEN_HEADER, TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPushError,
    inflate_object_from_contents,
)
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.grid.http_grid import HttpGrid
from google.protobuf.message import DecodeError

from fieldfare.server.superlink.connections import Peer
from fieldfare.server.superlink.facts import (
    ControlTarget,
    FlowerRunStatus,
    NodeFacts,
    ServerTask,
    Task,
)
from fieldfare.server.superlink.gate import FLEET, RUNTIME, App, Headers, Scope
from fieldfare.server.superlink.node_keys import (
    PUBLIC_KEY_HEADER,
    header_in,
    openssh_of,
    signer_of,
    spki_of,
)
from fieldfare.server.superlink.quota import ReplyLimits, ReplyQuota
from fieldfare.server.superlink.retention import kept_objects
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.shared.errors import RunError
from fieldfare.shared.flood import Flood
from fieldfare.shared.terminal.texts import ascii_line

LONGEST_REASON: Final = 300  # characters


def reason_of(error: Exception) -> str:
    """Return a link error's reason: one line, printable ASCII, of bounded length."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.HTTPStatusError):
        text = f"status {error.response.status_code}: {error.response.text}"
    return ascii_line(text)[:LONGEST_REASON]


ACQUIRE: Final = "/flwr.proto.Runtime/AcquireTask"
MOST_OBJECTS: Final = 3  # of one reply: message, content, record
REFRESH_SECONDS: Final = 1.0
MOST_PUSHES: Final = 3
UNAVAILABLE: Final = int(ErrorCode.MESSAGE_UNAVAILABLE)

log = logging.getLogger(__name__)

# What a reply that is nonsense makes flwr raise.
_NONSENSE: Final = (DecodeError, ValueError, LookupError, TypeError, AttributeError)


class RunGoneError(RunError):
    """The SuperLink ended the run, or does not know it."""


# ---- the app ---------------------------------------------------------------------------------


class SuperlinkApp:
    """Flower's app over one database, and who its nodes are."""

    def __init__(
        self, database: Path, secret: bytes, is_known: Callable[[Peer], bool] = lambda _: True
    ) -> None:
        """Open the database; the file is made, or brought to the shape that flwr wants.

        Args:
            database: SQLite file.
            secret: that proves a request for a run's task.
            is_known: see ShortWay.
        """
        # Not above: half a second that only the SuperLink's own process has to wait.
        from flwr.superlink.main import create_app  # noqa: PLC0415

        from fieldfare.server.superlink.short_way import ShortWay  # noqa: PLC0415

        nothing: Any = _NoServers
        voice = _OwnVoice(database, self.name_of)
        made = create_app(_configuration(database, secret, voice), nothing)
        made.user_middleware[:] = [
            each for each in made.user_middleware if getattr(each.cls, "__name__", "") not in _IDLE
        ]
        # Asked in the event loop: neither waits for a connection of Flower's nor writes.
        self._view = SuperlinkView(database, partial(datetime.now, UTC))
        self.flower, state = made, made.state.linkstate_factory.state()
        self.app: App = ShortWay(made, _message_calls(made, state, voice), is_known)
        self._names: dict[bytes, str] = {}
        self._refreshed = 0.0

    def name_of(self, headers: Headers) -> str | None:
        """Return the name of the node whose key is in a request's headers, None if unknown.

        Names are read once a second at most for keys that nobody registered, however many come.
        """
        key = header_in(headers, PUBLIC_KEY_HEADER)
        due = time.monotonic() - self._refreshed >= REFRESH_SECONDS
        if key not in self._names and (due or self.vouched(headers)):
            self._refreshed = time.monotonic()
            self._names = {base64.b64encode(pem): name for pem, name in self._view.names().items()}
        return self._names.get(key)

    def vouched(self, headers: Headers) -> bool:
        """Say whether headers hold a fresh signature by a registered node's key.

        Flower asks the same once more, after it has read the body.
        """
        pem = signer_of(headers, datetime.now(UTC))
        return pem is not None and pem in self._view.names(pem)


def _faults() -> tuple[type[Exception], ...]:
    """Return whatever Flower's checks and handlers raise; its app is asked again, and answers."""
    from flwr.supercore.object_store import NoObjectInStoreError  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415
    from starlette.exceptions import HTTPException  # noqa: PLC0415

    unforeseen = (*_NONSENSE, AssertionError, RuntimeError, ArithmeticError)
    return FlowerError, HTTPException, SQLAlchemyError, NoObjectInStoreError, *unforeseen


def _node_answer(state: Any, voice: EventLogWriterPlugin, name: str) -> Callable[[Any, Any], Any]:
    """Return what answers a node's call by the handler of this name, after Flower's own checks."""
    from flwr.superlink.routers.fleet.node_auth import authenticate_node  # noqa: PLC0415
    from flwr.superlink.servicer.fleet import fleet_handlers  # noqa: PLC0415

    handler: Any = getattr(fleet_handlers, name)
    takes = inspect.signature(handler).parameters
    rest = {"store": state.object_store} if "store" in takes else {}

    def answer(request: Any, message: Any) -> Any:
        """Check who asks, and answer."""
        authenticate_node(request)
        voice.compose_log_before_event(message, request, None, request.url.path)
        return handler(request=message, state=state, **rest)

    return answer


def _run_answer(app: Any, state: Any, name: str) -> Callable[[Any, Any], Any]:
    """Return what answers a run's call by the handler of this name, after Flower's own checks."""
    from flwr.supercore.dependencies.task import authenticate_task  # noqa: PLC0415
    from flwr.supercore.dependencies.version import VersionDependency  # noqa: PLC0415

    version = VersionDependency(component_name="SuperLink", connection_name="Runtime API")
    handler: Any = getattr(app.state.runtime_handlers, name)

    def answer(request: Any, message: Any) -> Any:
        """Check its version and its token, and answer."""
        version(request)
        token = request.headers.get(TASK_TOKEN_HEADER)
        return handler(message, state, authenticate_task(request, token, state))

    return answer


def _message_calls(app: Any, state: Any, voice: EventLogWriterPlugin) -> Mapping[str, Any]:
    """Return the calls that every message takes, by path: Flower's checks, then its handlers."""
    # Not above: the run's process needs none of it.
    from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE  # noqa: PLC0415
    from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415

    from fieldfare.server.superlink import short_way  # noqa: PLC0415

    faults, own = _faults(), short_way.lighten(state)

    def call(side: str, name: str) -> short_way.Handle:
        """Return one of them, as a transaction of Flower's state."""
        shape: Any = PROTOBUF_REQUEST_TYPES["POST", side + name]
        fleet, named = side == FLEET, name.replace("-", "_")
        handler = _node_answer(state, voice, named) if fleet else _run_answer(app, state, named)

        def handle(scope: Scope, body: bytes) -> short_way.Exchange | None:
            """Handle a call; None where it is refused or fails, and has left nothing behind."""
            request, message = Request({**scope, "app": app}), shape()
            if request.headers.get("content-type") != PROTOBUF_MEDIA_TYPE:
                return None
            try:
                message.ParseFromString(body)
                request.state.protobuf_request = message
                with own():
                    # Not within: a refusal would undo it, and Flower's app not look for a second.
                    state._cleanup_expired_task_tokens()  # noqa: SLF001
                    with state.session():
                        return short_way.Exchange(message, handler(request, message))
            except faults:
                return None

        return handle

    return {side + name: call(side, name) for side in (FLEET, RUNTIME) for name in short_way.CALLS}


# Flower's layers that do nothing here: they look after calls that the gate does not offer, or
# after plugins that are not there. Each costs every call a third of a millisecond.
_IDLE: Final = frozenset(
    {"ControlSensitiveResponseMiddleware", "ControlLicenseMiddleware", "ControlEventLogMiddleware"}
)


class _NoServers:
    """In place of the servers that flwr starts beside its app: none."""

    def __init__(self, *_: Any) -> None: ...

    def startup(self) -> None: ...

    def shutdown(self) -> None: ...


def _configuration(database: Path, secret: bytes, voice: "_OwnVoice") -> SuperLinkLifespanConfig:
    return SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="",
        port=0,
        insecure=False,
        certificates=None,  # TLS is the listeners' (superlink/process.py)
        superexec_auth_secret=secret,
        authn_plugin=NoOpControlAuthnPlugin(),  # the gate asks for the token
        event_log_plugin=None,
        fleet_event_log_plugin=voice,
        enable_event_log=True,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=None,
        ssl_certfile=None,
        ssl_keyfile=None,
        database=str(database),
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


class _OwnVoice(EventLogWriterPlugin):
    """In place of an event log: a node answers for itself alone, and has so much waiting.

    Flower compares a reply's sender with the message's addressee, but not with the node whose
    key the request was signed by. This is called between the two.
    """

    def __init__(self, database: Path, name_of: Callable[[Headers], str | None]) -> None:
        self._name_of = name_of
        self._quota = ReplyQuota(ReplyLimits(pieces=MOST_OBJECTS), partial(kept_objects, database))
        self._lock = Lock()  # calls come from several threads
        self._flood: Flood[str] = Flood()

    def compose_log_before_event(self, request: Any, context: Any, *_: Any, **__: Any) -> Any:
        """Refuse a call before Flower acts on it."""
        if isinstance(request, PushMessagesRequest):
            senders = {each.metadata.src_node_id for each in request.messages_list}
            if senders != {request.node.node_id}:
                raise FlowerError(ApiErrorCode.NO_PERMISSIONS, "a node answers for itself alone")
        problem = self._problem(request)
        if problem:
            self._tell(self._name_of(context.scope["headers"]) or "a node", problem)
            raise FlowerError(ApiErrorCode.NO_PERMISSIONS, problem, public_details=problem)

    def _problem(self, request: Any) -> str:
        """Return why a reply, or a piece of one, is refused; empty where it is not."""
        with self._lock:
            if isinstance(request, message_pb2.PushObjectRequest):
                node, size = request.node.node_id, len(request.object_content)
                return self._quota.push(node, request.run_id, request.object_id, size)
            if isinstance(request, PushMessagesRequest):
                if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
                    return "expected one reply at a time"
                run = request.messages_list[0].metadata.run_id
                tree = iterate_object_tree(request.message_object_trees[0])
                # No more than say that it has too many.
                pieces = [each.object_id for each in islice(tree, MOST_OBJECTS + 1)]
                return self._quota.announce(request.node.node_id, run, pieces)
        return ""

    def _tell(self, name: str, problem: str) -> None:
        with self._lock:
            now = time.monotonic()
            self._flood.over(now)  # how often is in the audit log
            admitted = self._flood.admits(name, 1, now)
        if admitted:
            log.warning(
                "%s: %s: refused; where it goes on, ask its people, or take its node off: "
                "fieldfare coordinator remove",
                name,
                problem,
            )

    def compose_log_after_event(self, *_: Any, **__: Any) -> Any: ...

    def write_log(self, log_entry: Any) -> None: ...


# ---- control ---------------------------------------------------------------------------------


ENDED: Final = frozenset({"completed", "stopped", "failed"})


class ControlClient:
    """A SuperLink's control API; every method raises RunError where it cannot be reached."""

    def __init__(self, client: ControlHttpClient, address: str) -> None:
        """Wrap an open client."""
        self._client, self._address = client, address

    def register_node(self, public_key: bytes, name: str) -> int:
        """Let the node with this key sign on; returns its id, the earlier one if it is known.

        Args:
            public_key: NIST P-256, P-384 or P-521, an OpenSSH line.
            name: that the node is shown under.

        Raises:
            UsageError: no such key.
            RunError: the key was taken off before; that is for good.
        """
        pem, line = spki_of(public_key), openssh_of(spki_of(public_key))
        if (known := self._registered(line, name)) is not None:
            return known
        try:
            with self._translated():
                request = control_pb2.RegisterNodeRequest(public_key=pem, name=name)
                return int(self._client.RegisterNode(request).node_id)
        except RunError:  # another process of this coordinator may have done it since
            if (known := self._registered(line, name)) is not None:
                return known
            raise

    def _registered(self, line: bytes, name: str) -> int | None:
        for known in self.nodes():
            if known.public_key == line and known.status != "unregistered":
                return known.node
            if known.public_key == line:
                raise RunError(
                    f"{name}: expected a node key that was never taken off, found one that was: "
                    "the institution makes a new one and enrols again"
                )
        return None

    def unregister_node(self, node: int) -> None:
        """Take a node off, for good; one that is off stays so."""
        try:
            with self._translated():
                self._client.UnregisterNode(control_pb2.UnregisterNodeRequest(node_id=node))
        except RunError:  # another process of this coordinator may have done it since
            if any(one.node == node and one.status != "unregistered" for one in self.nodes()):
                raise

    def nodes(self) -> tuple[NodeFacts, ...]:
        """Return every node that was ever registered."""
        with self._translated():
            found = self._client.ListNodes(control_pb2.ListNodesRequest()).nodes_info
        return tuple(
            NodeFacts(each.node_id, openssh_of(each.public_key), each.status, each.name)
            for each in found
        )

    def start_run(self, bundle: bytes, configuration: Mapping[str, str]) -> int:
        """Start a run of a bundle; returns Flower's id of it.

        Raises:
            RunError: the SuperLink does not take it.
        """
        content = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        request = control_pb2.StartRunRequest(
            fab=fab_to_proto(content), override_config=user_config_to_proto(dict(configuration))
        )
        with self._translated():
            run = int(self._client.StartRun(request).run_id)
        if not run:
            raise RunError("expected a bundle that the SuperLink takes, found one that it refuses")
        return run

    def stop_run(self, run: int) -> None:
        """End a run; one that has ended stays as it is."""
        if self.run_status(run).state in ENDED:
            return
        try:
            with self._translated():
                self._client.StopRun(control_pb2.StopRunRequest(run_id=run))
        except RunError:  # it may have ended since
            if self.run_status(run).state not in ENDED:
                raise

    def run_status(self, run: int) -> FlowerRunStatus:
        """Return how a run stands; one that is not known any more has failed."""
        with self._translated():
            try:
                request = control_pb2.ListRunsRequest(run_id=run)
                found = self._client.ListRuns(request).run_dict[run].status
            except httpx.HTTPStatusError as error:
                if error.response.status_code != HTTPStatus.NOT_FOUND:
                    raise
                return FlowerRunStatus("failed", "the SuperLink does not know it")
        return FlowerRunStatus(found.sub_status or found.status, found.details)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPStatusError as error:
            if error.response.status_code == HTTPStatus.UNAUTHORIZED:
                raise RunError(
                    f"expected the control token of the SuperLink at {self._address}, found "
                    "another: is it another coordinator's SuperLink?"
                ) from None
            raise RunError(f"the SuperLink refused: {reason_of(error)}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise RunError(
                f"expected a SuperLink at {self._address}, found: {reason_of(error)}: start it "
                "with `fieldfare coordinator start`"
            ) from None


@contextmanager
def control(target: ControlTarget) -> Iterator[ControlClient]:
    """Open a SuperLink's control API."""
    with ControlHttpClient.from_server_address(
        target.address,
        insecure=False,
        root_certificates=target.authority,
        interceptors=[RuntimeVersionHttpInterceptor("flwr CLI"), _Bearer(target.token)],
    ) as client:
        yield ControlClient(client, target.address)


class _Bearer:
    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def intercept(self, context: Any, call_next: Callable[[Any], httpx.Response]) -> httpx.Response:
        context.request.headers["authorization"] = self._value
        return call_next(context)


# ---- runs ------------------------------------------------------------------------------------


class Tasks:
    """The SuperLink's tasks, for who holds its secret."""

    def __init__(self, client: RuntimeHttpClient) -> None:
        """Wrap an open client."""
        self._client = client

    def acquire(self) -> Task | None:
        """Take the oldest run that waits, if there is one; its lease ends after 30 s.

        Raises:
            RunError: the SuperLink cannot be reached, or refuses the secret.
        """
        request = runtime_pb2.AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
        try:
            found = self._client.AcquireTask(request)
        except httpx.HTTPStatusError as error:
            raise RunError(f"the SuperLink refused: {reason_of(error)}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise RunError(f"no SuperLink: {reason_of(error)}") from None
        return Task(found.task.run_id, found.token) if found.token else None


@contextmanager
def tasks(address: str, authority: bytes, secret: bytes) -> Iterator[Tasks]:
    """Open the SuperLink's tasks.

    Args:
        address: host:port.
        authority: PEM of the authority that signed its certificate.
        secret: the SuperLink's runtime token.
    """
    proof = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=[ACQUIRE])
    with RuntimeHttpClient.from_server_address(
        address, False, authority, [RuntimeVersionHttpInterceptor("flower-superexec"), proof]
    ) as client:
        yield Tasks(client)


def fail_task(address: str, authority: bytes, task: Task, reason: str) -> None:
    """Tell the SuperLink that a run's process is gone; one try, from outside that process.

    Raises:
        RunError: it does not hear it, or the run is over.
    """
    output = runtime_pb2.PushTaskOutputRequest(sub_status=SubStatus.FAILED, details=reason)
    with _task_client(address, authority, task.token) as client, _run_faults():
        client.PushTaskOutput(output)


def _task_client(address: str, authority: bytes, token: str) -> RuntimeHttpClient:
    """Return a link that tries once and raises what it met: flwr's own link ends the process."""
    proof = RuntimeTokenHttpInterceptor(token)
    interceptors: list[Any] = [RuntimeVersionHttpInterceptor("flwr-serverapp"), proof]
    return RuntimeHttpClient.from_server_address(address, False, authority, interceptors)


def _heartbeat(link: RuntimeHttpClient) -> Callable[[], bool]:
    """Return what sends a heartbeat; False where it is to be sent again.

    flwr's raises where the SuperLink failed at one, over a database that was locked for some
    seconds: its thread would end, and the run with it.
    """
    beat = make_task_heartbeat_fn_http(link)

    def sent() -> bool:
        """Send a heartbeat; tells whether it was taken."""
        try:
            return bool(beat())
        except httpx.HTTPStatusError as error:
            if error.response.is_server_error:
                return False
            raise

    return sent


@contextmanager
def server_task(address: str, authority: bytes, token: str) -> Iterator[ServerTask]:
    """Take a run's place as its server; heartbeats go on by themselves until it is finished.

    One at a time in a process: flwr's TaskIdentity is global. Where the SuperLink ends the run,
    flwr sends SIGINT to this process at the next call, or a thread ends with httpx's error.

    Raises:
        RunError: the task is not there any more.
    """
    grid = QuickGrid(address, insecure=False, root_certificates=authority, token=token)
    with _task_client(address, authority, token) as link:
        heartbeat = HeartbeatSender(_heartbeat(link))
        heartbeat.start()

        def quiet() -> None:
            if heartbeat.is_running:
                heartbeat.stop()

        def finish(failure: str | None) -> None:
            """Tell Flower how the run ended."""
            quiet()  # the heartbeat of a run that is over would be refused
            status = SubStatus.COMPLETED if failure is None else SubStatus.FAILED
            output = runtime_pb2.PushTaskOutputRequest(sub_status=status, details=failure or "")
            with _run_faults():
                link.PushTaskOutput(output)

        try:
            run, configuration = grid.begin()
            yield ServerTask(grid, run, configuration, finish)
        finally:
            quiet()
            grid.close()


@dataclass
class _PartialReply:
    """A reply of which not everything has been pushed yet."""

    envelope: Any
    names: list[str]
    contents: dict[str, bytes] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        """The id of the message that it answers."""
        return str(self.envelope.metadata.reply_to_message_id)


class QuickGrid(HttpGrid):
    """Flower's Grid without its waits: the next poll asks for answers that are not there yet.

    Stock, a pull waits a second for the first reply whose content is just being pushed, and up
    to hours for one whose node went away. Here one node's reply never delays another's.
    """

    def __init__(self, address: str, **rest: Any) -> None:
        """See HttpGrid."""
        super().__init__(address, **rest)
        self._coming: list[_PartialReply] = []

    @property
    def client(self) -> RuntimeHttpClient:
        """The link to the SuperLink."""
        return self._runtime_client

    def begin(self) -> tuple[int, Mapping[str, str]]:
        """Start the task; returns the run's id and the configuration that it was started with.

        Raises:
            RunError: the SuperLink does not give it.
        """
        with _run_faults():
            given = self.client.PullTaskInput(runtime_pb2.PullTaskInputRequest())
        run = run_from_proto(given.run)
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, run.run_id
        TaskIdentity.node_id = given.context.node_id
        self.set_run(run)
        configuration = {key: str(value) for key, value in run.override_config.items()}
        return run.run_id, configuration

    def get_node_ids(self) -> list[int]:
        """Return the nodes that are online."""
        with _run_faults():
            return list(super().get_node_ids())

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages; returns their ids, empty for one that was not taken.

        A piece is taken once: a SuperLink that is killed after it stored one, and before it said
        so, refuses the one that flwr repeats. Pushed anew, only what is missing is asked for.
        """
        given = list(messages)
        with _run_faults():
            for _ in range(MOST_PUSHES - 1):
                with suppress(ObjectPushError):
                    return list(super().push_messages(given))
            return list(super().push_messages(given))

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived whole, each once."""
        wanted = set(message_ids)
        waiting = [each for each in self._coming if each.asked in wanted]
        with _run_faults():
            # A reply's envelope is given once; asked again, Flower says that there never was one.
            waiting += self._announced(wanted - {each.asked for each in waiting})
            self._coming, here = [], []
            for each in waiting:
                message = self._message(each)
                if message is None:
                    self._coming.append(each)
                else:
                    here.append(message)
        return here

    def _announced(self, ids: set[str]) -> list[_PartialReply]:
        """Return the replies to these messages that Flower has heard of since."""
        if not ids:
            return []
        found = self.client.PullMessages(runtime_pb2.PullAppMessagesRequest(message_ids=ids))
        return [
            _PartialReply(envelope, [each.object_id for each in iterate_object_tree(tree)])
            for envelope, tree in zip(found.messages_list, found.message_object_trees, strict=True)
        ]

    def _message(self, coming: _PartialReply) -> Message | None:
        """Return a reply, an error in its place where it cannot be read, None if it is coming."""
        if len(coming.names) > MOST_OBJECTS:
            return _unreadable(coming, "too many objects")
        for name in coming.names:
            if name in coming.contents:
                continue
            given = self.client.PullObject(
                message_pb2.PullObjectRequest(
                    node=self.node, run_id=self.run.run_id, object_id=name
                )
            )
            if not given.object_found:
                return _unreadable(coming, "an object is missing")
            if not given.object_available:
                return None
            coming.contents[name] = given.object_content
        self._confirm(coming)
        return _inflated(coming)

    def _confirm(self, coming: _PartialReply) -> None:
        name = coming.envelope.metadata.message_id
        self.client.ConfirmMessageReceived(
            message_pb2.ConfirmMessageReceivedRequest(
                node=self.node, run_id=self.run.run_id, message_object_id=name
            )
        )


def _inflated(coming: _PartialReply) -> Message:
    name = coming.envelope.metadata.message_id
    try:
        message = inflate_object_from_contents(name, coming.contents)
        if not isinstance(message, Message) or not _fits(message, coming.envelope):
            return _unreadable(coming, "another message")
    except _NONSENSE as error:
        return _unreadable(coming, type(error).__name__)
    message.metadata.__dict__["_message_id"] = name
    return message


def _fits(message: Message, envelope: Any) -> bool:
    inside, outside = message.metadata, metadata_from_proto(envelope.metadata)
    return all(
        getattr(inside, name) == getattr(outside, name)
        for name in ("run_id", "src_node_id", "dst_node_id", "reply_to_message_id", "message_type")
    )


def _unreadable(coming: _PartialReply, reason: str) -> Message:
    return make_message(
        metadata=metadata_from_proto(coming.envelope.metadata), error=Error(UNAVAILABLE, reason)
    )


@contextmanager
def _run_faults() -> Iterator[None]:
    try:
        yield
    except RunNotRunningException:
        raise RunGoneError(
            "expected a run that goes on, found one that the SuperLink ended"
        ) from None
    except ObjectPushError:
        raise RunError(
            f"expected a message that the SuperLink stores, found one that it refused "
            f"{MOST_PUSHES} times: is its disk full?"
        ) from None
    except httpx.HTTPError as error:
        raise RunError(f"expected an answer of the SuperLink, found: {reason_of(error)}") from None
