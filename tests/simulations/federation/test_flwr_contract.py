"""What simulations take from inside flwr (federation/grid.py), so that an update fails here first.

Nothing of Fieldfare runs in this file: where it fails, flwr has changed.
"""

from importlib.metadata import version
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.task_identity import TaskIdentity

from fieldfare.simulations.federation.grid import CLIENT_ERROR


@pytest.fixture(autouse=True)
def identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = 5
    TaskIdentity.node_id = 1


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("flwr").startswith("1.42.")


def test_a_message_takes_run_and_sender_from_the_identity_of_the_task() -> None:
    message = Message(RecordDict(), 9, "query.x")
    assert (message.metadata.run_id, message.metadata.src_node_id) == (5, 1)
    TaskIdentity.node_id = 3
    assert Message(RecordDict(), 9, "query.x").metadata.src_node_id == 3


def test_the_identity_is_one_for_the_whole_process() -> None:
    TaskIdentity.node_id = 8
    assert TaskIdentity.node_id == 8
    assert TaskIdentity._node_id == 8


def test_a_message_has_no_id_until_a_link_gives_it_one() -> None:
    """The only private attribute that is written: `_message_id` in the metadata's dict."""
    message = Message(RecordDict(), 9, "query.x")
    assert message.metadata.message_id == ""
    assert message.metadata.__dict__["_message_id"] == ""
    message.metadata.__dict__["_message_id"] = "m"
    assert message.metadata.message_id == "m"
    reply = Message(RecordDict(), reply_to=message)
    assert reply.metadata.reply_to_message_id == "m"
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (9, 1)


def test_an_error_reply_has_a_code_and_a_reason_and_no_content() -> None:
    assert ErrorCode.CLIENT_APP_RAISED_EXCEPTION == CLIENT_ERROR
    message = Message(RecordDict(), 9, "query.x")
    reply = Message(Error(CLIENT_ERROR, "LedgerError"), reply_to=message)
    assert reply.has_error()
    assert not reply.has_content()
    assert (reply.error.code, reply.error.reason) == (CLIENT_ERROR, "LedgerError")


def test_a_client_app_is_called_with_a_message_and_a_context() -> None:
    app = ClientApp()

    @app.query("x")
    def answer(message: Message, context: Context) -> Message:
        return Message(RecordDict({"r": ConfigRecord({"n": context.node_id})}), reply_to=message)

    context = Context(run_id=5, node_id=9, node_config={}, state=RecordDict(), run_config={})
    reply = app(Message(RecordDict(), 9, "query.x"), context)
    record = reply.content["r"]
    assert isinstance(record, ConfigRecord)
    assert record["n"] == 9


def test_a_server_app_is_called_with_a_grid_and_a_context() -> None:
    app = ServerApp()
    called: list[object] = []

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        called.append((grid, context))

    context = Context(run_id=5, node_id=1, node_config={}, state=RecordDict(), run_config={})
    grid: Any = object()  # it is passed on as it is
    app(grid, context)
    assert called == [(grid, context)]


def test_a_record_carries_bytes_and_lists_of_bytes_as_they_are() -> None:
    content: Any = {"vector": b"\x00\xff" * 8, "offers": [b"", b"\x00"], "agreed": b""}
    record = ConfigRecord(content)
    assert dict(record) == content


def test_the_grid_asks_for_these_methods_and_no_others() -> None:
    assert Grid.__abstractmethods__ == {
        "create_message",
        "get_node_ids",
        "pull_messages",
        "push_messages",
        "run",
        "send_and_receive",
        "set_run",
    }
