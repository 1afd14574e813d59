"""Runs in a browser: what commands say of them, and a page that follows one."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.keyed_coordinators import KeyedCoordinator, progress
from tests.support.homes.superlinks import add_flower_run

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.privacy.sides import SideCosts

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
SCRIPT = "<script>alert(1)</script>{{ 7 * 7 }}\u202e"


@pytest.fixture
def otto(keyed: KeyedCoordinator, console: ConsoleBench) -> Browser:
    browser = Browser(coordinator_desk(keyed.home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    return browser


def running(keyed: KeyedCoordinator, run: str = "run-1", *, debited: bool = True) -> None:
    """A run whose process works, at a step, and waits for one institution."""
    propose(keyed.home, keyed.study, keyed.signer)
    with keyed.store() as store:
        store.create(run, keyed.study.id, NOW - MINUTE)
        store.note_begun(run, NOW - MINUTE, automatic=False)
        store.set_flower_run(run, 7)
        store.set_state(run, RunStatus.RUNNING, "", NOW)
        store.append(run, (), progress=progress(1, spent=SideCosts(all=3_000_000_000)))
        store.put_status(run, "bank-a", "answered", NOW)
        store.put_status(run, "bank-b", "asked", NOW)
        store.add_losses(run, ["bank-c"], debited=debited)
    # A suite may take an hour from here on.
    add_flower_run(keyed.home, 7, running=NOW - MINUTE, until=NOW + timedelta(days=1))


def failed(keyed: KeyedCoordinator, reason: str, run: str = "run-1") -> None:
    with keyed.store() as store:
        store.set_state(run, RunStatus.FAILED, reason, NOW)


def test_a_run_that_goes_on(keyed: KeyedCoordinator, otto: Browser) -> None:
    running(keyed)
    text = " ".join(otto.shown("/runs/run-1").split())
    assert "State running" in text
    assert "Not answered yet bank-b" in text
    assert "bank-c caused 1 failed attempt" in text
    assert "1 of them debited to the others" in text
    assert "spent by this run" in text
    assert 'data-follow="/runs/run-1/events"' in otto.get("/runs/run-1").text
    table = " ".join(otto.shown("/runs").split())
    assert "run-1 payments running" in table


def test_a_run_whose_process_is_gone_and_one_that_failed(
    keyed: KeyedCoordinator, otto: Browser
) -> None:
    running(keyed, debited=False)
    assert "No heartbeat" not in otto.shown("/runs/run-1")
    add_flower_run(keyed.home, 8, running=NOW - 3 * MINUTE, until=NOW - 2 * MINUTE)
    with keyed.store() as store:
        store.set_flower_run("run-1", 8)
    text = " ".join(otto.shown("/runs/run-1").split())
    assert "State interrupted" in text
    assert "No heartbeat received" in text
    assert "fieldfare coordinator run resume run-1" in text
    assert "Not answered yet" not in text
    assert (
        "Automatic resume waits for a person" in text
    )  # the test's coordinator lets nothing go on
    settings = keyed.home.settings
    settings.write_text(settings.read_text().replace("resume_runs = false", "resume_runs = true"))
    assert "Automatic resume goes on at" in " ".join(otto.shown("/runs/run-1").split())
    failed(keyed, "bank-b answered with something else")
    with keyed.store() as store:
        store.note_needs_person("run-1")
    text = " ".join(otto.shown("/runs/run-1").split())
    assert "Reason bank-b answered with something else" in text
    assert "waits for a person: another try would fail too" in text
    assert "data-follow=" not in otto.get("/runs/run-1").text


def test_events_are_the_part_until_it_is_over(keyed: KeyedCoordinator, otto: Browser) -> None:
    running(keyed)
    failed(keyed, SCRIPT)
    with keyed.store() as store:
        store.note_needs_person("run-1")
    answer = otto.get("/runs/run-1/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("event: part\ndata: ")
    assert answer.text.endswith("event: over\ndata:\n\n")
    assert "waits for a person" in answer.text
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_nothing_that_institutions_say_runs(keyed: KeyedCoordinator, otto: Browser) -> None:
    running(keyed)
    with keyed.store() as store:
        store.put_status("run-1", SCRIPT, SCRIPT, NOW)
        store.add_losses("run-1", [SCRIPT], debited=False)
    failed(keyed, SCRIPT)
    for path in ("/runs", "/runs/run-1"):
        text = otto.get(path).text
        assert "<script>alert" not in text
        assert "\u202e" not in text
    assert "{{ 7 * 7 }}" in otto.get("/runs/run-1").text


@pytest.mark.parametrize("run", ["none", "..%2f..%2fkeys", "%3Cscript%3E", "{{7*7}}", "a" * 300])
@pytest.mark.parametrize("after", ["", "/events"])
def test_odd_runs_are_errors_that_are_pages(otto: Browser, run: str, after: str) -> None:
    answer = otto.get(f"/runs/{quote(run, safe='%')}{after}")
    assert answer.status_code in {400, 404}
    assert "<h1>" in answer.text
    assert "<script>" not in answer.text.replace('<script src="/static/console.js" defer>', "")


def test_a_coordinator_without_runs_says_so(
    coordinator_home: CoordinatorHome, console: ConsoleBench
) -> None:
    browser = Browser(coordinator_desk(coordinator_home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    assert "No run yet" in browser.shown("/runs")
    assert not coordinator_home.runs_database.exists()


def test_watching_changes_no_file(keyed: KeyedCoordinator, otto: Browser) -> None:
    running(keyed)

    def content() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in keyed.home.path.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = content()
    for path in ("/runs", "/runs/run-1", "/members"):
        assert otto.get(path).status_code == 200
    assert content() == before
