"""A real Chromium at every page that watches a coordinator, with scripts and without."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.server.console.test_transcripts_page import kept
from tests.support.browsers.looking import SCRIPTS, chromium
from tests.support.browsers.served import Served, served
from tests.support.homes.keyed_coordinators import KeyedCoordinator, progress
from tests.support.homes.papers import Applicant
from tests.support.homes.superlinks import add_flower_run, add_node
from tests.support.runs.written_runs import RUN, WrittenRun, base

from fieldfare.server.members.enrolment import examine, keep
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.outbox import Fact, Observation, open_outbox
from fieldfare.shared.watch.sentences import NoticeKind

pytestmark = pytest.mark.faults  # a browser, half a minute each

SCRIPT = "<script>window.ran = 1</script>"
LIVE = "2026-11-28-payments-0a1b2c"


@pytest.fixture
def busy(keyed: KeyedCoordinator) -> KeyedCoordinator:
    """A coordinator with something on every page."""
    now = datetime.now(UTC)
    for name, gone in (("bank-a", False), ("bank-b", True)):
        one = Applicant(name, keyed.home, contact=f"privacy@{name}.example {SCRIPT}")
        keep(keyed.home, examine(keyed.home, one.enrolment(), "sent"))
        until = now + timedelta(days=-1 if gone else 1)
        add_node(keyed.home, one.node, since=now - timedelta(days=2), until=until)
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve("bank-a", "bank-b")
    with keyed.store() as store:
        store.put_approval(keyed.study.id, "bank-c", SCRIPT, b"", now)
        store.create(LIVE, keyed.study.id, now)
        store.note_begun(LIVE, now, automatic=False)
        store.set_flower_run(LIVE, 7)
        store.set_state(LIVE, RunStatus.RUNNING, "", now)
        store.append(LIVE, (), progress=progress(1, spent=SideCosts(all=3_000_000_000)))
        store.put_status(LIVE, "bank-b", "asked", now)
        store.add_losses(LIVE, ["bank-c"], debited=True)
        store.create("failed", "a" * 64, now)
        store.set_state("failed", RunStatus.FAILED, f"bank-b: {SCRIPT}", now)
    add_flower_run(keyed.home, 7, running=now, until=now + timedelta(days=1))
    keyed.home.audit_log.write_text(
        '{"outcome": "refused", "path": "/x", "peer": "192.0.2.7", "status": 401, '
        '"time": "2026-11-28T05:00:00.000+00:00", "who": "nobody known", "calls": 12}\n'
    )
    create_private(
        keyed.home.notices,
        b'[mail]\nhost = "m.example"\nsender = "f@m.example"\nto = ["lead@m.example"]\n',
    )
    kinds = frozenset({NoticeKind.RUN_FAILED})
    with open_outbox(keyed.home.outbox) as outbox:
        outbox.look(Observation((), kinds), [], now)
        fact = Fact(NoticeKind.RUN_FAILED, "a" * 64, "failed")
        outbox.look(Observation((fact,), kinds), ["mail to lead@m.example"], now)
    return keyed


@pytest.fixture
def address(busy: KeyedCoordinator, capfd: pytest.CaptureFixture[str]) -> Iterator[Served]:
    with served(busy.home.path, capfd) as found:
        yield found


HEADINGS = {"Check": "Clock and certificates"}
PAGES = {
    "Members": "/members",
    "Approvals": "/approvals",
    "Runs": "/runs",
    "Incidents": "/incidents",
    "Notices": "/notices",
    "Check": "/check",
    "Log": "/log",
}


@pytest.mark.parametrize("scripts", SCRIPTS)
def test_every_page_that_watches(busy: KeyedCoordinator, address: Served, *, scripts: bool) -> None:
    at, link = address
    with chromium(at, scripts=scripts) as look:
        page = look.page
        look.enrol(link("otto", "operator"), "otto")
        for name, path in PAGES.items():
            page.get_by_label("Pages").get_by_role("link", name=name, exact=True).click()
            page.wait_for_url(lambda url, path=path: url.endswith(path))
            page.get_by_role("heading", level=1, name=HEADINGS.get(name, name)).wait_for()
            look.check(f"coordinator{path.replace('/', '-')}")
        look.open(f"/approvals/{busy.study.id}")
        look.check("coordinator-approval")
        look.open("/runs/failed")
        look.check("coordinator-run-failed")
        kept(busy, WrittenRun(base()).finish())  # under another roster key than its own
        page.get_by_label("Pages").get_by_role("link", name="Transcripts").click()
        page.get_by_role("heading", level=1, name="Transcripts").wait_for()
        look.check("coordinator-transcripts")
        look.open(f"/transcripts/{RUN}")
        page.get_by_role("button", name="Verify it").click()
        page.get_by_text("Requested by otto").wait_for(timeout=60_000)
        look.check("coordinator-transcript")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download it").click()
        assert download.value.suggested_filename == f"{RUN}.jsonl"
        look.stayed()
        if scripts:
            assert page.evaluate("window.ran || 0") == 0


def moved(busy: KeyedCoordinator, step: int) -> None:
    """The run's process writes its next step."""
    with busy.store() as store:
        store.append(LIVE, (), progress=progress(step, spent=SideCosts(all=3_000_000_000)))


def test_a_page_follows_a_run_to_its_end(busy: KeyedCoordinator, address: Served) -> None:
    at, link = address
    with chromium(at, scripts=True) as look:
        page = look.page
        look.enrol(link("otto", "operator"), "otto")
        look.open(f"/runs/{LIVE}")
        page.get_by_text("This page updates itself.").wait_for()
        look.check("coordinator-run")
        moved(busy, 2)
        page.get_by_text("2 of 4 steps").wait_for()
        with busy.store() as store:
            store.set_state(LIVE, RunStatus.FAILED, SCRIPT, datetime.now(UTC))
        page.get_by_text("Reason", exact=True).wait_for()
        assert page.locator("[data-said]").inner_text() == "failed"
        assert page.locator("[data-state]").inner_text() == "failed"
        page.locator("[data-followed]").wait_for(state="hidden")
        assert page.evaluate("window.ran || 0") == 0
        look.stayed()


def test_without_scripts_a_link_looks_again(busy: KeyedCoordinator, address: Served) -> None:
    at, link = address
    with chromium(at, scripts=False) as look:
        page = look.page
        look.enrol(link("otto", "operator"), "otto")
        look.open(f"/runs/{LIVE}")
        moved(busy, 3)
        page.get_by_role("link", name="Reload").click()
        page.get_by_text("3 of 4 steps").wait_for()
        assert not page.get_by_text("This page updates itself.").is_visible()
        assert not any("/events" in one for one in look.asked)
