"""Ask in a browser: the price first, how many more, then once."""

import re
import time
from collections.abc import Iterator
from html import unescape

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.keyed_coordinators import progress
from tests.support.runs.asking import asking

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposals import Proposal
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.console.frame import CHECKS
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.privacy.usual_budget import usual_worth
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.system.clock import utc_now

SCRIPT = "<script>alert(1)</script>"
ALLOWED = {"kinds": ["count", "mean"], "columns": ["hours"], "groups": 4}
LATER = '[[queries]]\nname = "long hours"\nkind = "mean"\ncolumn = "hours"\n'


@pytest.fixture
def asks(desk_bench: DeskBench) -> Proposal:
    study = asking({"name": "units", "kind": "count"}, allowance=ALLOWED, privacy={"epsilon": 1.0})
    return propose(desk_bench.keyed.home, study, desk_bench.keyed.signer)


@pytest.fixture
def otto(desk_bench: DeskBench, console: ConsoleBench) -> Iterator[Browser]:
    browser = Browser(coordinator_desk(desk_bench.keyed.home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    with desk_bench.serving():
        yield browser


def priced(browser: Browser, asks: Proposal, text: str = LATER) -> str:
    answer = browser.fill(f"/ask/{asks.id}", questions=text)
    assert answer.status_code == 200, answer.text
    return answer.text


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"expected a field {name}"
    return unescape(found[1])


def ask_now(browser: Browser, asks: Proposal, page: str, **changes: str) -> int:
    fields = {name: hidden(page, name) for name in ("questions", "cost", "run")} | changes
    answer = browser.fill(f"/ask/{asks.id}/now", page=f"/ask/{asks.id}", **fields)
    return answer.status_code


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_price_comes_first_with_the_error_and_how_many_more(
    otto: Browser, asks: Proposal, desk_bench: DeskBench
) -> None:
    assert f'href="/ask/{asks.id}"' in otto.get("/ask").text
    assert 'name = "units"' in unescape(otto.get(f"/ask/{asks.id}").text)
    shown, plan = words(priced(otto, asks)), plan_for(asks.study)
    assert f"epsilon {usual_worth(plan.allowance.cost):.3g} at delta 1e-05 by itself" in shown
    assert "4 such groups, including this one, are left of the allowance" in shown
    assert "long hours mean mean, hours" in shown
    assert desk_bench.written == []
    assert desk_bench.link.started == []


def test_questions_are_asked_once_and_the_next_price_counts_them(
    otto: Browser, asks: Proposal, desk_bench: DeskBench
) -> None:
    page = priced(otto, asks)
    assert ask_now(otto, asks, page) == 303
    assert ask_now(otto, asks, page) == 303  # pressed twice
    assert len(desk_bench.link.started) == 1
    (line,) = desk_bench.written
    run, cost = hidden(page, "run"), plan_for(asks.study).allowance.cost
    assert (line["act"], line["run"], line["cost"]) == ("questions asked", run, cost)
    spare = plan_for(asks.study).allowance.spare
    with desk_bench.keyed.store() as store:
        store.append(run, (), progress=progress(1, spent=SideCosts(all=(2 + spare) * cost)))
        store.set_state(run, RunStatus.FINISHED, "", utc_now())
    assert "2 such groups" in words(priced(otto, asks))


def test_prices_are_held_back_for_each_person(
    otto: Browser, asks: Proposal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda _: 1.0)
    page = priced(otto, asks)  # one of the turns
    codes = [ask_now(otto, asks, page, cost="1") for _ in range(CHECKS)]
    assert codes[-1] == 429
    assert otto.fill(f"/ask/{asks.id}", questions=LATER).status_code == 429


def test_another_price_or_run_than_the_page_showed_asks_nothing(
    otto: Browser, asks: Proposal, desk_bench: DeskBench
) -> None:
    page = priced(otto, asks)
    for wrong in (
        {"cost": "1"},
        {"cost": "-1"},
        {"cost": "9" * 30},
        {"cost": "\u0661"},
        {"run": "../../keys"},
        {"run": "anything"},
        {"questions": SCRIPT},
        {"questions": LATER.replace("hours", "amount")},
    ):
        assert ask_now(otto, asks, page, **wrong) in {400, 409}, wrong
    assert desk_bench.written == []
    assert desk_bench.link.started == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[queries]]",
        LATER.replace("mean", SCRIPT),
        LATER.replace("hours", "amount"),  # outside of the allowance
        "a = " + "[" * 9_000,
        "#" * 20_001,
    ],
)
def test_wrong_questions_are_said_beside_them(otto: Browser, asks: Proposal, text: str) -> None:
    answer = otto.fill(f"/ask/{asks.id}", questions=text)
    assert answer.status_code == 400
    assert SCRIPT not in answer.text
    assert 'role="alert"' in answer.text
    assert "Ask, and spend this" not in answer.text


def test_a_study_that_asks_nothing_says_so(otto: Browser, desk_bench: DeskBench) -> None:
    made = propose(desk_bench.keyed.home, desk_bench.keyed.study, desk_bench.keyed.signer)
    assert otto.get(f"/ask/{made.id}").status_code == 409
    assert "No study with questions has been proposed yet" in otto.get("/ask").text
    assert otto.get("/ask/../../keys").status_code in {400, 404}
