"""Members in a browser: keys, roster, whether each is there; nothing that they say runs."""

import shlex
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.papers import Applicant
from tests.support.homes.superlinks import add_node

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.enrolment import examine, keep
from fieldfare.server.members.publication import publish
from fieldfare.server.members.standing import membership, spoken_key
from fieldfare.shared.console.rights import ConsoleRole

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def otto(coordinator_home: CoordinatorHome, console: ConsoleBench) -> Browser:
    browser = Browser(coordinator_desk(coordinator_home, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    return browser


def enrolled(home: CoordinatorHome, *names: str, contact: str = "") -> list[Applicant]:
    found = [Applicant(name, home, contact=contact) for name in names]
    for one in found:
        keep(home, examine(home, one.enrolment(), "sent"))
    return found


def test_a_member_with_keys_and_place_and_contact(
    coordinator_home: CoordinatorHome, otto: Browser
) -> None:
    bank, other, third = enrolled(coordinator_home, "bank-a", "bank-b", "bank-c")
    publish(coordinator_home, load_roster_key(coordinator_home, None))
    enrolled(coordinator_home, "bank-d")
    now = datetime.now(UTC)
    add_node(coordinator_home, bank.node, since=now - timedelta(hours=1), until=now + timedelta(1))
    add_node(coordinator_home, other.node, since=now - timedelta(2), until=now - timedelta(1))
    add_node(coordinator_home, third.node)
    text = " ".join(otto.shown("/members").split())
    for one in membership(coordinator_home).members:
        assert one.identity in text
        assert one.node in text
    assert "bank-a connected now, since" in text
    assert f"bank-b gone since {now - timedelta(1):%Y-%m-%d}" in text
    assert "bank-c never connected on the roster" in text
    assert "bank-d not admitted yet not on the roster yet" in text
    assert "The roster lacks a change in enrolment" in text
    assert "Version 1" in text


def test_without_members_the_page_says_how_they_come(otto: Browser) -> None:
    text = otto.shown("/members")
    assert "No institution is enrolled yet" in text
    assert "No roster has been published yet" in text


def test_nothing_that_members_say_runs(coordinator_home: CoordinatorHome, otto: Browser) -> None:
    enrolled(coordinator_home, f'"{SCRIPT}', contact=f"{SCRIPT} {{{{ 7 * 7 }}}}")
    text = otto.get("/members").text
    assert SCRIPT not in text
    assert "&lt;script&gt;" in text
    assert "{{ 7 * 7 }}" in text


def test_a_state_that_cannot_be_read_is_said(
    coordinator_home: CoordinatorHome, otto: Browser
) -> None:
    enrolled(coordinator_home, "bank-a")
    coordinator_home.superlink_database.write_bytes(b"no database at all")
    text = otto.shown("/members")
    assert "expected the SuperLink's state" in text
    assert "not known" in text


def test_papers_that_wait_are_shown_with_what_to_compare(
    coordinator_home: CoordinatorHome, otto: Browser
) -> None:
    enrolled(coordinator_home, "bank-a")
    known = Applicant("bank-a", coordinator_home)
    new = Applicant("bank-b", coordinator_home, contact=SCRIPT)
    folder = coordinator_home.path
    (folder / "known.enrolment").write_bytes(known.enrolment())
    (folder / "it's new.enrolment").write_bytes(new.enrolment() + b"\n")
    (folder / "odd.enrolment").write_bytes(b"{}")
    before = sorted(one.name for one in coordinator_home.members.iterdir())
    page = otto.get("/members")
    assert SCRIPT not in page.text
    text = " ".join(otto.shown("/members").split())
    assert "it's new.enrolment bank-b: a new member" in text
    assert spoken_key(new.public) in text
    command = text.partition("To enrol it ")[2].partition(" odd.enrolment")[0]
    assert shlex.split(command) == [
        *("fieldfare", "coordinator", "enrol", str(folder / "it's new.enrolment")),
        *("--home", str(folder)),
    ]
    assert "odd.enrolment" in text
    assert "known.enrolment" not in text
    assert sorted(one.name for one in coordinator_home.members.iterdir()) == before


def test_a_pasted_paper_is_looked_at_and_not_kept(
    coordinator_home: CoordinatorHome, otto: Browser
) -> None:
    new = Applicant("bank-b", coordinator_home)
    pasted = new.enrolment().decode()
    answer = otto.fill("/members/paper", page="/members", paper=f"{pasted}\r\n")
    assert "a new member" in answer.text
    assert spoken_key(new.public) in answer.text
    assert "No roster has been published" in answer.text
    for odd in ("", SCRIPT, pasted.replace("bank-b", "bank-c"), "x" * 40_000, "{" * 9_000):
        answer = otto.fill("/members/paper", page="/members", paper=odd)
        assert answer.status_code == 200
        assert "what was pasted" in answer.text
        assert SCRIPT not in answer.text
        assert "To enrol it" not in answer.text
    assert list(coordinator_home.members.iterdir()) == []
