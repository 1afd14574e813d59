"""The calls that every message needs, answered without Flower's web layers; others go through them.

A message takes ten calls at the least, and each spent most of its time in layers that every call
of Flower's API passes. Only what succeeds is answered here: whatever is refused or fails has left
nothing behind, and is asked again of Flower's app, which words it.

A node or a run that asks for messages while there are none is answered when one has come whole, or
a moment later: nobody has to ask every few milliseconds.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from fieldfare.server.superlink.connections import Peer
from fieldfare.server.superlink.gate import (
    CONTROL,
    FLEET,
    NOBODY,
    RUNTIME,
    App,
    Receive,
    Scope,
    Send,
    replay_body,
)

MOST_SESSIONS: Final = 4096  # of pieces that are on their way; the oldest is forgotten
PULL: Final = "pull-messages"
CALLS: Final = (PULL, "push-messages", "push-object", "pull-object", "confirm-message-received")
# Seconds that a question for messages waits for one; a run meets a deadline within its own.
HOLDS: Final = {FLEET + PULL: 1.0, RUNTIME + PULL: 0.25}
LOOK_SECONDS: Final = 1.0  # between two looks for tasks without a heartbeat
LOCK_MILLISECONDS: Final = 100  # that a call waits for SQLite's lock; Flower's app waits 5 s
OWN: ContextVar[Any] = ContextVar("own", default=None)  # the short way's connection, on that way
# These end a node or a run, by the side on which its question is held: asked again, it is refused.
ENDS: Final = {CONTROL + "unregister-node": FLEET, CONTROL + "stop-run": RUNTIME}
PROTOBUF: Final = b"application/protobuf"


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, both protobuf messages of Flower's."""

    request: Any
    answer: Any


# Checks and handles a body, and returns None where Flower's app has to say it.
Handle = Callable[[Scope, bytes], Exchange | None]


class MessageNews:
    """Which messages are on their way, and who waits for one; in one event loop."""

    def __init__(self) -> None:
        """Begin without any."""
        self._event = asyncio.Event()
        self._missing: OrderedDict[str, set[str]] = OrderedDict()

    def announce(self, session: str, pieces: Collection[str]) -> None:
        """Take note of the pieces that are still to come; of none, the message is whole."""
        if not pieces:
            self.tell()
            return
        self._missing[session] = set(pieces)
        while len(self._missing) > MOST_SESSIONS:
            self._missing.popitem(last=False)

    def take(self, session: str, piece: str) -> None:
        """Take note of a piece; with the last one, whoever waits is told."""
        missing = self._missing.get(session)
        if missing is None:
            return
        missing.discard(piece)
        if not missing:
            del self._missing[session]
            self.tell()

    def next(self) -> asyncio.Event:
        """Return what is set when the next message has come whole, or a run or node was ended."""
        return self._event

    def tell(self) -> None:
        """Let held questions be asked again."""
        event, self._event = self._event, asyncio.Event()
        event.set()


