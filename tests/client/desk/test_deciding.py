"""A yes or no from a browser: who says it, with which proofs, and what everything else gets."""

import errno
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from tests.support.federations.debits import commit_release
from tests.support.homes import journals
from tests.support.homes.institutions import Coordinator, OpenCustody, home_study, loaded

from fieldfare.client.approvals import approval, second_person
from fieldfare.client.approvals.approval import approve
from fieldfare.client.desk import approving
from fieldfare.client.desk.calls import DecisionChoice, DecisionForm, DecisionOutcome
from fieldfare.client.desk.deciders import open_deciders
from fieldfare.client.desk.deciding import TRIES, StudyDesk
from fieldfare.client.desk.study_reading import view_study
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.studies import KeptStudy, State, read_decision
from fieldfare.client.institution.open import Custody, LoadedSums, records_loader
from fieldfare.client.ledger.budget import Debit
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.oversight.notice_facts import InstitutionFacts
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.errors import FieldfareError, PolicyRefusal, RefusalCode, UsageError
from fieldfare.shared.protocol.comparison import roster_code
from fieldfare.shared.watch.outbox import Fact
from fieldfare.shared.watch.sentences import NoticeKind

OFF: Final = "[console]\ndecides = false\n"
ON: Final = "[console]\ndecides = true\n"


@dataclass
class Bench:
    """A home that lets people decide in a browser, and two of them."""

    coordinator: Coordinator
    home: Home
    seconds: float = 0.0
    factors: dict[str, bytes] = field(default_factory=dict)
    drawn: int = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def entropy(self, size: int) -> bytes:
        self.drawn += 1
        return bytes([self.drawn]) * size

    def let_decide(self, name: str) -> None:
        with open_deciders(self.home.desk, self.now) as book:
            self.factors[name] = book.add(name, self.entropy, lambda: None)

    def desk(self) -> StudyDesk:
        return StudyDesk(self.home, None, {}, self.now, lambda: self.seconds)

    def code(self, name: str) -> str:
        """A code that was not used yet."""
        self.seconds += 60
        return code_of(self.factors[name], self.now().timestamp())

    @property
    def safety(self) -> str:
        return roster_code(self.coordinator.roster(), "bank-b")

    def asked(self, kept: KeptStudy, person: str = "otto", **changes: Any) -> DecisionForm:
        given: dict[str, Any] = {
            "person": person,
            "study": kept.study.id,
            "say": DecisionChoice.APPROVE,
            "code": self.code(person) if person in self.factors else "123456",
            "safety": self.safety,
            "seen": view_study(self.home.path, kept.study.id, self.now()).browser.seen,
        }
        return DecisionForm(**given | changes)

    def decide(self, kept: KeptStudy, person: str = "otto", **changes: Any) -> DecisionOutcome:
        return self.desk().decide(self.asked(kept, person, **changes), 0)

    def state(self, kept: KeptStudy) -> State:
        return read_decision(self.home, kept.study.id).state

    def logged(self, event: str) -> list[tuple[str, dict[str, Any]]]:
        found = journals.logged(self.home.log_folder)
        return [(one["actor"], one["details"]) for one in found if one["event"] == event]


START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def bench(coordinator: Coordinator) -> Bench:
    home = coordinator.homes["bank-a"]
    with home.settings.open("a") as file:
        file.write(ON)
    found = Bench(coordinator, home)
    for name in ("otto", "olga"):
        found.let_decide(name)
    return found


@pytest.fixture
def kept(coordinator: Coordinator, bench: Bench) -> KeptStudy:
    return coordinator.receive(home_study())


def test_a_yes_is_done_as_on_the_terminal_under_the_persons_name(
    bench: Bench, kept: KeptStudy
) -> None:
    told = bench.decide(kept)
    assert told.lines[0].startswith("approved by otto at ")
    assert bench.state(kept) is State.APPROVED
    ((actor, details),) = bench.logged("approval")
    assert (actor, details["user"], details["kind"]) == ("otto", "otto", "console")
    decision = read_decision(bench.home, kept.study.id)
    facts = list(InstitutionFacts(bench.home, bench.home.admin_socket)._studies())
    assert facts == [Fact(NoticeKind.STUDY_APPROVED, kept.study.id, subject=decision.time)]


