import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from fieldfare.server.superlink import gate
from fieldfare.server.superlink.gate import (
    CONTROL,
    FLEET,
    LOCAL,
    OBJECT,
    PUBLIC,
    RUNTIME,
    SMALL,
    AnsweredRequest,
    CallRules,
    Gate,
)

TOKEN = "let me in"  # noqa: S105 -- a test's own
BEARER = (b"authorization", b"Bearer let me in")
START = CONTROL + "start-run"
PUSH = FLEET + "push-object"


class Asked:
    """A gate before an app that answers 200 with the length of what it was sent."""

    def __init__(self, *, public: bool = False, vouched: bool = True) -> None:
        offered = PUBLIC if public else LOCAL
        self.told: list[AnsweredRequest] = []
        self.reached: list[tuple[str, bytes]] = []
        self.vouched_for: list[Any] = []

        def vouch(headers: Any) -> bool:
            self.vouched_for.append(headers)
            return vouched

        rules = CallRules(
            "public" if public else "local", offered, None if public else TOKEN, vouch
        )
        self.gate = Gate(self._app, rules, self.told.append)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.reached.append((scope["path"], message["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def ask(
        self,
        path: str,
        body: Iterable[bytes] = (b"",),
        *,
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
        kind: str = "http",
    ) -> tuple[int, Any]:
        """Status and content of the answer; chunks of the body come one by one."""
        parts = list(body)
        length = (b"content-length", str(sum(map(len, parts))).encode())
        given = (
            list(headers)
            if any(n == b"transfer-encoding" for n, _ in headers)
            else [
                *headers,
                *([] if any(n == b"content-length" for n, _ in headers) else [length]),
            ]
        )
        sent: list[Any] = []
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "headers": given,
            "client": ("192.0.2.7", 5),
        }
        asyncio.run(self._ask(scope, parts, sent))
        if not sent:
            return 0, None
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], json.loads(content) if content else None

    async def _ask(self, scope: Any, parts: list[bytes], sent: list[Any]) -> None:
        async def receive() -> Any:
            if not parts:
                await asyncio.sleep(60)
            body = parts.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.gate(scope, receive, send)


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_nodes_reach_what_they_need(path: str) -> None:
    asked = Asked(public=True)
    assert asked.ask(path, [b"a", b"bc"]) == (200, None)
    assert asked.reached == [(path, b"abc")]


@pytest.mark.parametrize(
    "path",
    [
        *sorted(LOCAL),
        *("/docs", "/openapi.json", "/", "/v1/fleet/register-node", "/v1/fleet/unregister-node"),
        *("/v1/fleet/pull-messages/", "/v1/fleet//pull-messages", "/V1/fleet/pull-messages"),
        *("/v1/fleet/../control/start-run", "/v1/responses", "/v1/control/list-connectors"),
    ],
)
def test_nothing_else_is_there_for_nodes(path: str) -> None:
    asked = Asked(public=True)
    status, _ = asked.ask(path, headers=[BEARER])
    assert (status, asked.reached) == (404, [])


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE"])
def test_only_posts_pass(method: str) -> None:
    asked = Asked()
    assert asked.ask(START, method=method, headers=[BEARER])[0] == 404


def test_health_is_for_everybody_and_is_not_told() -> None:
    asked = Asked(public=True)
    assert asked.ask("/health", method="GET")[0] == 200
    assert asked.ask("/health")[0] == 404
    assert [call.path for call in asked.told] == ["/health"]  # the post that was refused


@pytest.mark.parametrize("path", [path for path in LOCAL if path.startswith(CONTROL)])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer let me i")],
        [(b"authorization", b"Bearer let me inn")],
        [(b"authorization", b"bearer let me in")],
        [(b"authorization", b"let me in")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"")],
        [BEARER, BEARER],
        [(b"x-authorization", b"Bearer let me in")],
    ],
)
def test_control_needs_the_token(path: str, headers: list[tuple[bytes, bytes]]) -> None:
    asked = Asked()
    assert asked.ask(path, headers=headers)[0] == 401
    assert asked.reached == []
    assert asked.ask(path, headers=[BEARER])[0] == 200


