"""2,000 hostile lines at every way in: password, code and link, and the accounts' commands.

Nobody comes in, nobody is locked out for good, no account changes, the log names known accounts
only, and no answer runs, leaks or fails. `make nightly PART=console`; the way in by an identity
provider is in tests/shared/console/test_provider.py.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_from_bytes, urlencode

import httpx
import pytest
from tests.support.attacks.hostile_lines import LINES, hostile_lines
from tests.support.attacks.judged import TOLD, judge
from tests.support.homes import journals
from tests.support.homes.consoles import FORM, PASSWORD, TOKEN, Browser, ConsoleBench, secret_on
from tests.support.homes.institutions import Coordinator

from fieldfare.client.console.place import console_place
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.accounts import PROVING
from fieldfare.shared.console.credentials import code_of, form_token
from fieldfare.shared.console.frame import FORM_TOKEN
from fieldfare.shared.console.log_in import NOBODY_KNOWN, STRANGER_AGAIN, TRY_AGAIN
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.console.terminal import add_account, close_account, link_account
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.home_folder import is_plain_name

pytestmark = [pytest.mark.promises, pytest.mark.timeout(3_000)]

AT: Final = "http://127.0.0.1:8700"
COOKIE: Final = "fieldfare-test"
KINDS: Final = (FORM, "application/json", "multipart/form-data; boundary=x", "text/plain", "")
TURN: Final = TRY_AGAIN + 1  # seconds, after which one more try of an account counts
LONGEST: Final = 4_000  # bytes in an address; longer ones are refused before a page is asked
FROM_TERMINAL: Final = 10  # each so-manyth name is typed as a command too


@dataclass
class Stranger:
    """Somebody in a browser in which nobody was before, at a console with one person."""

    console: ConsoleBench
    app: Any = field(init=False)
    browser: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.console.enrolled("anna", ConsoleRole.OPERATOR)
        self.app = self.console.app()
        self.browser = Browser(self.app)
        self.kept = self.state()

    def state(self) -> list[tuple[Any, ...]]:
        """What the file of accounts holds of people."""
        query = "SELECT name, role, password, factor, closed FROM account"
        return list(self.console.book._rows(query))

    def post(self, path: str, others: dict[str, str], name: str, line: bytes) -> httpx.Response:
        """Send a form of this visit with a line in one of its fields."""
        token = form_token(self.browser.cookies[COOKIE])
        fields = {one: value for one, value in {FORM_TOKEN: token, **others}.items() if one != name}
        body = f"{urlencode(fields)}&{name}={quote_from_bytes(line)}"
        return self.raw(path, body)

    def raw(self, path: str, body: str | bytes, kind: str = FORM) -> httpx.Response:
        sent: httpx.Response = self.browser.post(path, content=body, headers={"content-type": kind})
        return sent

    def judge(self, answer: httpx.Response, said: str) -> None:
        """Nobody is in, and the answer keeps to itself."""
        judge(answer, said, [PASSWORD, self.console.factors[self.name].hex()])
        assert answer.headers.get("location") in {None, "/log-in", "/second-factor"}, said

    def nothing_changed(self) -> None:
        """Nobody proved both, the account is as it was, the log has known names, anna comes in."""
        proved = self.console.book._rows("SELECT count(*) FROM session WHERE proved")
        assert proved == [(0,)]
        assert self.state() == self.kept
        assert {name for _, *names in self.console.acts for name in names} <= {
            self.name, NOBODY_KNOWN, ""
        }  # fmt: skip
        self.console.time.seconds += TURN
        assert self.console.log_in(Browser(self.app), self.name).headers["location"] == "/"


@pytest.fixture
def stranger(console: ConsoleBench) -> Stranger:
    return Stranger(console)


def numbered() -> Iterator[tuple[int, bytes, str]]:
    """Each line, with its number and words that name it."""
    for number, line in enumerate(hostile_lines()):
        yield number, line, f"line {number}: {line[:80]!r}"


def test_no_line_is_a_name_or_a_password(stranger: Stranger) -> None:
    names = ("name", "password", FORM_TOKEN, "zz9")
    right = {"name": stranger.name, "password": PASSWORD}
    stranger.browser.get("/log-in")
    for number, line, said in numbered():
        name = names[number % len(names)]
        stranger.console.time.seconds += TURN
        # The right two beside a token of no page are no log-in; beside one field more, they are.
        others = right | ({"password": "not anna's words"} if name == "zz9" else {})
        stranger.judge(stranger.post("/log-in", others, name, line), f"{name}, {said}")
        stranger.judge(stranger.raw("/log-in", line, KINDS[number % len(KINDS)]), f"body, {said}")
        assert stranger.browser.get("/").headers["location"] == "/log-in", said
    stranger.nothing_changed()


def test_lines_that_come_too_fast_lock_nobody_out(stranger: Stranger) -> None:
    """Without a pause: thirty are heard, and a person in a browser of their own comes in."""
    own = Browser(stranger.app)
    stranger.console.log_in(own, stranger.name)
    own.fill("/log-out", page="/")
    stranger.browser.get("/log-in")
    others = {"name": stranger.name, "password": "x"}
    for number, line, said in numbered():
        name = ("name", "password")[number % 2]
        stranger.judge(stranger.post("/log-in", others, name, line), f"{name}, {said}")
    assert stranger.console.log_in(own, stranger.name).headers["location"] == "/"
    assert len(stranger.console.acts) <= 4 + 2  # what anna did, and two names held back


def test_no_line_is_a_code(stranger: Stranger) -> None:
    """After the right password, which somebody found out."""
    names = ("code", FORM_TOKEN, "code", "zz9")
    for number, line, said in numbered():
        stranger.console.time.seconds += PROVING.total_seconds() + 1
        password = {"name": stranger.name, "password": PASSWORD}
        assert stranger.browser.fill("/log-in", **password).headers["location"] == "/second-factor"
        stranger.judge(stranger.browser.get("/second-factor"), said)
        name = names[number % len(names)]
        # A right code beside a token of no page counts not.
        code = stranger.console.code(stranger.name) if name == FORM_TOKEN else "000000"
        answer = stranger.post("/second-factor", {"code": code}, name, line)
        stranger.judge(answer, f"{name}, {said}")
        assert stranger.browser.get("/").headers["location"] == "/second-factor", said
    stranger.console.time.seconds += TURN
    stranger.nothing_changed()


def test_no_line_enrols(stranger: Stranger) -> None:
    """A link that counts, and a line in each field; a line as the link, in an address too."""
    names = ("link", "again", "code", FORM_TOKEN, "password", "username")
    new, book = "nora", stranger.console.book
    link = stranger.console.invite(new)
    stranger.kept = stranger.state()
    stranger.browser.get(f"/enrol?link={link}")
    right = {"link": link, "username": new, "password": PASSWORD, "again": PASSWORD}
    for number, line, said in numbered():
        stranger.console.time.seconds += STRANGER_AGAIN
        name = names[number % len(names)]
        # Whoever has link, password and code is the person: so no code is right but one, which
        # stands beside a token of no page.
        shown = secret_on(stranger.browser.get(f"/enrol?link={link}").text)
        code = code_of(shown, stranger.console.time.seconds) if name == FORM_TOKEN else "000000"
        answer = stranger.post("/enrol", right | {"code": code}, name, line)
        stranger.judge(answer, f"{name}, {said}")
        if len(line) < LONGEST:
            found = stranger.browser.get(f"/enrol?link={quote_from_bytes(line, safe='')}")
            stranger.judge(found, f"address, {said}")
        assert book.invited(link), said
    stranger.nothing_changed()


def test_a_password_of_any_letters_leads_in_again(console: ConsoleBench) -> None:
    """What a form took as a password at the enrolment, it takes at the log-in."""
    app, link, taken = console.app(), console.invite("nora"), 0
    for _, line, said in numbered():
        browser, typed = Browser(app), quote_from_bytes(line + b" and nine more")
        console.time.seconds += TURN
        page = browser.get(f"/enrol?link={link}").text
        console.factors["nora"] = secret_on(page)
        fields = {FORM_TOKEN: TOKEN.findall(page)[0], "link": link, "code": console.code("nora")}
        body = f"{urlencode(fields)}&password={typed}&again={typed}"
        answer = browser.post("/enrol", content=body, headers={"content-type": FORM})
        judge(answer, said, [console.factors["nora"].hex()])
        if answer.headers.get("location") == "/":
            taken += 1
            other = Browser(app)
            token = TOKEN.findall(other.get("/log-in").text)[0]
            body = f"{urlencode({FORM_TOKEN: token, 'name': 'nora'})}&password={typed}"
            again = other.post("/log-in", content=body, headers={"content-type": FORM})
            assert again.headers.get("location") == "/second-factor", said
        link = console.book.link("nora", lambda _: None)
    assert taken > LINES // 4


def test_no_line_is_an_account(coordinator: Coordinator, capfd: pytest.CaptureFixture[str]) -> None:
    """What the operator's commands are given as a name: a plain one is, everything else is not."""
    home = coordinator.homes["bank-a"]
    command = ("console", "account")
    assert run((*command, "add", "anna", "--role", "analyst", "--home", str(home.path))) == 0
    with console_place(home.path, None, os.urandom) as place:
        for number, line, said in numbered():
            name = os.fsdecode(line.replace(b"\0", b""))
            there = place.book.account(name) is not None
            added = taken(lambda: add_account(place, name, ConsoleRole.ANALYST, AT, ""))  # noqa: B023
            assert added == (is_plain_name(name) and not there), said
            for act in (link_account, lambda *of: close_account(*of[:2])):
                assert taken(lambda: act(place, name, AT, "")) == (added or there), said  # noqa: B023
            if number % FROM_TERMINAL == 0:
                capfd.readouterr()
                status = run((*command, "link", "--home", str(home.path), "--", name))
                written = "".join(capfd.readouterr())
                assert status == (0 if is_plain_name(name) else 2), said
                assert not TOLD.search(written), said
                assert all(one.isprintable() or one == "\n" for one in written), said
        names = [one.name for one in place.book.all()]
    assert "anna" in names
    assert all(map(is_plain_name, names))
    for one in journals.logged(home.log_folder):
        assert is_plain_name(one["details"].get("account", "anna"))


def taken(act: Callable[[], None]) -> bool:
    """Whether an account's command was done; where it was not, it says why in words of its own."""
    said = ""
    try:
        act()
    except UsageError as error:
        said = str(error)
    assert said.isprintable()
    return not said
