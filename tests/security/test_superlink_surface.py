"""What strangers, hostile nodes and hostile neighbours on the host get from a SuperLink: nothing.

A real SuperLink process, spoken to by plain HTTPS and by Flower's own clients.
"""

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
)
from flwr.supercore.auth import create_superexec_auth_metadata, derive_auth_secret
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from tests.support.network.coordinator import (
    RunningSuperlink,
    new_home,
    new_node,
    running_superlink,
    signed,
    spki,
)
from tests.support.system.processes import until

from fieldfare.server.home.initial_setup import build_bundle
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.gate import OBJECT, SMALL
from fieldfare.server.superlink.superlink import ControlClient, control

PROTOBUF: Final = {"content-type": "application/protobuf"}
ACQUIRE: Final = AcquireTaskRequest(supported_task_types=["flwr-serverapp"])


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    with running_superlink(new_home(tmp_path_factory.mktemp("coordinator") / "home")) as running:
        yield running


@pytest.fixture(scope="module")
def link(superlink: RunningSuperlink) -> Iterator[ControlClient]:
    with control(control_target(superlink.home)) as opened:
        yield opened


@pytest.fixture
def web(superlink: RunningSuperlink) -> Iterator[httpx.Client]:
    with httpx.Client(verify=superlink.trust, timeout=60) as client:
        yield client


def post(web: httpx.Client, place: str, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else body.SerializeToString(deterministic=True)
    return web.post(f"https://{place}{path}", content=content, headers=PROTOBUF | headers)


class Member:
    """A registered node."""

    def __init__(self, superlink: RunningSuperlink, link: ControlClient, name: str) -> None:
        self.key, line = new_node()
        self.node = link.register_node(line, name)
        self.superlink = superlink

    def ask(self, web: httpx.Client, call: str, body: Any) -> httpx.Response:
        return post(web, self.superlink.public, f"/v1/fleet/{call}", body, **signed(self.key))


@pytest.fixture
def member(superlink: RunningSuperlink, link: ControlClient) -> Member:
    return Member(superlink, link, "member")


@pytest.fixture
def other(superlink: RunningSuperlink, link: ControlClient) -> Member:
    return Member(superlink, link, "other")


def statuses(link: ControlClient) -> list[tuple[int, str]]:
    return [(each.node, each.status) for each in link.nodes()]


# ---- control


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic Zm86"},
        {"authorization": "Bearer let me in, let me in"},
        {"flwr-oidc-access-token": "x"},
    ],
)
@pytest.mark.parametrize("listener", ["public", "local"])
def test_nobody_controls_without_the_token(
    headers: dict[str, str],
    listener: str,
    superlink: RunningSuperlink,
    web: httpx.Client,
    link: ControlClient,
) -> None:
    before = statuses(link)
    place = getattr(superlink, listener)
    for call, body in {
        "start-run": StartRunRequest(),
        "list-nodes": ListNodesRequest(),
        "register-node": RegisterNodeRequest(public_key=spki(new_node()[0])),
    }.items():
        answer = post(web, place, f"/v1/control/{call}", body, **headers)
        assert answer.status_code == (404 if listener == "public" else 401)
    assert statuses(link) == before


def test_the_token_opens_nothing_at_the_public_port(
    superlink: RunningSuperlink, web: httpx.Client
) -> None:
    right = {"authorization": f"Bearer {control_target(superlink.home).token}"}
    for method, path in PROTOBUF_REQUEST_TYPES:
        if path.startswith(("/v1/control/", "/v1/runtime/")):
            answer = web.request(
                method, f"https://{superlink.public}{path}", headers=right | PROTOBUF
            )
            assert answer.status_code == 404, path
    assert post(web, superlink.local, "/v1/control/list-nodes", b"", **right).status_code == 200


def test_of_flowers_other_calls_none_is_there_even_with_the_token(
    superlink: RunningSuperlink, web: httpx.Client
) -> None:
    right = {"authorization": f"Bearer {control_target(superlink.home).token}"}
    for call in ("list-connectors", "add-app", "start-automation", "stream-logs", "list-apps"):
        answer = post(web, superlink.local, f"/v1/control/{call}", b"", **right)
        assert answer.status_code == 404, call


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/", "/metrics"])
@pytest.mark.parametrize("listener", ["public", "local"])
def test_nothing_is_told_about_the_service(
    path: str, listener: str, superlink: RunningSuperlink, web: httpx.Client
) -> None:
    answer = web.get(f"https://{getattr(superlink, listener)}{path}")
    assert answer.status_code == 404
    assert answer.text == '{"detail": "Not Found"}'
    assert not {"server", "x-powered-by"} & set(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/fleet/../control/list-nodes",
        b"/v1/fleet/%2e%2e/control/list-nodes",
        b"//v1/control/list-nodes",
        b"/v1/control/list-nodes?x=/v1/fleet/get-run",
        b"/v1/control%2flist-nodes",
        b"https://x/v1/control/list-nodes",
        b"/V1/CONTROL/LIST-NODES",
    ],
)
def test_a_path_in_disguise_reaches_nothing(path: bytes, superlink: RunningSuperlink) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/protobuf\r\n" % path
    answer = _raw(superlink, head + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] in {b"404", b"400"}


