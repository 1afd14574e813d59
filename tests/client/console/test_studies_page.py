"""Studies in a browser: what the terminal's review says, and the command that decides."""

import os
import shlex
from datetime import timedelta
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
from tests.support.homes import journals
from tests.support.homes.consoles import Browser, ConsoleBench, desk, kept_alerts
from tests.support.homes.institutions import NOW, Coordinator, OpenCustody, home_study, loaded

from fieldfare.client.alerts.casework import CaseworkTerms, make_casework
from fieldfare.client.approvals import approval
from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.desk.study_reading import view_study
from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import KeptStudy
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def bank(coordinator: Coordinator) -> Home:
    kept_alerts(coordinator.homes["bank-a"], 3)
    return coordinator.homes["bank-a"]


@pytest.fixture
def otto(bank: Home, console: ConsoleBench) -> Browser:
    return entered(bank.path, console, "otto", ConsoleRole.OPERATOR)


def entered(home: Path, console: ConsoleBench, name: str, role: ConsoleRole) -> Browser:
    browser = Browser(desk(home, console))
    console.log_in(browser, console.enrolled(name, role))
    return browser


def asked_no(browser: Browser, kept: KeptStudy, **fields: str) -> str:
    page = f"/studies/{kept.study.id}"
    answer = browser.fill(f"{page}/command", page=page, **fields)
    assert answer.status_code == 200
    return unescape(answer.text)


def files_of(home: Home) -> dict[str, str]:
    """Every file of a home and the entries of its log; without what SQLite rewrites on closing."""
    files = {
        str(path): sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.path.rglob("*"))
        if path.is_file() and path.parent != home.log_folder and not path.name.endswith("-shm")
    }
    return files | {"log": str(journals.logged(home.log_folder))}


def test_a_study_says_what_the_terminal_says(
    coordinator: Coordinator, bank: Home, otto: Browser
) -> None:
    coordinator.receive(home_study(privacy__epsilon=0.25), now=NOW)
    kept = coordinator.receive(home_study(), now=NOW + timedelta(days=1))
    shown = " ".join(otto.shown(f"/studies/{kept.study.id}").split())
    for topic in view_study(bank.path, kept.study.id, utc_now()).topics:
        for line in (*topic.lines, *topic.rows) if topic.name != "study" else ():
            for said in line:
                assert " ".join(said.text.split()) in shown
    assert "~ privacy.epsilon: 0.25 -> 0.5" in shown
    assert "the last of this name; none of them is approved" in shown
    assert "The earlier study: waits for a decision." in shown


def test_changes_are_those_since_the_last_approved_one(
    coordinator: Coordinator, custody_of: OpenCustody, otto: Browser
) -> None:
    """One that came between and was approved by nobody hides no change."""
    custody = custody_of()
    first = coordinator.receive(home_study(privacy__epsilon=0.25), now=NOW)
    approval.approve(custody, first, loaded(custody, first.study), "tester", utc_now())
    coordinator.receive(home_study(privacy__epsilon=0.4), now=NOW + timedelta(days=1))
    kept = coordinator.receive(home_study(), now=NOW + timedelta(days=2))
    shown = " ".join(otto.shown(f"/studies/{kept.study.id}").split())
    assert f"since {first.short}, the last approved one of this name:" in shown
    assert "~ privacy.epsilon: 0.25 -> 0.5" in shown
    assert "The earlier study: approved." in shown


def test_studies_stand_under_what_was_decided(
    coordinator: Coordinator, bank: Home, custody_of: OpenCustody, otto: Browser
) -> None:
    assert otto.shown("/studies").count("None.") == 3
    custody, kept = custody_of(), coordinator.receive(home_study())
    no = coordinator.receive(home_study(name="second"))
    coordinator.receive(home_study(name="third"))
    approval.approve(custody, kept, loaded(custody, kept.study), "tester", utc_now())
    Rejecter(bank, custody.ledger, custody.journal, "tester", utc_now()).reject(
        no.study.id, "no basis"
    )
    text = otto.shown("/studies")
    waiting, approved = text.index("Waiting"), text.index("Approved")
    rejected = text.index("Rejected or withdrawn")
    assert waiting < text.index("third") < approved < text.index("small") < rejected
    assert rejected < text.index("second") < text.index("no basis")
    shown = otto.shown(f"/studies/{kept.study.id}")
    assert "institution approve" not in shown
    assert "for you to decide" not in shown  # it is decided
    assert "for you to decide" in otto.shown(f"/studies/{no.study.id}")  # a no can become a yes
    assert "institution withdraw" in asked_no(otto, kept)


