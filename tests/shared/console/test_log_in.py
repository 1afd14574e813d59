"""The way in: both proofs, new tokens at each, tries that end, and nobody locked out for ever."""

import re
from dataclasses import replace

import pytest
from tests.support.homes.consoles import PASSWORD, TOKEN, Browser, ConsoleBench, secret_on

from fieldfare.shared.console import accounts
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.frame import console_app
from fieldfare.shared.console.log_in import STRANGERS, TRIES, TRY_AGAIN
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import LedgerError

COOKIE = "fieldfare-test"
WRONG = "wrong wrong wrong"


@pytest.fixture
def browser(console: ConsoleBench) -> Browser:
    return Browser(console.app())


def fill_in(browser: Browser, name: str, password: str = WRONG) -> int:
    return browser.fill("/log-in", name=name, password=password).status_code


def test_password_and_second_factor_lead_in_and_out(
    console: ConsoleBench, browser: Browser
) -> None:
    assert browser.get("/").headers["location"] == "/log-in"
    assert console.log_in(browser, console.enrolled("anna")).headers["location"] == "/"
    assert "You are inside." in browser.shown("/")
    assert browser.fill("/log-out", page="/").headers["location"] == "/log-in"
    assert browser.get("/").headers["location"] == "/log-in"
    assert [act for act, *_ in console.acts] == ["logged in", "logged out"]


def test_the_password_alone_opens_nothing(console: ConsoleBench, browser: Browser) -> None:
    name = console.enrolled("anna")
    browser.fill("/log-in", name=name, password=PASSWORD)
    assert browser.get("/").headers["location"] == "/second-factor"
    assert browser.fill("/log-out", page="/second-factor").headers["location"] == "/second-factor"
    assert browser.fill("/second-factor", code="000000").status_code == 403
    assert browser.get("/").headers["location"] == "/second-factor"


def test_a_link_enrols_and_leads_in(console: ConsoleBench, browser: Browser) -> None:
    link = console.invite("anna", ConsoleRole.REVIEWER)
    console.factors["anna"] = secret_on(browser.get(f"/enrol?link={link}").text)
    page = browser.shown(f"/enrol?link={link}")
    assert "Enrol anna" in page
    assert "reviewer" in page
    fields = {"link": link, "password": PASSWORD, "again": PASSWORD}
    where = f"/enrol?link={link}"
    wrong = browser.fill("/enrol", page=where, **{**fields, "again": "x"}, code="1")
    assert "not the same" in wrong.text
    assert "six digits" in browser.fill("/enrol", page=where, **fields, code="000000").text
    done = browser.fill("/enrol", page=where, **fields, code=console.code("anna"))
    assert done.headers["location"] == "/"
    assert browser.get("/").status_code == 200
    assert browser.get(where).status_code == 404
    assert [act for act, *_ in console.acts] == ["enrolled", "logged in"]


def test_who_knows_a_link_alone_knows_no_second_factor(console: ConsoleBench) -> None:
    """Whoever made or carried the link, or reads it in a history, sees another secret."""
    link, app = console.invite("anna"), console.app()
    shown = [secret_on(Browser(app).get(f"/enrol?link={link}").text) for _ in range(2)]
    assert shown[0] != shown[1]


def test_tokens_change_at_every_step_and_planted_ones_come_to_nothing(
    console: ConsoleBench, browser: Browser
) -> None:
    """Session fixation: whoever knows an earlier token has nothing afterwards."""
    planted = "A" * 43
    browser.cookies.set(COOKIE, planted, domain="127.0.0.1")
    name, seen = console.enrolled("anna"), [planted]
    browser.fill("/log-in", name=name, password=PASSWORD)
    seen.append(browser.cookies[COOKIE])
    browser.fill("/second-factor", code=console.code(name))
    seen.append(browser.cookies[COOKIE])
    assert len({*seen}) == 3
    assert [console.book.session(token) is not None for token in seen] == [False, False, True]


