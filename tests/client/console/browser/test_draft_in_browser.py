"""A real Chromium at a draft: movements chosen, checked while typing, saved as a file.

Without scripts the same form does the same at each press of Check.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.alerts.test_card import STATEMENT
from tests.support.browsers.looking import SCRIPTS, Look, chromium
from tests.support.browsers.served import Served, served
from tests.support.homes.consoles import kept_statement
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.home.layout import Home
from fieldfare.shared.system.clock import utc_now

ALERT = reported_alert(study_name="<script>window.ran = 1</script>")
DRAFT = f"/cases/{ALERT.alert}/draft?format="


@pytest.fixture
def address(home: Home, capfd: pytest.CaptureFixture[str]) -> Iterator[Served]:
    """A console with an alert about a possible victim that somebody escalated."""
    queue = open_queue(home.path)
    kept_statement(home, [ALERT], STATEMENT)
    said = Feedback(
        ALERT.alert,
        utc_now(),
        "ben",
        Disposition.ESCALATE,
        PartyRole.POTENTIAL_VICTIM,
        Confidence.HIGH,
    )
    assert not queue.act(said, 0).problem
    with served(home.path, capfd) as found:
        yield found


@pytest.mark.faults
@pytest.mark.parametrize("scripts", SCRIPTS)
def test_a_draft_is_checked_as_it_is_typed(
    address: Served, tmp_path: Path, *, scripts: bool
) -> None:
    at, link = address
    token = link("anna")
    with chromium(at, scripts=scripts) as look:
        page = look.page
        look.enrol(token, "anna")
        look.open(f"{DRAFT}goaml")
        look.check("draft")
        missing = page.get_by_text("missing", exact=True).count()
        page.get_by_label("gender").fill("M")
        checked(look)
        page.get_by_text(f"{missing - 1} fields to be completed; 0 movements").wait_for()
        assert page.get_by_label("gender").input_value() == "M"
        page.get_by_label("2026-03-31 12:00").check()
        checked(look)
        page.get_by_role("heading", name="Movement of 2026-03-31 12:00, in 10.00 CAD").wait_for()
        assert page.get_by_label("gender").input_value() == "M"
        page.get_by_label("transaction, transmode code").fill("MARKER-MODE")
        page.get_by_label("2026-03-20 12:00").check()
        checked(look)
        page.get_by_text("2 movements in the draft").wait_for()
        assert page.get_by_label("transaction, transmode code").input_value() == "MARKER-MODE"
        look.check("draft-movements")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save as a file").click()
        saved.value.save_as(tmp_path / "draft.xml")
        content = (tmp_path / "draft.xml").read_text()
        for words in ("MARKER-MODE", "10.00", "20.00", "<is_protected>true</is_protected>"):
            assert words in content
        assert "_is_suspected>true" not in content
        look.stayed()
        if scripts:
            assert page.evaluate("window.ran || 0") == 0
            what_ends_is_said(look)


def checked(look: Look) -> None:
    """Wait for the check: by itself with scripts, by the button without."""
    if not look.scripts:
        look.page.get_by_role("button", name="Check").click()


def what_ends_is_said(look: Look) -> None:
    """A check that does not come is no check that found nothing."""
    look.page.context.clear_cookies()
    look.page.get_by_label("gender").fill("F")
    look.page.get_by_text("The draft has changed: press Check").wait_for()
