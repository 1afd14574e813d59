"""The coordinator's path in a real browser: propose, watch a run of three nodes to its model, read.

Everything is pressed in Chromium but what institutions do, who approve at their own machines. What
only a federation fills is looked at by axe-core here, the other pages in
tests/server/console/browser. `make nightly PART=console` goes the whole way without scripts too.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.browsers.looking import SCRIPTS, Look, chromium
from tests.support.browsers.served import served
from tests.support.federations.beds import check_whole, running, small_bed
from tests.support.system.processes import until

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunStatus
from fieldfare.simulations.demo.testbed import Bed

ASKS = """
[[queries]]
name = "amounts"
kind = "histogram"
column = "amount"
bins = 4

[allowance]
kinds = ["count"]
columns = ["reported"]
groups = 2
"""
SECONDS = 240_000.0  # for a run, of Playwright's


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """Three banks whose study says that it is of many units: noise hides no metric."""
    bed = small_bed(tmp_path, steps=3)
    text = bed.study.read_text().replace("units = 1200", "units = 40000")
    bed.study.write_text(text + ASKS)
    return bed


@pytest.mark.promises  # a whole federation, and a browser; `make faults` shows its pages to one
@pytest.mark.parametrize("scripts", SCRIPTS)
def test_a_coordinator_proposes_watches_a_run_to_its_model_and_reads_answers(
    bed: Bed, capfd: pytest.CaptureFixture[str], *, scripts: bool
) -> None:
    with running(bed), served(bed.coordinator_home, capfd) as (address, link):
        with chromium(address, scripts=scripts) as look:
            look.enrol(link("otto", "operator"), "otto")
            study = proposed(look, bed)
            approved(bed, study)
            run = watched_to_its_end(look, study)
            read(look)
            look.stayed()
        row = bed.until_ended(run)
        assert row.state is RunStatus.FINISHED, row.reason
        report = check_whole(bed, row)
        assert (report["steps"], report["questions"]) == (3, 1)
        assert (CoordinatorHome(bed.coordinator_home).model(run) / "model.safetensors").is_file()
        with chromium(address, scripts=False) as look:
            look.enrol(link("olga", "operator"), "olga")
            without_scripts(look, bed, study)
            look.stayed()
        acts = [json.loads(one) for one in decisions(bed)]
        said = [(one["person"], one["act"]) for one in acts if "study" in one]
        assert said == [
            ("otto", "study proposed"),
            ("otto", "run started"),
            ("olga", "questions asked"),
        ]


def decisions(bed: Bed) -> list[str]:
    return CoordinatorHome(bed.coordinator_home).decisions.read_text().splitlines()


def proposed(look: Look, bed: Bed) -> str:
    """Type a study, read what is said of it as it is typed, propose it; return its hash."""
    page = look.page
    page.get_by_label("Pages").get_by_role("link", name="Propose").click()
    text = bed.study.read_text()
    typed(look, text.replace("epsilon = 1.0", "epsilon = -1"))
    page.get_by_text("privacy.epsilon: expected").wait_for()
    typed(look, text)
    page.get_by_text("2 is left of 2 in any 365 days").wait_for()
    page.get_by_role("button", name="Go on to propose").click()
    page.get_by_role("heading", name="Propose small?").wait_for()
    page.get_by_role("button", name="Sign and send it").dblclick()
    page.get_by_role("heading", name="Who has not answered").wait_for()
    return str(bed.loaded_study.id)


def typed(look: Look, text: str) -> None:
    """Type a study; without scripts it is checked where somebody presses Check."""
    look.page.get_by_label("The study (TOML)").fill(text)
    if not look.scripts:
        look.page.get_by_role("button", name="Check", exact=True).click()


def approved(bed: Bed, study: str) -> None:
    """What people at the institutions do: the study came by itself, so they only approve it."""
    for name in bed.names:
        bed.until(partial(arrived, bed, name, study), f"the study at {name}")
        bed.institution(name, "approve", study, "--yes")


def arrived(bed: Bed, name: str, study: str) -> bool:
    return study in bed.institution(name, "studies", "--json")


def watched_to_its_end(look: Look, study: str) -> str:
    """Hear the approvals, start a run, follow it; return its id."""
    page = look.page
    look.open(f"/proposals/{study}")
    for _ in range(60):
        if page.get_by_text("3 of at least 3 approvals").count():
            break
        with page.expect_navigation():  # another address, opened at once, would call it off
            page.get_by_role("button", name="Ask them now").click()
        page.wait_for_timeout(1000)
        look.open(f"/proposals/{study}")
    look.check("proposal-approved")
    page.get_by_role("button", name="Start a run, and spend this").dblclick()
    page.get_by_role("heading", name="What an attempt costs").wait_for()
    run = str(page.get_by_role("heading", level=1).inner_text())
    look.open(f"/runs/{run}")
    ended = page.get_by_text("finished", exact=True).first
    if look.scripts:
        ended.wait_for(timeout=SECONDS)  # it follows by itself
    else:
        until(lambda: _looked_again(look, ended), SECONDS / 1000)
    look.open(f"/steer/{run}")
    look.check("steer-finished")
    return run


def _looked_again(look: Look, ended: Any) -> bool:
    look.page.get_by_role("link", name="Reload").click()
    return bool(ended.count())


def read(look: Look) -> None:
    page = look.page
    page.get_by_label("Pages").get_by_role("link", name="Answers").click()
    look.check("answers")
    page.locator("[data-main]").first.click()
    page.get_by_role("heading", name="amounts").wait_for()
    picture = page.locator("img.plot").first
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 100
    look.check("answer")


def without_scripts(look: Look, bed: Bed, study: str) -> None:
    """The same without scripts: checked by Check, priced, asked once."""
    page = look.page
    look.open(f"/propose?study={study}")
    typed(look, page.get_by_label("The study (TOML)").input_value().replace("= 3", "= 2"))
    page.get_by_text("~ training.steps: 3 -> 2").wait_for()
    look.open(f"/ask/{study}")
    page.get_by_role("button", name="Show the price").click()
    page.get_by_text("are left of the allowance").wait_for()
    page.get_by_role("button", name="Ask, and spend this").click()
    page.get_by_role("heading", name="What an attempt costs").wait_for()
    run = str(page.get_by_role("heading", level=1).inner_text())
    bed.until_ended(run)
    look.open("/answers?kind=count")
    assert page.locator("[data-row]").count() == 1
