"""What the coordinator takes from inside flwr (superlink.py), so that an update fails here.

Nothing of Fieldfare runs in this file: where it fails, flwr has changed. Read the source of
what failed, then mend superlink.py and this file together. How a real SuperLink behaves
is in test_superlink.py and tests/security/test_superlink_surface.py.
"""

import dataclasses
import inspect
import re
import signal
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.app import Error, Message
from flwr.app.message import make_message
from flwr.common.constant import (
    HEARTBEAT_DEFAULT_INTERVAL,
    SYSTEM_TIME_TOLERANCE,
    TIMESTAMP_HEADER,
    TIMESTAMP_TOLERANCE,
    SubStatus,
)
from flwr.common.event_log_plugin import EventLogWriterPlugin
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.message_pb2 import Metadata, ObjectTree, PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse, PullTaskInputResponse
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    TaskType,
)
from flwr.supercore.dependencies.task import authenticate_task
from flwr.supercore.dependencies.version import VersionDependency
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.error.catalog import API_ERROR_MAP
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.routers.runtime.router import router as runtime_router
from flwr.superlink.auth_plugin import NoOpControlAuthnPlugin
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet import node_auth
from flwr.superlink.servicer.fleet import fleet_handlers
from google.protobuf.message import DecodeError
from sqlalchemy import text

from fieldfare.server.superlink import node_keys

ROOT = Path(__file__).parents[3]
# Names of flwr that begin with an underscore, as our source has them.
PRIVATE = re.compile(r"(?:\bstate|__dict__)(?:\.|\[\")(_[a-z]\w+)")
OF_STATE = {"_cleanup_expired_task_tokens", "_engine", "_session_factory"}
OF_MESSAGES = {"_message_id", "_metadata"}
SHORT_CALLS = {
    "pull_messages",
    "push_messages",
    "push_object",
    "pull_object",
    "confirm_message_received",
}
FLEET_CALLS = {
    "register-node",
    "activate-node",
    "deactivate-node",
    "unregister-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "push-object",
    "pull-object",
    "confirm-message-received",
}


def configuration(database: Path) -> SuperLinkLifespanConfig:
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(config_class())}
    values |= {
        "database": str(database),
        "superexec_auth_secret": b"secret",
        "authn_plugin": NoOpControlAuthnPlugin(),
        "enable_supernode_auth": True,
        "simulation": False,
    }
    return SuperLinkLifespanConfig(**values)


def config_class() -> Any:
    return SuperLinkLifespanConfig


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("flwr").startswith("1.42.")


def test_a_superlink_is_configured_by_these_and_no_others() -> None:
    assert {field.name for field in dataclasses.fields(config_class())} == {
        *("control_address", "health_server_address", "host", "port", "insecure", "certificates"),
        *("superexec_auth_secret", "authn_plugin", "event_log_plugin", "fleet_event_log_plugin"),
        *("enable_event_log", "artifact_provider", "enable_supernode_auth", "fleet_api_type"),
        *("fleet_api_address", "simulation", "ssl_ca_certfile", "ssl_certfile", "ssl_keyfile"),
        *("database", "isolation", "runtime_dependency_install"),
    }


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    class Nothing:
        def __init__(self, *_: object) -> None: ...

    nothing: Any = Nothing
    return create_app(configuration(tmp_path_factory.mktemp("state") / "s.sqlite"), nothing)


def test_the_app_keeps_what_protects_it(app: Any) -> None:
    assert app.state.superexec_auth_secret == b"secret"
    assert app.state.enable_supernode_auth is True
    state = app.state.linkstate_factory.state()
    assert state.get_node_info(owner_aids=["x"]) == []
    assert state.get_node_id_by_public_key(b"no key") is None


def test_every_private_name_of_flwr_that_is_used_stands_in_this_file() -> None:
    """Whoever takes one more writes a line here; flwr that lacks one is told below."""
    sources = [
        p for part in ("client", "server", "simulations") for p in (ROOT / part).rglob("*.py")
    ]
    used = {name for path in sources for name in PRIVATE.findall(path.read_text())}
    assert used == OF_STATE | OF_MESSAGES


def test_the_state_has_these_private_parts(app: Any) -> None:
    state = app.state.linkstate_factory.state()
    for name in (*OF_STATE, "object_store", "store_traffic"):
        assert getattr(state, name, None) is not None, name
    with state._session_factory(bind=state._engine) as session:
        assert session.scalar(text("SELECT 1")) == 1
    for name in ("get_run_status", "get_run_info"):
        assert "self._cleanup_expired_task_tokens()" in inspect.getsource(getattr(state, name))


