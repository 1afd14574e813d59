"""The short way answers what Flower would, refuses in Flower's words, and holds a question."""

import asyncio
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.proto.control_pb2 import StopRunRequest, UnregisterNodeRequest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import TASK_TOKEN_HEADER, TaskType
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supercore.task_identity import TaskIdentity
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from tests.support.network.coordinator import (
    STOP_SECONDS,
    RunningSuperlink,
    new_home,
    new_node,
    running_superlink,
    signed,
    spki,
)

from fieldfare.client.node.fleet import Arrival, Fleet, SuperlinkEndpoint, joined
from fieldfare.server.home.initial_setup import build_bundle
from fieldfare.server.superlink import short_way
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.gate import (
    CONTROL,
    FLEET,
    LOCAL,
    PUBLIC,
    RUNTIME,
    App,
    CallRules,
    Gate,
)
from fieldfare.server.superlink.short_way import (
    HOLDS,
    LOCK_MILLISECONDS,
    LOOK_SECONDS,
    MOST_SESSIONS,
    MessageNews,
    lighten,
)
from fieldfare.server.superlink.superlink import (
    SuperlinkApp,
    control,
    server_task,
    tasks,
)

PROTOBUF: Final = {"content-type": "application/protobuf"}
TRIES: Final = 20
PROMPT_SECONDS: Final = 4.0  # less than Flower waits for SQLite's lock


@pytest.fixture
def flower(tmp_path: Path) -> SuperlinkApp:
    return SuperlinkApp(tmp_path / "superlink.sqlite", b"secret")


def state_of(flower: SuperlinkApp) -> Any:
    return flower.flower.state.linkstate_factory.state()


def lightened(flower: SuperlinkApp) -> tuple[Any, Any]:
    """Another state over the same file, as Flower makes it, and the context of the short way."""
    flower.flower.state.linkstate_factory.state_instance = None
    state = state_of(flower)
    return state, lighten(state)


def registered(flower: SuperlinkApp, key: ec.EllipticCurvePrivateKey) -> int:
    return int(state_of(flower).create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, spki(key), 30.0))


def begun_run(flower: SuperlinkApp) -> tuple[int, str]:
    """A run that is under way, and the token of its task."""
    state = state_of(flower)
    run = state.create_run(
        None, None, None, {}, "@none/default", None, NOOP_FLWR_AID, TaskType.SERVER_APP
    )
    (task,) = state.get_tasks(run_ids=[run])
    token = state.claim_task(task.task_id)
    assert token
    assert state.activate_task(task.task_id)
    return int(run), str(token)


def asked(
    flower: SuperlinkApp, app: App, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes, str]:
    """Ask through the gate, as a listener does: status, content and its type."""
    found = asyncio.run(ask(flower, app, path, body, headers))
    return found.status_code, found.content, found.headers.get("content-type", "")


def version() -> dict[str, str]:
    """The headers by which Flower knows its own version."""
    return dict(RuntimeVersionMetadata.from_local_component("test").as_metadata())


