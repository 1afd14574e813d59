"""The in-process Grid: what Flower's Grid promises, and what a network would do to messages."""

import inspect
from typing import Any, Final

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fieldfare.shared.errors import LedgerError
from fieldfare.simulations.federation.grid import CLIENT_ERROR, InProcessGrid

NODES: Final = {"a": 11, "b": 12, "c": 13}
CONTENTS: Final = "account 4711 holds 1,000,000"


def echoing_app(seen: list[list[bytes]] | None = None) -> ClientApp:
    """Nodes that change what they are given before they answer with it, and say who they are."""
    app = ClientApp()

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        record: Any = message.content["fieldfare"]
        if seen is not None:
            seen.append(list(record["parts"]))
        record["parts"].append(b"written by a node")
        by = [context.node_id, context.run_id]
        answer: Any = ConfigRecord({"parts": record["parts"], "by": by})
        context.state["left"] = ConfigRecord({"here": 1})
        return Message(RecordDict({"fieldfare": answer}), reply_to=message)

    @app.query("fail")
    def fail(message: Message, context: Context) -> Message:
        raise LedgerError(CONTENTS)

    @app.query("break")
    def break_down(message: Message, context: Context) -> Message:
        raise ZeroDivisionError

    @app.query("state")
    def state(message: Message, context: Context) -> Message:
        answer = ConfigRecord(
            {"kept": len(context.state), "name": context.node_config["institution"]}
        )
        return Message(RecordDict({"fieldfare": answer}), reply_to=message)

    return app


def ask(grid: InProcessGrid, node: int, record: ConfigRecord, action: str = "echo") -> Message:
    return grid.create_message(RecordDict({"fieldfare": record}), f"query.{action}", node, "g")


def parts(*content: bytes) -> ConfigRecord:
    return ConfigRecord({"parts": list(content)})


def test_it_is_a_grid_of_flower_in_every_method() -> None:
    """Same names and kinds of parameters, so that a ServerApp cannot tell the difference."""
    grid = InProcessGrid(echoing_app(), NODES)
    assert isinstance(grid, Grid)
    for name in Grid.__abstractmethods__ - {"run"}:
        ours = inspect.signature(getattr(InProcessGrid, name)).parameters
        theirs = inspect.signature(getattr(Grid, name)).parameters
        assert [(p.name, p.kind, p.default) for p in ours.values()] == [
            (p.name, p.kind, p.default) for p in theirs.values()
        ], name
    assert isinstance(inspect.getattr_static(InProcessGrid, "run"), property)


def test_nodes_are_those_that_it_was_given() -> None:
    grid = InProcessGrid(echoing_app(), NODES)
    assert grid.get_node_ids() == [11, 12, 13]
    assert [node.node_id for node in grid.get_nodes()] == [11, 12, 13]


def test_a_message_goes_out_and_its_reply_is_pulled_once() -> None:
    grid = InProcessGrid(echoing_app(), NODES)
    message = ask(grid, 12, parts(b"x"))
    assert (message.metadata.dst_node_id, message.metadata.message_type) == (12, "query.echo")
    assert message.metadata.group_id == "g"
    (message_id,) = grid.push_messages([message])
    (reply,) = grid.pull_messages([message_id])
    assert reply.metadata.reply_to_message_id == message_id
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (12, 1)
    assert grid.pull_messages([message_id]) == []
    assert grid.pull_messages(["of nobody"]) == []


def test_sending_and_receiving_in_one() -> None:
    grid = InProcessGrid(echoing_app(), NODES)
    replies = grid.send_and_receive(
        [ask(grid, node, parts()) for node in NODES.values()], timeout=1
    )
    assert sorted(reply.metadata.src_node_id for reply in replies) == [11, 12, 13]
    assert len({reply.metadata.reply_to_message_id for reply in replies}) == 3


def test_nodes_share_no_memory_with_the_server_or_with_each_other() -> None:
    """Flower hands records over by reference: a node that writes must write to its own."""
    seen: list[list[bytes]] = []
    grid = InProcessGrid(echoing_app(seen), NODES)
    shared = parts(b"from the server")
    replies = grid.send_and_receive([ask(grid, node, shared) for node in NODES.values()])
    assert seen == [[b"from the server"]] * 3
    assert shared["parts"] == [b"from the server"]
    for reply in replies:
        record: Any = reply.content["fieldfare"]
        assert record["parts"] == [b"from the server", b"written by a node"]


def test_a_dropped_message_gets_no_answer() -> None:
    seen: list[list[bytes]] = []
    grid = InProcessGrid(
        echoing_app(seen), NODES, drop=lambda message: message.metadata.dst_node_id == 12
    )
    replies = grid.send_and_receive([ask(grid, node, parts()) for node in NODES.values()])
    assert [reply.metadata.src_node_id for reply in replies] == [11, 13]
    assert len(seen) == 2  # it never arrived


def test_a_tap_sees_everything_that_passes_both_ways() -> None:
    passed: list[tuple[int, str]] = []

    def tap(message: Message) -> None:
        metadata = message.metadata
        passed.append((metadata.src_node_id, metadata.reply_to_message_id))

    grid = InProcessGrid(echoing_app(), NODES, tap=tap, drop=lambda m: m.metadata.dst_node_id == 12)
    messages = [ask(grid, node, parts()) for node in (11, 12)]
    first, _ = grid.push_messages(messages)
    assert passed == [(1, ""), (11, first), (1, "")]


def test_a_failure_on_purpose_is_an_error_reply_without_its_text() -> None:
    passed: list[Message] = []
    grid = InProcessGrid(echoing_app(), NODES, tap=passed.append)
    (reply,) = grid.send_and_receive([ask(grid, 11, parts(), "fail")])
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (CLIENT_ERROR, "LedgerError")
    assert all(CONTENTS not in repr(message.__dict__) for message in passed)


def test_a_defect_ends_the_simulation() -> None:
    grid = InProcessGrid(echoing_app(), NODES)
    with pytest.raises(ZeroDivisionError):
        grid.push_messages([ask(grid, 11, parts(), "break")])
    # The server's identity is back, so that what comes next is sent by the server.
    assert ask(grid, 11, parts()).metadata.src_node_id == 1


def test_nodes_know_who_they_are_and_keep_nothing() -> None:
    grid = InProcessGrid(echoing_app(), NODES)
    (echoed,) = grid.send_and_receive([ask(grid, 13, parts())])
    record: Any = echoed.content["fieldfare"]
    assert record["by"] == [13, 1]
    (reply,) = grid.send_and_receive([ask(grid, 13, parts(), "state")])
    state: Any = reply.content["fieldfare"]
    assert (state["kept"], state["name"]) == (0, "c")


def test_a_run_has_an_id_and_nothing_else() -> None:
    class Run:
        run_id = 77

    grid = InProcessGrid(echoing_app(), NODES)
    grid.set_run(Run())
    (reply,) = grid.send_and_receive([ask(grid, 11, parts())])
    record: Any = reply.content["fieldfare"]
    assert record["by"] == [11, 77]
    with pytest.raises(NotImplementedError, match="no stored run"):
        _ = grid.run
