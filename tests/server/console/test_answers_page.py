"""Answers in a browser: facets as addresses, tables, pictures, what was held back."""

from dataclasses import replace
from html import unescape

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.runs.answered import answer_set

from fieldfare.server.answers.sets import AnswerSet
from fieldfare.server.console import answers_page
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.clock import utc_now

SCRIPT = "<script>alert(1)</script>"
ANSWERED = answer_set()
KINDS = {one.kind for one in ANSWERED.answers}


@pytest.fixture
def eva(keyed: KeyedCoordinator, console: ConsoleBench, monkeypatch: pytest.MonkeyPatch) -> Browser:
    with keyed.store() as store:
        for run in ("run-1", "run-2", "broken"):
            store.create(run, keyed.study.id, utc_now())
            store.set_state(run, RunStatus.FINISHED, "", utc_now())
    monkeypatch.setattr(answers_page, "kept_answers", _kept)
    browser = Browser(coordinator_desk(keyed.home, console))
    console.log_in(browser, console.enrolled("eva", ConsoleRole.EXAMINER))
    return browser


def _kept(store: RunStore, home: CoordinatorHome, row: RunRow) -> tuple[AnswerSet, ...]:
    if row.run == "broken":
        raise RunError("run broken: the kept run cannot be read: expected a leaf")
    if row.run == "run-2":
        return (replace(ANSWERED, run=row.run, name=f"second {SCRIPT}", later=True),)
    return (replace(ANSWERED, run=row.run),)


def test_every_answer_is_listed_with_facets_that_are_addresses(eva: Browser) -> None:
    page = eva.get("/answers")
    assert SCRIPT not in page.text
    text = unescape(page.text)
    assert f"{2 * len(ANSWERED.answers)} answers" in text
    assert "run broken: the kept run cannot be read" in text
    for kind in KINDS:
        assert f'href="/answers?kind={kind}"' in text
    only = unescape(eva.get("/answers?kind=trend&question=months").text)
    assert "2 answers" in only
    assert 'href="/answers?question=months"' in only  # takes the other one off
    assert "There are no such answers yet" in eva.get("/answers?kind=none").text
    month = f"{utc_now():%Y-%m}"
    assert f"{2 * len(ANSWERED.answers)} answers" in eva.get(f"/answers?month={month}").text


def test_a_set_is_a_table_with_intervals_and_says_what_was_held_back(eva: Browser) -> None:
    text = unescape(eva.get("/answers/run-1/0").text)
    held = sum(one.suppressed for one in ANSWERED.answers)
    assert held
    assert text.count('class="soft">held back<') == held
    assert "cells held back" in text
    for answer in ANSWERED.answers:
        assert f"<h2>{answer.name}</h2>" in text
    assert "3 institutions in the sum, which are never named" in text
    assert "asked later" in unescape(eva.get("/answers/run-2/0").text)


def test_pictures_and_files_come_from_here(eva: Browser) -> None:
    page = eva.get("/answers/run-1/0").text
    assert page.count('<img class="plot"') == len([a for a in ANSWERED.answers if a.cells])
    png = eva.get("/answers/run-1/0/0.png")
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")
    svg = eva.get("/answers/run-1/0/6.svg")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert "script-src 'self'" in svg.headers["content-security-policy"]
    rows = eva.get("/answers/run-1/0/answers.csv").text.splitlines()
    assert len(rows) == 1 + sum(len(one.cells) for one in ANSWERED.answers)
    found = eva.get("/answers/run-1/0/answers.json").json()["answered"]
    assert [one["name"] for one in found[0]["answers"]] == [a.name for a in ANSWERED.answers]


@pytest.mark.parametrize(
    "path",
    [
        "/answers/none/0",
        "/answers/run-1/1",
        "/answers/run-1/-1",
        "/answers/run-1/x",
        "/answers/run-1/0/99.png",
        "/answers/run-1/0/0.pdf",
        "/answers/run-1/0/..%2f0.png",
        "/answers/run-1/0/answers.exe",
        "/answers/..%2f..%2fkeys/0",
        "/answers/run-1/9999999999999999999",
        "/answers/run-1/%D9%A1",
    ],
)
def test_what_is_not_there_is_a_page(eva: Browser, path: str) -> None:
    answer = eva.get(path)
    assert answer.status_code in {400, 404}
    assert "Back to the first page" in answer.text


def test_answers_of_ended_runs_are_read_once(eva: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    eva.get("/answers")
    monkeypatch.setattr(answers_page, "kept_answers", lambda *_: ())
    assert f"{2 * len(ANSWERED.answers)} answers" in eva.get("/answers").text