def test_a_session_is_made_by_the_states_factory_and_shared_within_itself(app: Any) -> None:
    state = app.state.linkstate_factory.state()
    sessions = state._session_factory
    only = sessions()
    state._session_factory = [only].pop
    try:
        with state.session() as outer, state.session() as inner:
            assert [outer, inner] == [only, only]
    finally:
        state._session_factory = sessions
    assert app.state.linkstate_factory.state() is state


def test_a_message_has_these_private_parts() -> None:
    given = Metadata(message_type="query.x")
    message = make_message(metadata=metadata_from_proto(given), error=Error(6, "x"))
    assert "_message_id" in message.metadata.__dict__
    assert "_metadata" in message.__dict__


def test_what_answers_a_message_takes_these_arguments(app: Any) -> None:
    for name in SHORT_CALLS:
        fleet = set(inspect.signature(getattr(fleet_handlers, name)).parameters)
        assert {"request", "state"} <= fleet <= {"request", "state", "store"}, name
        runtime = inspect.signature(getattr(app.state.runtime_handlers, name)).parameters
        assert len(runtime) == 3, name
    assert list(inspect.signature(authenticate_task).parameters) == ["request", "token", "state"]
    assert list(inspect.signature(node_auth.authenticate_node).parameters) == ["request"]
    version_of = inspect.signature(VersionDependency).parameters
    assert {"component_name", "connection_name"} <= set(version_of)


def test_the_app_asks_nodes_for_their_key_before_it_tells_the_fleet_log(app: Any) -> None:
    names = [middleware.cls.__name__ for middleware in app.user_middleware]
    assert names == [
        "ControlSensitiveResponseMiddleware",
        "BaseHTTPMiddleware",
        "ControlAuthenticationMiddleware",
        "ControlLicenseMiddleware",
        "ProtobufTranslationMiddleware",
        "ControlEventLogMiddleware",
        "NodeAuthMiddleware",
        "FleetEventLogMiddleware",
    ]


def test_a_class_in_place_of_the_servers_beside_the_app_has_these_parts() -> None:
    assert list(inspect.signature(SuperLinkLifespan.__init__).parameters)[1:] == [
        "config",
        "state_factory",
    ]
    source = inspect.getsource(create_app)
    assert source.count("superlink_lifespan.") == 2
    assert "superlink_lifespan.startup()" in source
    assert "superlink_lifespan.shutdown()" in source


def test_nodes_have_these_calls() -> None:
    fleet = {p for method, p in PROTOBUF_REQUEST_TYPES if p.startswith("/v1/fleet/")}
    assert fleet == {f"/v1/fleet/{name}" for name in FLEET_CALLS}
    assert {method for method, _ in PROTOBUF_REQUEST_TYPES} == {"POST"}


def test_a_node_proves_itself_by_these_headers() -> None:
    ours = (node_keys.PUBLIC_KEY_HEADER, node_keys.SIGNATURE_HEADER, node_keys.TIMESTAMP_HEADER)
    assert ours == (FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, TIMESTAMP_HEADER)
    assert TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE == node_keys.FRESH_SECONDS
    source = inspect.getsource(node_auth.authenticate_node)
    for part in ("b64decode(", 'timestamp.encode("ascii")', "get_node_id_by_public_key"):
        assert part in source


def test_the_fleet_log_is_told_before_the_call_and_may_refuse_it() -> None:
    parameters = inspect.signature(EventLogWriterPlugin.compose_log_before_event).parameters
    assert list(parameters)[1:] == ["request", "context", "account_info", "method_name"]
    assert EventLogWriterPlugin.__abstractmethods__ == {
        "__init__",
        "compose_log_before_event",
        "compose_log_after_event",
        "write_log",
    }
    assert API_ERROR_MAP[ApiErrorCode.NO_PERMISSIONS].http_status_code == 403
    assert isinstance(FlowerError(ApiErrorCode.NO_PERMISSIONS, "x"), Exception)


def test_only_taking_a_task_needs_the_secret_everything_else_the_tasks_token() -> None:
    for route in runtime_router.routes:
        found: Any = route
        needs = {str(each.call) for each in found.dependant.dependencies}
        guarded = any("SuperExecAuthDependency" in each or "get_task" in each for each in needs)
        assert guarded, found.path


def test_links_are_made_like_this_and_send_the_version() -> None:
    parameters = inspect.signature(ProtobufClient.from_server_address).parameters
    assert list(parameters) == [
        *("server_address", "insecure", "root_certificates", "interceptors", "retry_invoker")
    ]
    assert str(TaskType.SERVER_APP) == "flwr-serverapp"
    assert (SubStatus.COMPLETED, SubStatus.FAILED) == ("completed", "failed")


