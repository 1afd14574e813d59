"""An analyst's and a reviewer's path over one alert's page, with scripts off."""

import re
from html import unescape

import pytest
from tests.client.alerts.test_card import STATEMENT
from tests.support.homes import journals
from tests.support.homes.consoles import TOKEN, Browser, ConsoleBench, desk, kept_statement
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.alert_queue import HomeQueue, open_queue
from fieldfare.client.home.layout import Home
from fieldfare.shared.console.rights import ConsoleRole

FIRST = reported_alert(study_name="<script>alert(1)</script>")
SECOND = reported_alert(
    study_name=FIRST.study_name, alert="cccc3333dddd4444", unit="other", rank=901,
    selected="below_line", families=0, family_names=(), evidence=(), fired=(),
    base=-3.0, others=-1.5, score=0.75,
    reasons=[{**one.model_dump(), "evidence": False} for one in FIRST.reasons],
)  # fmt: skip
THIRD = reported_alert(alert="eeee5555ffff6666", unit="third", families=3, rank=3)
PATH, CASE = f"/alerts/{FIRST.alert}", f"/cases/{FIRST.alert}"
HIDDEN = re.compile(r'name="(seen|key|view)" value="([^"]*)"')


@pytest.fixture
def queue(home: Home) -> HomeQueue:
    found = open_queue(home.path)
    assert isinstance(found, HomeQueue)
    kept_statement(home, [FIRST, SECOND, THIRD], STATEMENT)
    return found


class Persons:
    """Browsers of an analyst and a reviewer, who are logged in."""

    def __init__(self, home: Home, console: ConsoleBench) -> None:
        app = desk(home.path, console)
        self.ana, self.ben = Browser(app), Browser(app)
        console.log_in(self.ana, console.enrolled("ana", ConsoleRole.ANALYST))
        console.log_in(self.ben, console.enrolled("ben", ConsoleRole.REVIEWER))


@pytest.fixture
def persons(queue: HomeQueue, console: ConsoleBench) -> Persons:
    return Persons(queue.home, console)


def form(browser: Browser) -> dict[str, str]:
    """The hidden fields of the alert's page as this browser was shown it."""
    text = browser.get(PATH).text
    token = TOKEN.search(text)
    assert token
    return {**dict(HIDDEN.findall(text)), "token": token[1]}


def decide(browser: Browser, shown: dict[str, str], what: str, role: str = "controller") -> int:
    said = {**shown, "disposition": what, "role": role, "confidence": "high", "note": ""}
    return browser.sent(f"{CASE}/decide", said).status_code


def test_the_page_says_what_a_card_says_and_runs_nothing(persons: Persons) -> None:
    answer = persons.ana.get(PATH)
    assert answer.status_code == 200
    assert f'href="/models/{FIRST.study}/{FIRST.run}"' in answer.text
    assert "<script>alert" not in answer.text
    assert "style=" not in answer.text
    assert not re.search(r"\son\w+=", answer.text)
    shown = unescape(re.sub(r"<[^>]+>", " ", answer.text))
    for said in (
        "MARKER-CUSTOMER",
        "2 independent published families",
        "families or fewer",
        "before 2",
        "student. How to tell them apart",
        "never the subject of a report",
        "Entries by week",
        "Nobody has done anything yet",
        "2026-03-31 12:00",
        "R01 R02",
    ):
        assert said in shown, said


def test_who_was_drawn_is_not_told_before_it_is_closed(persons: Persons) -> None:
    for one in (FIRST, SECOND):
        shown = persons.ana.shown(f"/alerts/{one.alert}")
        assert "from the top" not in shown
        assert "at random" not in shown
        assert str(one.rank) not in shown


def test_a_drawn_alert_looks_like_the_ranked_ones_of_its_tier(persons: Persons) -> None:
    """What the queue hides of the lowest tier, the page hides too: only names and ids differ."""
    shown = [persons.ana.get(f"/alerts/{one.alert}").text for one in (FIRST, SECOND)]
    first, second = (text.partition("<dl")[2].partition('<h2 id="decide">')[0] for text in shown)
    assert "R01" in first
    assert first.replace(FIRST.unit, "UNIT") == second.replace(SECOND.unit, "UNIT")
    assert "average here" in persons.ana.shown(f"/alerts/{THIRD.alert}")
    assert decide(persons.ana, form(persons.ana), "benign:known_persona", "bystander") == 303
    closed = persons.ana.shown(PATH)
    for said in ("average here", "2 independent published families:", "not evidence:"):
        assert said in closed


