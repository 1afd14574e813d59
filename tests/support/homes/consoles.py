"""A console in memory, persons who are enrolled there, and browsers without a script."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest
from starlette.testclient import TestClient
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.alert_queue import HomeQueue, open_queue
from fieldfare.client.alerts.kept_entries import KeptEntries
from fieldfare.client.alerts.store import open_store
from fieldfare.client.console.pages import menu_of, pages_of
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.desk.process import desk_lines
from fieldfare.client.home.layout import Home
from fieldfare.server.console.pages import MENU as COORDINATOR_MENU
from fieldfare.server.console.pages import TEMPLATES as COORDINATOR_TEMPLATES
from fieldfare.server.console.pages import pages_of as coordinator_pages
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.console import credentials
from fieldfare.shared.console.accounts import AccountBook, ConsoleAct, open_accounts
from fieldfare.shared.console.credentials import code_of, factor_of
from fieldfare.shared.console.frame import ConsoleParts, MenuEntry, Page, console_app
from fieldfare.shared.console.log_in import Entrance
from fieldfare.shared.console.rights import ConsoleRole, Right
from fieldfare.shared.desk.answering import Desk
from fieldfare.shared.desk.asking import DeskClient
from fieldfare.shared.desk.calls import Answered, Asked, DeskCall, question_bytes, read_answer
from fieldfare.shared.system.clock import utc_now

HOST: Final = "127.0.0.1:8700"
PASSWORD: Final = "correct horse battery"  # noqa: S105 -- of nobody
VISIT: Final = "V" * 43
SECRET: Final = re.compile(r'class="secret">([A-Z2-7 ]+)<')
TOKEN: Final = re.compile(r'name="token" value="(\w+)"')
FORM: Final = "application/x-www-form-urlencoded"


class Ticking:
    """A clock and an entropy that a test moves."""

    def __init__(self) -> None:
        self.seconds, self.drawn = 1_800_000_000.0, 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def entropy(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.sha512(str(self.drawn).encode()).digest()[:size]


class Browser(TestClient):
    """A browser that keeps cookies and runs no script; failures of pages are answers."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            app, base_url=f"http://{HOST}", raise_server_exceptions=False, follow_redirects=False
        )

    def shown(self, path: str) -> str:
        """The text of a page, as a person reads it."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return unescape(re.sub(r"<[^>]+>", " ", answer.text))

    def fill(self, path: str, page: str = "", **fields: str) -> httpx.Response:
        """Fill in a form of a page (else of the same path) and send it."""
        found = TOKEN.search(self.get(page or path).text)
        assert found, f"expected a form on {page or path}"
        return self.sent(path, {"token": found[1], **fields})

    def sent(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        """Send fields as they are."""
        body = urlencode(fields)
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        answer: httpx.Response = self.post(
            path, content=body, headers={"content-type": FORM, **said}
        )
        return answer


def secret_on(page: str) -> bytes:
    """The second factor that a page of enrolment shows."""
    found = SECRET.search(page)
    assert found, "expected a secret"
    return base64.b32decode(found[1].replace(" ", ""))


@dataclass
class ConsoleBench:
    """A console with the pages of a test beside its entrance."""

    book: AccountBook
    time: Ticking
    acts: list[tuple[str, str, str]] = field(default_factory=list)
    factors: dict[str, bytes] = field(default_factory=dict)

    def tell(self, act: ConsoleAct, person: str, account: str) -> None:
        self.acts.append((act.value, person, account))

    def parts(
        self, *pages: Page, menu: Sequence[MenuEntry] = (), templates: Sequence[str] = ()
    ) -> ConsoleParts:
        return ConsoleParts(
            name="bank-a",
            cookie="fieldfare-test",
            secure=False,
            hosts={HOST},
            book=self.book,
            tell=self.tell,
            pages=(*Entrance(self.time.monotonic).pages, *pages),
            menu=menu,
            templates=templates,
        )

    def app(self, *pages: Page) -> Any:
        inside = {"status": HTTPStatus.OK, "text": "You are inside."}
        home = Page("/", Right.ENTER, lambda visit: visit.page("error.html", **inside))
        return console_app(self.parts(home, *pages))

    def invite(self, name: str, role: ConsoleRole = ConsoleRole.ANALYST) -> str:
        """Add an account; return its link."""
        link = self.book.add(name, role, lambda _: None)
        self.factors[name] = factor_of(link, VISIT)
        return link

    def enrolled(self, name: str, role: ConsoleRole = ConsoleRole.ANALYST) -> str:
        """Add an account that has a password and a second factor."""
        link = self.invite(name, role)
        self.book.enrol(link, VISIT, PASSWORD, self.code(name), lambda _: None)
        return name

    def code(self, name: str) -> str:
        """The code of a person at this moment, which was not used yet."""
        self.time.seconds += 60
        return code_of(self.factors[name], self.time.seconds)

    def log_in(self, browser: Browser, name: str) -> httpx.Response:
        answer = browser.fill("/log-in", name=name, password=PASSWORD)
        assert answer.headers.get("location") == "/second-factor", answer.text
        return browser.fill("/second-factor", code=self.code(name))


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that are hashed in a millisecond."""
    monkeypatch.setattr(credentials, "MEMORY_KIB", 64)
    monkeypatch.setattr(credentials, "PASSES", 1)