def _raw(superlink: RunningSuperlink, content: bytes) -> bytes:
    host, _, port = superlink.public.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=60) as plain,
        superlink.trust.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(content)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer


# ---- nodes


def test_a_node_that_is_not_registered_gets_nothing(
    superlink: RunningSuperlink, web: httpx.Client, link: ControlClient
) -> None:
    before = statuses(link)
    key, _ = new_node()
    for call, body in {
        "activate-node": ActivateNodeRequest(public_key=spki(key), heartbeat_interval=30),
        "pull-messages": PullMessagesRequest(node=Node(node_id=5)),
        "send-node-heartbeat": SendNodeHeartbeatRequest(
            node=Node(node_id=5), heartbeat_interval=30
        ),
    }.items():
        answer = post(web, superlink.public, f"/v1/fleet/{call}", body, **signed(key))
        assert answer.status_code >= 400, call
    assert statuses(link) == before


def test_nobody_registers_or_takes_off_a_node_by_the_fleet(
    superlink: RunningSuperlink, web: httpx.Client, member: Member, link: ControlClient
) -> None:
    before = statuses(link)
    request = RegisterNodeFleetRequest(public_key=spki(member.key))
    assert member.ask(web, "register-node", request).status_code == 404
    off = UnregisterNodeFleetRequest(node_id=member.node)
    assert member.ask(web, "unregister-node", off).status_code == 404
    assert statuses(link) == before


def test_a_node_cannot_be_another_with_its_own_key(
    web: httpx.Client, member: Member, other: Member
) -> None:
    pull = PullMessagesRequest(node=Node(node_id=other.node))
    assert member.ask(web, "pull-messages", pull).status_code == 401
    activate = ActivateNodeRequest(public_key=spki(other.key), heartbeat_interval=30)
    assert member.ask(web, "activate-node", activate).status_code == 401


def test_a_node_cannot_show_anothers_key(
    superlink: RunningSuperlink, web: httpx.Client, member: Member, other: Member
) -> None:
    pull = PullMessagesRequest(node=Node(node_id=other.node))
    stolen = signed(member.key, shown=spki(other.key))
    answer = post(web, superlink.public, "/v1/fleet/pull-messages", pull, **stolen)
    assert answer.status_code == 401


@pytest.mark.parametrize("age", [400.0, -400.0])
def test_an_old_signature_is_worth_nothing(
    age: float, superlink: RunningSuperlink, web: httpx.Client, member: Member
) -> None:
    pull = PullMessagesRequest(node=Node(node_id=member.node))
    old = signed(member.key, age=age)
    answer = post(web, superlink.public, "/v1/fleet/pull-messages", pull, **old)
    assert answer.status_code == 401


def test_the_right_key_gets_in(web: httpx.Client, member: Member) -> None:
    activate = ActivateNodeRequest(public_key=spki(member.key), heartbeat_interval=30)
    answer = member.ask(web, "activate-node", activate)
    assert answer.status_code == 200
    assert ActivateNodeResponse.FromString(answer.content).node_id == member.node


def test_a_node_that_was_taken_off_is_out_at_once(
    web: httpx.Client, member: Member, link: ControlClient
) -> None:
    pull = PullMessagesRequest(node=Node(node_id=member.node))
    assert member.ask(web, "pull-messages", pull).status_code == 200
    link.unregister_node(member.node)
    assert member.ask(web, "pull-messages", pull).status_code == 401


# ---- sizes and time