async def ask(
    flower: SuperlinkApp, app: App, path: str, body: bytes, headers: Mapping[str, str]
) -> httpx.Response:
    offered = PUBLIC if path.startswith(FLEET) else LOCAL
    gate: Any = Gate(app, CallRules("either", offered, "t", flower.vouched), lambda _: None)
    transport = httpx.ASGITransport(gate, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://here") as web:
        return await asyncio.wait_for(web.post(path, content=body, headers=headers), 20.0)


class Asker:
    """A registered node, and questions that are refused or fail."""

    def __init__(self, flower: SuperlinkApp) -> None:
        self.key, _ = new_node()
        self.node = Node(node_id=registered(flower, self.key))
        stranger, _ = new_node()
        other, _ = new_node()
        pull = PullMessagesRequest(node=self.node).SerializeToString()
        of_other = Node(node_id=registered(flower, other))
        runtime = PullAppMessagesRequest(message_ids=["a"]).SerializeToString()
        mine = PROTOBUF | signed(self.key)
        old = mine | {"flwr-timestamp": datetime(2020, 1, 1, tzinfo=UTC).isoformat()}
        self.refused: dict[str, tuple[str, bytes, dict[str, str]]] = {
            "nobody": (FLEET + "pull-messages", pull, PROTOBUF),
            "stranger": (FLEET + "pull-messages", pull, PROTOBUF | signed(stranger)),
            "another's signature": (FLEET + "pull-messages", pull, PROTOBUF | signed(other)),
            "another's number": (
                FLEET + "pull-object",
                PullObjectRequest(node=of_other, object_id="x").SerializeToString(),
                mine,
            ),
            "an old signature": (FLEET + "pull-messages", pull, old),
            "no protobuf": (FLEET + "pull-messages", b"\xff\xff\xff", mine),
            "another type": (
                FLEET + "pull-messages",
                pull,
                mine | {"content-type": "application/json"},
            ),
            "a run that is not there": (
                FLEET + "push-object",
                PushObjectRequest(
                    node=self.node, run_id=7, object_id="x", object_content=b"y"
                ).SerializeToString(),
                mine,
            ),
            "no token": (RUNTIME + "pull-messages", runtime, PROTOBUF),
            "a wrong token": (
                RUNTIME + "pull-messages",
                runtime,
                PROTOBUF | {TASK_TOKEN_HEADER: "wrong"},
            ),
        }


def test_what_is_refused_is_refused_as_flower_refuses_it(flower: SuperlinkApp) -> None:
    for name, (path, body, headers) in Asker(flower).refused.items():
        expected = asked(flower, flower.flower, path, body, headers)
        assert expected[0] >= 400, name
        assert asked(flower, flower.app, path, body, headers) == expected, name


def test_what_is_answered_is_answered_as_flower_answers_it(flower: SuperlinkApp) -> None:
    asker = Asker(flower)
    body = PullMessagesRequest(node=asker.node).SerializeToString()
    headers = PROTOBUF | signed(asker.key)
    for path, content in ((FLEET + "pull-messages", body), ("/v1/fleet/get-run", body)):
        expected = asked(flower, flower.flower, path, content, headers)
        assert asked(flower, flower.app, path, content, headers) == expected
    assert asked(flower, flower.app, FLEET + "pull-messages", body, headers)[0] == 200


def test_a_question_over_a_strangers_connection_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have to give way to strangers who come later."""
    monkeypatch.setattr(short_way, "HOLDS", dict.fromkeys(HOLDS, 60.0))
    flower = SuperlinkApp(tmp_path / "superlink.sqlite", b"secret", lambda _: False)
    asker = Asker(flower)
    body = PullMessagesRequest(node=asker.node).SerializeToString()
    headers = PROTOBUF | signed(asker.key)
    assert asked(flower, flower.app, FLEET + "pull-messages", body, headers)[0] == 200


def test_a_call_that_fails_leaves_nothing_behind(
    flower: SuperlinkApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's app is asked again, and what it leaves is there once."""
    asker, state = Asker(flower), state_of(flower)
    before = len(state.get_node_info(owner_aids=[NOOP_FLWR_AID]))
    calls = list[int]()

    def fail(**_: object) -> list[Message]:
        key, _line = new_node()
        calls.append(registered(flower, key))
        raise ValueError("later")

    monkeypatch.setattr(state, "get_message_ins", fail)
    body = PullMessagesRequest(node=asker.node).SerializeToString()
    asked(flower, flower.app, FLEET + "pull-messages", body, PROTOBUF | signed(asker.key))
    assert len(calls) == 2  # on the short way, and in Flower's app
    assert len(state.get_node_info(owner_aids=[NOOP_FLWR_AID])) == before + 1


def test_flowers_state_looks_for_silent_tasks_once_a_second(
    flower: SuperlinkApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, seen = state_of(flower), list[str]()
    session = state.session

    def counted() -> Any:
        seen.append("a transaction")
        return session()

    monkeypatch.setattr(state, "session", counted)
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    state._cleanup_expired_task_tokens()
    assert seen
    seen.clear()
    state._cleanup_expired_task_tokens()
    assert not seen
    monkeypatch.setattr(time, "monotonic", lambda: 1e9 + LOOK_SECONDS)
    state._cleanup_expired_task_tokens()
    assert seen


def test_a_refusal_does_not_undo_the_look_for_silent_tasks(
    flower: SuperlinkApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's app would not look again within the second, and let a node into an ended run."""
    asker, state, now = Asker(flower), state_of(flower), time.monotonic()
    run, _ = begun_run(flower)
    with state.session() as session:
        session.execute(text("UPDATE task SET active_until = '2020-01-01 00:00:00.000000'"))
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * LOOK_SECONDS)
    body = PullObjectRequest(node=asker.node, run_id=run, object_id="x").SerializeToString()
    headers = PROTOBUF | signed(asker.key)
    assert asked(flower, flower.app, FLEET + "pull-object", body, headers)[0] >= 400


def test_a_call_that_waits_for_another_writer_is_in_nobodys_way(
    flower: SuperlinkApp, tmp_path: Path
) -> None:
    """Flower waits five seconds for SQLite's lock, and so would whoever stands behind it."""
    asker, (run, _) = Asker(flower), begun_run(flower)
    headers = PROTOBUF | signed(asker.key)
    pull = PullMessagesRequest(node=asker.node).SerializeToString()
    read = PullObjectRequest(node=asker.node, run_id=run, object_id="x").SerializeToString()
    path = FLEET + "pull-object"

    async def both(writer: sqlite3.Connection) -> tuple[bool, int, int]:
        """Whether who only reads was answered first, and both statuses."""
        first = asyncio.ensure_future(
            ask(flower, flower.app, FLEET + "pull-messages", pull, headers)
        )
        await asyncio.sleep(0.05)
        second = ask(flower, flower.app, path, read, headers)
        answer = await asyncio.wait_for(second, PROMPT_SECONDS)
        alone = not first.done()
        writer.rollback()
        return alone, (await first).status_code, answer.status_code

    assert asked(flower, flower.app, path, read, headers)[0] == 200
    with closing(sqlite3.connect(tmp_path / "superlink.sqlite")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert asyncio.run(both(writer)) == (True, 200, 200)


def test_only_the_short_way_takes_its_connection(flower: SuperlinkApp) -> None:
    """Whatever the thread is called: its own waits for SQLite's lock for a moment only."""
    state, own = lightened(flower)

    def patience() -> int:
        return int(state.query("PRAGMA busy_timeout")[0]["timeout"])

    before = patience()
    with own():
        assert patience() == LOCK_MILLISECONDS
        with ThreadPoolExecutor(thread_name_prefix="short-way") as others:
            assert others.submit(patience).result() == before
    assert patience() == before > LOCK_MILLISECONDS


def test_calls_that_wait_for_another_writer_delay_a_reader_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waited on the short way before it went Flower's: 20 of them held a reader up for 2 s."""
    monkeypatch.setattr(short_way, "LOCK_MILLISECONDS", 500)  # beside which machines are quick
    flower = SuperlinkApp(tmp_path / "superlink.sqlite", b"secret")
    asker, (run, _) = Asker(flower), begun_run(flower)
    pull = PullMessagesRequest(node=asker.node).SerializeToString()
    read = PullObjectRequest(node=asker.node, run_id=run, object_id="x").SerializeToString()
    headers, path = PROTOBUF | signed(asker.key), FLEET + "pull-object"

    async def all_of_them(lock: sqlite3.Connection) -> list[int]:
        """Each one's status; the reader's comes first, while writers wait."""
        given = (flower, flower.app, FLEET + "pull-messages", pull, headers)
        writers = [asyncio.ensure_future(ask(*given)) for _ in range(TRIES)]
        await asyncio.sleep(0.05)
        reader = ask(flower, flower.app, path, read, headers)
        first = await asyncio.wait_for(reader, PROMPT_SECONDS)
        assert not any(each.done() for each in writers)
        lock.rollback()
        return [each.status_code for each in (first, *await asyncio.gather(*writers))]

    assert asked(flower, flower.app, path, read, headers)[0] == 200
    with closing(sqlite3.connect(tmp_path / "superlink.sqlite")) as lock:
        lock.execute("BEGIN IMMEDIATE")
        assert asyncio.run(all_of_them(lock)) == [200] * (TRIES + 1)


def test_a_call_waits_for_other_writers_again_once_one_has_written(
    flower: SuperlinkApp, tmp_path: Path
) -> None:
    state, own = lightened(flower)
    patience = list[int]()

    def look() -> None:
        with own():
            patience.append(state.query("PRAGMA busy_timeout")[0]["timeout"])

    look()
    with closing(sqlite3.connect(tmp_path / "superlink.sqlite")) as lock:
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError), own():
            registered(flower, new_node()[0])
    look()
    with own():
        registered(flower, new_node()[0])
    look()
    assert patience == [LOCK_MILLISECONDS, 0, LOCK_MILLISECONDS]
    assert state.query("PRAGMA busy_timeout")[0]["timeout"] == 5000  # Flower's connections


@pytest.mark.parametrize("side", ["node", "run"])
def test_who_is_taken_off_while_a_question_is_held_is_refused_as_flower_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """At that moment, and not with an empty answer when the question has been held."""
    monkeypatch.setattr(short_way, "HOLDS", dict.fromkeys(HOLDS, 2 * PROMPT_SECONDS))
    flower = SuperlinkApp(tmp_path / "superlink.sqlite", b"secret")
    asker, (run, token) = Asker(flower), begun_run(flower)
    path, question, headers = {
        "node": (FLEET, PullMessagesRequest(node=asker.node), signed(asker.key)),
        "run": (RUNTIME, PullAppMessagesRequest(), version() | {TASK_TOKEN_HEADER: token}),
    }[side]
    given = (path + "pull-messages", question.SerializeToString(), PROTOBUF | headers)
    control_path, order = {
        "node": ("unregister-node", UnregisterNodeRequest(node_id=asker.node.node_id)),
        "run": ("stop-run", StopRunRequest(run_id=run)),
    }[side]
    headers = PROTOBUF | version() | {"authorization": "Bearer t"}

    async def taken_off() -> tuple[bool, int, httpx.Response]:
        held = asyncio.ensure_future(ask(flower, flower.app, *given))
        await asyncio.sleep(0.5)
        waited, content = not held.done(), order.SerializeToString()
        done = await ask(flower, flower.app, CONTROL + control_path, content, headers)
        return waited, done.status_code, await asyncio.wait_for(held, PROMPT_SECONDS)

    assert asked(flower, flower.flower, *given)[0] == 200
    waited, status, answer = asyncio.run(taken_off())
    assert (waited, status) == (True, 200)
    expected = asked(flower, flower.flower, *given)
    assert expected[0] >= 400
    assert (answer.status_code, answer.content) == expected[:2]


# ---- news


def told(news: MessageNews) -> Any:
    return news.next()


def test_whoever_waits_is_told_with_the_last_piece() -> None:
    news = MessageNews()
    event = told(news)
    news.announce("s", ["a", "b"])
    news.take("s", "a")
    news.take("s", "a")
    news.take("another", "b")
    assert not event.is_set()
    news.take("s", "b")
    assert event.is_set()
    assert not told(news).is_set()


def test_a_message_of_which_everything_is_there_is_told_at_once() -> None:
    news = MessageNews()
    event = told(news)
    news.announce("s", [])
    assert event.is_set()


def test_messages_that_never_come_whole_are_forgotten() -> None:
    news = MessageNews()
    for number in range(MOST_SESSIONS + 1):
        news.announce(str(number), ["a"])
    event = told(news)
    news.take("0", "a")
    assert not event.is_set()
    news.take("1", "a")
    assert event.is_set()


# ---- a real SuperLink


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    with running_superlink(new_home(tmp_path_factory.mktemp("coordinator") / "home")) as running:
        yield running


class RunUnderWay:
    """A run, from its server's side, and one node with its key."""

    def __init__(self, superlink: RunningSuperlink, stack: ExitStack) -> None:
        authority = superlink.home.authority.read_bytes()
        link = stack.enter_context(control(control_target(superlink.home)))
        self.key, line = new_node()
        link.register_node(line, "bank-a")
        run = link.start_run(build_bundle(), {"study": "ab" * 32, "run": "r-1"})
        secret = superlink.home.runtime_token.read_bytes()
        taken = stack.enter_context(tasks(superlink.local, authority, secret)).acquire()
        assert taken is not None
        self.task: Any = stack.enter_context(server_task(superlink.local, authority, taken.token))
        self.fleet: Fleet = stack.enter_context(
            joined(SuperlinkEndpoint(superlink.public, authority), self.key)
        )
        stack.callback(link.stop_run, run)

    def push(self) -> None:
        TaskIdentity.node_id = 1
        record: Any = ConfigRecord({"asked": b"?"})
        message = Message(
            RecordDict({"r": record}), dst_node_id=self.fleet.node_id, message_type="query.test"
        )
        assert all(self.task.grid.push_messages([message]))


@pytest.fixture
def run(superlink: RunningSuperlink) -> Iterator[RunUnderWay]:
    with ExitStack() as stack:
        yield RunUnderWay(superlink, stack)


def test_a_question_is_held_until_a_message_has_come(run: RunUnderWay) -> None:
    for _ in range(TRIES):  # a slow machine may take longer than a question is held
        found = list[Arrival | None]()
        asking = threading.Thread(target=lambda: found.append(run.fleet.receive()))  # noqa: B023
        asking.start()
        time.sleep(0.2)
        held = asking.is_alive()
        run.push()
        asking.join()
        if found[0] is not None and held:
            return
        while found[0] is None and run.fleet.receive() is None:
            pass
    pytest.fail("no question was held until a message came")


def is_held(line: ssl.SSLSocket, question: bytes) -> bool:
    """Ask until no answer comes for a moment: the first may still be asked as a stranger."""
    line.settimeout(0.2)
    for _ in range(TRIES):
        line.sendall(question)
        try:
            line.recv(4096)
        except TimeoutError:
            return True
    return False


@contextmanager
def held_question(
    superlink: RunningSuperlink, key: ec.EllipticCurvePrivateKey, node: int
) -> Iterator[ssl.SSLSocket]:
    """A connection over which a node's question for messages is held."""
    body = PullMessagesRequest(node=Node(node_id=node)).SerializeToString()
    headers = PROTOBUF | signed(key) | {"host": "here", "content-length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, _, port = superlink.public.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        superlink.trust.wrap_socket(plain, server_hostname=host) as line,
    ):
        question = f"POST {FLEET}pull-messages HTTP/1.1\r\n{head}\r\n".encode() + body
        line.sendall(question)
        assert line.recv(4096).startswith(b"HTTP/1.1 200")  # from now on it is a node's
        assert isinstance(line, ssl.SSLSocket)
        assert is_held(line, question)
        yield line


def test_a_message_is_not_given_to_a_node_that_has_hung_up(
    run: RunUnderWay, superlink: RunningSuperlink
) -> None:
    """It would be lost: a message is given out once."""
    with held_question(superlink, run.key, run.fleet.node_id):
        pass
    run.push()
    end = time.monotonic() + 30.0
    while run.fleet.receive() is None:
        assert time.monotonic() < end


def test_a_held_question_is_answered_whole_before_a_stop(tmp_path: Path) -> None:
    """A stop waits for it, and it is over before the stop cuts off what is left."""
    key, line = new_node()
    with running_superlink(new_home(tmp_path / "home")) as superlink:
        with control(control_target(superlink.home)) as link:
            node = link.register_node(line, "bank-a")
        said = superlink.log()
        with held_question(superlink, key, node) as held:
            superlink.process.terminate()
            held.settimeout(STOP_SECONDS)
            answer = b"".join(iter(partial(held.recv, 4096), b""))
        assert superlink.stop() == 0
        assert superlink.log() == said  # which a question that was cut off would stand in
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert PullMessagesResponse.FromString(content) == PullMessagesResponse()
