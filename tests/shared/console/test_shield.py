"""Every answer has its headers; foreign names, long addresses and large bodies get nowhere."""

from http import HTTPStatus

import pytest
from starlette.responses import Response
from tests.support.homes.consoles import FORM, HOST, Browser, ConsoleBench

from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import HEADERS, MOST_BODY

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.fixture
def browser(console: ConsoleBench) -> Browser:
    return Browser(console.app(Page("/broken", Right.ANYBODY, lambda _: 1 // 0)))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/log-in", 200),
        ("GET", "/", 303),
        ("GET", "/none", 404),
        ("PUT", "/log-in", 405),
        ("POST", "/log-in", 415),
        ("GET", "/broken", 500),
        ("GET", "/static/console.css", 200),
        ("GET", "/static/console.js", 200),
        ("GET", "/static/none.js", 404),
        ("GET", f"/log-in?{'x' * 5000}", 414),
        ("GET", "/enrol?link=x", 404),
    ],
)
def test_every_answer_has_the_headers(
    browser: Browser, method: str, path: str, status: int
) -> None:
    answer = browser.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == POLICY
    for name, value in HEADERS:
        assert answer.headers.get_list(name.decode()) == [value.decode()]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8700", "127.0.0.1", "127.0.0.1:80", "", f"{HOST}.evil"]
)
def test_another_host_is_not_answered(browser: Browser, host: str) -> None:
    """DNS rebinding: the page's own name stands in Host."""
    answer = browser.get("/log-in", headers={"host": host})
    assert answer.status_code == 421
    assert host == "" or host not in answer.text
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("announced", [True, False])
def test_large_bodies_are_refused(browser: Browser, *, announced: bool) -> None:
    body = b"name=" + b"x" * MOST_BODY
    sent = body if announced else iter([body[:100], body[100:]])
    answer = browser.post("/log-in", content=sent, headers={"content-type": FORM})
    assert answer.status_code == 413
    assert answer.headers["content-security-policy"] == POLICY
    assert "<title>" in answer.text  # a page, in the frame of the others
    assert "more than 64 KiB: nothing was done" in answer.text
    assert "xxx" not in answer.text


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5_000])
def test_a_length_that_is_none_is_refused(browser: Browser, length: str) -> None:
    head = {"content-type": FORM, "content-length": length}
    assert browser.post("/log-in", content=iter([b"x"]), headers=head).status_code == 413


def test_a_page_may_take_more(console: ConsoleBench) -> None:
    def told(visit: Visit) -> Response:
        return visit.page("error.html", status=HTTPStatus.OK, text=str(len(visit.form["name"])))

    page = Page("/large", Right.ANYBODY, told, "POST", size=2 * MOST_BODY)
    browser = Browser(console.app(page))
    text = "x" * MOST_BODY
    assert str(MOST_BODY) in browser.fill("/large", page="/log-in", name=text).text
    assert browser.fill("/log-in", name=text).status_code == 413
    assert browser.fill("/large", page="/log-in", name=text * 2).status_code == 413


def test_what_failed_is_told_by_its_place_alone(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    assert "division" not in browser.get("/broken").text
    assert "ZeroDivisionError" in caplog.text
    assert "by zero" not in "".join(record.getMessage() for record in caplog.records)
