"""The SuperLink as this project uses it, against a real one with a node that a test drives."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import PushObjectResponse
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.task_identity import TaskIdentity
from tests.support.network.coordinator import (
    RunningSuperlink,
    new_home,
    new_node,
    running_superlink,
)

from fieldfare.client.node.fleet import Arrival, Fleet, RunOverError, SuperlinkEndpoint, joined
from fieldfare.server.home.initial_setup import build_bundle, bundle_hash
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.facts import ControlTarget, FlowerRunStatus, NodeFacts, Task
from fieldfare.server.superlink.quota import ReplyLimits
from fieldfare.server.superlink.superlink import (
    LONGEST_REASON,
    MOST_OBJECTS,
    ControlClient,
    SuperlinkApp,
    Tasks,
    _heartbeat,
    _task_client,
    control,
    fail_task,
    reason_of,
    server_task,
    tasks,
)
from fieldfare.shared.errors import RunError, UsageError

NODE_SECONDS: Final = 60.0
CONFIGURATION: Final = {"study": "ab" * 32, "run": "r-1"}


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    with running_superlink(new_home(tmp_path_factory.mktemp("coordinator") / "home")) as running:
        yield running


@pytest.fixture
def link(superlink: RunningSuperlink) -> Iterator[ControlClient]:
    with control(control_target(superlink.home)) as opened:
        yield opened
        for node in opened.nodes():
            if node.status != "unregistered":
                opened.unregister_node(node.node)


@pytest.fixture
def source(superlink: RunningSuperlink) -> Iterator[Tasks]:
    secret = superlink.home.runtime_token.read_bytes()
    with tasks(superlink.local, superlink.home.authority.read_bytes(), secret) as opened:
        yield opened


class Nodes:
    """Nodes that sign on, and act as a test says."""

    def __init__(self, superlink: RunningSuperlink, link: ControlClient, stack: ExitStack) -> None:
        self._superlink, self._link, self._stack = superlink, link, stack
        self.authority = superlink.home.authority.read_bytes()

    def join(self, name: str) -> Fleet:
        key, line = new_node()
        self._link.register_node(line, name)
        return self.sign_on(key)

    def sign_on(self, key: ec.EllipticCurvePrivateKey) -> Fleet:
        return self._stack.enter_context(
            joined(SuperlinkEndpoint(self._superlink.public, self.authority), key)
        )


@pytest.fixture
def nodes(superlink: RunningSuperlink, link: ControlClient) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(superlink, link, stack)


@pytest.fixture
def task(superlink: RunningSuperlink, link: ControlClient, source: Tasks) -> Iterator[Any]:
    """A run, from the side of its server."""
    run = link.start_run(build_bundle(), CONFIGURATION)
    taken = source.acquire()
    assert taken is not None
    authority = superlink.home.authority.read_bytes()
    with server_task(superlink.local, authority, taken.token) as opened:
        yield opened
        link.stop_run(run)


def question(node: int, content: bytes = b"?") -> Message:
    TaskIdentity.node_id = 1
    record: Any = ConfigRecord({"asked": content})
    return Message(RecordDict({"r": record}), dst_node_id=node, message_type="query.test")


def answer(asked: Message, content: bytes = b"!") -> Message:
    record: Any = ConfigRecord({"said": content})
    return Message(RecordDict({"r": record}), reply_to=asked)


def receive(fleet: Fleet) -> Arrival:
    end = time.monotonic() + NODE_SECONDS
    while (arrival := fleet.receive()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return arrival


def pull(task: Any, ids: list[str], seconds: float = NODE_SECONDS) -> list[Message]:
    end = time.monotonic() + seconds
    while True:
        found: list[Message] = task.grid.pull_messages(ids)
        if found or time.monotonic() >= end:
            return found
        time.sleep(0.02)


def said(message: Message) -> bytes:
    record: Any = message.content["r"]
    return bytes(record["said"])


# ---- control


def test_a_node_is_registered_once_and_taken_off_for_good(link: ControlClient) -> None:
    _, line = new_node()
    node = link.register_node(line, "bank-a")
    assert link.register_node(line + b" a comment", "bank-a") == node
    (facts,) = [each for each in link.nodes() if each.node == node]
    assert (facts.public_key, facts.status, facts.name) == (line, "registered", "bank-a")
    link.unregister_node(node)
    (facts,) = [each for each in link.nodes() if each.node == node]
    assert facts.status == "unregistered"
    with pytest.raises(RunError, match="bank-a: expected a node key that was never taken off"):
        link.register_node(line, "bank-a")


def test_a_node_is_seen_to_come_and_go(link: ControlClient, superlink: RunningSuperlink) -> None:
    key, line = new_node()
    node = link.register_node(line, "bank-a")
    authority = superlink.home.authority.read_bytes()
    with joined(SuperlinkEndpoint(superlink.public, authority), key) as fleet:
        assert fleet.node_id == node
        assert {each.node: each.status for each in link.nodes()}[node] == "online"
    assert {each.node: each.status for each in link.nodes()}[node] == "offline"


class ToldToStopError(BaseException):
    """What a handler of a stop signal raises."""


def test_a_node_that_is_stopped_while_it_signs_on_signs_off(
    link: ControlClient, superlink: RunningSuperlink
) -> None:
    key, line = new_node()
    node = link.register_node(line, "bank-a")
    endpoint = SuperlinkEndpoint(superlink.public, superlink.home.authority.read_bytes())

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ToldToStopError

    def dated(_: str) -> None:
        """The SuperLink has let the node in; its answer is not read yet."""
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(ToldToStopError), joined(endpoint, key, dated):
            raise AssertionError("expected a stop before the node was let in")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert {each.node: each.status for each in link.nodes()}[node] == "offline"


def test_a_key_that_is_none_is_not_registered(link: ControlClient) -> None:
    with pytest.raises(UsageError, match="OpenSSH line, found"):
        link.register_node(b"nonsense", "bank-a")


def test_what_another_process_settles_at_the_same_moment_is_no_error(
    link: ControlClient, superlink: RunningSuperlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner and a command tell the SuperLink of one and the same change."""
    _, line = new_node()
    look = link.nodes
    with control(control_target(superlink.home)) as other:

        def overtaken() -> tuple[NodeFacts, ...]:
            found = look()
            monkeypatch.setattr(link, "nodes", look)
            other.register_node(line, "bank-a")
            return found

        monkeypatch.setattr(link, "nodes", overtaken)
        node = link.register_node(line, "bank-a")
        other.unregister_node(node)
    link.unregister_node(node)
    assert {each.node: each.status for each in link.nodes()}[node] == "unregistered"


