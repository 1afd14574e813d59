"""A study from its notice to its approval in a real browser: at most six actions, counted."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from tests.support.browsers.looking import SCRIPTS, Look, chromium
from tests.support.browsers.served import Served, served
from tests.support.homes import journals
from tests.support.homes.consoles import PASSWORD
from tests.support.homes.deciders import let_decide
from tests.support.homes.institutions import Coordinator, home_study

from fieldfare.client.home.studies import RejectionDisclosure, State, read_decision
from fieldfare.client.oversight.notice_facts import InstitutionFacts
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.watch.outbox import Fact
from fieldfare.shared.watch.sentences import NoticeKind

MOST_ACTIONS: Final = 6  # issue 16, line 3


@dataclass
class Acting:
    """A person at a browser: opening an address and pressing something is an action each."""

    look: Look
    count: int = 0

    def opens(self, path: str) -> None:
        self.count += 1
        self.look.open(path)

    def follows(self, name: str) -> None:
        self.acts(lambda page: page.get_by_role("link", name=name).click())

    def presses(self, name: str) -> None:
        self.acts(lambda page: page.get_by_role("button", name=name).click())

    def acts(self, act: Callable[[Any], None]) -> None:
        self.count += 1
        act(self.look.page)

    def types(self, **fields: str) -> None:
        for label, text in fields.items():
            self.look.page.get_by_label(label.replace("_", " ")).first.fill(text)


@pytest.fixture
def address(coordinator: Coordinator, capfd: pytest.CaptureFixture[str]) -> Iterator[Served]:
    with served(coordinator.homes["bank-a"].path, capfd) as found:
        yield found


@pytest.mark.faults
@pytest.mark.parametrize("scripts", SCRIPTS)
def test_a_study_is_approved_in_six_actions(
    coordinator: Coordinator, address: Served, *, scripts: bool
) -> None:
    home = coordinator.homes["bank-a"]
    kept = coordinator.receive(home_study(purpose="<script>window.ran = 1</script>"))
    decider = let_decide(coordinator, home, "otto")
    waits = [Fact(NoticeKind.STUDY_WAITS, kept.study.id)]
    assert list(InstitutionFacts(home, home.admin_socket)._studies()) == waits
    at, link = address
    with chromium(at, scripts=scripts) as look:
        factor = look.enrol(link("otto", "operator"), "otto")
        look.page.get_by_role("button", name="Log out").click()
        look.page.get_by_role("heading", name="Log in").wait_for()
        person = Acting(look)
        person.opens("/")
        person.types(Name="otto", Password=PASSWORD)
        person.presses("Go on")
        look.page.get_by_label("Six digits").wait_for()
        # The step after the one that enrolled: no code counts twice.
        person.types(Six_digits=code_of(factor, utc_now().timestamp() + 30))
        person.acts(lambda page: page.keyboard.press("Enter"))
        person.acts(
            lambda page: page.get_by_label("Pages").get_by_role("link", name="Studies").click()
        )
        person.follows(kept.short)
        look.page.get_by_role("heading", name="What leaves").wait_for()
        shown = look.page.content()
        person.types(Safety_code_of_the_roster=decider.safety, Code_of_the_desk=decider.code())
        before, count = read_decision(home, kept.study.id), person.count
        look.check("study-decides")
        assert before.state is State.RECEIVED
        person.presses("Approve")
        look.page.get_by_text("approved by otto at").wait_for()
        look.check("study-approved")
        assert person.count == count + 1 <= MOST_ACTIONS
        look.stayed()
        if scripts:
            assert look.page.evaluate("window.ran || 0") == 0
    assert "window.ran = 1" not in shown.replace("&lt;script&gt;window.ran = 1", "")
    assert read_decision(home, kept.study.id).state is State.APPROVED
    logged = journals.logged(home.log_folder)
    approvals = [one for one in logged if one["event"] == "approval"]
    assert [(one["actor"], one["details"]["kind"]) for one in approvals] == [("otto", "console")]


@pytest.mark.faults
def test_two_persons_approve_one_study_and_one_no_rejects_another(
    coordinator: Coordinator, address: Served
) -> None:
    """The first with scripts, the second without: one yes lets nothing run, one no is enough."""
    home = coordinator.homes["bank-a"]
    with home.policy.open("a") as file:
        file.write("[approvals]\nby_two = true\n")
    both, other = (coordinator.receive(home_study(name=name)) for name in ("both", "other"))
    at, link = address

    def decides(name: str, *, scripts: bool) -> Generator[Any, None, None]:
        decider = let_decide(coordinator, home, name)
        with chromium(at, scripts=scripts, checks=False) as look:
            look.enrol(link(name, "operator"), name)
            look.open(f"/studies/{both.study.id}")
            yield look.page
            look.page.locator("#safety").fill(decider.safety)
            look.page.locator("#yes-code").fill(decider.code())
            look.page.get_by_role("button", name="Approve").click()
            yield look.page
            look.open(f"/studies/{other.study.id}")
            look.page.locator("#reason").fill("no basis in law")
            look.page.locator("#keep").select_option("1")
            look.page.locator("#no-code").fill(decider.code())
            look.page.get_by_role("button", name="Reject").click()
            yield look.page
            look.stayed()

    first = decides("otto", scripts=True)
    next(first)
    next(first).get_by_text("noted: otto approves it").wait_for()
    first.close()
    assert read_decision(home, both.study.id).state is State.RECEIVED
    second = decides("olga", scripts=False)
    next(second).get_by_text("otto approved it").wait_for()
    next(second).get_by_text("approved by olga at").wait_for()
    next(second).get_by_text("rejected by olga at").wait_for()
    assert next(second, None) is None
    assert read_decision(home, both.study.id).state is State.APPROVED
    no = read_decision(home, other.study.id)
    assert (no.state, no.reason, no.told) == (
        State.REJECTED,
        "no basis in law",
        RejectionDisclosure.DECISION,
    )
