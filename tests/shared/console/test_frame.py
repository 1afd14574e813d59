"""Pages: no right, no start; a form counts from a page of the same visit only."""

from http import HTTPStatus
from typing import Any

import pytest
from tests.support.homes.consoles import HOST, Browser, ConsoleBench

from fieldfare.shared.console.credentials import form_token
from fieldfare.shared.console.frame import Page, Visit, console_app
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole, Right
from fieldfare.shared.errors import LedgerError, UsageError

SCRIPT = "<script>alert(1)</script>{{ 7 * 7 }}\"'><img src=x onerror=alert(2)>"


def echo(visit: Visit) -> Any:
    said = visit.form.get("said", visit.query.get("said", ""))
    return visit.page("error.html", status=HTTPStatus.OK, text=said)


def pages() -> tuple[Page, ...]:
    return (Page("/echo", Right.ENTER, echo), Page("/echo", Right.ENTER, echo, "POST"))


@pytest.fixture
def browser(console: ConsoleBench) -> Browser:
    found = Browser(console.app(*pages()))
    console.log_in(found, console.enrolled("anna"))
    return found


@pytest.mark.parametrize("right", [None, "", "enter", "anybody"])
def test_a_page_without_a_right_does_not_start(console: ConsoleBench, right: Any) -> None:
    with pytest.raises(UsageError, match="expected a right"):
        console_app(console.parts(Page("/x", right, echo)))
    with pytest.raises(UsageError, match="found one twice"):
        console_app(console.parts(*pages(), *pages()))


def test_every_role_is_in_the_table() -> None:
    assert set(RIGHTS) == set(ConsoleRole)
    assert {right for rights in RIGHTS.values() for right in rights} == set(Right)


def test_texts_are_shown_and_never_run(browser: Browser) -> None:
    for answer in (
        browser.fill("/echo", page="/", said=SCRIPT),
        browser.get("/echo", params={"said": SCRIPT}),
    ):
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "{{ 7 * 7 }}" in answer.text


@pytest.mark.parametrize(
    "headers", [{"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}]
)
def test_a_form_of_another_site_does_nothing(
    console: ConsoleBench, browser: Browser, headers: dict[str, str]
) -> None:
    fields = {"token": form_token(browser.cookies["fieldfare-test"]), "said": "x"}
    assert browser.sent("/echo", fields, **headers).status_code == 403
    assert browser.sent("/echo", fields, sec_fetch_site="same-origin").status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_of_another_site_ends_no_visit(browser: Browser, site: str) -> None:
    """Such a request carries no cookie, so no answer to it sets one; a link leads on from here."""
    bare, elsewhere = Browser(browser.app), {"sec-fetch-site": site}
    for path in ("/echo?said=a%22b", "/none", "/log-in"):
        answer = bare.get(path, headers=elsewhere)
        assert "set-cookie" not in answer.headers
    text = bare.get("/echo?said=a%22b", headers=elsewhere).text
    assert 'href="/echo?said=a%22b"' in text
    for path, said in (("/echo", "x"), ("/log-out", "")):
        answer = bare.sent(path, {"token": "0" * 64, "said": said}, sec_fetch_site=site)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    followed = browser.get("/echo?said=a%22b", headers={"sec-fetch-site": "same-origin"})
    assert "a&#34;b" in followed.text
    assert browser.get("/echo", headers=elsewhere).status_code == 200  # its cookie came
    assert "set-cookie" in bare.get("/log-in", headers={"sec-fetch-site": "none"}).headers


def test_an_address_with_one_slash_more_leads_nowhere(browser: Browser) -> None:
    """A library redirects by scheme and host: behind a proxy with TLS, to http."""
    answer = browser.get("/echo/")
    assert (answer.status_code, "location" in answer.headers) == (404, False)


@pytest.mark.parametrize("token", [None, "", "0" * 64, form_token("of another visit")])
def test_a_form_without_its_token_does_nothing(
    console: ConsoleBench, browser: Browser, token: str | None
) -> None:
    fields = {"said": "x"} | ({} if token is None else {"token": token})
    answer = browser.sent("/echo", fields)
    assert answer.status_code == 403
    assert "nothing was done" in answer.text
    browser.sent("/log-out", fields)
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    "body", ["said", "a=1&a=2", "a=%ff", "&".join(f"f{n}=1" for n in range(300)), "a=1;b=2&c"]
)
def test_odd_forms_are_errors_that_are_pages(browser: Browser, body: str) -> None:
    answer = browser.post(
        "/echo", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 400
    assert "<h1>" in answer.text


def test_other_kinds_of_bodies_are_refused(browser: Browser) -> None:
    for kind in ("multipart/form-data; boundary=x", "text/plain", "application/json"):
        answer = browser.post("/echo", content=b"x=1", headers={"content-type": kind})
        assert answer.status_code == 415


def test_the_cookie_is_closed_to_scripts_and_other_sites(console: ConsoleBench) -> None:
    cookie = Browser(console.app()).get("/log-in").headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*cookie.split("; ")}
    parts = console.parts()
    secure = type(parts)(**{**vars(parts), "secure": True, "cookie": "__Host-x"})
    cookie = Browser(console_app(secure)).get("/log-in").headers["set-cookie"]
    assert cookie.startswith("__Host-x=")
    assert "Secure" in cookie.split("; ")
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (UsageError("expected an alert, found none"), 400, "expected an alert"),
        (LedgerError("expected room, found none"), 503, "expected room"),
        (ValueError("MARKER-VALUE"), 500, "the console&#39;s own log"),
    ],
)
def test_errors_are_pages(console: ConsoleBench, error: Exception, status: int, shown: str) -> None:
    def fails(_: Visit) -> Any:
        raise error

    browser = Browser(console.app(Page("/fails", Right.ENTER, fails)))
    console.log_in(browser, console.enrolled("anna"))
    answer = browser.get("/fails")
    assert answer.status_code == status
    assert shown in answer.text
    assert "MARKER" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/static/../frame.py",
        "/static/%2e%2e/frame.py",
        "/static//etc/passwd",
        "/static/console.css%00",
        "/static/layout.html",
    ],
)
def test_no_path_leads_to_a_file(console: ConsoleBench, path: str) -> None:
    assert Browser(console.app()).get(f"http://{HOST}{path}").status_code == 404