def test_a_heartbeat_ends_its_thread_where_the_run_is_over() -> None:
    assert HEARTBEAT_DEFAULT_INTERVAL == 30  # twice this, and a run is given up

    class Over:
        def SendTaskHeartbeat(self, _: object) -> None:  # noqa: N802 -- flwr's name
            request = httpx.Request("POST", "https://x")
            response = httpx.Response(401, request=request)
            raise httpx.HTTPStatusError("over", request=request, response=response)

    over: Any = Over()
    with pytest.raises(httpx.HTTPStatusError):
        make_task_heartbeat_fn_http(over)()
    assert {"start", "stop", "is_running"} <= set(dir(HeartbeatSender))


def test_a_call_of_a_run_that_is_over_interrupts_the_process() -> None:
    """Which is why a run has a process of its own, and why its end is told by a plain link."""
    invoker = make_simple_http_retry_invoker()
    source = inspect.getsource(make_simple_http_retry_invoker)
    assert "os.kill(os.getpid(), signal.SIGINT)" in source
    assert "raise RunNotRunningException" in source
    assert invoker.max_tries is None
    assert signal.SIGINT


def test_the_grid_has_these_parts() -> None:
    assert list(inspect.signature(HttpGrid.__init__).parameters)[1:] == [
        *("runtime_api_address", "insecure", "root_certificates", "token")
    ]
    grid = HttpGrid("127.0.0.1:9", root_certificates=None, token="t")  # noqa: S106 -- none
    assert grid._run is None
    assert grid._retry_invoker.max_tries is None
    assert isinstance(inspect.getattr_static(HttpGrid, "_runtime_client"), property)
    assert "self.push_messages" in inspect.getsource(HttpGrid.send_and_receive)


def test_what_is_pulled_has_these_fields() -> None:
    assert set(PullAppMessagesResponse.DESCRIPTOR.fields_by_name) == {
        *("messages_list", "message_object_trees")
    }
    assert set(PullObjectResponse.DESCRIPTOR.fields_by_name) == {
        *("object_found", "object_available", "object_content")
    }
    assert {"run", "context", "task_id"} <= set(PullTaskInputResponse.DESCRIPTOR.fields_by_name)
    assert set(ObjectTree.DESCRIPTOR.fields_by_name) == {"object_id", "children"}


def test_an_error_stands_in_for_a_reply_that_cannot_be_read() -> None:
    given = Metadata(run_id=5, message_type="query.x", reply_to_message_id="asked")
    message = make_message(metadata=metadata_from_proto(given), error=Error(6, "unreadable"))
    assert isinstance(message, Message)
    assert message.has_error()
    assert message.metadata.reply_to_message_id == "asked"


@pytest.mark.parametrize("content", [b"", b"x", b"Message  5\x00hello", b"Nothing  0\x00"])
def test_objects_that_are_nonsense_raise_one_of_these(content: bytes) -> None:
    with pytest.raises((DecodeError, ValueError, LookupError, TypeError, AttributeError)):
        inflate_object_from_contents("a", {"a": content})


def test_the_database_has_these_tables_with_these_columns(app: Any) -> None:
    database = str(app.state.linkstate_factory.state()._engine.url.database)
    with closing(sqlite3.connect(database)) as link:
        tables = {
            row[0]: {column[1] for column in link.execute(f'PRAGMA table_info("{row[0]}")')}
            for row in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    expected = {
        "node": {"public_key", "name", "status"},
        "run": {"run_id"},
        "task": {"task_id", "run_id", "finished_at"},
        "message_ins": {"run_id", "content"},
        "message_res": {"run_id", "content"},
        "task_message": {"run_id", "content"},
        "task_event": {"run_id", "data"},
        "task_logs": {"task_id", "log"},
        "objects": {"object_id", "content"},
        "object_children": {"parent_id", "child_id"},
        "run_objects": {"run_id", "object_id"},
        "object_push_sessions": {"session_id", "run_id"},
        "object_push_session_roots": {"session_id"},
        "object_push_session_pending": {"session_id"},
    }
    for table, columns in expected.items():
        assert columns <= tables[table], table
    # A table that is new and holds what a run sent must be purged too (retention.py).
    holding = {
        table
        for table, columns in tables.items()
        if columns & {"content", "data", "log", "error"} and table not in expected
    }
    assert holding <= {"fab"}, holding
