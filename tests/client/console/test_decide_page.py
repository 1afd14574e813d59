"""Deciding on a study in a browser: by whom, by which form, and what everything else gets."""

import re
from dataclasses import dataclass
from html import unescape
from typing import Any, Final

import pytest
from tests.support.homes import journals
from tests.support.homes.consoles import Browser, ConsoleBench, desk
from tests.support.homes.deciders import Decider, let_decide
from tests.support.homes.institutions import Coordinator, home_study

from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import KeptStudy, State, read_decision
from fieldfare.shared.console.rights import ConsoleRole

SCRIPT: Final = "<script>alert(1)</script>"


@dataclass
class Path:
    """An operator at a study, logged in."""

    home: Home
    kept: KeptStudy
    browser: Browser
    decider: Decider

    @property
    def page(self) -> str:
        return f"/studies/{self.kept.study.id}"

    @property
    def state(self) -> State:
        return read_decision(self.home, self.kept.study.id).state

    def fields(self, say: str = "approve", **changes: str) -> dict[str, str]:
        shown = self.browser.get(self.page).text
        seen = re.search(r'name="seen" value="(\w+)"', shown)
        found = {"say": say, "code": self.decider.code(), "seen": seen[1] if seen else ""}
        return found | {"safety": self.decider.safety} | changes

    def decide(self, say: str = "approve", **changes: str) -> str:
        found = self.fields(say, **changes)
        answer = self.browser.fill(f"{self.page}/decide", page=self.page, **found)
        assert answer.status_code == 200
        return unescape(answer.text)


@pytest.fixture
def path(coordinator: Coordinator, console: ConsoleBench) -> Path:
    home = coordinator.homes["bank-a"]
    decider = let_decide(coordinator, home, "otto")
    browser = Browser(desk(home.path, console))
    console.log_in(browser, console.enrolled("otto", ConsoleRole.OPERATOR))
    return Path(home, coordinator.receive(home_study()), browser, decider)


def test_a_study_is_approved_and_withdrawn(path: Path) -> None:
    shown = path.browser.get(path.page).text
    assert "Show the command" not in shown
    assert "The six digits prove who you are, not what you decide" in shown
    assert "approved by otto at" in path.decide()
    assert path.state is State.APPROVED
    page = path.browser.get(path.page).text
    assert ">Withdraw</button>" in page
    assert ">Approve</button>" not in page
    assert "withdrawn by otto at" in path.decide("withdraw", reason="it ended")
    logged = journals.logged(path.home.log_folder)
    said = [(one["event"], one["actor"]) for one in logged if one["details"].get("study")]
    assert said[-2:] == [("approval", "otto"), ("withdrawal", "otto")]


def test_a_study_is_rejected_with_a_reason(path: Path) -> None:
    assert "expected a reason" in path.decide("reject")
    assert path.state is State.RECEIVED
    assert "rejected by otto at" in path.decide("reject", reason="no basis")
    decision = read_decision(path.home, path.kept.study.id)
    assert (decision.reason, decision.told.value) == ("no basis", "reason")


def test_a_rejection_withdraws_nothing_that_was_approved_meanwhile(path: Path) -> None:
    """The form said Reject, of a page that is no longer true."""
    path.decide()
    assert "found an approved one" in path.decide("reject", reason="no basis")
    assert path.state is State.APPROVED


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "000000"},
        {"code": ""},
        {"code": "1" * 300},
        {"safety": "0" * 60},
        {"safety": ""},
        {"seen": "0" * 64},
        {"seen": "x" * 500},
        {"say": "else"},
    ],
    ids=str,
)
def test_what_is_wrong_is_said_and_does_nothing(path: Path, changes: dict[str, str]) -> None:
    before = read_decision(path.home, path.kept.study.id)
    text = path.decide(**({"say": "approve"} | changes))
    assert 'role="alert"' in text
    assert read_decision(path.home, path.kept.study.id) == before
    for code in (path.decider.safety, path.decider.code()):
        assert code not in text