def test_a_large_body_is_refused_before_it_is_sent(
    superlink: RunningSuperlink, web: httpx.Client
) -> None:
    head = (
        b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/protobuf\r\nContent-Length: %d\r\n\r\n"
    )
    for size in (SMALL + 1, OBJECT + 1, 10**12):
        assert _raw(superlink, head % size).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_cut_off(superlink: RunningSuperlink, web: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 4096

    try:
        answer = web.post(
            f"https://{superlink.public}/v1/fleet/push-object", content=endless(), headers=PROTOBUF
        )
        assert answer.status_code == 413
    except httpx.NetworkError:  # it hung up before everything was sent
        pass


def test_a_member_may_send_a_large_object_and_no_larger(
    superlink: RunningSuperlink, web: httpx.Client, member: Member
) -> None:
    large = PushObjectRequest(
        node=Node(node_id=member.node), run_id=5, object_id="ab" * 32, object_content=b"x" * 10**6
    )
    assert member.ask(web, "push-object", large).status_code not in {401, 413}
    large.object_content = b"x" * OBJECT
    assert member.ask(web, "push-object", large).status_code == 413
    # As large, signed by a key that nobody registered:
    key, _ = new_node()
    large.object_content = b"x" * 10**6
    stranger = post(web, superlink.public, "/v1/fleet/push-object", large, **signed(key))
    assert stranger.status_code == 413


@pytest.mark.parametrize("body", [b"\xff" * 64, b"\x0a\xff\xff\xff\xff\x0f", b"{}", b"\x00" * 1000])
def test_bytes_that_mean_nothing_change_nothing(
    body: bytes, superlink: RunningSuperlink, web: httpx.Client, member: Member
) -> None:
    for path in sorted({p for _, p in PROTOBUF_REQUEST_TYPES if p.startswith("/v1/fleet/")}):
        answer = post(web, superlink.public, path, body, **signed(member.key))
        assert 400 <= answer.status_code < 500, path
    assert superlink.healthy()


def test_many_idle_connections_keep_nobody_out(
    superlink: RunningSuperlink, web: httpx.Client, member: Member
) -> None:
    host, _, port = superlink.public.rpartition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:
        pull = PullMessagesRequest(node=Node(node_id=member.node))
        assert member.ask(web, "pull-messages", pull).status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_nothing_answers_in_the_clear(superlink: RunningSuperlink) -> None:
    for place in (superlink.public, superlink.local):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://{place}/health")


def test_old_tls_is_refused(superlink: RunningSuperlink) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(superlink.home.authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://{superlink.public}/health", verify=context)


# ---- runs


def test_a_run_cannot_be_stolen(
    superlink: RunningSuperlink, web: httpx.Client, link: ControlClient
) -> None:
    run = link.start_run(build_bundle(), {"study": "s", "run": "r"})
    path = "/v1/runtime/acquire-task"
    rpc = "/flwr.proto.Runtime/AcquireTask"
    secret = superlink.home.runtime_token.read_bytes()

    def proof(key: bytes, method: str = rpc, request: Any = ACQUIRE) -> dict[str, str]:
        auth = derive_auth_secret(key)
        return create_superexec_auth_metadata(auth_secret=auth, method=method, request=request)

    attempts: tuple[dict[str, str], ...] = (
        {},
        proof(b"wrong"),
        proof(control_target(superlink.home).token.encode()),
        proof(secret, method="/flwr.proto.Runtime/PushLogs"),
        proof(secret, request=AcquireTaskRequest()),
        {"authorization": f"Bearer {control_target(superlink.home).token}"},
    )
    for headers in attempts:
        assert post(web, superlink.local, path, ACQUIRE, **headers).status_code == 401
        assert post(web, superlink.public, path, ACQUIRE, **headers).status_code == 404
    assert link.run_status(run).state == "pending"
    once = proof(secret)
    assert post(web, superlink.local, path, ACQUIRE, **once).status_code == 200
    assert link.run_status(run).state == "starting"
    assert post(web, superlink.local, path, ACQUIRE, **once).status_code == 401  # used before
    link.stop_run(run)


def test_a_run_is_nobodys_without_its_token(superlink: RunningSuperlink, web: httpx.Client) -> None:
    for headers in ({}, {"flwr-task-token": "wrong"}, {"flwr-task-token": ""}):
        for call, body in {
            "pull-task-input": PullTaskInputRequest(),
            "pull-messages": PullAppMessagesRequest(message_ids=["x"]),
            "push-task-output": PushTaskOutputRequest(sub_status="completed"),
        }.items():
            answer = post(web, superlink.local, f"/v1/runtime/{call}", body, **headers)
            assert answer.status_code == 401, call


# ---- what is kept


def test_refusals_are_in_the_audit_log_and_no_secret_is(
    superlink: RunningSuperlink, web: httpx.Client, link: ControlClient
) -> None:
    token = control_target(superlink.home).token
    post(web, superlink.local, "/v1/control/list-nodes", b"", authorization="Bearer guessed-one")
    post(web, superlink.local, "/v1/runtime/acquire-task", ACQUIRE)
    link.nodes()
    expected = {
        ("/v1/control/list-nodes", "refused", "nobody known"),
        ("/v1/control/list-nodes", "done", "the control token"),
        ("/v1/runtime/acquire-task", "refused", "nobody known"),
    }

    def seen() -> set[tuple[str, str, str]]:
        lines = superlink.home.audit_log.read_text().rpartition("\n")[0].splitlines()
        return {(one["path"], one["outcome"], one["who"]) for one in map(json.loads, lines)}

    until(lambda: expected <= seen())
    text = superlink.home.audit_log.read_text()
    assert superlink.home.audit_log.stat().st_mode & 0o777 == 0o600
    for secret in (token, superlink.home.runtime_token.read_text(), "guessed-one"):
        assert secret not in text
        assert secret not in superlink.log()


def test_no_secret_stands_where_other_users_see_it(superlink: RunningSuperlink) -> None:
    process = Path(f"/proc/{superlink.process.pid}")
    secrets = [path.read_bytes() for path in superlink.home.tokens.iterdir()]
    for name in ("cmdline", "environ"):
        content = (process / name).read_bytes()
        assert not [secret for secret in secrets if secret in content], name


def test_control_is_not_reachable_from_other_hosts(superlink: RunningSuperlink) -> None:
    port = int(superlink.local.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    rows = [row for row in rows if row[3] == "0A"]  # listening
    assert {row[1] for row in rows if row[1].endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}
