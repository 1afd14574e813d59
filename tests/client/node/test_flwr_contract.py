"""What the node takes from inside flwr (client/node/fleet.py), so that an update fails here first.

Nothing of Fieldfare runs in this file: where it fails, flwr has changed. Read the source of
what failed, then mend client/node/fleet.py and this file together.
"""

import inspect
import socket
import subprocess
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Final

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, ErrorCode
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.fab import Fab
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
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_connection import http_request_response

# What the code of the connection is expected to contain, where no type or call can tell.
ENDS_THE_PROCESS: Final = "flwr_exit("
SIGNS_ON: Final = "client.ActivateNode,"  # ours notes the number before a stop acts
SIGNS_OFF: Final = "client.DeactivateNode("
MAKES_ITS_CLIENT: Final = "with FleetHttpClient.from_server_address("  # ours takes its place


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("flwr").startswith("1.42.")


def test_the_connection_takes_these_arguments() -> None:
    parameters = inspect.signature(http_request_response).parameters
    assert list(parameters)[:4] == [
        "server_address",
        "insecure",
        "root_certificates",
        "authentication_keys",
    ]


def test_the_connection_yields_these_calls_in_this_order() -> None:
    function = inspect.unwrap(http_request_response)
    (yielded,) = typing.get_args(typing.get_type_hints(function)["return"])
    assert typing.get_args(yielded) == (
        int,
        Callable[[], tuple[Message, ObjectTree] | None],
        Callable[[Message, ObjectTree, float], tuple[set[str], str]],
        Callable[[int], Run],
        Callable[[str, int], Fab],
        Callable[[int, str], bytes],
        Callable[[int, str, str, bytes], None],
        Callable[[int, str], None],
    )
    assert typing.get_origin(typing.get_type_hints(function)["return"]) is Iterator


def test_the_connection_ends_the_process_and_signs_off() -> None:
    source = inspect.getsource(inspect.unwrap(http_request_response))
    assert source.count(ENDS_THE_PROCESS) == 1
    assert source.count(MAKES_ITS_CLIENT) == 1
    assert source.count(SIGNS_ON) == 1
    assert SIGNS_OFF in source.partition("finally:")[2]
    assert HEARTBEAT_DEFAULT_INTERVAL == 30  # half of the lease that a killed node leaves


def test_a_server_that_cannot_be_trusted_ends_in_an_exit_with_its_cause() -> None:
    """Run apart: five seconds after such an exit flwr ends the process, whatever it does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer_in_the_clear, args=(server,), daemon=True).start()
        program = f"""
import os
os.environ |= {{"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}}
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supernode.fleet_http_connection import http_request_response
key = ec.generate_private_key(ec.SECP384R1())
address = "127.0.0.1:{server.getsockname()[1]}"
link = http_request_response(address, False, None, (key, key.public_key()))
try:
    link.__enter__()
except SystemExit as left:
    print("left with", left.code, type(left.__context__).__name__)
"""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
        )
    assert "left with 1 ConnectError" in done.stdout, done.stderr[-2000:]


def _answer_in_the_clear(server: socket.socket) -> None:
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        with peer:
            peer.recv(1024)
            peer.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")


def test_a_message_becomes_objects_and_comes_back() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 5, 5, 1
    content: typing.Any = {"a": b"\x00\xff", "b": [b"", b"x"]}
    sent = Message(RecordDict({"r": ConfigRecord(content)}), 9, "query.x")
    sent.metadata.__dict__["_message_id"] = sent.object_id
    with no_object_id_recompute():
        tree = get_object_tree(sent)
        objects = {name: found.deflate() for name, found in get_all_nested_objects(sent).items()}
    names = [each.object_id for each in iterate_object_tree(tree)]
    assert set(names) == set(objects)
    assert len(names) == 3  # message, content, record
    assert names[-1] == tree.object_id == sent.object_id
    confirmed: list[str] = []
    got = pull_and_inflate_object_from_tree(
        tree,
        objects.__getitem__,
        confirmed.append,
        return_type=Message,
        max_time=1.0,
        initial_backoff=0.05,
    )
    record: typing.Any = got.content["r"]
    assert dict(record) == content
    assert confirmed == [tree.object_id]
    assert (got.metadata.run_id, got.metadata.src_node_id, got.metadata.dst_node_id) == (5, 1, 9)
    assert got.metadata.message_type == "query.x"


def test_a_run_has_these_facts() -> None:
    run = Run.create_empty(5)
    assert (run.fab_hash, run.override_config) == ("", {})


def test_errors_are_of_these_kinds() -> None:
    assert (int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION), int(ErrorCode.INVALID_FAB)) == (2, 7)
    assert not issubclass(RunNotRunningException, Exception)  # so `except Exception` misses it
    for kind in (ObjectPullError, ObjectPushError):
        assert issubclass(kind, Exception)


@pytest.mark.parametrize("name", ["task_id", "run_id", "node_id"])
def test_the_identity_of_a_task_is_set_by_assignment(name: str) -> None:
    setattr(TaskIdentity, name, 8)
    assert getattr(TaskIdentity, name) == 8