def test_a_listener_without_a_token_lets_nobody_control() -> None:
    asked = Asked()
    asked.gate._rules = CallRules("odd", LOCAL, None, lambda _: True)
    for value in (b"Bearer None", b"Bearer ", b"Bearer let me in"):
        assert asked.ask(START, headers=[(b"authorization", value)])[0] == 401


def test_runs_are_asked_for_their_proof_by_flower() -> None:
    assert Asked().ask(RUNTIME + "acquire-task")[0] == 200


@pytest.mark.parametrize("path", [path for path, most in PUBLIC.items() if most == SMALL])
def test_a_body_that_says_it_is_too_large_is_not_read(path: str) -> None:
    asked = Asked(public=True)
    large = [(b"content-length", str(SMALL + 1).encode())]
    assert asked.ask(path, [], headers=large)[0] == 413
    assert asked.ask(path, [b"x" * SMALL])[0] == 200


def test_a_body_that_hides_its_length_is_cut_off() -> None:
    asked = Asked(public=True)
    hidden = [(b"transfer-encoding", b"chunked")]
    parts = [b"x" * 4096] * (SMALL // 4096 + 2)
    assert asked.ask(FLEET + "push-messages", parts, headers=hidden)[0] == 413
    assert asked.reached == []


def test_a_stranger_may_not_send_a_large_object() -> None:
    asked = Asked(public=True, vouched=False)
    assert asked.ask(PUSH, [b"x" * (SMALL + 1)])[0] == 413
    assert len(asked.vouched_for) == 1
    assert asked.ask(PUSH, [b"x"] * 2, headers=[(b"transfer-encoding", b"chunked")])[0] == 200
    hidden = [(b"transfer-encoding", b"chunked")]
    assert asked.ask(PUSH, [b"x" * SMALL, b"x"], headers=hidden)[0] == 413
    assert [len(body) for _, body in asked.reached] == [2]


def test_a_registered_node_may_up_to_the_largest_message() -> None:
    asked = Asked(public=True)
    assert asked.ask(PUSH, [b"x" * OBJECT])[0] == 200
    assert asked.ask(PUSH, [], headers=[(b"content-length", str(OBJECT + 1).encode())])[0] == 413


def test_nobody_is_asked_who_they_are_for_a_small_object() -> None:
    asked = Asked(public=True, vouched=False)
    assert asked.ask(PUSH, [b"x" * SMALL])[0] == 200
    assert asked.vouched_for == []


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"", b"0x10", b"9" * 40])
def test_a_length_that_is_none_counts_as_too_large(length: bytes) -> None:
    asked = Asked(public=True)
    assert asked.ask(PUSH, [], headers=[(b"content-length", length)])[0] == 413


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    asked = Asked(public=True)
    assert asked.ask(PUSH, [], headers=[(b"content-length", b"5")])[0] == 408


def test_who_hangs_up_within_a_body_reaches_nothing() -> None:
    asked = Asked(public=True)

    async def hang_up() -> None:
        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None: ...

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": PUSH,
            "headers": [],
            "client": None,
        }
        await asked.gate(scope, receive, send)

    asyncio.run(hang_up())
    assert asked.reached == []
    assert (asked.told[0].status, asked.told[0].peer) == (400, ("", 0))


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_nothing_but_http_passes(kind: str) -> None:
    asked = Asked()
    assert asked.ask(START, headers=[BEARER], kind=kind) == (0, None)
    assert asked.reached == []


def test_every_call_is_told_with_its_outcome() -> None:
    asked = Asked()
    asked.ask(START)
    asked.ask(START, headers=[BEARER])
    asked.ask("/nowhere")
    assert [(call.path, call.status, call.offered) for call in asked.told] == [
        (START, 401, True),
        (START, 200, True),
        ("/nowhere", 404, False),
    ]
    assert {(call.listener, call.peer[0]) for call in asked.told} == {("local", "192.0.2.7")}


def test_an_app_that_fails_is_told_too() -> None:
    asked = Asked()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ArithmeticError

    asked.gate._app = broken
    with pytest.raises(ArithmeticError):
        asked.ask(START, headers=[BEARER])
    assert [call.status for call in asked.told] == [0]
