"""A proposed study and its runs in a browser: who is awaited, the price, acts that happen once."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.keyed_coordinators import progress

from fieldfare.server.desk.calls import ActNote
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.server.superlink.facts import FlowerRunStatus
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now


@pytest.fixture
def otto(approved_bench: DeskBench, console: ConsoleBench) -> Iterator[Browser]:
    with approved_bench.serving():
        yield entered(approved_bench, console, "otto", ConsoleRole.OPERATOR)


def entered(bench: DeskBench, console: ConsoleBench, name: str, role: ConsoleRole) -> Browser:
    browser = Browser(coordinator_desk(bench.keyed.home, console))
    console.log_in(browser, console.enrolled(name, role))
    return browser


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"expected a field {name}"
    return unescape(found[1])


def study_page(bench: DeskBench) -> str:
    return f"/proposals/{bench.keyed.study.id}"


def started(bench: DeskBench, browser: Browser) -> str:
    page = study_page(bench)
    run = hidden(browser.get(page).text, "run")
    answer = browser.fill(f"{page}/start", page=page, run=run)
    assert answer.headers["location"] == f"/steer/{run}?done=none", answer.text
    return run


def test_a_study_says_who_is_awaited_and_what_a_run_costs(
    approved_bench: DeskBench, otto: Browser
) -> None:
    shown = " ".join(otto.shown(study_page(approved_bench)).split())
    plan = approved_bench.keyed.study
    assert "3 of at least 3 approvals" in shown
    assert "bank-a approved" in shown
    assert "not enrolled" in shown  # on the roster, its paper is not here
    assert f"of the study's {plan.privacy.epsilon:g}; runs so far cost 0" in shown
    assert "An attempt that fails before its opening costs nothing" in shown
    assert "Start a run, and spend this" in shown


def test_a_run_is_started_once_watched_and_stopped(
    approved_bench: DeskBench, otto: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = FlowerRunStatus("running", "")
    monkeypatch.setattr(SuperlinkView, "run_status", lambda *_: alive)
    run = started(approved_bench, otto)
    page = study_page(approved_bench)
    again = otto.fill(f"{page}/start", page=page, run=run)
    assert again.headers["location"] == f"/steer/{run}?done=before"
    assert ActNote.BEFORE.value in unescape(otto.get(again.headers["location"]).text)
    assert len(approved_bench.link.started) == 1
    assert "A run of this study is in progress" in otto.get(page).text
    approved_bench.put(run, RunStatus.RUNNING)
    with approved_bench.keyed.store() as store:
        store.append(run, (), progress=progress(2, attempt_failures=1))
        store.put_status(run, "bank-b", "did not answer", utc_now())
    shown = " ".join(otto.shown(f"/steer/{run}").split())
    assert "training, 2 of 4; 1 failed attempt" in shown
    assert "bank-b did not answer" in shown
    answer = otto.fill(f"/steer/{run}/stop", page=f"/steer/{run}")
    assert answer.headers["location"] == f"/steer/{run}?done=stopping"
    shown = otto.get(f"/steer/{run}").text
    assert "End its process now" in shown
    assert "Stop it after the current step" not in shown
    answer = otto.fill(f"/steer/{run}/end", page=f"/steer/{run}")
    assert answer.headers["location"] == f"/steer/{run}?done=stopped"


def test_a_run_is_carried_on_once_from_how_the_page_saw_it(
    approved_bench: DeskBench, otto: Browser
) -> None:
    run = started(approved_bench, otto)
    approved_bench.put(run, RunStatus.FAILED)
    page = f"/steer/{run}"
    seen = hidden(otto.get(page).text, "seen")
    assert otto.fill(f"{page}/resume", page=page, seen=seen).headers["location"].endswith("none")
    approved_bench.put(run, RunStatus.FAILED)
    again = otto.fill(f"{page}/resume", page=page, seen=seen)
    assert again.headers["location"] == f"{page}?done=carried_on"
    assert len(approved_bench.link.started) == 2
    for wrong in ("-1", "x", "9" * 21, "\u0661"):
        assert otto.fill(f"{page}/resume", page=page, seen=wrong).status_code == 400


def test_what_cannot_finish_is_said_and_not_started(
    desk_bench: DeskBench, console: ConsoleBench
) -> None:
    propose(desk_bench.keyed.home, desk_bench.keyed.study, desk_bench.keyed.signer)
    desk_bench.keyed.approve("bank-a")
    browser = entered(desk_bench, console, "otto", ConsoleRole.OPERATOR)
    page = study_page(desk_bench)
    text = unescape(browser.get(page).text)
    assert "approvals: expected 3 or more that count, found 1" in text
    assert "Start a run" not in text
    run = desk_bench.run_id()
    with desk_bench.serving():
        answer = browser.fill(f"{page}/start", page=page, run=run)
        assert answer.status_code == 409
        assert "Nothing was done: approvals: expected 3" in unescape(answer.text)
        answer = browser.fill(f"{page}/greet", page=page)
        assert answer.headers["location"] == f"{page}?done=out"
    assert [one["act"] for one in desk_bench.written] == []


def test_what_was_spent_leaves_less(approved_bench: DeskBench, otto: Browser) -> None:
    run = started(approved_bench, otto)
    limit = approved_bench.keyed.study.privacy.epsilon
    with approved_bench.keyed.store() as store:
        store.append(run, (), progress=progress(4, spent=progress(1).spent))
    approved_bench.put(run, RunStatus.FINISHED)
    shown = " ".join(otto.shown(f"/steer/{run}").split())
    assert "by this run" in shown
    assert f"of {limit:g} by all runs of the study" in shown
    assert "Stop or resume it" not in shown  # it is finished


@pytest.mark.parametrize(
    "path",
    ["/steer/none", "/steer/..%2f..%2fkeys", "/steer/%00", "/proposals/x", "/proposals/..%2fkeys"],
)
def test_what_is_not_there_is_a_page(otto: Browser, path: str) -> None:
    assert otto.get(path).status_code in {400, 404}


def test_an_examiner_sees_all_and_is_offered_nothing(
    approved_bench: DeskBench, otto: Browser, console: ConsoleBench
) -> None:
    run = started(approved_bench, otto)
    eva = entered(approved_bench, console, "eva", ConsoleRole.EXAMINER)
    for page in (study_page(approved_bench), f"/steer/{run}"):
        forms = re.findall(r'action="([^"]+)"', eva.get(page).text)
        assert forms == ["/log-out"]
        assert eva.fill(f"/steer/{run}/stop", page=page).status_code == 403
    assert [one["act"] for one in approved_bench.written] == ["run started"]