def test_a_run_is_started_seen_and_stopped(link: ControlClient, source: Tasks) -> None:
    run = link.start_run(build_bundle(), CONFIGURATION)
    assert link.run_status(run).state == "pending"
    taken = source.acquire()
    assert taken is not None
    assert taken.run == run
    assert link.run_status(run).state == "starting"
    link.stop_run(run)
    assert link.run_status(run).state == "stopped"
    link.stop_run(run)  # it has ended: nothing to do
    assert source.acquire() is None


def test_a_run_that_ends_while_it_is_stopped_is_no_error(
    link: ControlClient, superlink: RunningSuperlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, look = link.start_run(build_bundle(), CONFIGURATION), link.run_status
    with control(control_target(superlink.home)) as other:

        def overtaken(asked: int) -> FlowerRunStatus:
            found = look(asked)
            monkeypatch.setattr(link, "run_status", look)
            other.stop_run(run)
            return found

        monkeypatch.setattr(link, "run_status", overtaken)
        link.stop_run(run)
    assert link.run_status(run).state == "stopped"


def test_a_run_that_flower_does_not_take_is_an_error(link: ControlClient) -> None:
    with pytest.raises(RunError, match="refused: status 412"):
        link.start_run(build_bundle(), {"other": "key"})
    with pytest.raises(RunError, match="refused: status"):
        link.start_run(b"no bundle", CONFIGURATION)
    with pytest.raises(RunError, match="refused: status 413"):
        link.start_run(b"x" * (2 << 20), CONFIGURATION)


def test_a_superlink_that_is_not_there_is_said_with_what_to_do(
    superlink: RunningSuperlink,
) -> None:
    target = control_target(superlink.home)
    away = ControlTarget("127.0.0.1:9", target.authority, target.token)
    with (
        control(away) as opened,
        pytest.raises(RunError, match="start it with `fieldfare coordinator start`"),
    ):
        opened.nodes()


def test_another_token_is_said_to_be_one(superlink: RunningSuperlink) -> None:
    target = control_target(superlink.home)
    with (
        control(ControlTarget(target.address, target.authority, "wrong")) as opened,
        pytest.raises(RunError, match="another coordinator's SuperLink"),
    ):
        opened.nodes()


# ---- tasks


def test_runs_are_taken_one_by_one_the_oldest_first(link: ControlClient, source: Tasks) -> None:
    runs = [link.start_run(build_bundle(), CONFIGURATION) for _ in range(2)]
    taken = [source.acquire() for _ in range(3)]
    assert [task and task.run for task in taken] == [*runs, None]
    for run in runs:
        link.stop_run(run)


def test_another_secret_takes_nothing(superlink: RunningSuperlink, link: ControlClient) -> None:
    run = link.start_run(build_bundle(), CONFIGURATION)
    authority = superlink.home.authority.read_bytes()
    with (
        tasks(superlink.local, authority, b"wrong") as opened,
        pytest.raises(RunError, match="refused: status 401"),
    ):
        opened.acquire()
    assert link.run_status(run).state == "pending"
    link.stop_run(run)


def test_a_superlink_that_is_away_is_an_error_to_wait_out(superlink: RunningSuperlink) -> None:
    authority = superlink.home.authority.read_bytes()
    with (
        tasks("127.0.0.1:9", authority, b"secret") as opened,
        pytest.raises(RunError, match="no SuperLink: ConnectError"),
    ):
        opened.acquire()


def test_a_run_knows_what_it_was_started_with_and_how_it_ended(
    task: Any, link: ControlClient
) -> None:
    assert dict(task.configuration) == CONFIGURATION
    assert task.grid.run.fab_hash == bundle_hash(build_bundle())
    assert link.run_status(task.run).state == "running"
    task.finish(None)
    assert link.run_status(task.run).state == "completed"


def test_a_run_that_failed_says_why(task: Any, link: ControlClient) -> None:
    task.finish("expected two institutions, found one")
    status = link.run_status(task.run)
    assert (status.state, status.reason) == ("failed", "expected two institutions, found one")


def test_a_run_whose_process_is_gone_is_ended_from_outside(
    superlink: RunningSuperlink, link: ControlClient, source: Tasks
) -> None:
    run = link.start_run(build_bundle(), CONFIGURATION)
    taken = source.acquire()
    assert taken is not None
    authority = superlink.home.authority.read_bytes()
    fail_task(superlink.local, authority, taken, "killed")
    assert (link.run_status(run).state, link.run_status(run).reason) == ("failed", "killed")
    with pytest.raises(RunError):
        fail_task(superlink.local, authority, taken, "killed again")


def test_a_run_that_was_stopped_interrupts_its_process(task: Any, link: ControlClient) -> None:
    class InterruptedHereError(BaseException): ...

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise InterruptedHereError

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        link.stop_run(task.run)
        with pytest.raises(InterruptedHereError):
            task.grid.get_node_ids()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_heartbeat_that_the_superlink_fails_at_is_sent_again(
    task: Any, superlink: RunningSuperlink
) -> None:
    authority, token = superlink.home.authority.read_bytes(), task.grid._token
    with _task_client(superlink.local, authority, token) as client:
        beat = _heartbeat(client)
        assert beat()
        with closing(sqlite3.connect(superlink.home.superlink_database)) as database:
            database.execute("BEGIN IMMEDIATE")
            assert not beat()  # status 500, after Flower's 5 s
        assert beat()
        task.finish(None)
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            beat()


# ---- the grid


def test_messages_go_to_nodes_and_come_back(task: Any, nodes: Nodes) -> None:
    fleets = [nodes.join(f"bank-{name}") for name in "ab"]
    assert sorted(task.grid.get_node_ids()) == sorted(fleet.node_id for fleet in fleets)
    ids = task.grid.push_messages([question(fleet.node_id) for fleet in fleets])
    for fleet in fleets:
        fleet.send(answer(fleet.pull(receive(fleet)), str(fleet.node_id).encode()))
    found = {message.metadata.src_node_id: message for message in pull(task, ids)}
    while len(found) < 2:
        found |= {message.metadata.src_node_id: message for message in pull(task, ids)}
    assert {node: said(message) for node, message in found.items()} == {
        fleet.node_id: str(fleet.node_id).encode() for fleet in fleets
    }
    assert {message.metadata.reply_to_message_id for message in found.values()} == set(ids)
    assert all(message.has_error() for message in task.grid.pull_messages(ids))  # each once


def test_megabytes_pass_both_ways(task: Any, nodes: Nodes) -> None:
    fleet = nodes.join("bank-a")
    large = bytes(range(256)) * 4096 * 4
    ids = task.grid.push_messages([question(fleet.node_id, large)])
    got = fleet.pull(receive(fleet))
    record: Any = got.content["r"]
    assert record["asked"] == large
    fleet.send(answer(got, large))
    assert [said(message) for message in pull(task, ids)] == [large]


def test_a_piece_whose_receipt_was_lost_costs_nothing(
    task: Any, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SuperLink that is killed between the two: flwr repeats the call, and is refused."""
    fleets = [nodes.join(f"bank-{name}") for name in "ab"]
    pushed, lost = task.grid.client.PushObject, 2 * [True]

    def push(request: Any) -> Any:
        with suppress(IndexError):  # several threads push
            lost.pop()
            assert pushed(request).stored
        return pushed(request)

    monkeypatch.setattr(task.grid.client, "PushObject", push)
    ids = task.grid.push_messages([question(fleet.node_id) for fleet in fleets])
    assert not lost
    assert len(ids) == len(set(ids)) == 2
    for fleet in fleets:
        fleet.send(answer(fleet.pull(receive(fleet))))
        assert fleet.receive() is None  # each question came once
    assert [said(message) for each in ids for message in pull(task, [each])] == [b"!"] * 2


def test_a_superlink_that_stores_nothing_is_an_error(
    task: Any, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = nodes.join("bank-a")
    refused = PushObjectResponse(stored=False)
    monkeypatch.setattr(task.grid.client, "PushObject", lambda _: refused)
    with pytest.raises(RunError, match="found one that it refused 3 times"):
        task.grid.push_messages([question(fleet.node_id)])


def test_a_piece_of_a_reply_whose_receipt_was_lost_costs_nothing(
    task: Any, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = nodes.join("bank-a")
    ids = task.grid.push_messages([question(fleet.node_id)])
    reply = answer(fleet.pull(receive(fleet)))
    pushed, lost = fleet._push, 2 * [True]

    def push(*given: Any) -> None:
        if lost:
            lost.pop()
            pushed(*given)
        pushed(*given)

    monkeypatch.setattr(fleet, "_push", push)
    fleet.send(reply)
    assert not lost
    assert [said(message) for message in pull(task, ids, 0)] == [b"!"]


def test_a_reply_that_is_announced_but_never_comes_holds_up_no_other(
    task: Any, nodes: Nodes
) -> None:
    slow, quick = nodes.join("slow"), nodes.join("quick")
    ids = task.grid.push_messages([question(slow.node_id), question(quick.node_id)])
    _announce(slow, answer(slow.pull(receive(slow))))
    quick.send(answer(quick.pull(receive(quick))))
    begun = time.monotonic()
    (message,) = pull(task, ids)
    assert message.metadata.src_node_id == quick.node_id
    assert task.grid.pull_messages(ids[:1]) == []
    assert time.monotonic() - begun < 60  # Flower itself would wait for two hours


def test_a_reply_whose_content_comes_late_is_taken_then(task: Any, nodes: Nodes) -> None:
    fleet = nodes.join("bank-a")
    ids = task.grid.push_messages([question(fleet.node_id)])
    rest = _announce(fleet, answer(fleet.pull(receive(fleet))))
    assert task.grid.pull_messages(ids) == []
    rest()
    assert [said(message) for message in pull(task, ids)] == [b"!"]


def test_what_nobody_waits_for_any_more_is_dropped(task: Any, nodes: Nodes) -> None:
    fleet = nodes.join("bank-a")
    ids = task.grid.push_messages([question(fleet.node_id)])
    _announce(fleet, answer(fleet.pull(receive(fleet))))
    assert task.grid.pull_messages(ids) == []
    grid: Any = task.grid
    assert len(grid._coming) == 1
    grid.pull_messages(["ab" * 32])
    assert grid._coming == []


def _announce(fleet: Fleet, reply: Message) -> Any:
    """Push a reply's envelope; returns what pushes the rest."""
    reply.metadata.__dict__["_message_id"] = reply.object_id
    with no_object_id_recompute():
        objects = {name: each.deflate() for name, each in get_all_nested_objects(reply).items()}
        wanted, session = fleet._send(reply, get_object_tree(reply), 0.1)
    run = reply.metadata.run_id

    def rest() -> None:
        for name in wanted:
            fleet._push(run, session, name, objects[name])

    return rest


def test_a_node_answers_for_itself_alone(task: Any, nodes: Nodes) -> None:
    victim, other = nodes.join("victim"), nodes.join("other")
    ids = task.grid.push_messages([question(victim.node_id), question(other.node_id)])
    asked = victim.pull(receive(victim))
    TaskIdentity.node_id = victim.node_id
    with pytest.raises(RunOverError):  # as a node reads a 403
        other.send(answer(asked, b"forged"))
    assert task.grid.pull_messages(ids) == []
    victim.send(answer(asked, b"true"))
    assert [said(message) for message in pull(task, ids)] == [b"true"]


def test_a_node_has_no_more_waiting_than_its_quota(
    task: Any, nodes: Nodes, superlink: RunningSuperlink
) -> None:
    """23 pieces in one reply put 318 MiB into the database; now four are one too many."""
    fleet, part = nodes.join("bank-hostile"), b"x" * 12 * 2**20
    fits = ReplyLimits().waiting_bytes // len(part)
    task.grid.push_messages([question(fleet.node_id, bytes([n])) for n in range(fits + 2)])
    crowd = RecordDict({f"r{n}": ConfigRecord({"said": bytes([n])}) for n in range(MOST_OBJECTS)})
    with pytest.raises(RunOverError):  # as a node reads a 403
        fleet.send(Message(crowd, reply_to=fleet.pull(receive(fleet))))
    for number in range(fits):
        fleet.send(answer(fleet.pull(receive(fleet)), part + bytes([number])))
    with pytest.raises(RunOverError):
        fleet.send(answer(fleet.pull(receive(fleet)), part))
    assert "bank-hostile: expected a reply of at most 3 pieces" in superlink.log()


@pytest.mark.promises
def test_what_was_taken_over_waits_no_longer(task: Any, nodes: Nodes) -> None:
    fleet, part = nodes.join("bank-large"), b"x" * 12 * 2**20
    for number in range(14):
        ids = task.grid.push_messages([question(fleet.node_id)])
        fleet.send(answer(fleet.pull(receive(fleet)), part + bytes([number])))
        assert len(said(*pull(task, ids))) == len(part) + 1


def test_a_reply_that_is_nonsense_is_an_error_and_hurts_nobody(task: Any, nodes: Nodes) -> None:
    fleet = nodes.join("bank-a")
    ids = task.grid.push_messages([question(fleet.node_id)])
    asked = fleet.pull(receive(fleet))
    inside = answer(asked, b"another sender")
    inside.metadata.__dict__["_src_node_id"] = 5
    _announce_as(fleet, inside, answer(asked))
    (message,) = pull(task, ids)
    assert message.has_error()
    assert message.metadata.reply_to_message_id == ids[0]


def _announce_as(fleet: Fleet, inside: Message, envelope: Message) -> None:
    """Push an envelope that says something else than the message in it."""
    inside.metadata.__dict__["_message_id"] = ""
    name = inside.object_id
    with no_object_id_recompute():
        objects = {each: one.deflate() for each, one in get_all_nested_objects(inside).items()}
        tree = get_object_tree(inside)
    envelope.metadata.__dict__["_message_id"] = name
    wanted, session = fleet._send(envelope, tree, 0.1)
    for each in wanted:
        fleet._push(envelope.metadata.run_id, session, each, objects[each])


# ---- the app


def test_flowers_idle_layers_are_gone_and_those_that_protect_are_not(tmp_path: Path) -> None:
    app: Any = SuperlinkApp(tmp_path / "superlink.sqlite", b"secret").flower
    names = [layer.cls.__name__ for layer in app.user_middleware]
    assert names == [
        "BaseHTTPMiddleware",  # turns errors into answers
        "ControlAuthenticationMiddleware",
        "ProtobufTranslationMiddleware",
        "NodeAuthMiddleware",
        "FleetEventLogMiddleware",
    ]
    assert app.state.superexec_auth_secret == b"secret"
    assert app.state.enable_supernode_auth


# ---- what is shown


def test_a_status_is_shown_with_what_came_with_it() -> None:
    request = httpx.Request("POST", "https://x")
    response = httpx.Response(412, text='{"detail": "No."}', request=request)
    error = httpx.HTTPStatusError("unseen", request=request, response=response)
    assert reason_of(error) == 'status 412: {"detail": "No."}'


def test_what_another_side_says_cannot_move_a_cursor_or_fill_a_screen() -> None:
    assert reason_of(ValueError("a\x1b[2J\n\n b\u202e")) == "ValueError: a [2J b"
    assert len(reason_of(ValueError("x" * 10_000))) == LONGEST_REASON


def test_no_secret_is_shown() -> None:
    assert "hush" not in repr(ControlTarget("127.0.0.1:1", b"pem", "hush"))
    assert "hush" not in repr(Task(1, "hush"))
