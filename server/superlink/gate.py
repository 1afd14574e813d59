"""The gate before Flower's API on both listeners: it passes only the calls that it names.

Flower serves nodes, runs and administration on one port, most of it without a question asked
(docs/adr/0005). Here each listener offers a short list of paths; every other one does not
exist, bodies are bounded before they are read, and control needs a token.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from fieldfare.server.superlink.connections import Peer
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

NOBODY: Final[Peer] = ("", 0)
HEALTH: Final = "/health"
CONTROL: Final = "/v1/control/"
FLEET: Final = "/v1/fleet/"
RUNTIME: Final = "/v1/runtime/"

SMALL: Final = 64 * 1024  # bytes; no stranger may send more
OBJECT: Final = MAX_MESSAGE_BYTES + SMALL  # a message of ours, and Flower's frame around it
BUNDLE: Final = 1024 * 1024
BODY_SECONDS: Final = 60.0


def _paths(prefix: str, names: str, limits: Mapping[str, int]) -> dict[str, int]:
    return {prefix + name: limits.get(name, SMALL) for name in names.split()}


# What a node calls; what is missing is signing on without having been registered.
PUBLIC: Final[Mapping[str, int]] = MappingProxyType(
    _paths(
        FLEET,
        "activate-node deactivate-node send-node-heartbeat pull-messages push-messages get-run "
        "get-fab push-object pull-object confirm-message-received",
        {"push-object": OBJECT},
    )
)
# What this host's own commands and runs call (superlink.py).
LOCAL: Final[Mapping[str, int]] = MappingProxyType(
    _paths(
        CONTROL,
        "start-run stop-run list-runs register-node unregister-node list-nodes",
        {"start-run": BUNDLE},
    )
    | _paths(
        RUNTIME,
        "acquire-task send-task-heartbeat pull-task-input push-task-output get-nodes "
        "push-messages pull-messages push-object pull-object confirm-message-received",
        {"push-object": OBJECT, "push-messages": OBJECT, "pull-messages": OBJECT},
    )
)


@dataclass(frozen=True)
class CallRules:
    """The calls that a listener lets through.

    Attributes:
        listener: its name in the audit log.
        offered: paths that may be posted to, each with the largest body in bytes.
        token: that control needs; None where it is not offered.
        vouched: whether a request's headers are a registered node's; asked before a body of
            more than SMALL bytes is read, unless the path is not a node's.
    """

    listener: str
    offered: Mapping[str, int]
    token: str | None
    vouched: Callable[[Headers], bool]


@dataclass(frozen=True)
class AnsweredRequest:
    """The facts about every answered request."""

    listener: str
    path: str
    peer: Peer
    headers: Headers
    status: int
    offered: bool


class RefusedError(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, text: str) -> None:
        """Carry the status and the text that it is answered with."""
        self.status = status
        super().__init__(text)


class Gate:
    """An ASGI app before another one."""

    def __init__(self, app: App, rules: CallRules, tell: Callable[[AnsweredRequest], None]) -> None:
        """Stand before `app`; `tell` hears of every request except those for its health."""
        self._app, self._rules, self._tell = app, rules, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            return
        status = 0

        async def counted(message: Message) -> None:
            """Pass a message on, and keep the status it begins with."""
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            replay = await self._admit(scope, receive)
            await self._app(scope, replay, counted)
        except RefusedError as refusal:
            await _answer(refusal, counted)
        finally:
            if scope["path"] != HEALTH or status >= 400:  # noqa: PLR2004 -- HTTP's first error
                self._tell(self._answered(scope, status))

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        if (scope["method"], scope["path"]) == ("GET", HEALTH):
            return receive
        limit = self._rules.offered.get(scope["path"]) if scope["method"] == "POST" else None
        if limit is None:
            raise RefusedError(404, "Not Found")
        headers: Headers = scope["headers"]
        if scope["path"].startswith(CONTROL) and not self._has_token(headers):
            raise RefusedError(
                401, "expected the control token, found none or another: see tokens/control"
            )
        if scope["path"].startswith(FLEET) and limit > SMALL:
            limit = limit if _declared(headers) <= SMALL or self._rules.vouched(headers) else SMALL
        return replay_body(await _body(headers, receive, limit), receive)

    def _has_token(self, headers: Headers) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        if self._rules.token is None or len(given) != 1:
            return False
        expected = f"Bearer {self._rules.token}".encode()
        # Hashes: their comparison takes one time, whatever is given and however long it is.
        return hmac.compare_digest(
            hashlib.sha256(given[0]).digest(), hashlib.sha256(expected).digest()
        )

    def _answered(self, scope: Scope, status: int) -> AnsweredRequest:
        peer = scope.get("client") or NOBODY
        path, rules = scope["path"], self._rules
        offered = path in rules.offered
        return AnsweredRequest(rules.listener, path, peer, scope["headers"], status, offered)


def _declared(headers: Headers) -> int:
    """Return the length that a request declares; one that declares none may be of any."""
    found = [value for name, value in headers if name == b"content-length"]
    if len(found) != 1 or not found[0].isdigit():
        return OBJECT + 1
    return int(found[0])


async def _body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Read a body of bounded length in bounded time."""
    declared = [value for name, value in headers if name == b"content-length"]
    if declared and _declared(headers) > limit:
        raise RefusedError(413, f"expected a body of at most {limit} bytes, found a larger one")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _collect(receive, limit)
    except TimeoutError:
        raise RefusedError(
            408, f"expected the whole body within {BODY_SECONDS:g} s, found a part of it"
        ) from None


async def _collect(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "expected a whole body, found a part of it")
        body += message.get("body", b"")
        if len(body) > limit:
            raise RefusedError(413, f"expected a body of at most {limit} bytes, found a larger one")
        if not message.get("more_body", False):
            return bytes(body)


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read once more, in one piece, and then what follows."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _answer(refusal: RefusedError, send: Send) -> None:
    content = f'{{"detail": "{refusal}"}}'.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),  # what is left of the body is not waited for
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
