"""Accounts and sessions: one link, one use; what ends when; what is kept."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.homes.consoles import PASSWORD, VISIT, ConsoleBench

from fieldfare.shared.console import accounts
from fieldfare.shared.console.accounts import (
    FILE,
    IDLE,
    KNOWN_FOR,
    LINK_LIVES,
    LONGEST,
    PROVING,
    SavedView,
    open_accounts,
)
from fieldfare.shared.console.credentials import factor_of
from fieldfare.shared.console.invitations import new_links
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import LedgerError, UsageError


def silent(_: str) -> None:
    pass


def test_a_link_counts_once(console: ConsoleBench) -> None:
    link = console.invite("anna")
    console.book.enrol(link, VISIT, PASSWORD, console.code("anna"), silent)
    assert console.book.invited(link) is None
    with pytest.raises(UsageError, match="a link that was not used yet"):
        console.book.enrol(link, VISIT, PASSWORD, console.code("anna"), silent)


def test_a_link_ends_with_its_day(console: ConsoleBench) -> None:
    link = console.invite("anna")
    console.time.seconds += LINK_LIVES.total_seconds()
    assert console.book.invited(link) is None


def test_a_terminal_makes_a_link_for_whoever_waits_and_has_none(console: ConsoleBench) -> None:
    console.enrolled("anna")
    handed = console.invite("berta")
    console.book.expect("clara", ConsoleRole.ANALYST, silent)
    told: list[str] = []
    said = " ".join(new_links(console.book, "http://here", told.append))
    assert told == ["clara"]
    assert console.book.invited(handed)  # a link that was handed over goes on counting
    token = said.split("http://here/enrol?link=")[1][:43]
    assert console.book.invited(token) == console.book.account("clara")
    assert list(new_links(console.book, "http://here", told.append)) == []
    console.time.seconds += LINK_LIVES.total_seconds()
    console.book.close("clara", silent)
    assert "berta enrols here" in " ".join(new_links(console.book, "http://here", silent))


@pytest.mark.parametrize("password", ["Xanna-likes-this", "too short"])
def test_a_bad_password_leaves_the_link(console: ConsoleBench, password: str) -> None:
    link = console.invite("anna")
    with pytest.raises(UsageError, match="expected a password"):
        console.book.enrol(link, VISIT, password, console.code("anna"), silent)
    assert console.book.invited(link)


def test_a_wrong_code_leaves_the_link(console: ConsoleBench) -> None:
    link = console.invite("anna")
    with pytest.raises(UsageError, match="the six digits"):
        console.book.enrol(link, VISIT, PASSWORD, "000000", silent)
    assert console.book.invited(link)
    assert not console.book.proves_password("anna", PASSWORD)


def test_what_cannot_be_logged_does_not_happen(console: ConsoleBench) -> None:
    def full(_: str) -> None:
        raise LedgerError("expected room, found none")

    with pytest.raises(LedgerError):
        console.book.add("berta", ConsoleRole.ANALYST, full)
    assert console.book.account("berta") is None
    name = console.enrolled("anna")
    for act in (console.book.link, console.book.close):
        with pytest.raises(LedgerError):
            act(name, full)
    assert console.book.proves_password(name, PASSWORD)


def test_nobody_without_password_and_nobody_closed_comes_in(console: ConsoleBench) -> None:
    console.invite("new")
    for typed in ("", PASSWORD):
        assert not console.book.proves_password("new", typed)
        assert not console.book.proves_password("unknown", typed)
    console.enrolled("anna")
    console.book.close("anna", silent)
    assert not console.book.proves_password("anna", PASSWORD)
    assert not console.book.proves_code("anna", console.code("anna"))


def test_a_code_is_taken_once(console: ConsoleBench) -> None:
    console.enrolled("anna")
    code = console.code("anna")
    assert console.book.proves_code("anna", code)
    assert not console.book.proves_code("anna", code)


def test_a_session_ends_when_idle_and_when_old(console: ConsoleBench) -> None:
    book, time = console.book, console.time
    token = book.begin(console.enrolled("anna"), proved=True)
    for _ in range(int(LONGEST / IDLE) * 2 - 1):
        time.seconds += IDLE.total_seconds() / 2
        assert book.session(token)
    time.seconds += IDLE.total_seconds() / 2
    assert book.session(token) is None  # however busy
    token = book.begin("anna", proved=True)
    time.seconds += IDLE.total_seconds()
    assert book.session(token) is None
    time.seconds -= IDLE.total_seconds()
    assert book.session(token) is None  # also if the clock goes back
    token = book.begin("anna", proved=False)
    time.seconds += PROVING.total_seconds()
    assert book.session(token) is None


def test_a_step_up_leaves_no_old_token(console: ConsoleBench) -> None:
    first = console.book.begin(console.enrolled("anna"), proved=False)
    second = console.book.begin("anna", proved=True, instead_of=first)
    assert console.book.session(first) is None
    assert console.book.session(second)


@pytest.mark.parametrize("act", ["link", "close"])
def test_beginning_anew_and_closing_end_everything(console: ConsoleBench, act: str) -> None:
    name = console.enrolled("anna")
    session = console.book.begin(name, proved=True)
    browser = console.book.remember_browser(name)
    link = console.book.link(name, silent) if act == "link" else None
    if act == "close":
        console.book.close(name, silent)
    assert console.book.session(session) is None
    assert not console.book.knows_browser(browser, name)
    assert not console.book.proves_password(name, PASSWORD)
    if link:
        assert factor_of(link, VISIT) != console.factors[name]


def test_a_browser_is_known_for_one_person_and_a_time(console: ConsoleBench) -> None:
    token = console.book.remember_browser(console.enrolled("anna"))
    console.enrolled("berta")
    assert console.book.knows_browser(token, "anna")
    assert not console.book.knows_browser(token, "berta")
    console.time.seconds += KNOWN_FOR.total_seconds()
    assert not console.book.knows_browser(token, "anna")


def test_views_are_a_persons_own(console: ConsoleBench) -> None:
    console.enrolled("anna")
    console.book.save_view("anna", SavedView("mine", "/alerts", "tier=3"))
    console.book.save_view("anna", SavedView("mine", "/alerts", "tier=2"))
    assert console.book.views("anna", "/alerts") == [SavedView("mine", "/alerts", "tier=2")]
    assert console.book.views("anna", "/other") == []
    console.book.drop_view("anna", "mine")
    assert console.book.views("anna", "/alerts") == []
    with pytest.raises(UsageError, match="expected a name"):
        console.book.save_view("anna", SavedView("", "/alerts", ""))
    for number in range(50):
        console.book.save_view("anna", SavedView(str(number), "/alerts", ""))
    with pytest.raises(UsageError, match="at most 50"):
        console.book.save_view("anna", SavedView("one more", "/alerts", ""))


@pytest.mark.parametrize("name", ["", "../x", "a b", "a\n", "<b>", ".a", "x" * 65])
def test_odd_names_are_refused(console: ConsoleBench, name: str) -> None:
    with pytest.raises(UsageError, match="NAME"):
        console.book.add(name, ConsoleRole.ANALYST, silent)


def test_the_file_is_private_and_holds_no_token(console: ConsoleBench, tmp_path: Path) -> None:
    with open_accounts(tmp_path, console.time.now, os.urandom) as book:
        link = book.add("anna", ConsoleRole.EXAMINER, silent)
        tokens = [link, book.begin("anna", proved=True), book.remember_browser("anna")]
    files = [*tmp_path.iterdir()]
    assert {f"{one.stat().st_mode & 0o777:o}" for one in files} == {"600"}
    kept = b"".join(one.read_bytes() for one in files)
    assert b"anna" in kept
    assert [token for token in tokens if token.encode() in kept] == []
    (tmp_path / FILE).chmod(0o644)
    with (
        pytest.raises(UsageError, match="closed to others"),
        open_accounts(tmp_path, console.time.now, os.urandom),
    ):
        pass


def test_a_name_in_other_letters_is_the_same_person(console: ConsoleBench) -> None:
    """Two persons have to sign: one person is not two by a capital letter."""
    console.invite("anna")
    for name in ("anna", "Anna", "ANNA"):
        with pytest.raises(UsageError, match="account link anna"):
            console.book.add(name, ConsoleRole.REVIEWER, silent)


def test_a_person_of_a_provider_has_one_account_that_the_operator_made(
    console: ConsoleBench,
) -> None:
    book, role = console.book, ConsoleRole.REVIEWER
    with pytest.raises(UsageError, match="Nobody made an account"):
        book.vouched("idp 1", role, lambda *_: None)
    assert book.add("anna", role, silent, "idp 1") == ""
    with pytest.raises(UsageError, match="found that of anna"):
        book.add("berta", role, silent, "idp 1")
    assert [one.name for one in book.all()] == ["anna"]
    book.link("anna", silent, "idp 2")  # the same person, after the provider was moved
    assert book.vouched("idp 2", role, lambda *_: None).name == "anna"
    with pytest.raises(UsageError, match="Nobody made an account"):
        book.vouched("idp 1", role, lambda *_: None)


def test_sessions_and_links_end_when_the_documentation_says() -> None:
    """docs/console.md names the times: other tests move a clock by whatever stands in the code."""
    hours = [accounts.LONGEST, accounts.LINK_LIVES]
    assert hours == [timedelta(hours=10), timedelta(hours=24)]
    assert [timedelta(minutes=30), timedelta(minutes=5)] == [accounts.IDLE, accounts.PROVING]
