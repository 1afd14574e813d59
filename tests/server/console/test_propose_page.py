"""Propose in a browser: what is said of a text, the page before it is signed, and one signature."""

import re
import time
from collections.abc import Iterator
from html import unescape

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.keyed_coordinators import STUDY

from fieldfare.server.desk.calls import ActNote
from fieldfare.server.studies.proposals import proposals
from fieldfare.server.studies.proposing import propose
from fieldfare.server.studies.study_text import MOST_TEXT, shipped_studies
from fieldfare.shared.console.frame import CHECKS
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.study.file import parse_study

SCRIPT = "<script>alert(1)</script>"
TITLES = ("What may be expected", "What leaves", "What changed", "What the check says")


@pytest.fixture
def otto(desk_bench: DeskBench, console: ConsoleBench) -> Iterator[Browser]:
    browser = Browser(coordinator_desk(desk_bench.keyed.home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    with desk_bench.serving():
        yield browser


def said(browser: Browser, text: str, status: int = 200, **fields: str) -> str:
    answer = browser.fill("/propose", text=text, **fields)
    assert answer.status_code == status, answer.text
    return words(answer.text)


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"expected a field {name}"
    return unescape(found[1])


def test_a_text_is_checked_and_priced_beside_it(otto: Browser, desk_bench: DeskBench) -> None:
    shown = said(otto, STUDY)
    for one in (
        "Costs 0.5, 2 is left of 2 in any 365 days",
        "This is the first study of this name here",
        *TITLES,
        "epsilon 0.5 at delta 1e-05 per customer",
    ):
        assert one in shown
    assert list(desk_bench.keyed.home.studies.iterdir()) == []


def test_it_says_not_to_run_what_noise_would_hide(otto: Browser) -> None:
    shown = said(otto, STUDY.replace("units = 60000", "units = 600"))
    assert "Do not run this" in shown
    before = otto.fill("/propose", text=STUDY.replace("units = 60000", "units = 600"), propose="1")
    assert "Do not run this" in before.text


def test_every_mistake_is_said_and_the_text_stays(otto: Browser) -> None:
    wrong = STUDY.replace("epsilon = 0.5", f'epsilon = "{SCRIPT}"').replace("steps = 4", "step = 4")
    answer = otto.fill("/propose", text=wrong, propose="1")
    assert SCRIPT not in answer.text
    shown = words(answer.text)
    assert "It cannot be proposed: training.step: expected no such key" in shown
    assert "privacy.epsilon: expected" in shown
    assert "Propose payments?" not in shown
    assert SCRIPT in unescape(answer.text)  # in the text, as text


def test_the_page_before_says_what_is_signed_and_to_whom(
    otto: Browser, desk_bench: DeskBench
) -> None:
    answer = otto.fill("/propose", text=STUDY, propose="1")
    shown = words(answer.text)
    study = parse_study(STUDY)
    assert study.id in shown
    assert "bank-a, bank-b, bank-c" in shown
    assert "proposed by otto" in shown
    assert desk_bench.written == []


def test_it_is_signed_once_however_often_it_is_pressed(
    otto: Browser, desk_bench: DeskBench
) -> None:
    page = otto.fill("/propose", text=STUDY, propose="1").text
    fields = {"text": hidden(page, "text"), "study": hidden(page, "study")}
    for done in ("out", "sent"):  # now, and a moment ago
        answer = otto.fill("/propose/sign", page="/propose", **fields)
        assert answer.headers["location"] == f"/proposals/{parse_study(STUDY).id}?done={done}"
    assert len(proposals(desk_bench.keyed.home)) == 1
    (line,) = desk_bench.written
    assert (line["act"], line["person"]) == ("study proposed", "otto")
    shown = words(otto.get(answer.headers["location"]).text)
    assert ActNote.SENT.value in shown
    assert "0 of at least 3 approvals" in shown


def test_another_text_than_the_page_showed_is_not_signed(
    otto: Browser, desk_bench: DeskBench
) -> None:
    page = otto.fill("/propose", text=STUDY, propose="1").text
    other = STUDY.replace("epsilon = 0.5", "epsilon = 0.1")
    fields = {"text": other, "study": hidden(page, "study")}
    answer = otto.fill("/propose/sign", page="/propose", **fields)
    assert answer.status_code == 400
    assert "nothing was signed" in answer.text
    for wrong in ("", "x" * 64, "../../keys"):
        fields = {"text": other, "study": wrong}
        assert otto.fill("/propose/sign", page="/propose", **fields).status_code == 400
    assert desk_bench.written == []


def test_without_a_desk_it_says_how_to_start_one(
    desk_bench: DeskBench, console: ConsoleBench
) -> None:
    browser = Browser(coordinator_desk(desk_bench.keyed.home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    page = browser.fill("/propose", text=STUDY, propose="1").text
    fields = {"text": hidden(page, "text"), "study": hidden(page, "study")}
    answer = browser.fill("/propose/sign", page="/propose", **fields)
    assert answer.status_code == 503
    assert "fieldfare coordinator start" in unescape(answer.text)


def test_changes_stand_line_by_line(otto: Browser, desk_bench: DeskBench) -> None:
    first = parse_study(STUDY.replace('purpose = "tests"', f'purpose = "{SCRIPT}"'))
    propose(desk_bench.keyed.home, first, desk_bench.keyed.signer)
    answer = otto.fill("/propose", text=STUDY)
    assert SCRIPT not in answer.text
    assert f'~ purpose: "{SCRIPT}" -> "tests"' in words(answer.text)


def test_it_begins_with_a_shipped_study_an_earlier_one_or_a_form(
    otto: Browser, desk_bench: DeskBench
) -> None:
    assert 'name = "heart-four-hospitals"' in unescape(otto.get("/propose?shipped=heart").text)
    assert otto.get("/propose?shipped=../../keys/signing").status_code == 400
    made = propose(desk_bench.keyed.home, desk_bench.keyed.study, desk_bench.keyed.signer)
    assert f'href="/propose?study={made.id}"' in otto.get("/propose").text
    assert 'name = "payments"' in unescape(otto.get(f"/propose?study={made.id}").text)
    assert otto.get("/propose?study=../../keys/signing").status_code == 400
    form = {"name": "calls", "purpose": "p", "unit": "id", "label": "y", "units": "4000"}
    form |= {"prevalence": "0.1", "epsilon": "1", "institutions": "3"}
    form |= {"columns": "amount: 0 to 100", "asked": "mean of amount"}
    made_text = unescape(otto.fill("/propose/form", page="/propose", **form).text)
    assert 'kind = "mean"' in made_text
    assert "What is asked" in made_text
    wrong = otto.fill("/propose/form", page="/propose", **(form | {"units": SCRIPT}))
    assert wrong.status_code == 400
    assert SCRIPT not in wrong.text
    assert "units: expected a number" in unescape(wrong.text)


def test_a_script_gets_the_same_part_and_nothing_around_it(otto: Browser) -> None:
    answer = otto.fill("/propose/said", page="/propose", text=STUDY)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert all(title in answer.text for title in TITLES)


def test_checks_are_held_back_for_each_person(
    otto: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: 1.0)
    for _ in range(CHECKS):
        assert otto.fill("/propose/said", page="/propose", text="x").status_code == 200
    for path in ("/propose/said", "/propose/form"):
        answer = otto.fill(path, page="/propose", text="x", columns="a: 0 to")
        assert answer.status_code == 429
        assert "Too many checks" in answer.text


def test_the_longest_text_is_checked_and_a_longer_one_is_a_page(otto: Browser) -> None:
    longest = STUDY + "#\n" * ((MOST_TEXT - len(STUDY)) // 2)  # 75 KiB as a form
    assert "What leaves" in otto.fill("/propose", text=longest).text
    answer = otto.fill("/propose", text="#\n" * MOST_TEXT)
    assert answer.status_code == 413
    assert "nothing was done" in answer.text
    assert ">Log out<" in answer.text


HOSTILE = {
    "2,000 lines": "\n".join(f"a{n} = {n}" for n in range(2000)),
    "a long key": ".".join("a" * 9_000) + " = 1",
    "deep brackets": "a = " + "[" * 9_000,
    "deep tables": "a = " + "{a=" * 9_000,
    "a huge number": "format = " + "9" * 9_000,
    "a huge exponent": STUDY.replace("units = 60000", "units = 1e400"),
    "no end": 'name = "' + '\\"' * 9_000,
    "other signs": "\u202e\x1b[2J\ud7ff" * 900,
    "a script": STUDY.replace('name = "payments"', f'name = "{SCRIPT}"'),
    "a script as a column": STUDY.replace('"amount"', f'"{SCRIPT}"'),
    "a template": STUDY.replace('"tests"', "\"{{ visit.parts.book }}{% include 'x' %}\""),
    "a path": STUDY.replace('name = "payments"', 'name = "../../keys/signing"'),
    "a start elsewhere": STUDY.replace("steps = 4", 'start = "public:../../../keys/signing"'),
    "too long": "#" * (MOST_TEXT + 1),
    "nothing": "",
}


@pytest.mark.parametrize("path", ["/propose", "/propose/said", "/propose/sign"])
def test_hostile_texts_are_answered_by_pages(
    otto: Browser, desk_bench: DeskBench, path: str
) -> None:
    for name, text in HOSTILE.items():
        answer = otto.fill(path, page="/propose", text=text, propose="1", study="0" * 64)
        assert answer.status_code in {200, 400, 409, 413}, f"{name}: {answer.text}"
        assert SCRIPT not in answer.text, name
        assert "AccountBook" not in answer.text, name
    assert desk_bench.written == []
    assert list(desk_bench.keyed.home.studies.iterdir()) == []


def test_a_form_without_its_token_does_nothing(otto: Browser, desk_bench: DeskBench) -> None:
    fields = {"text": STUDY, "study": parse_study(STUDY).id}
    assert otto.sent("/propose/sign", fields).status_code == 403
    page = otto.get("/propose").text
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token
    crossed = otto.sent("/propose/sign", {**fields, "token": token[1]}, sec_fetch_site="cross-site")
    assert crossed.status_code == 403
    assert desk_bench.written == []


def test_shipped_studies_fit_a_form() -> None:
    assert all(len(text) < MOST_TEXT for text in shipped_studies().values())
