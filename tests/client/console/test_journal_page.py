"""The log in a browser: pages and filters are addresses, and nothing about an alert is there."""

import re
from datetime import UTC, datetime

import pytest
from tests.support.homes import journals
from tests.support.homes.consoles import Browser, ConsoleBench, desk

from fieldfare.client.home.layout import Home
from fieldfare.client.journal.entries import CASEWORK, Event
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.console.rights import ConsoleRole

SCRIPT = "<script>alert(1)</script>"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def edda(home: Home, console: ConsoleBench) -> Browser:
    browser = Browser(desk(home.path, console))
    console.log_in(browser, console.enrolled("edda", ConsoleRole.EXAMINER))
    return browser


@pytest.fixture
def filled(home: Home) -> Home:
    with Journal.open(home.log_folder, clock=lambda: NOON) as journal:
        for step in range(120):
            journal.append(Event.REQUEST, "coordinator", study="ab", step=step)
            if step % 40 == 0:
                journal.append(Event.REJECTION, SCRIPT, reason=f"{SCRIPT} {{{{7*7}}}}")
                for event in CASEWORK:
                    journal.append(event, "MARKER", kind="MARKER")
    return home


def numbers(text: str) -> list[int]:
    return [int(one) for one in re.findall(r'data-label="Number" class="whole">(\d+)<', text)]


def test_pages_hold_every_entry_once_newest_first(filled: Home, edda: Browser) -> None:
    where, seen = "/log", []
    for _ in range(6):
        text = edda.get(where).text
        seen += numbers(text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        if not following:
            break
        where = following[1].replace("&amp;", "&")
    hidden = {one.value for one in CASEWORK}
    logged = journals.logged(filled.log_folder)
    assert seen == [one["sequence"] for one in reversed(logged) if one["event"] not in hidden]
    assert "Newest" in text


def test_filters_are_an_address(filled: Home, edda: Browser) -> None:
    assert len(numbers(edda.get("/log?kind=rejection").text)) == 3
    text = edda.get("/log?kind=request&person=coordinator").text
    assert "kind=request&amp;person=coordinator&amp;before=" in text
    assert numbers(edda.get("/log?person=nobody").text) == []
    assert numbers(edda.get("/log?person=MARKER").text) == []


def test_nothing_of_an_alert_and_no_script_is_there(filled: Home, edda: Browser) -> None:
    pages = [edda.get(f"/log?{query}").text for query in ("", "kind=rejection", "person=%3Cscript")]
    assert "&lt;script&gt;" in pages[1]
    assert "{{7*7}}" in pages[1]
    for text in pages:
        assert SCRIPT not in text
        assert "MARKER" not in text
    odd = ("kind=alert+act", "kind=none", "before=x", "before=-1", f"before={'9' * 20}")
    for query in (*odd, "before=%C2%B2", f"person={'x' * 300}"):
        assert edda.get(f"/log?{query}").status_code == 400, query


def test_a_damaged_entry_and_no_log_are_said(home: Home, edda: Browser) -> None:
    assert "expected a log" in edda.shown("/log")
    with Journal.open(home.log_folder, clock=lambda: NOON) as journal:
        journal.append(Event.START, "custodian", version="1")
    assert numbers(edda.get("/log").text) == [1]
    journals.rewrite_entries(home.log_folder)
    text = edda.get("/log").text
    assert numbers(text) == []
    assert "entry 1" in text
