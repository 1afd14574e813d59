"""How somebody comes in whom an identity provider vouches for, in place of a password.

A browser that comes back from another site sends no cookie (`SameSite=Strict`). So it comes back to
a page that holds nothing and leads on; what follows is a visit of this console again, and the try
that began in that very browser is what counts. A try begins by a form of this console and takes a
turn; what comes back without one takes none, so that no other site uses the turns up.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Final
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.credentials import kept_token, new_token
from fieldfare.shared.console.frame import LOG_IN, Page, Visit
from fieldfare.shared.console.log_in import BUSY, come_in, log_out
from fieldfare.shared.console.provider import NOT_PROVED, Provider, ProviderError
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.console.turns import Turns
from fieldfare.shared.errors import UsageError

TRY_SECONDS: Final = 600.0  # that somebody may take at the provider
MOST_TRIES: Final = 1000  # at once; the oldest goes
AT_ONCE: Final = 60
AGAIN: Final = 1.0
LONGEST_CODE: Final = 1000


@dataclass(frozen=True)
class _Try:
    state: str
    nonce: str
    verifier: str
    begun: float


class ProviderEntrance:
    """The log-in by a provider; a second factor is the provider's to ask for."""

    def __init__(self, provider: Provider, monotonic: Callable[[], float]) -> None:
        """Send people to `provider`, and count by `monotonic`, in seconds."""
        self._provider, self._monotonic = provider, monotonic
        self._turns = Turns(AT_ONCE, AGAIN)
        self._lock = Lock()
        self._tries: dict[str, _Try] = {}

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages of the entrance."""
        return (
            Page(LOG_IN, Right.ANYBODY, _log_in_page),
            Page(f"{LOG_IN}/provider", Right.ANYBODY, self._leave, "POST"),
            Page(f"{LOG_IN}/return", Right.ANYBODY, _return, met=True),
            Page(f"{LOG_IN}/finish", Right.ANYBODY, self._finish),
            Page("/log-out", Right.ENTER, log_out, "POST"),
        )

    def _leave(self, visit: Visit) -> Response:
        if self._turns.take("", self._monotonic()):
            raise PageRefusal(HTTPStatus.TOO_MANY_REQUESTS, BUSY)
        state, nonce, verifier = (new_token(visit.parts.book.entropy) for _ in range(3))
        made = _Try(state, nonce, verifier, self._monotonic())
        try:
            address = self._provider.address(made.state, made.nonce, made.verifier)
        except ProviderError as error:
            return _log_in_page(visit, str(error))
        with self._lock:
            self._tries[kept_token(visit.token)] = made
            while len(self._tries) > MOST_TRIES:
                self._tries.pop(next(iter(self._tries)))
        return visit.page("provider_return.html", onward=address)  # a form's way ends at home (CSP)

    def _finish(self, visit: Visit) -> Response:
        code, state = visit.query.get("code", ""), visit.query.get("state", "")
        with self._lock:
            begun = self._tries.pop(kept_token(visit.token), None)  # one use, whatever comes of it
        if begun is None or self._monotonic() - begun.begun > TRY_SECONDS:
            return _log_in_page(visit, NOT_PROVED)
        if not code or not hmac.compare_digest(state.encode(), begun.state.encode()):
            return _log_in_page(visit, NOT_PROVED)
        book = visit.parts.book
        try:
            person = self._provider.person(code, begun.nonce, begun.verifier, book.now)
        except ProviderError as error:
            return _log_in_page(visit, str(error))

        def tell(act: ConsoleAct, name: str) -> None:
            visit.parts.tell(act, name, name)

        try:
            account = book.vouched(person.subject, person.role, tell)
        except UsageError as error:
            return _log_in_page(visit, str(error))
        return come_in(visit, account.name)


def _log_in_page(visit: Visit, problem: str = "") -> Response:
    status = HTTPStatus.FORBIDDEN if problem else HTTPStatus.OK
    return visit.page("provider_log_in.html", status, problem_text=problem)


def _return(visit: Visit) -> Response:
    """Lead on; the answer sets no cookie, for this request carried none."""
    code, state = visit.query.get("code", ""), visit.query.get("state", "")
    if len(code) > LONGEST_CODE or len(state) > LONGEST_CODE:
        raise PageRefusal(HTTPStatus.BAD_REQUEST, NOT_PROVED)
    onward = f"{LOG_IN}/finish?{urlencode({'code': code, 'state': state})}"
    return HTMLResponse(visit.render("provider_return.html", onward=onward))