def test_from_the_queue_to_a_decision_in_four_acts(persons: Persons, home: Home) -> None:
    """Follow the alert's link; choose a decision; choose a role; press the button."""
    assert f'href="{PATH}"' in persons.ana.get("/alerts").text
    shown = form(persons.ana)
    assert decide(persons.ana, shown, "benign:known_persona", "bystander") == 303
    assert "closed" in persons.ana.shown(PATH)
    assert "777 of 1,000, from the top" in persons.ana.shown(PATH)
    found = journals.logged(home.log_folder)[-1]
    assert (found["event"], found["actor"]) == ("feedback", "ana")
    assert "MARKER-CUSTOMER" not in str(found)
    assert FIRST.alert not in str(found)


def test_a_form_that_is_sent_twice_decides_once(persons: Persons, queue: HomeQueue) -> None:
    shown = form(persons.ana)
    assert [decide(persons.ana, shown, "edd") for _ in range(2)] == [303, 303]
    with queue.store() as store:
        assert store.find(FIRST.alert).version == 1


def test_another_form_of_an_old_page_is_no_repetition(persons: Persons, queue: HomeQueue) -> None:
    """Back, and another decision: it was not done, so it must not look done."""
    shown = form(persons.ana)
    took = persons.ana.sent(f"{CASE}/act", {**shown, "kind": "take"})
    assert took.status_code == 303
    assert decide(persons.ana, shown, "monitor") == 409
    shown = form(persons.ana)
    assert decide(persons.ana, shown, "escalate") == 303
    assert decide(persons.ana, shown, "escalate") == 303
    assert decide(persons.ana, shown, "monitor") == 409
    with queue.store() as store:
        assert store.find(FIRST.alert).version == 2


def test_the_second_of_two_is_told_what_changed_and_keeps_what_was_typed(persons: Persons) -> None:
    old = form(persons.ben)
    assert decide(persons.ana, form(persons.ana), "edd") == 303
    said = {**old, "disposition": "monitor", "role": "bystander", "note": "my own words"}
    answer = persons.ben.sent(f"{CASE}/decide", said)
    assert answer.status_code == 409
    for words in (
        "ana acted on it since",
        "What changed since you opened this page",
        "edd",
        "my own words",
    ):
        assert words in unescape(answer.text)
    assert decide(persons.ben, form(persons.ben), "monitor") == 303


def test_to_file_needs_a_second_person_and_can_be_undone(persons: Persons) -> None:
    assert decide(persons.ana, form(persons.ana), "file") == 303
    assert "a second person has to decide" in persons.ana.shown(PATH)
    assert decide(persons.ana, form(persons.ana), "file") == 409
    assert decide(persons.ben, form(persons.ben), "file") == 303
    assert "closed" in persons.ben.shown(PATH)
    undo = {**form(persons.ben), "kind": "undo"}
    assert persons.ben.sent(f"{CASE}/act", undo).status_code == 303
    assert "a second person has to decide" in persons.ben.shown(PATH)
    assert persons.ben.sent(f"{CASE}/act", {**form(persons.ben), "kind": "undo"}).status_code == 409


def test_take_comment_and_give_back(persons: Persons) -> None:
    for kind, note in (("take", ""), ("comment", "<b>rang</b> the branch"), ("release", "")):
        said = {**form(persons.ana), "kind": kind, "note": note}
        assert persons.ana.sent(f"{CASE}/act", said).status_code == 303
    text = persons.ana.get(PATH).text
    assert "<b>rang" not in text
    assert "<b>rang</b> the branch" in unescape(text)


HOSTILE = [
    {"seen": "x"},
    {"key": "zz"},
    {"seen": "-1"},
    {"disposition": "gone"},
    {"role": "<b>"},
    {"view": "tier=x"},
    {"note": "x" * 9000},
    {"kind": "gone"},
]


@pytest.mark.parametrize("changed", HOSTILE, ids=str)
def test_another_form_is_refused_as_a_page(persons: Persons, changed: dict[str, str]) -> None:
    said = {**form(persons.ana), "disposition": "edd", "role": "unknown", **changed}
    for path in (f"{CASE}/decide", f"{CASE}/act"):
        answer = persons.ana.sent(path, said)
        assert 400 <= answer.status_code < 500
        assert "<html" in answer.text
        assert "<b>" not in answer.text


def test_no_entry_and_no_name_is_in_an_address(persons: Persons) -> None:
    text = persons.ana.get(PATH).text
    for address in re.findall(r'(?:href|action)="([^"]*)"', text):
        assert "MARKER" not in address
        assert "2026" not in address
