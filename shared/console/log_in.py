"""How somebody comes in: password, second factor, enrolment; and out again.

Whoever else proves an account's person (an identity provider) gives pages of its own instead, and
ends, as these do, in `come_in`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Final

from starlette.responses import Response

from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.credentials import (
    factor_of,
    factor_text,
    factor_uri,
    new_token,
)
from fieldfare.shared.console.frame import HOME, LOG_IN, SECOND_FACTOR, Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.console.turns import Turns
from fieldfare.shared.errors import UsageError

NO_MATCH: Final = "Name and password do not belong together."
BUSY: Final = "Many log in at this moment: try again in a few seconds."
AT_ONCE: Final = 1  # passwords hashed at the same time, 64 MiB each
PATIENCE: Final = 5.0  # seconds in which one of them has ended
TRIES: Final = 5  # at once, of one account from one kind of browser
TRY_AGAIN: Final = 300.0  # seconds until one more
STRANGERS: Final = 30  # tries at once, from all browsers in which nobody logged in before
STRANGER_AGAIN: Final = 2.0
ENROL: Final = "/enrol"
NOBODY_KNOWN: Final = "nobody known"  # no name of an account has a space


class Entrance:
    """The log-in of local accounts.

    Tries are counted for an account from unknown browsers, and apart from them for each browser
    in which that person was before: a stranger who tries for ever does not lock the person out.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Count tries by `monotonic`, in seconds."""
        self._monotonic = monotonic
        self._tries = Turns(TRIES, TRY_AGAIN)
        self._strangers = Turns(STRANGERS, STRANGER_AGAIN)
        self._hashing = BoundedSemaphore(AT_ONCE)
        self._told = Turns(1, TRY_AGAIN)

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages of the entrance."""
        return (
            Page(LOG_IN, Right.ANYBODY, _log_in_page),
            Page(LOG_IN, Right.ANYBODY, self._log_in, "POST"),
            Page(SECOND_FACTOR, Right.ANYBODY, _factor_page),
            Page(SECOND_FACTOR, Right.ANYBODY, self._factor, "POST"),
            Page(ENROL, Right.ANYBODY, _enrol_page),
            Page(ENROL, Right.ANYBODY, self._enrol, "POST"),
            Page("/log-out", Right.ENTER, log_out, "POST"),
        )

    def _log_in(self, visit: Visit) -> Response:
        name, password = visit.form.get("name", "").strip(), visit.form.get("password", "")
        known = bool(visit.browser) and visit.parts.book.knows_browser(visit.browser, name)
        key = f"{name} {visit.browser if known else ''}"
        wait = self._wait(key, known=known)
        if wait:
            self._held_back(visit, name)
            return _log_in_page(visit, _later(wait), HTTPStatus.TOO_MANY_REQUESTS)
        with self._one_of_few():
            right = visit.parts.book.proves_password(name, password)
        if not right:
            return _log_in_page(visit, NO_MATCH, HTTPStatus.FORBIDDEN)
        self._tries.give_back(key)
        visit.become(visit.parts.book.begin(name, proved=False, instead_of=visit.token))
        return visit.go(SECOND_FACTOR)

    def _wait(self, key: str, *, known: bool) -> float:
        now = self._monotonic()
        strangers = 0.0 if known else self._strangers.take("", now)
        return strangers or self._tries.take(key, now)

    def _held_back(self, visit: Visit, name: str) -> None:
        """Write down that tries are held back; unknown names together: no flood hides one."""
        known = visit.parts.book.account(name)
        told = known.name if known else NOBODY_KNOWN
        if not self._told.take(told, self._monotonic()):
            visit.parts.tell(ConsoleAct.HELD_BACK, told, "")

    @contextmanager
    def _one_of_few(self) -> Iterator[None]:
        if not self._hashing.acquire(timeout=PATIENCE):
            raise PageRefusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
        try:
            yield
        finally:
            self._hashing.release()

    def _factor(self, visit: Visit) -> Response:
        if visit.waiting is None:
            return visit.go(LOG_IN)
        name, book = visit.waiting.name, visit.parts.book
        known = bool(visit.browser) and book.knows_browser(visit.browser, name)
        key = f"code {name} {visit.browser if known else ''}"
        wait = self._tries.take(key, self._monotonic())
        if wait:
            return _factor_page(visit, _later(wait), HTTPStatus.TOO_MANY_REQUESTS)
        if not book.proves_code(name, visit.form.get("code", "")):
            visit.parts.tell(ConsoleAct.WRONG_CODE, name, name)
            return _factor_page(visit, "That is not the code of this moment.", HTTPStatus.FORBIDDEN)
        self._tries.give_back(key)
        return come_in(visit, name)

    def _enrol(self, visit: Visit) -> Response:
        link, password = visit.form.get("link", ""), visit.form.get("password", "")
        if self._strangers.take("", self._monotonic()):
            raise PageRefusal(HTTPStatus.TOO_MANY_REQUESTS, BUSY)
        if password != visit.form.get("again", ""):
            return _enrol_page(visit, "The two passwords are not the same.")
        if visit.parts.book.invited(link) is None:
            return _enrol_page(visit)

        def tell(name: str) -> None:
            visit.parts.tell(ConsoleAct.ENROLLED, name, name)

        code = visit.form.get("code", "")
        try:
            with self._one_of_few():
                account = visit.parts.book.enrol(link, visit.token, password, code, tell)
        except UsageError as error:
            return _enrol_page(visit, str(error))
        return come_in(visit, account.name)


def come_in(visit: Visit, name: str) -> Response:
    """Begin the session of a person who was proved, under a new token, in a browser known from now.

    Raises:
        LedgerError: the log cannot be written; nobody is logged in.
    """
    visit.parts.tell(ConsoleAct.LOGGED_IN, name, name)
    book = visit.parts.book
    visit.become(book.begin(name, proved=True, instead_of=visit.token))
    visit.remember(book.remember_browser(name))
    return visit.go(HOME)


def log_out(visit: Visit) -> Response:
    """End the session, also where the log has no room; another cookie, so that no page comes back.

    Browsers bring a page back from memory, `no-store` or not, unless a cookie changed since.
    """
    person, book = visit.person.name, visit.parts.book
    book.end(visit.token)
    visit.become(new_token(book.entropy))
    visit.parts.tell(ConsoleAct.LOGGED_OUT, person, person)
    return visit.go(LOG_IN)


def _log_in_page(visit: Visit, problem: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    return visit.page("log_in.html", status, problem_text=problem, name=visit.form.get("name", ""))


def _factor_page(visit: Visit, problem: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    if visit.waiting is None:
        return visit.go(HOME if visit.account else LOG_IN)
    return visit.page("second_factor.html", status, problem_text=problem)


def _enrol_page(visit: Visit, problem: str = "") -> Response:
    link = visit.form.get("link", "") or visit.query.get("link", "")
    invited = visit.parts.book.invited(link)
    if invited is None:
        raise PageRefusal(
            HTTPStatus.NOT_FOUND,
            "This link does not work: it was used, is older than a day, or is another one. "
            "Ask the person who runs the console for a new one.",
        )
    factor = factor_of(link, visit.token)
    return visit.page(
        "enrol.html",
        HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
        problem_text=problem,
        link=link,
        invited=invited,
        secret=factor_text(factor),
        uri=factor_uri(factor, invited.name, visit.parts.name),
    )


def _later(wait: float) -> str:
    return f"Too many tries: try again in {int(wait) + 1} seconds."
