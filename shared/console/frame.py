"""Pages with their rights: how a console is put together, and what a page's author writes.

A page is a path, a right and a function of a `Visit`; a form is the same with `method="POST"`, and
reaches its function only with the token of a page of the same visit. Functions run in threads, one
request each, and return `visit.page(template, ...)` or `visit.go(path)`.
"""

import logging
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import resources
from threading import BoundedSemaphore
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, quote, urlencode

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from fieldfare.shared.console.accounts import AccountBook, ConsoleAccount, Tell
from fieldfare.shared.console.credentials import form_token, is_token, new_token
from fieldfare.shared.console.rights import NOBODY, Right
from fieldfare.shared.console.shield import (
    MOST_BODY,
    Application,
    PageRefusal,
    Shield,
    check_own_form,
    is_from_here,
)
from fieldfare.shared.console.turns import Turns
from fieldfare.shared.errors import FieldfareError, UsageError

log = logging.getLogger(__name__)

MOST_FIELDS: Final = 200  # of a form
FORM: Final = "application/x-www-form-urlencoded"
NO_FORM: Final = "Expected a form of this console, found something else."
FORM_TOKEN: Final = "token"  # noqa: S105 -- a field's name
LOG_IN: Final = "/log-in"
SECOND_FACTOR: Final = "/second-factor"
HOME: Final = "/"
CHECKS: Final = 20  # at once, of one person
CHECK_AGAIN: Final = 1.0  # seconds until one more
PATIENCE: Final = 5.0  # seconds to wait for another person's
_BUSY: Final = "Something else is being checked: press the button again in a moment."
BROWSER_SECONDS: Final = 180 * 24 * 3600
_LOOKS: Final = {"console.css": "text/css", "console.js": "text/javascript"}


@dataclass(frozen=True)
class Page:
    """One address. Without a right there is none: a console with such a page does not start.

    Attributes:
        met: whether another site may lead right here, without a word between; it holds nothing.
        by_itself: whether browsers ask for it without a person: that is no use of a session, which
            would else never end before a page at which nobody looks.
        fields: how many a form may have here.
        size: of how many bytes it may be.
    """

    path: str
    right: Right
    view: Callable[["Visit"], Response]
    method: Literal["GET", "POST"] = "GET"
    met: bool = False
    by_itself: bool = False
    fields: int = MOST_FIELDS
    size: int = MOST_BODY


@dataclass(frozen=True)
class MenuEntry:
    """A link that stands on every page of those who have its right."""

    path: str
    text: str
    right: Right


@dataclass(frozen=True)
class ConsoleParts:
    """What one console is made of.

    Attributes:
        name: whose console, in titles.
        cookie: the name of its cookie; browsers share cookies between ports of one host.
        secure: whether browsers reach it by TLS.
        hosts: the values of Host that count.
        book: its accounts.
        tell: writes acts into the log.
        pages: all of them, with the entrance's.
        menu: what stands on every page.
        templates: packages that hold templates, beside this room.
    """

    name: str
    cookie: str
    secure: bool
    hosts: Collection[str]
    book: AccountBook
    tell: Tell
    pages: Sequence[Page]
    menu: Sequence[MenuEntry]
    templates: Sequence[str] = ()


