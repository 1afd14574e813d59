"""What stands around everything that a console answers: Host, size, headers, no forged forms.

It wraps the whole application, so that errors and answers of libraries carry the headers too.
Against requests that another site's page makes a browser send (CSRF), `check_own_form` decides.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from fieldfare.shared.console.credentials import is_form_token

MOST_BODY: Final = 64 * 1024  # bytes of a form, where its page says nothing else
MOST_DROPPED: Final = 1024 * 1024  # bytes that are read of a body which is too large
_MOST_DIGITS: Final = 12  # of an announced length
MOST_TARGET: Final = 4 * 1024  # bytes of path and query

# The first line is the issue's; style, script and pictures come from here, nothing from elsewhere.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_FROM_HERE: Final = {"", "same-origin", "none"}  # what browsers say of a form of this very console
_OURS: Final = frozenset(name for name, _ in HEADERS)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class PageRefusal(Exception):  # noqa: N818 -- an answer, no fault
    """A page that answers no: the status and one sentence for the person."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        """Say `text` under the status's own name."""
        super().__init__(text)
        self.status, self.text = status, text


def is_from_here(fetch_site: str) -> bool:
    """Tell whether no other site led here, by Fetch Metadata; "" is a browser that knows none."""
    return fetch_site in _FROM_HERE


def check_own_form(fetch_site: str, found: str, token: str) -> None:
    """Refuse a form that no page of this visit sent.

    An Origin says nothing, for our own Referrer-Policy empties it. The token decides.

    Args:
        fetch_site: the request's Sec-Fetch-Site, "" where there is none.
        found: the form's token.
        token: of the visit's cookie.

    Raises:
        PageRefusal: it came from elsewhere.
    """
    if not (is_from_here(fetch_site) and is_form_token(found, token)):
        raise PageRefusal(
            HTTPStatus.FORBIDDEN,
            "This form was not sent by a page of your present visit; nothing was done. "
            "Open the page again and repeat.",
        )


class Shield:
    """An application that answers only to its own names, in bounded size, with every header.

    A page of somebody else's, opened in the same browser, can point its own name at this address
    (DNS rebinding); its requests then carry that name, and are refused before anything is read.
    """

    def __init__(
        self, inside: Application, hosts: Collection[str], sizes: Mapping[str, int] | None = None
    ) -> None:
        """Stand before an application.

        Args:
            inside: what answers. Of a body that is too large it hears that the connection ended,
                before it has heard any of it, and says so in its own page.
            hosts: the values of Host that count, with their ports.
            sizes: bytes of a body by path, where they are others than `MOST_BODY`.
        """
        self._inside, self._hosts = inside, {one.lower() for one in hosts}
        self._sizes = sizes or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other protocols are not spoken."""
        if scope["type"] != "http":
            return
        refused = self._refusal(scope)
        if refused:
            status, text = refused
            await _answer(status, text, send)
            return
        most = self._sizes.get(scope["path"], MOST_BODY)
        announced = max((int(one) for one in _lengths(scope)), default=0)
        await self._inside(scope, _BoundedBody(receive, most, announced), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        fields = [(name.lower(), value) for name, value in scope["headers"]]
        hosts = [value.decode("latin-1").lower() for name, value in fields if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return 421, "This address is not served here: use the one that the console was given."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_TARGET:
            return 414, "The address is too long."
        if any(not one.isdigit() or len(one) > _MOST_DIGITS for one in _lengths(scope)):
            return 413, "What was sent is too large."
        return None


def _lengths(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name.lower() == b"content-length"]


class _BoundedBody:
    """A body that ends the connection where it is announced, or grows, too large.

    What is a little too large is read to its end and dropped: a browser that is still sending when
    its connection ends shows no page.
    """

    def __init__(self, receive: Receive, most: int, announced: int) -> None:
        self._receive, self._most, self._size = receive, most, 0
        self._refused = announced > most
        self._dropped = 0 if announced > MOST_DROPPED else MOST_DROPPED

    async def __call__(self) -> Message:
        if not self._refused:
            message = await self._next()
            self._refused = self._size > self._most
            if not self._refused:
                return message
            self._dropped = MOST_DROPPED if message.get("more_body") else 0
        while self._size < self._dropped:
            if not (await self._next()).get("more_body"):
                break
        self._dropped = 0
        return {"type": "http.disconnect"}

    async def _next(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body") or b"")
        return message


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        """Send a message, its head with the headers of every page."""
        if message["type"] == "http.response.start":
            own = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in _OURS]
            message = {**message, "headers": [*own, *HEADERS]}
        await send(message)

    return sent


async def _answer(status: int, text: str, send: Send) -> None:
    """Say one sentence; nothing of the request is in it."""
    body = text.encode()
    head = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)))
    start = {"type": "http.response.start", "status": status, "headers": [*head]}
    await _with_headers(send)(start)
    await send({"type": "http.response.body", "body": body})
