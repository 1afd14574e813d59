"""Each page of proposing, asking and steering in a real Chromium, with scripts and without."""

import pytest
from tests.support.browsers.looking import SCRIPTS, Look, chromium
from tests.support.browsers.served import served
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.keyed_coordinators import STUDY, progress
from tests.support.runs.asking import asking

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.system.clock import utc_now

SCRIPT = "<script>window.ran = 1</script>"
ALLOWED = {"kinds": ["count", "mean"], "columns": ["hours"], "groups": 4}


@pytest.mark.faults
@pytest.mark.parametrize("scripts", SCRIPTS)
def test_pages_of_proposing_asking_and_steering(
    approved_bench: DeskBench, capfd: pytest.CaptureFixture[str], *, scripts: bool
) -> None:
    home, signer = approved_bench.keyed.home, approved_bench.keyed.signer
    asks = asking({"name": "units", "kind": "count"}, allowance=ALLOWED, purpose=SCRIPT)
    asks_id = propose(home, asks, signer).id
    with (
        approved_bench.serving(),
        served(home.path, capfd) as (address, link),
        chromium(address, scripts=scripts) as look,
    ):
        look.enrol(link("otto", "operator"), "otto")
        proposing(look)
        steering(look, approved_bench)
        asking_first(look, asks_id)
        look.stayed()
        if scripts:
            assert look.page.evaluate("window.ran || 0") == 0


def proposing(look: Look) -> None:
    page = look.page
    look.open("/propose")
    look.check("propose-empty")
    page.get_by_text("Begin with a small form").click()
    for label, text in (
        ("Name", "calls"),
        ("Column of the unit's id", "id"),
        ("Column of the label", "case"),
        ("Units of all institutions", "9000"),
        ("Share of cases", "0.1"),
        ("Purpose, as members read it", SCRIPT),
        ("Columns, one a line", "amount: 0 to 100"),
        ("What is asked, one a line", "mean of amount"),
    ):
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Write the study").click()
    page.get_by_role("heading", name="Questions").wait_for()
    look.check("propose-form")
    look.open("/propose?shipped=heart")
    look.check("propose-shipped")
    changed = STUDY.replace('purpose = "tests"', f'purpose = "{SCRIPT}"')
    wrong = changed.replace("epsilon = 0.5", "epsilon = -1")
    page.get_by_label("The study (TOML)").fill(wrong)
    if not look.scripts:
        page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_text("privacy.epsilon: expected").wait_for()
    look.check("propose-wrong")
    page.get_by_label("The study (TOML)").fill(changed)
    if not look.scripts:
        page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_text("~ purpose:").wait_for()
    look.check("propose")
    page.get_by_role("button", name="Go on to propose").click()
    page.get_by_role("heading", name="Propose payments?").wait_for()
    look.check("propose-before")
    page.get_by_role("button", name="Sign and send it").click()
    page.get_by_role("heading", name="Who has not answered").wait_for()
    look.check("proposal")


def steering(look: Look, bench: DeskBench) -> None:
    page, study = look.page, bench.keyed.study.id
    look.open(f"/proposals/{study}")
    look.check("proposal-approved")
    page.get_by_role("button", name="Start a run, and spend this").click()
    page.get_by_role("heading", name="What an attempt costs").wait_for()
    name = str(page.get_by_role("heading", level=1).inner_text())
    with bench.keyed.store() as store:
        store.append(name, (), progress=progress(2, attempt_failures=1))
        store.put_status(name, "bank-b", "did not answer", utc_now())
        store.set_state(name, RunStatus.FAILED, "bank-b did not answer", utc_now())
    look.open(f"/steer/{name}")
    look.check("steer")
    page.get_by_role("button", name="Resume it").click()
    page.get_by_role("status").wait_for()
    page.get_by_role("button", name="Stop it after the current step").click()
    page.get_by_text("Done: it stops after its current step").wait_for()


def asking_first(look: Look, study: str) -> None:
    page = look.page
    look.open("/ask")
    look.check("ask")
    look.open(f"/ask/{study}")
    page.get_by_role("button", name="Show the price").click()
    page.get_by_role("heading", name="The price").wait_for()
    look.check("ask-price")
    page.get_by_label("Questions (TOML").fill("[[queries]]\nname = 1")
    page.get_by_role("button", name="Show the price").click()
    page.get_by_role("alert").wait_for()
    look.check("ask-wrong")
    look.open("/answers")
    look.check("answers-empty")