@dataclass
class Visit:
    """One request: who, what was asked, what was filled in.

    Attributes:
        parts: the console's.
        token: of the cookie; a fresh one where there was none.
        account: who is logged in, with both proofs.
        waiting: who has shown the password only.
        path: of the request.
        query: filters, as typed.
        places: the parts of the path, by the names that the page gave them.
        form: what was filled in.
        browser: the token by which this browser is known, or nothing.
    """

    parts: ConsoleParts
    render: Callable[..., str]
    token: str
    account: ConsoleAccount | None
    waiting: ConsoleAccount | None
    path: str
    query: Mapping[str, str]
    places: Mapping[str, str]
    form: Mapping[str, str]
    browser: str
    _cookies: list[tuple[str, str, int | None]] = field(default_factory=list)

    @property
    def person(self) -> ConsoleAccount:
        """Who is logged in.

        Raises:
            Refused: nobody is: the page's right let everybody in.
        """
        if self.account is None:
            raise PageRefusal(HTTPStatus.UNAUTHORIZED, "Log in first.")
        return self.account

    @property
    def rights(self) -> frozenset[Right]:
        """What may be done in this visit."""
        return self.account.rights if self.account else NOBODY

    @property
    def form_token(self) -> str:
        """What the visit's forms carry."""
        return form_token(self.token)

    @property
    def menu(self) -> list[MenuEntry]:
        """The links that this person may follow."""
        return [one for one in self.parts.menu if self.account and one.right in self.rights]

    @property
    def goes_on(self) -> bool:
        """Whether the person is still logged in and may do all that they might; no use of it."""
        session = self.parts.book.session(self.token, used=False)
        account = session.account if session and session.proved else None
        return account is not None and self.account is not None and self.rights <= account.rights

    def become(self, token: str) -> None:
        """Give the browser a new token instead of the one it had."""
        self.token = token
        self._cookies.append((self.parts.cookie, token, None))

    def remember(self, token: str) -> None:
        """Let the browser be known from now on."""
        self._cookies.append((f"{self.parts.cookie}-known", token, BROWSER_SECONDS))

    def page(
        self, template: str, status: HTTPStatus = HTTPStatus.OK, /, **values: object
    ) -> Response:
        """Answer with a template filled in; it may use `visit` too."""
        text = self.render(template, visit=self, **values)
        return self._finish(HTMLResponse(text, status_code=status))

    def go(self, path: str, **query: str) -> Response:
        """Answer with another page of this console, asked for anew."""
        target = f"{path}?{urlencode(query)}" if query else path
        return self._finish(RedirectResponse(target, status_code=HTTPStatus.SEE_OTHER))

    def _finish(self, answer: Response) -> Response:
        for name, value, seconds in self._cookies:
            answer.set_cookie(
                name,
                value,
                max_age=seconds,
                path="/",
                secure=self.parts.secure,
                httponly=True,
                samesite="strict",
            )
        return answer


def console_app(parts: ConsoleParts) -> Application:
    """Put a console together.

    Raises:
        UsageError: a page names no right, or two are the same.
    """
    _check_pages(parts.pages)
    render = _renderer(parts)
    routes = [Route(f"/static/{name}", _look(name, kind)) for name, kind in _LOOKS.items()]
    routes += [
        Route(one.path, _endpoint(parts, render, one), methods=[one.method]) for one in parts.pages
    ]

    def failed(request: Request, error: Exception) -> Response:
        return _error_page(_visit(parts, render, request, {}, used=False), error)

    handled = {
        HTTPException: failed,
        PageRefusal: failed,
        FieldfareError: failed,
        Exception: failed,
    }
    inside = Starlette(routes=routes, exception_handlers=handled)
    inside.router.redirect_slashes = False  # it would lead to http, whatever stands before us
    sizes = {one.path: one.size for one in parts.pages if one.method == "POST"}
    return Shield(inside, parts.hosts, sizes)


def _check_pages(pages: Sequence[Page]) -> None:
    for one in pages:
        if not isinstance(one.right, Right):
            raise UsageError(f"{one.path}: expected a right of a page, found none: name one")
    if len({(one.path, one.method) for one in pages}) != len(pages):
        raise UsageError("expected each page once, found one twice")


def _renderer(parts: ConsoleParts) -> Callable[..., str]:
    folders = [resources.files(name) for name in (__package__, *parts.templates) if name]
    texts = {
        one.name: one.read_text(encoding="utf-8")
        for folder in folders
        for one in folder.iterdir()
        if one.name.endswith(".html")
    }
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def render(template: str, **values: object) -> str:
        return environment.get_template(template).render(**values)

    return render


def _look(name: str, kind: str) -> Callable[[Request], Response]:
    content = (resources.files(__package__ or "") / name).read_bytes()

    def endpoint(request: Request) -> Response:
        del request
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return endpoint


def _endpoint(parts: ConsoleParts, render: Callable[..., str], page: Page) -> Any:
    async def endpoint(request: Request) -> Response:
        form = await _form(request, page) if page.method == "POST" else {}
        return await run_in_threadpool(answer, request, form)

    def answer(request: Request, form: Mapping[str, str]) -> Response:
        """Answer one request by the page's own rules."""
        visit = _visit(parts, render, request, form, used=not page.by_itself)
        if page.method == "POST":
            check_own_form(_fetch_site(request), form.get(FORM_TOKEN, ""), visit.token)
        elif not page.met and _comes_bare(request, visit.token):
            return visit.page("go_on.html", onward=_again(request))
        if page.right not in visit.rights:
            return _without_right(visit)
        return page.view(visit)

    return endpoint