@pytest.fixture
def console(quick_passwords: None) -> Iterator[ConsoleBench]:
    time = Ticking()
    with open_accounts(None, time.now, time.entropy) as book:
        yield ConsoleBench(book, time)


class DeskHere(DeskClient):
    """A desk in this process: questions and answers travel as bytes, without a socket."""

    def ask(self, call: DeskCall[Asked, Answered], asked: Asked) -> Answered:
        answering = Desk(desk_lines(Home.open(self.path)), set)
        content = answering.answer(question_bytes(call.name, asked), self.owner)
        return read_answer(content, call.answered)


@dataclass(frozen=True)
class PlaceWithDesk(ConsolePlace):
    """A console's place whose desk answers for the home that is named."""

    of: Path | None = None

    @property
    def desk(self) -> DeskClient:
        if self.of is None:
            return super().desk
        return DeskHere(self.of, os.geteuid(), "start")


def desk(home: Path, console: ConsoleBench, of: Path | None = None) -> Any:
    """The institution's console on a home or a casework folder, with the accounts of a bench."""
    here = of or (home if Home(home).settings.exists() else None)
    place = PlaceWithDesk(home, home, console.book, here)
    pages = pages_of(place)
    parts = console.parts(*pages, menu=menu_of(pages), templates=("fieldfare.client.console",))
    return console_app(parts)


def coordinator_desk(home: CoordinatorHome, console: ConsoleBench) -> Any:
    """The coordinator's console on a home, with the accounts of a bench."""
    pages = coordinator_pages(CoordinatorPlace(home.path, home.path, console.book))
    parts = console.parts(*pages, menu=COORDINATOR_MENU, templates=COORDINATOR_TEMPLATES)
    return console_app(parts)


def kept_alerts(home: Home, count: int, **changes: Any) -> None:
    """Keep so many alerts in a home, of one to three families, every tenth from below the line."""
    names = ("FLOW", "ALT_PAY", "TIME")
    alerts = []
    for number in range(count):
        families = 1 + number % 3
        data = {
            "alert": f"{number:016x}",
            "unit": f"MARKER-{number}",
            "rank": number + 1,
            "families": families,
            "family_names": names[:families],
            "selected": "below_line" if number % 10 == 9 else "alert",
        }
        alerts.append(reported_alert(**(data | changes)))
    with open_store(home) as store:
        store.put(alerts)


def kept_statement(home: Home, alerts: Sequence[Alert], statement: KeptEntries) -> None:
    """Keep alerts, the first with its customer's entries, as `score --entries` does."""
    queue = open_queue(home.path)
    assert isinstance(queue, HomeQueue)
    day = utc_now().date() + timedelta(days=1)
    first = alerts[0].alert
    closed = queue.entry_keys.close(statement.packed(), first, day)
    with queue.store() as store:
        store.put(alerts)
        store.keep_entries({first: closed}, day)