def test_nothing_is_decided_where_the_home_does_not_allow_it(bench: Bench, kept: KeptStudy) -> None:
    bench.coordinator.edit(bench.home.settings, ON, OFF)
    assert not view_study(bench.home.path, kept.study.id, bench.now()).browser.allowed
    for say in DecisionChoice:
        with pytest.raises(UsageError, match=r"console\.decides"):
            bench.decide(kept, say=say, reason="no")
    bench.coordinator.edit(bench.home.settings, OFF, "")  # as it is made
    with pytest.raises(UsageError, match=r"console\.decides"):
        bench.decide(kept)
    assert bench.state(kept) is State.RECEIVED


WRONG: Final[dict[str, Callable[[Bench], dict[str, Any]]]] = {
    "no code": lambda _: {"code": ""},
    "another code": lambda _: {"code": "000000"},
    "a code of somebody else": lambda bench: {"code": bench.code("olga")},
    "somebody unknown": lambda bench: {"person": "nobody", "code": bench.code("otto")},
    "no safety code": lambda _: {"safety": ""},
    "another safety code": lambda bench: {"safety": bench.safety[::-1]},
    "half a safety code": lambda bench: {"safety": bench.safety[:30]},
    "what was not shown": lambda _: {"seen": "0" * 64},
    "nothing shown": lambda _: {"seen": ""},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_proof_does_nothing(bench: Bench, kept: KeptStudy, wrong: str) -> None:
    with pytest.raises(UsageError, match="nothing was done"):
        bench.decide(kept, **WRONG[wrong](bench))
    assert bench.state(kept) is State.RECEIVED
    assert not bench.logged("approval")
    for say in (DecisionChoice.REJECT, DecisionChoice.WITHDRAW):
        if "code" in WRONG[wrong](bench):
            with pytest.raises(UsageError, match="nothing was done"):
                bench.decide(kept, **WRONG[wrong](bench), say=say, reason="no")
    assert bench.state(kept) is State.RECEIVED


def test_a_code_counts_once_and_for_one_thing(bench: Bench, kept: KeptStudy) -> None:
    other = bench.coordinator.receive(home_study(name="other"))
    desk, asked = bench.desk(), bench.asked(kept)
    desk.decide(asked, 0)
    with pytest.raises(UsageError, match="changed after you opened it"):
        desk.decide(asked, 0)  # the same form, sent twice
    again = bench.asked(other).model_copy(update={"code": asked.code})
    bench.seconds -= 60  # the same minute: the code is still shown
    with pytest.raises(UsageError, match="or used ones"):
        desk.decide(again, 0)
    assert bench.state(other) is State.RECEIVED
    assert len(bench.logged("approval")) == 1


def test_wrong_codes_are_few_and_stand_in_the_log(bench: Bench, kept: KeptStudy) -> None:
    desk = bench.desk()
    for number in range(TRIES + 1):
        match = "too many" if number == TRIES else "or used ones"
        with pytest.raises(UsageError, match=match):
            desk.decide(bench.asked(kept, code="000000"), 0)
        bench.seconds -= 60
    for _ in range(3):
        with pytest.raises(UsageError, match="too many"):  # the right one, too
            desk.decide(bench.asked(kept), 0)
        bench.seconds -= 60
    said = [(actor, details["kind"]) for actor, details in bench.logged("console")]
    assert said == [
        *[("otto", "wrong code at the desk")] * TRIES,
        ("otto", "code at the desk held back"),  # once, however often it is tried
    ]
    bench.seconds += 3600
    desk.decide(bench.asked(kept), 0)
    assert bench.state(kept) is State.APPROVED


def test_unknown_names_do_not_stand_in_the_log(bench: Bench, kept: KeptStudy) -> None:
    with pytest.raises(UsageError):
        bench.decide(kept, person="MARKER")
    assert [actor for actor, _ in bench.logged("console")] == ["nobody known"]


def test_a_no_needs_a_reason_and_a_code_alone(bench: Bench, kept: KeptStudy) -> None:
    with pytest.raises(UsageError, match="found none"):
        bench.decide(kept, say=DecisionChoice.REJECT)
    with pytest.raises(UsageError, match="--reason"):
        bench.decide(kept, say=DecisionChoice.REJECT, reason="two\nlines")
    bench.decide(kept, say=DecisionChoice.REJECT, reason="no basis", safety="", seen="", keep=True)
    decision = read_decision(bench.home, kept.study.id)
    assert (decision.state, decision.user, decision.reason) == (State.REJECTED, "otto", "no basis")
    assert decision.told.value == "decision"
    ((actor, details),) = bench.logged("rejection")
    assert (actor, details["kind"], details["reason"]) == ("otto", "console", "no basis")


def test_an_approval_is_withdrawn(bench: Bench, kept: KeptStudy) -> None:
    with pytest.raises(UsageError, match="found one that is not"):
        bench.decide(kept, say=DecisionChoice.WITHDRAW)
    bench.decide(kept)
    with pytest.raises(UsageError, match="found an approved one"):
        bench.decide(kept, say=DecisionChoice.REJECT, reason="no")
    bench.decide(kept, say=DecisionChoice.WITHDRAW)
    assert bench.state(kept) is State.WITHDRAWN
    assert bench.logged("withdrawal")[0][0] == "otto"


def test_what_changed_since_it_was_shown_is_read_again(bench: Bench, kept: KeptStudy) -> None:
    asked = bench.asked(kept)
    bench.coordinator.edit(bench.home.policy, "yearly_epsilon = 2.0", "yearly_epsilon = 1.5")
    with pytest.raises(UsageError, match="read it again"):
        bench.desk().decide(asked, 0)
    assert bench.state(kept) is State.RECEIVED


def test_another_roster_has_another_code(bench: Bench, kept: KeptStudy) -> None:
    before = bench.safety
    bench.coordinator.pin(bench.coordinator.roster(version=2))
    with pytest.raises(UsageError, match="version 2"):
        bench.decide(kept, safety=before)


# -- policy ---------------------------------------------------------------------------------------


def narrowed(bench: Bench, *columns: str) -> None:
    listed = ", ".join(f'"{one}"' for one in columns)
    bench.coordinator.edit(
        bench.home.policy,
        'columns = ["customer", "reported", "amount", "channel"]',
        f"columns = [{listed}]",
    )


def test_columns_are_shown_confirmed_and_added(bench: Bench, kept: KeptStudy) -> None:
    narrowed(bench, "customer", "reported")
    told = view_study(bench.home.path, kept.study.id, bench.now())
    assert told.browser.columns == ["amount", "channel"]
    with pytest.raises(UsageError, match="confirm the columns"):
        bench.decide(kept)
    assert len(load_policy(bench.home).records.columns) == 2
    bench.decide(kept, columns=True)
    assert bench.state(kept) is State.APPROVED
    assert load_policy(bench.home).records.columns == ("customer", "reported", "amount", "channel")
    ((actor, details),) = bench.logged("policy widened")
    assert (actor, details["rule"]) == ("otto", "columns: 'amount', 'channel'")


def test_nothing_but_columns_is_ever_widened(bench: Bench, kept: KeptStudy) -> None:
    narrowed(bench, "customer", "reported")
    bench.coordinator.edit(bench.home.policy, "study_epsilon = 1.0", "study_epsilon = 0.1")
    before = bench.home.policy.read_bytes()
    with pytest.raises(PolicyRefusal) as found:
        bench.decide(kept, columns=True)
    assert found.value.code is RefusalCode.POLICY
    assert bench.home.policy.read_bytes() == before
    assert not bench.logged("policy widened")
    assert bench.state(kept) is State.RECEIVED


def test_harm_rule_4_no_browser_lists_what_people_are(bench: Bench) -> None:
    groups = {"groups": [{"column": "age_band", "levels": ["18-24", "25+"]}]}
    kept = bench.coordinator.receive(home_study(evaluation=groups))
    before = bench.home.policy.read_bytes()
    with pytest.raises(UsageError, match="harm rule 4"):
        bench.decide(kept, columns=True)
    assert bench.home.policy.read_bytes() == before


@pytest.mark.parametrize("listed", [(), ("customer", "reported")])
def test_a_policy_that_changes_while_records_are_read_is_never_written_over(
    bench: Bench, kept: KeptStudy, monkeypatch: pytest.MonkeyPatch, listed: tuple[str, ...]
) -> None:
    if listed:  # so that the yes would write
        narrowed(bench, *listed)
    real = records_loader

    def slow(*given: Any) -> Any:
        bench.coordinator.edit(bench.home.policy, "yearly_epsilon = 2.0", "yearly_epsilon = 1.25")
        return real(*given)

    asked = bench.asked(kept, columns=True)
    monkeypatch.setattr(approving, "records_loader", slow)
    with pytest.raises(UsageError, match="while the records were read"):
        bench.desk().decide(asked, 0)
    assert load_policy(bench.home).budget.yearly_epsilon == 1.25
    assert bench.state(kept) is State.RECEIVED
    assert not bench.logged("policy widened")


def test_columns_are_written_after_the_last_check(
    bench: Bench, kept: KeptStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another study spends while records are read refuses the yes, and widens nothing."""
    narrowed(bench, "customer", "reported")
    before, asked = bench.home.policy.read_bytes(), bench.asked(kept, columns=True)
    real = approval.load_for

    def slow(custody: Custody, *given: Any) -> LoadedSums:
        found = real(custody, *given)
        spend(custody.ledger, custody.ledger._limits.yearly_picomu2)
        return found

    monkeypatch.setattr(approval, "load_for", slow)
    with pytest.raises(PolicyRefusal, match="yearly_epsilon"):
        bench.desk().decide(asked, 0)
    assert bench.home.policy.read_bytes() == before
    assert not bench.logged("policy widened")
    assert bench.state(kept) is State.RECEIVED


def spend(ledger: Ledger, cost: int) -> None:
    commit_release(
        ledger,
        Debit(
            study="ab" * 32,
            run="r",
            step=0,
            attempt=0,
            kind="training",
            request="cd" * 32,
            cost=cost,
        ),
        vector=b"v",
        study_limit=cost,
        max_attempts=1,
        sign=lambda _: b"reply",
        run_states={"r": b""},
    )


def test_a_policy_that_cannot_be_written_approves_nothing(
    bench: Bench, kept: KeptStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed(bench, "customer", "reported")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(approving, "replace_private", full)
        with pytest.raises(UsageError, match="No space left on device: nothing was approved"):
            bench.decide(kept, columns=True)
    assert bench.state(kept) is State.RECEIVED
    bench.decide(kept, columns=True)
    assert bench.state(kept) is State.APPROVED
    assert len(bench.logged("policy widened")) == 1  # of one widening one line


# -- two persons ----------------------------------------------------------------------------------


def notices(bench: Bench) -> list[Fact]:
    return list(InstitutionFacts(bench.home, bench.home.admin_socket)._studies())


@pytest.fixture
def by_two(bench: Bench) -> Bench:
    with bench.home.policy.open("a") as file:
        file.write("[approvals]\nby_two = true\n")
    return bench


def test_two_persons_approve_where_the_policy_asks_for_two(by_two: Bench, kept: KeptStudy) -> None:
    bench = by_two
    told = bench.decide(kept)
    assert told.lines == ["noted: otto approves it; it runs when another person approves it too"]
    assert bench.state(kept) is State.RECEIVED
    for name in ("otto", "OTTO"):  # the same person, in other letters
        bench.factors[name] = bench.factors["otto"]
        assert "noted" in bench.decide(kept, name).lines[0]
        assert bench.state(kept) is State.RECEIVED
    assert view_study(bench.home.path, kept.study.id, bench.now()).study.first == "otto"
    bench.decide(kept, "olga")
    decision = read_decision(bench.home, kept.study.id)
    assert (decision.state, decision.user, decision.first) == (State.APPROVED, "olga", "")
    assert {actor for actor, _ in bench.logged("first of two approvals")} == {"otto"}


def test_a_first_yes_counts_under_its_own_roster(by_two: Bench, kept: KeptStudy) -> None:
    by_two.decide(kept)
    roster = by_two.coordinator.roster(version=2)
    by_two.coordinator.pin(roster)
    safety = roster_code(roster, "bank-a")
    assert "noted: olga" in by_two.decide(kept, "olga", safety=safety).lines[0]
    assert by_two.state(kept) is State.RECEIVED


def test_a_first_yes_in_a_browser_is_a_notice_once_the_terminal_says_the_second(
    by_two: Bench, kept: KeptStudy, custody_of: OpenCustody
) -> None:
    by_two.decide(kept)
    assert notices(by_two) == [Fact(NoticeKind.STUDY_WAITS, kept.study.id)]
    custody = custody_of()
    approve(custody, kept, loaded(custody, kept.study), "tester", by_two.now())
    decision = read_decision(by_two.home, kept.study.id)
    assert (decision.state, decision.user) == (State.APPROVED, "tester")
    assert notices(by_two) == [
        Fact(NoticeKind.STUDY_APPROVED, kept.study.id, subject=decision.time)
    ]


def test_a_first_yes_that_was_killed_stands_in_the_log_once(
    by_two: Bench, kept: KeptStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(second_person, "write_decision", killed)
        with pytest.raises(KeyboardInterrupt):
            by_two.decide(kept)
    assert read_decision(by_two.home, kept.study.id).first == ""
    assert "noted" in by_two.decide(kept).lines[0]
    assert len(by_two.logged("first of two approvals")) == 1
    by_two.decide(kept)  # once more, and not interrupted: an act of its own
    assert len(by_two.logged("first of two approvals")) == 2


def test_another_yes_hides_no_notice_of_an_approval(by_two: Bench, kept: KeptStudy) -> None:
    by_two.decide(kept)
    by_two.decide(kept, "olga")
    told = notices(by_two)
    assert [one.kind for one in told] == [NoticeKind.STUDY_APPROVED]
    assert "noted" in by_two.decide(kept).lines[0]
    assert notices(by_two) == told
    roster = by_two.coordinator.roster(version=2)
    by_two.coordinator.pin(roster)
    by_two.decide(kept, "olga", safety=roster_code(roster, "bank-a"))
    assert notices(by_two) == []  # of the new roster nobody approved it yet


def test_one_no_is_enough(by_two: Bench, kept: KeptStudy) -> None:
    by_two.decide(kept)
    by_two.decide(kept, "olga", say=DecisionChoice.REJECT, reason="no basis")
    assert by_two.state(kept) is State.REJECTED
    assert read_decision(by_two.home, kept.study.id).first == ""


# -- kills ----------------------------------------------------------------------------------------

DECIDE: Final = """
import os, sys, signal
from pathlib import Path
from datetime import datetime
from fieldfare.client.approvals import approval
from fieldfare.client.desk import approving
from fieldfare.client.desk.calls import DecisionForm
from fieldfare.client.desk.deciding import StudyDesk
from fieldfare.client.home import studies
from fieldfare.client.home.layout import Home
from fieldfare.client.journal.decisions import JournalDecisions
from fieldfare.client.custodian.custodian import Custodian

where = sys.argv[3]
def dies(owner, name):
    real = getattr(owner, name)
    def killed(*args, **more):
        if where == name + " before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*args, **more)
        if where == name + " after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, killed)

dies(approval, "load_for")
dies(Custodian, "accept")
dies(JournalDecisions, "approved")
dies(approval, "write_decision")
dies(approving, "replace_private")
now = datetime.fromisoformat(sys.argv[4])
desk = StudyDesk(Home.open(Path(sys.argv[1])), None, {}, lambda: now, lambda: 0.0)
desk.decide(DecisionForm.model_validate_json(sys.argv[2]), 0)
"""
PLACES: Final = [
    f"{name} {when}"
    for name in ("load_for", "accept", "replace_private", "approved", "write_decision")
    for when in ("before", "after")
]


@pytest.mark.faults
@pytest.mark.parametrize("place", PLACES)
def test_a_kill_approves_once_or_not_at_all(bench: Bench, kept: KeptStudy, place: str) -> None:
    """The code is spent, nothing runs by half, and a second try with another code ends as one."""
    narrowed(bench, "customer", "reported")
    asked = bench.asked(kept, columns=True)
    arguments = [str(bench.home.path), asked.model_dump_json(), place, bench.now().isoformat()]
    done = subprocess.run([sys.executable, "-c", DECIDE, *arguments], check=False)
    assert done.returncode == -9
    approved = bench.state(kept) is State.APPROVED
    assert approved == (place == "write_decision after")
    with pytest.raises(FieldfareError):
        bench.desk().decide(asked, 0)
    if not approved:
        bench.decide(kept, columns=True)
    assert load_policy(bench.home).records.columns == ("customer", "reported", "amount", "channel")
    assert len(bench.logged("policy widened")) == 1
    decision = read_decision(bench.home, kept.study.id)
    assert decision.state is State.APPROVED
    hashes = [details["fingerprint"] for _, details in bench.logged("approval")]
    assert hashes.count(decision.approval) == 1
    assert decision.approval == hashes[-1]