def test_unknown_names_take_the_same_way(
    console: ConsoleBench, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison at one cost for each try, whoever's name it is; and the same page."""
    costs: list[str] = []

    def compared(_: str, kept: str) -> bool:
        costs.append(kept.rpartition("$")[0].rpartition("$")[0])
        return False

    monkeypatch.setattr(accounts, "is_password", compared)
    console.enrolled("anna")
    console.invite("new")
    texts = []
    for name in ("anna", "new", "nobody"):
        answer = browser.fill("/log-in", name=name, password=PASSWORD)
        assert answer.status_code == 403
        texts.append(re.sub(r'value="[^"]*"', "", answer.text))
    assert len({*texts}) == 1
    assert len(costs) == 3
    assert len({*costs}) == 1


def test_a_stranger_is_held_back_and_locks_nobody_out(console: ConsoleBench) -> None:
    app = console.app()
    own, stranger = Browser(app), Browser(app)
    console.log_in(own, console.enrolled("anna"))
    own.fill("/log-out", page="/")
    assert [fill_in(stranger, "anna") for _ in range(TRIES + 2)] == [403] * TRIES + [429] * 2
    assert fill_in(stranger, "anna", PASSWORD) == 429  # also with the right one
    assert console.log_in(own, "anna").headers["location"] == "/"
    held = [one for one in console.acts if one[0] == "log-in held back"]
    assert held == [("log-in held back", "anna", "")]
    console.time.seconds += TRY_AGAIN
    assert fill_in(stranger, "anna", PASSWORD) == 303


def test_many_names_are_held_back_together(console: ConsoleBench, browser: Browser) -> None:
    found = [fill_in(browser, f"name{number}") for number in range(STRANGERS + 3)]
    assert found == [403] * STRANGERS + [429] * 3


def test_a_flood_of_names_hides_nobody_in_the_log(console: ConsoleBench, browser: Browser) -> None:
    console.enrolled("anna")
    for number in range(2 * STRANGERS + 5):
        fill_in(browser, f"name{number}")
    for _ in range(3):
        assert fill_in(browser, "anna") == 429
    assert [person for _, person, _ in console.acts] == ["nobody known", "anna"]


def test_codes_are_held_back_too(console: ConsoleBench, browser: Browser) -> None:
    name = console.enrolled("anna")
    browser.fill("/log-in", name=name, password=PASSWORD)
    tries = [browser.fill("/second-factor", code="000000").status_code for _ in range(TRIES + 1)]
    assert tries == [403] * TRIES + [429]
    answer = browser.fill("/second-factor", code=console.code(name))
    assert answer.status_code == 429


def test_codes_of_strangers_lock_nobody_out(console: ConsoleBench) -> None:
    """Who found the password out tries codes for ever; the person's browser is counted apart."""
    name, app = console.enrolled("anna"), console.app()
    own, stranger = Browser(app), Browser(app)
    console.log_in(own, name)
    own.fill("/log-out", page="/")
    stranger.fill("/log-in", name=name, password=PASSWORD)
    tries = [stranger.fill("/second-factor", code="000000").status_code for _ in range(TRIES + 1)]
    assert tries == [403] * TRIES + [429]
    assert console.log_in(own, name).headers["location"] == "/"


def full_log(act: ConsoleAct, person: str, account: str) -> None:
    raise LedgerError("expected room, found none")


def test_who_logs_out_is_out_under_another_cookie(console: ConsoleBench) -> None:
    """Also where the log is full; without another cookie, browsers may bring pages back."""
    for tell, status in ((console.tell, 303), (full_log, 503)):
        browser = Browser(console.app())
        console.log_in(browser, console.enrolled(f"anna{status}"))
        before = browser.cookies[COOKIE]
        form = TOKEN.search(browser.get("/").text)
        assert form
        out = Browser(console_app(replace(console.parts(), tell=tell)))
        out.cookies.set(COOKIE, before, domain="127.0.0.1")
        assert out.sent("/log-out", {"token": form[1]}).status_code == status
        assert console.book.session(before) is None


def test_who_cannot_be_logged_does_not_come_in(console: ConsoleBench) -> None:
    browser = Browser(console_app(replace(console.parts(), tell=full_log)))
    name = console.enrolled("anna")
    browser.fill("/log-in", name=name, password=PASSWORD)
    assert browser.fill("/second-factor", code=console.code(name)).status_code == 503
    assert browser.get("/second-factor").status_code == 200


def test_a_closed_account_is_out_at_once(console: ConsoleBench, browser: Browser) -> None:
    console.log_in(browser, console.enrolled("anna"))
    console.book.close("anna", lambda _: None)
    assert browser.get("/").headers["location"] == "/log-in"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "x' OR 1=1 --", "{{ 7*7 }}", "\u202e"]
)
def test_names_are_shown_and_never_run(console: ConsoleBench, browser: Browser, name: str) -> None:
    answer = browser.fill("/log-in", name=name, password="x" * 20)
    assert answer.status_code == 403
    assert "<script>alert" not in answer.text
    assert "49" not in re.sub(r'value="\w+"', "", answer.text)
