"""Messages through flwr's own objects: what is pulled is what was announced, or nothing.

The connection itself is tested with real processes, in tests/deployment.
"""

from typing import Any, Final

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
)
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity

from fieldfare.client.node.fleet import (
    APP_FAILED,
    HANDSHAKE_PAUSE_SECONDS,
    LONGEST_REASON,
    Fleet,
    LinkError,
    RunOverError,
    _reason,
    error_reply,
)

NODE: Final = 9
RUN: Final = 5


def message(message_type: str = "query.hello", **content: Any) -> Message:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = RUN, RUN, 1
    record: Any = ConfigRecord(content)
    return Message(RecordDict({"fieldfare": record}), NODE, message_type)


class Store:
    """What a SuperLink keeps of messages, with the calls that flwr's connection yields."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.inbox: list[tuple[Message, ObjectTree]] = []
        self.replies: list[Message] = []
        self.confirmed: list[str] = []
        self.fails: BaseException | None = None
        self.fetched = 0

    def announce(self, announced: Message, content: Message | None = None) -> None:
        """Announce one message and hold another's content, where they differ."""
        held = content or announced
        with no_object_id_recompute():
            announced.metadata.__dict__["_message_id"] = held.object_id
            tree = get_object_tree(held)
            self.objects |= {k: o.deflate() for k, o in get_all_nested_objects(held).items()}
        self.inbox.append((announced, tree))

    def fleet(self) -> Fleet:
        def receive() -> tuple[Message, ObjectTree] | None:
            self._fail()
            return self.inbox.pop(0) if self.inbox else None

        def send(reply: Message, tree: ObjectTree, seconds: float) -> tuple[set[str], str]:
            self._fail()
            self.replies.append(reply)
            return {tree.object_id, *(c.object_id for c in tree.children)} | _below(tree), "s"

        def get_run(run_id: int) -> Run:
            self._fail()
            run = Run.create_empty(run_id)
            run.fab_hash, run.override_config = "ab" * 32, {"job": "x"}
            return run

        def get_fab(*_: object) -> None:
            self.fetched += 1

        def pull(run_id: int, name: str) -> bytes:
            self._fail()
            return self.objects[name]

        def push(run_id: int, session: str, name: str, content: bytes) -> None:
            self._fail()
            self.objects[name] = content

        def confirm(run_id: int, name: str) -> None:
            self.confirmed.append(name)

        return Fleet((NODE, receive, send, get_run, get_fab, pull, push, confirm))

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


def _below(tree: ObjectTree) -> set[str]:
    return {tree.object_id}.union(*(_below(child) for child in tree.children))


def test_a_message_arrives_whole_and_its_reply_goes_back_whole() -> None:
    store = Store()
    store.announce(message(study=b"\x00\xff", offers=[b"", b"x"]))
    fleet = store.fleet()
    arrival = fleet.receive()
    assert arrival is not None
    assert arrival.objects == 3
    pulled = fleet.pull(arrival)
    record: Any = pulled.content["fieldfare"]
    assert dict(record) == {"study": b"\x00\xff", "offers": [b"", b"x"]}
    assert store.confirmed == [arrival.tree.object_id]
    answer: Any = ConfigRecord({"vector": bytes(1000)})
    reply = Message(RecordDict({"fieldfare": answer}), reply_to=pulled)
    fleet.send(reply)
    name = reply.metadata.message_id
    got = inflate_object_from_contents(name, dict(store.objects))
    assert isinstance(got, Message)
    assert got.metadata.reply_to_message_id == arrival.tree.object_id
    assert (got.metadata.src_node_id, got.metadata.run_id) == (NODE, RUN)
    assert got.content["fieldfare"] == answer
    assert fleet.receive() is None
    assert store.fetched == 0


def test_a_handshake_that_was_cut_is_waited_for_and_a_certificate_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy before a SuperLink that restarts takes connections, and closes them again."""
    store, waited = Store(), []
    store.announce(message())
    store.fails = httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred")

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            store.fails = None

    monkeypatch.setattr("fieldfare.client.node.fleet.time.sleep", sleep)
    assert store.fleet().receive() is not None
    assert waited == [HANDSHAKE_PAUSE_SECONDS] * 3
    store.fails = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    with pytest.raises(LinkError, match="certificate verify failed"):
        store.fleet().receive()
    assert len(waited) == 3


def test_an_error_goes_back_without_anything_pulled() -> None:
    store = Store()
    store.announce(message())
    fleet = store.fleet()
    arrival = fleet.receive()
    assert arrival is not None
    fleet.send(error_reply(arrival, APP_FAILED, "no"))
    assert store.confirmed == []
    (reply,) = store.replies
    assert reply.has_error()
    assert reply.metadata.reply_to_message_id == arrival.tree.object_id


def test_what_a_superlink_says_of_a_run() -> None:
    facts = Store().fleet().run(RUN)
    assert (facts.bundle, facts.configuration) == ("ab" * 32, {"job": "x"})


def test_the_content_of_another_message_is_not_taken() -> None:
    """Rules are applied to what was announced; what is pulled must be that."""
    store = Store()
    store.announce(message(), content=message("train"))
    fleet = store.fleet()
    arrival = fleet.receive()
    assert arrival is not None
    with pytest.raises(LinkError, match="announced"):
        fleet.pull(arrival)


@pytest.mark.parametrize(
    "content",
    [b"", b"Message 0", b"\x00", b"RecordDict  0\x00", b"Nothing  0\x00", b"Message a 0\x00"],
)
def test_nonsense_is_a_link_error(content: bytes) -> None:
    store = Store()
    store.announce(message())
    store.objects = dict.fromkeys(store.objects, content)
    fleet = store.fleet()
    arrival = fleet.receive()
    assert arrival is not None
    with pytest.raises(LinkError, match="can be read"):
        fleet.pull(arrival)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RunNotRunningException(), RunOverError),
        (ObjectPullError("x", "gone"), LinkError),
        (httpx.ReadTimeout("late"), LinkError),
        (httpx.RemoteProtocolError("cut"), LinkError),
    ],
)
def test_failures_are_told_apart(raised: BaseException, expected: type[Exception]) -> None:
    store = Store()
    store.announce(message())
    fleet = store.fleet()
    arrival = fleet.receive()
    assert arrival is not None
    store.fails = raised
    calls: list[Any] = [
        fleet.receive,
        lambda: fleet.run(RUN),
        lambda: fleet.pull(arrival),
        lambda: fleet.send(error_reply(arrival, APP_FAILED, "no")),
    ]
    for call in calls:
        with pytest.raises(expected):
            call()


def test_a_reply_that_is_refused_piece_by_piece_twice_is_a_link_error() -> None:
    store = Store()
    store.announce(message())
    fleet = store.fleet()
    arrival = fleet.receive()
    assert arrival is not None
    pieces = []

    def refuse(run_id: int, session: str, name: str, content: bytes) -> None:
        pieces.append(name)
        raise ObjectPushError(name, run_id, session)

    fleet._push = refuse
    with pytest.raises(LinkError, match="1 parts refused"):
        fleet.send(error_reply(arrival, APP_FAILED, "no"))
    assert len(pieces) == 2


def test_a_reason_is_short_and_steers_no_terminal() -> None:
    request = httpx.Request("POST", "https://x")
    response = httpx.Response(403, text="\x1b[2J no\n\nentry " + "x" * 1000, request=request)
    shown = _reason(httpx.HTTPStatusError("", request=request, response=response))
    assert shown.startswith("status 403: [2J no entry x")
    assert len(shown) == LONGEST_REASON
    assert shown.isprintable()
