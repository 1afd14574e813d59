"""The path of each role once, in a real Chromium at one console; the long form is nightly.

The analyst works without scripts, and an alert goes from the queue to its disposition in four
actions: whoever adds a fifth fails here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.support.browsers.looking import Look, chromium
from tests.support.browsers.served import Served, served
from tests.support.homes.consoles import kept_alerts
from tests.support.homes.institutions import Coordinator, home_study

MOST_ACTIONS = 4
UNIT = "MARKER-"  # of every customer with an alert


@dataclass
class Counted:
    """What a person does on a page: choosing in a list is an action, like a press."""

    look: Look
    actions: int = 0

    def press(self, role: str, name: str) -> None:
        self.actions += 1
        self.look.page.get_by_role(role, name=name).first.click()

    def choose(self, label: str, value: str) -> None:
        self.actions += 1
        self.look.page.get_by_label(label).select_option(value)


@pytest.fixture
def console(coordinator: Coordinator, capfd: pytest.CaptureFixture[str]) -> Iterator[Served]:
    """A home with alerts, and a study that waits."""
    home = coordinator.homes["bank-a"]
    kept_alerts(home, 30)
    coordinator.receive(home_study())
    with served(home.path, capfd) as found:
        yield found


@pytest.mark.faults
def test_each_role_goes_its_way(console: Served) -> None:
    address, link = console
    alert = decided_by_an_analyst(address, link("anna"))
    signed_second(address, link("berta", "reviewer"), alert)
    watched(address, link("otto", "operator"), acts=True)
    watched(address, link("ella", "examiner"), acts=False)


def decided_by_an_analyst(address: str, token: str) -> str:
    """From the queue to a disposition, without scripts; returns the alert."""
    with chromium(address, scripts=False, checks=False) as look:
        page = look.page
        look.enrol(token, "anna")
        look.open("/alerts")
        alert: str = page.locator("[data-row] code").first.inner_text()
        person = Counted(look)
        person.press("link", alert)
        person.choose("Decision", "file")
        person.choose("Role of this person", "controller")
        person.press("button", "Decide")
        page.get_by_text("a second person has to decide").wait_for()
        assert person.actions <= MOST_ACTIONS
        assert "anna" in page.locator("#history + ol").inner_text()
        look.open("/studies")
        assert "small" not in page.content()
        look.stayed()
    return alert


def signed_second(address: str, token: str, alert: str) -> None:
    with chromium(address, scripts=True, checks=False) as look:
        page = look.page
        look.enrol(token, "berta")
        look.open(f"/alerts/{alert}")
        page.get_by_label("Decision").select_option("file")
        page.get_by_label("Role of this person").select_option("controller")
        page.get_by_role("button", name="Decide").click()
        page.get_by_role("link", name="Draft a report: goaml").click()
        page.get_by_role("heading", name="Draft").first.wait_for()
        look.stayed()


def watched(address: str, token: str, *, acts: bool) -> None:
    """Studies, budget and log are read; of customers there is nothing."""
    name = "otto" if acts else "ella"
    with chromium(address, scripts=True, checks=False) as look:
        page = look.page
        look.enrol(token, name)
        assert page.get_by_role("link", name="Alerts").count() == 0
        for path in ("/studies", "/budget", "/log"):
            look.open(path)
            page.get_by_role("heading", level=1).wait_for()
            assert UNIT not in page.content()
        look.open("/studies")
        page.locator("[data-row] a").first.click()
        page.get_by_role("heading", name="What leaves").wait_for()
        assert bool(page.get_by_label("Reject it, because").count()) == acts
        look.open("/alerts")
        assert UNIT not in page.content()
        look.stayed()
