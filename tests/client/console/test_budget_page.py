"""The budget in a browser: the ledger's own figures, for who operates and who examines."""

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, desk, kept_alerts
from tests.support.homes.institutions import Coordinator, OpenCustody, home_study, loaded

from fieldfare.client.approvals import approval
from fieldfare.client.home.layout import Home
from fieldfare.client.oversight.budget_outlook import budget_at
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now


@pytest.fixture
def edda(coordinator: Coordinator, console: ConsoleBench) -> Browser:
    home = coordinator.homes["bank-a"].path
    kept_alerts(coordinator.homes["bank-a"], 3)
    browser = Browser(desk(home, console))
    console.log_in(browser, console.enrolled("edda", ConsoleRole.EXAMINER))
    return browser


def test_the_page_has_the_ledgers_figures(
    coordinator: Coordinator, custody_of: OpenCustody, edda: Browser
) -> None:
    assert "No approved study may still spend any of it." in edda.shown("/budget")
    custody, kept = custody_of(), coordinator.receive(home_study())
    approval.approve(custody, kept, loaded(custody, kept.study), "tester", utc_now())
    text, found = edda.shown("/budget"), budget_at(coordinator.homes["bank-a"].path, utc_now())
    assert found.promised == pytest.approx(0.5, rel=0.1)
    assert f"may still spend {found.promised:.3g} of it" in text
    for one in found.ahead:
        assert str(one.day) in text
    assert f"{found.ahead[12].sure_epsilon:.3g}" in text
    assert "Nothing has been released yet." in text
    assert "MARKER" not in text


def test_what_cannot_be_read_is_said(home: Home, console: ConsoleBench) -> None:
    browser = Browser(desk(home.path, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    assert "The year ahead" in browser.shown("/budget")
    home.ledger.write_bytes(b"damaged" * 1000)
    text = browser.shown("/budget")
    assert "The year ahead" not in text
    assert "expected" in text