def lighten(state: Any) -> Callable[[], AbstractContextManager[None]]:
    """Take from Flower's state what holds calls up; returns the context of the short way's calls.

    It looks for tasks without a heartbeat at each question for a run's status, and adds up the
    bytes of each run, which nobody here reads. The first is done once a second, the second not at
    all. The short way has a connection of its own: where somebody else writes for long, its call
    fails soon and waits in Flower's app, where it is in nobody's way, and calls that wait there
    for each of Flower's connections take none from it.
    """
    look, last = state._cleanup_expired_task_tokens, -LOOK_SECONDS  # noqa: SLF001

    def look_seldom() -> None:
        """Look where the last time is a second ago."""
        nonlocal last
        if time.monotonic() - last >= LOOK_SECONDS:
            last = time.monotonic()
            look()

    state._cleanup_expired_task_tokens = look_seldom  # noqa: SLF001
    state.store_traffic = lambda *_, **__: None
    sessions, own = state._session_factory, state._engine.connect()  # noqa: SLF001
    own.connection.driver_connection.execute(f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")
    state._session_factory = lambda: sessions(bind=OWN.get() or state._engine)  # noqa: SLF001
    return lambda: _over(own)


@contextmanager
def _over(own: Any) -> Iterator[None]:
    """Take this connection; after a call that waited for the lock in vain, none waits.

    Whoever only reads would wait for each of them. Once one has written, calls wait again.
    """
    link, token = own.connection.driver_connection, OWN.set(own)
    before = link.total_changes
    try:
        yield
    except OperationalError:
        link.execute("PRAGMA busy_timeout = 0")
        raise
    finally:
        OWN.reset(token)
    if link.total_changes > before:
        link.execute(f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")


class ShortWay:
    """An ASGI app before Flower's, behind the gate: a body comes in one piece."""

    def __init__(
        self, app: App, calls: Mapping[str, Handle], is_known: Callable[[Peer], bool]
    ) -> None:
        """Stand before Flower's app.

        Args:
            app: Flower's.
            calls: by path.
            is_known: whether a node's connection has been answered before. Strangers take Flower's
                way: here they would be in nodes' way, and one that waits gives way to others.
        """
        self._app, self._calls, self._is_known = app, calls, is_known
        # One thread: SQLite has one writer, and two that wait for each other sleep.
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._news = {FLEET: MessageNews(), RUNTIME: MessageNews()}  # by who waits for it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or pass it on."""
        call = self._calls.get(scope["path"]) if scope["method"] == "POST" else None
        if call is None or not self._may_pass(scope):
            await self._app(scope, receive, send)
            if scope["path"] in ENDS:
                self._news[ENDS[scope["path"]]].tell()
            return
        body: bytes = (await receive())["body"]
        found = await self._held(call, scope, body, receive)
        if found is None:
            await self._app(scope, replay_body(body, receive), send)
            return
        self._note(scope["path"], found)
        await _send(found.answer.SerializeToString(), send)

    def _may_pass(self, scope: Scope) -> bool:
        """Tell whether a call is over a connection that strangers do not have."""
        return _side(scope["path"]) == RUNTIME or self._is_known(scope.get("client") or NOBODY)

    async def _held(
        self, handle: Handle, scope: Scope, body: bytes, receive: Receive
    ) -> Exchange | None:
        """Handle a call; where it asks for messages and there are none, a moment later again."""
        loop = asyncio.get_running_loop()
        end = loop.time() + HOLDS.get(scope["path"], 0.0)
        news = self._news[_side(scope["path"])]
        while True:
            coming = news.next()  # before the question: what comes meanwhile is not missed
            found = await loop.run_in_executor(self._thread, handle, scope, body)
            left = end - loop.time()
            waits = found is not None and left > 0 and not found.answer.messages_list
            if not waits or not await _comes(coming, receive, left):
                return found

    def _note(self, path: str, found: Exchange) -> None:
        news = self._news[RUNTIME if _side(path) == FLEET else FLEET]
        if path.endswith("push-messages"):
            news.announce(found.answer.session_id, found.answer.objects_to_push)
        elif path.endswith("push-object") and found.answer.stored:
            news.take(found.request.session_id, found.request.object_id)


def _side(path: str) -> str:
    return FLEET if path.startswith(FLEET) else RUNTIME


async def _comes(coming: asyncio.Event, receive: Receive, seconds: float) -> bool:
    """Wait for news; False where none comes in time, or who asked has hung up.

    A message is given out once: who is not there any more must not be given it.
    """
    come, gone = asyncio.ensure_future(coming.wait()), asyncio.ensure_future(receive())
    try:
        await asyncio.wait({come, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return come.done() and not gone.done()
    finally:
        come.cancel()
        gone.cancel()


async def _send(content: bytes, send: Send) -> None:
    headers = [(b"content-type", PROTOBUF), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
