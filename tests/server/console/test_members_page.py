"""Members in a browser: keys, roster, whether each is there; nothing that they say runs."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.papers import Applicant
from tests.support.homes.superlinks import add_node

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.enrolment import examine, keep
from fieldfare.server.members.publication import publish
from fieldfare.server.members.standing import membership
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
    assert "bank-d not let in yet not on the roster yet" in text
    assert "The roster is behind" in text
    assert "Version 1" in text


def test_without_members_the_page_says_how_they_come(otto: Browser) -> None:
    text = otto.shown("/members")
    assert "No institution is enrolled yet" in text
    assert "None was published yet" in text


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