def _visit(
    parts: ConsoleParts,
    render: Callable[..., str],
    request: Request,
    form: Mapping[str, str],
    *,
    used: bool,
) -> Visit:
    token = request.cookies.get(parts.cookie, "")
    browser = request.cookies.get(f"{parts.cookie}-known", "")
    session = parts.book.session(token, used=used) if is_token(token) else None
    visit = Visit(
        parts=parts,
        render=render,
        token=token,
        account=session.account if session and session.proved else None,
        waiting=session.account if session and not session.proved else None,
        path=request.url.path,
        query=_query(request.url.query),
        places=dict(request.path_params),
        form=form,
        browser=browser if is_token(browser) else "",
    )
    if not is_token(token) and not _comes_bare(request, token):
        visit.become(new_token(parts.book.entropy))
    return visit


def _comes_bare(request: Request, token: str) -> bool:
    """Say whether another site led here, and so no cookie came (`SameSite=Strict`).

    The browser may well have one. An answer that set another would end that person's visit, so it
    sets none, shows nothing, and leads on by a link of this console: the cookie comes with that.
    """
    return not is_token(token) and not is_from_here(_fetch_site(request))


def _fetch_site(request: Request) -> str:
    return request.headers.get("sec-fetch-site", "")


def _again(request: Request) -> str:
    """Return the same address of this console, for a link."""
    query = request.url.query
    return f"{quote(request.url.path)}?{query}" if query else quote(request.url.path)


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, max_num_fields=MOST_FIELDS))
    except ValueError:  # too many
        return {}


async def _form(request: Request, page: Page) -> dict[str, str]:
    """Read a form's fields; the shield bounds their size."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise PageRefusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, NO_FORM)
    try:
        body = await request.body()
        fields = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=page.fields,
            errors="strict",
        )
    except ClientDisconnect:
        raise PageRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"What was sent is too large, more than {page.size // 1024} KiB: nothing was done. Go "
            "back, and make it shorter.",
        ) from None
    except ValueError:
        raise PageRefusal(HTTPStatus.BAD_REQUEST, NO_FORM) from None
    if len({name for name, _ in fields}) != len(fields):
        raise PageRefusal(HTTPStatus.BAD_REQUEST, NO_FORM)
    return {name: value.replace("\r\n", "\n").replace("\0", "") for name, value in fields}


def _without_right(visit: Visit) -> Response:
    if visit.account:
        raise PageRefusal(
            HTTPStatus.FORBIDDEN, f"Your role ({visit.account.role.value}) does not see this page."
        )
    return visit.go(SECOND_FACTOR if visit.waiting else LOG_IN)


def _error_page(visit: Visit, error: Exception) -> Response:
    """Answer an error as a page; what nobody foresaw is told by its kind and place only."""
    status, text = _describe_error(visit, error)
    return visit.page("error.html", status, status=status, text=text)


def _describe_error(visit: Visit, error: Exception) -> tuple[HTTPStatus, str]:
    if isinstance(error, PageRefusal):
        return error.status, error.text
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        return status, "There is no such page." if status == HTTPStatus.NOT_FOUND else ""
    if isinstance(error, UsageError):
        return HTTPStatus.BAD_REQUEST, str(error) if visit.account else ""
    if isinstance(error, FieldfareError):
        log.error("a page failed: %s", error)
        return HTTPStatus.SERVICE_UNAVAILABLE, str(error) if visit.account else ""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = ", ".join(f"{one.name} line {one.lineno}" for one in last)
    log.error("a page failed: %s in %s", type(error).__name__, place)  # its text may be a record's
    return HTTPStatus.INTERNAL_SERVER_ERROR, "This page failed; the console's own log says where."


# -- how often -----------------------------------------------------------------------------------


class LiveCheck:
    """What a form asks for while somebody types: so often for each person, and one at a time."""

    def __init__(
        self, monotonic: Callable[[], float], burst: int = CHECKS, every: float = CHECK_AGAIN
    ) -> None:
        """Let each person do `burst` at once, then one each `every` seconds of `monotonic`."""
        self._monotonic, self._turns = monotonic, Turns(burst, every)
        self._one = BoundedSemaphore(1)

    @contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Work on one thing of a person's.

        Raises:
            Refused: too many of this key, or another one takes long.
        """
        wait = self._turns.take(key, self._monotonic())
        if wait:
            raise PageRefusal(
                HTTPStatus.TOO_MANY_REQUESTS, f"Too many checks: again in {int(wait) + 1} seconds."
            )
        if not self._one.acquire(timeout=PATIENCE):
            raise PageRefusal(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY)
        try:
            yield
        finally:
            self._one.release()
