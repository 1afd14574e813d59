"""A real Chromium at a real console: the way in and the queue, with scripts and without.

Every page is looked at by axe-core in light and dark, at three widths; a request to another host or
something that the content policy stopped fails the test. `FIELDFARE_SCREENSHOTS` keeps pictures.
"""

import hashlib
from collections.abc import Iterator

import pytest
from tests.client.console.test_records_page import kept_counts
from tests.support.browsers.looking import AXE, SCRIPTS, STOPPED, Look, chromium
from tests.support.browsers.served import Served, served
from tests.support.homes.consoles import PASSWORD, kept_alerts
from tests.support.homes.institutions import Coordinator, home_study
from tests.support.runs.finished import kept_delivery
from tests.support.runs.joining import answered_here

from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import keep_joining
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.system.clock import utc_now

AXE_HASH = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


def test_the_checker_is_the_published_one() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_HASH
    assert (AXE.parent / "LICENSE").read_text().startswith("Mozilla Public License, version 2.0")
    assert AXE_HASH in (AXE.parent / "README.md").read_text()


@pytest.fixture
def console_address(home: Home, capfd: pytest.CaptureFixture[str]) -> Iterator[Served]:
    """A console that serves, and what adds an account and returns its link."""
    kept_alerts(home, 60)
    with served(home.path, capfd) as found:
        yield found


@pytest.fixture
def watched_address(
    coordinator: Coordinator, capfd: pytest.CaptureFixture[str]
) -> Iterator[Served]:
    """The same, of an institution with studies."""
    coordinator.receive(home_study(privacy__epsilon=0.25))
    study = home_study(purpose="<script>window.ran = 1</script>")
    coordinator.receive(study)
    model = kept_delivery(coordinator.homes["bank-a"], study, coordinator.signer)
    keep_joining(model, answered_here(study), utc_now())
    kept_counts(coordinator.homes["bank-a"], 9, 0.0)
    kept_counts(coordinator.homes["bank-a"], 0, 1.5)
    with served(coordinator.homes["bank-a"].path, capfd) as found:
        yield found


@pytest.mark.faults
@pytest.mark.parametrize("scripts", SCRIPTS)
def test_an_analyst_comes_in_and_takes_an_alert(console_address: Served, *, scripts: bool) -> None:
    address, link = console_address
    token = link("anna")
    with chromium(address, scripts=scripts) as look:
        page = look.page
        log_out_and_in(look, look.enrol(token, "anna"))
        page.get_by_label("Pages").get_by_role("link", name="Alerts").click()
        page.get_by_role("heading", name="Alerts").wait_for()
        keys = page.get_by_text("Keys j and k go down and up.")
        keys.wait_for(state="visible" if scripts else "hidden")  # a script shows it, when it runs
        look.check("alerts")
        first = page.locator("[data-row] code").first.inner_text()
        if scripts:
            page.keyboard.press("j")
            page.keyboard.press("j")
            page.keyboard.press("k")
            page.keyboard.press("Enter")
            page.wait_for_url(lambda url: f"/alerts/{first}" in url)
            look.open("/alerts")
        page.get_by_role("button", name=f"Take alert {first}").click()
        page.get_by_text(f"You took alert {first}.").wait_for()
        page.get_by_label("Taken by").select_option("anna")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url(lambda url: "assigned=anna" in url)
        assert page.locator("[data-row] code").all_inner_texts() == [first]
        led_here_by_another_site(look)
        look.open("/none")
        look.check("error")
        look.stayed()
        if scripts:
            blocked(look)


@pytest.mark.faults
@pytest.mark.parametrize("scripts", SCRIPTS)
def test_an_operator_reads_a_study_and_is_told_the_command(
    watched_address: Served, *, scripts: bool
) -> None:
    address, link = watched_address
    token = link("otto", "operator")
    with chromium(address, scripts=scripts) as look:
        page = look.page
        look.enrol(token, "otto")
        page.get_by_label("Pages").get_by_role("link", name="Studies").click()
        page.get_by_role("heading", name="Waiting").wait_for()
        look.check("studies")
        page.locator("[data-row] a").last.click()
        page.get_by_role("heading", name="What leaves").wait_for()
        look.check("study")
        page.get_by_label("Reject it, because").fill("no basis in law")
        page.get_by_role("button", name="Show the command").click()
        page.get_by_text("'--reason=no basis in law'").wait_for()
        look.check("study-command")
        page.get_by_label("Pages").get_by_role("link", name="Models").click()
        page.get_by_role("heading", name="Models").wait_for()
        look.check("models")
        page.locator("[data-row] a").first.click()
        page.get_by_role("heading", name="How well it ranks").wait_for()
        look.check("model")
        page.get_by_role("link", name="Should we join?").click()
        page.get_by_text("institution evaluate --model run-1").wait_for()
        look.check("joining")
        page.get_by_label("Pages").get_by_role("link", name="Records").click()
        page.get_by_text("1 of 2 columns moved:").wait_for()
        look.check("records")
        page.get_by_label("Pages").get_by_role("link", name="Log").click()
        page.get_by_label("Kind").select_option("study received")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url(lambda url: "kind=study" in url)
        look.check("log")
        page.get_by_label("Pages").get_by_role("link", name="Budget").click()
        page.get_by_role("heading", name="The year ahead").wait_for()
        look.check("budget")
        page.get_by_label("Pages").get_by_role("link", name="Check").click()
        page.get_by_role("heading", name="Check").wait_for()
        look.check("check")
        look.stayed()
        if scripts:
            assert page.evaluate("window.ran || 0") == 0


def led_here_by_another_site(look: Look) -> None:
    """A link from elsewhere shows nothing, and ends no visit."""
    look.page.goto(f"data:text/html,<a href='{look.address}/alerts?tier=3'>go</a>")
    look.page.get_by_role("link", name="go").click()
    look.page.get_by_role("heading", name="Go on here?").wait_for()
    look.check("go-on")
    look.page.get_by_role("link", name="Go on to the page").click()
    look.page.get_by_role("heading", name="Alerts").wait_for()
    look.page.wait_for_url(f"{look.address}/alerts?tier=3")


def log_out_and_in(look: Look, factor: bytes) -> None:
    page = look.page
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    look.check("log-in")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("alert").wait_for()
    look.check("log-in-refused")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_label("Six digits").wait_for()
    look.check("second-factor")
    # The code of the step after the one that enrolled: no code counts twice.
    page.get_by_label("Six digits").fill(code_of(factor, utc_now().timestamp() + 30))
    page.keyboard.press("Enter")
    page.get_by_text("You are logged in as anna").wait_for()


def blocked(look: Look) -> None:
    """The policy stops eval, inline scripts, and requests to elsewhere."""
    # Later, as a page's own script: what the driver itself evaluates stands above the policy.
    tried = (
        "() => new Promise(done => setTimeout(() => { try { done(window.eval('1 + 1')); } "
        "catch (error) { done(error.name); } }))"
    )
    assert look.page.evaluate(tried) == "EvalError"
    inline = (
        "() => new Promise(done => setTimeout(() => { const one = document.createElement('script');"
        " one.textContent = 'window.ran = 1'; document.body.append(one); done(window.ran || 0); }))"
    )
    assert look.page.evaluate(inline) == 0
    elsewhere = "() => fetch('http://192.0.2.1/').then(() => 'sent', () => 'stopped')"
    assert look.page.evaluate(elsewhere) == "stopped"
    assert len([one for one in look.said if STOPPED in one]) >= 2