def test_the_console_decides_nothing_and_says_the_command(
    coordinator: Coordinator, bank: Home, custody_of: OpenCustody, otto: Browser
) -> None:
    custody, approved = custody_of(), coordinator.receive(home_study(name="first"))
    approval.approve(custody, approved, loaded(custody, approved.study), "tester", utc_now())
    kept = coordinator.receive(home_study())
    before = files_of(bank)
    assert str(bank.ledger) in before
    home = shlex.quote(str(bank.path))
    approve = f"fieldfare institution approve {kept.short} --home {home}"
    assert approve in otto.shown(f"/studies/{kept.study.id}")
    reason = "no basis; rm -rf $HOME `id` 'here'"
    text = asked_no(otto, kept, reason=reason, keep="1")
    command = text.partition("To reject it:</p>\n<p><code>")[2].partition("</code>")[0]
    said = ["fieldfare", "institution", "reject", kept.short, f"--reason={reason}"]
    assert shlex.split(command) == [*said, "--keep-reason", "--home", str(bank.path)]
    for odd in ("", "two\nlines", "x" * 501, "\u202eback"):
        assert "To reject it:" not in asked_no(otto, kept, reason=odd), odd
    assert files_of(bank) == before


def test_the_examiner_reads_and_is_told_no_command(
    coordinator: Coordinator, bank: Home, console: ConsoleBench
) -> None:
    kept = coordinator.receive(home_study())
    edda = entered(bank.path, console, "edda", ConsoleRole.EXAMINER)
    page = f"/studies/{kept.study.id}"
    assert "fits your policy" in edda.shown(page)
    assert "institution approve" not in edda.shown(page)
    assert edda.fill(f"{page}/command", page=page, reason="no").status_code == 403


def test_nothing_of_a_customer_and_no_script_is_on_these_pages(
    coordinator: Coordinator, bank: Home, otto: Browser
) -> None:
    kept = coordinator.receive(home_study(name="x", purpose=SCRIPT, prohibited_uses=[SCRIPT]))
    pages = [otto.get(f"/studies/{kept.study.id}").text, otto.get("/studies").text]
    pages.append(asked_no(otto, kept, reason="x").replace(unescape(SCRIPT), ""))
    typed = otto.fill(
        f"/studies/{kept.study.id}/command", page="/", reason=f'">{SCRIPT}{{{{ 7 * 7 }}}}'
    ).text
    assert SCRIPT not in typed
    assert "{{ 7 * 7 }}" in unescape(typed)
    assert "&lt;script&gt;" in pages[0]
    assert SCRIPT not in pages[0] + pages[1]
    rows = (bank.path / "records.csv").read_text().splitlines()[1:]
    for value in ("MARKER", *(row.partition(",")[0] for row in rows[:20])):
        assert all(value not in one for one in [*pages, typed]), value


@pytest.mark.parametrize("study", ["0" * 64, "..%2f..%2fkeys", "%3Cscript%3E", "{{7*7}}", "abc"])
def test_odd_ids_are_errors_that_are_pages(otto: Browser, study: str) -> None:
    answer = otto.get(f"/studies/{study}")
    assert answer.status_code in {400, 404}
    assert "<h1>" in answer.text
    assert "<script>" not in answer.text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    terms = CaseworkTerms(institution="bank-a", analysts=("anna",), console=os_user())
    return make_casework(tmp_path / "cases", os.getgid(), terms).path


def test_a_casework_folder_has_the_same_pages(
    coordinator: Coordinator, bank: Home, folder: Path, console: ConsoleBench
) -> None:
    kept = coordinator.receive(home_study())
    otto = Browser(desk(folder, console, bank.path))
    console.log_in(otto, console.enrolled("otto", ConsoleRole.OPERATOR))
    assert "fits your policy" in otto.shown(f"/studies/{kept.study.id}")
    for page in ("/budget", "/log", "/check"):
        assert otto.get(page).status_code == 200, page


def test_where_no_desk_answers_the_page_says_what_to_do(
    folder: Path, console: ConsoleBench
) -> None:
    otto = entered(folder, console, "otto", ConsoleRole.OPERATOR)
    for page in ("/studies", "/studies/abcd", "/budget", "/log", "/check"):
        answer = otto.get(page)
        assert answer.status_code == 503, page
        assert "start it with `fieldfare institution start`" in unescape(answer.text)


def test_a_home_without_a_roster_says_so(home: Home, console: ConsoleBench) -> None:
    otto = entered(home.path, console, "otto", ConsoleRole.OPERATOR)
    assert "found none" in otto.shown("/studies")