def test_a_wrong_code_keeps_what_was_typed_of_a_no(path: Path) -> None:
    odd = f'">{SCRIPT}{{{{ 7 * 7 }}}}'
    text = path.decide("reject", reason=odd, keep="1", code="000000")
    assert "or used ones" in text
    assert f'value="{odd}"' in text
    assert (
        SCRIPT
        not in path.browser.fill(
            f"{path.page}/decide",
            page=path.page,
            **path.fields("reject", reason=odd, code="000000"),
        ).text
    )
    assert path.state is State.RECEIVED


def test_a_form_sent_twice_decides_once(path: Path) -> None:
    fields = path.fields()
    for _ in range(2):
        answer = path.browser.fill(f"{path.page}/decide", page=path.page, **fields)
    assert "read it again" in unescape(answer.text)
    logged = journals.logged(path.home.log_folder)
    assert [one["event"] for one in logged].count("approval") == 1


def test_a_form_of_another_site_or_visit_does_nothing(path: Path) -> None:
    fields = path.fields()
    sent: list[tuple[dict[str, str], dict[str, Any]]] = [
        (fields, {}),
        (fields | {"token": "0" * 64}, {}),
        (fields, {"sec_fetch_site": "cross-site"}),
    ]
    for given, headers in sent:
        answer = path.browser.sent(f"{path.page}/decide", given, **headers)
        assert answer.status_code == 403
    assert path.browser.get(f"{path.page}/decide").status_code == 405
    assert path.state is State.RECEIVED


@pytest.mark.parametrize("role", [one for one in ConsoleRole if one is not ConsoleRole.OPERATOR])
def test_no_other_role_decides_whatever_it_knows(
    path: Path, console: ConsoleBench, role: ConsoleRole
) -> None:
    """Not with an operator's own codes: the role is looked at before a field is."""
    other = Browser(desk(path.home.path, console))
    console.log_in(other, console.enrolled(f"person-{role.value}", role))
    fields = path.fields()
    answer = other.fill(f"{path.page}/decide", page="/", **fields)
    assert answer.status_code == 403
    assert path.state is State.RECEIVED
    if role is ConsoleRole.EXAMINER:
        assert "Code of the desk" not in other.get(path.page).text


def test_an_operator_who_is_no_decider_decides_nothing(path: Path, console: ConsoleBench) -> None:
    """Nor by the code of somebody who is one: the name is the log-in's."""
    other = Browser(desk(path.home.path, console))
    console.log_in(other, console.enrolled("olga", ConsoleRole.OPERATOR))
    answer = other.fill(f"{path.page}/decide", page=path.page, **path.fields(), person="otto")
    assert "or used ones" in unescape(answer.text)
    assert path.state is State.RECEIVED


def test_columns_are_shown_with_a_box_to_confirm(path: Path, coordinator: Coordinator) -> None:
    coordinator.edit(path.home.policy, '"amount", "channel"]', '"amount"]')
    shown = " ".join(path.browser.shown(path.page).split())
    assert "does not list 1 of its columns. This approval adds them: channel" in shown
    assert "confirm the columns" in path.decide()
    assert "approved by otto" in path.decide(columns="1")


def test_two_persons_where_the_policy_asks_for_two(
    path: Path, coordinator: Coordinator, console: ConsoleBench
) -> None:
    with path.home.policy.open("a") as file:
        file.write("[approvals]\nby_two = true\n")
    text = path.decide()
    assert "otto approves it; it runs when another person approves it too" in text
    assert "otto approved it. The policy requires two persons" in " ".join(text.split())
    assert path.state is State.RECEIVED
    decider = let_decide(coordinator, path.home, "olga")
    other = Browser(desk(path.home.path, console))
    console.log_in(other, console.enrolled("olga", ConsoleRole.OPERATOR))
    assert "approved by olga" in Path(path.home, path.kept, other, decider).decide()
    decision = read_decision(path.home, path.kept.study.id)
    assert (decision.state, decision.user) == (State.APPROVED, "olga")


def test_nothing_typed_reaches_the_log_but_the_reason(path: Path) -> None:
    path.decide(code="MARKER", safety="MARKER", seen="MARKER")
    path.decide("reject", code="MARKER", reason="fine")
    assert "MARKER" not in str(journals.logged(path.home.log_folder))
