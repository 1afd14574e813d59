"""What a coordinator's people are told of: from its own rows, its nodes and its certificates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator, progress

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.server.superlink.facts import FlowerRunStatus, NodeFacts
from fieldfare.server.upkeep import notice_facts as facts_module
from fieldfare.server.upkeep.notice_facts import OFFLINE, CoordinatorFacts
from fieldfare.shared.protocol.messages import IdentitySigner, Rejection, sign_envelope
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.watch.outbox import KEPT, Fact
from fieldfare.shared.watch.sentences import NoticeKind

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
KINDS: Final = NoticeKind
MARKER: Final = "Maria Lopez"


@dataclass
class Link:
    """A SuperLink's nodes and runs, as a test wants them."""

    states: Mapping[int, str] = field(default_factory=dict)
    found: tuple[NodeFacts, ...] = ()

    def nodes(self) -> tuple[NodeFacts, ...]:
        return self.found

    def run_status(self, run: int) -> FlowerRunStatus:
        return FlowerRunStatus(self.states.get(run, ""), MARKER)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    made = Link()
    monkeypatch.setattr(facts_module, "control", lambda _: made)
    return made


def facts(keyed: KeyedCoordinator, now: datetime | None = None) -> set[Fact]:
    seen = CoordinatorFacts(keyed.home).look(now or utc_now())
    assert seen.troubles == ()
    return set(seen.facts)


def test_a_study_is_ready_once_enough_approved_and_no_run_began(
    keyed: KeyedCoordinator, link: Link
) -> None:
    study = propose(keyed.home, keyed.study, keyed.signer).id
    keyed.approve("bank-a", "bank-b")
    assert facts(keyed) == set()
    keyed.approve()
    assert facts(keyed) == {Fact(KINDS.STUDY_READY, study)}
    with keyed.store() as store:
        store.create("run-1", study, NOW)
        store.set_flower_run("run-1", 1)
    link.states = {1: "running"}
    assert facts(keyed) == set()


def test_a_rejection_is_told_without_its_reason(keyed: KeyedCoordinator, link: Link) -> None:
    study = propose(keyed.home, keyed.study, keyed.signer).id
    body = Rejection(
        study=study,
        roster=keyed.roster().hash,
        institution="bank-a",
        decision="rejected",
        reason=MARKER,
    )
    envelope = sign_envelope(body, "bank-a", IdentitySigner(keyed.keys["bank-a"]))
    with keyed.store() as store:
        store.put_approval(study, "bank-a", MARKER, envelope, NOW)
    assert facts(keyed) == {Fact(KINDS.STUDY_REJECTED, study, subject="bank-a")}


@pytest.mark.parametrize(
    ("state", "flower", "kind"),
    [
        (RunStatus.FINISHED, "completed", KINDS.RUN_ENDED),
        (RunStatus.FAILED, "failed", KINDS.RUN_FAILED),
        (RunStatus.STOPPED, "completed", None),
        (RunStatus.RUNNING, "running", None),
        (RunStatus.RUNNING, "failed", KINDS.RUN_FAILED),
        (RunStatus.WAITING, "pending", None),
    ],
)
def test_a_run_ends_fails_or_is_interrupted(
    state: RunStatus, flower: str, kind: NoticeKind | None, keyed: KeyedCoordinator, link: Link
) -> None:
    with keyed.store() as store:
        store.create("run-1", "a" * 64, NOW)
        store.set_flower_run("run-1", 1)
        store.set_state("run-1", state, MARKER, NOW)
    link.states = {1: flower}
    found = facts(keyed, NOW)
    assert {(one.kind, one.study, one.run) for one in found} == (
        {(kind, "a" * 64, "run-1")} if kind else set()
    )
    assert MARKER not in str(found)
    assert facts(keyed, NOW + KEPT) == found
    later = facts(keyed, NOW + KEPT + timedelta(seconds=1))
    assert later == (set() if state.ended else found)  # the outbox keeps a row for each


def test_a_node_that_is_offline_is_gone_after_a_while(keyed: KeyedCoordinator, link: Link) -> None:
    link.found = tuple(
        NodeFacts(number, b"", status, status)
        for number, status in enumerate((OFFLINE, "online", "registered", "unregistered"))
    )
    away = timedelta(minutes=15)
    assert facts(keyed) == {Fact(KINDS.NODE_GONE, subject=OFFLINE, holds=away)}


def test_a_certificate_that_ends_soon_is_told_of(keyed: KeyedCoordinator, link: Link) -> None:
    assert facts(keyed, utc_now() + timedelta(days=320)) == set()
    (found,) = facts(keyed, utc_now() + timedelta(days=350))
    assert found.kind is KINDS.CERTIFICATE_ENDS


def test_a_budget_nears_its_end_when_the_spares_of_an_open_run_are_used(
    keyed: KeyedCoordinator, link: Link
) -> None:
    study = propose(keyed.home, keyed.study, keyed.signer).id
    link.states = {1: "running"}
    spares = keyed.study.spare_releases
    with keyed.store() as store:
        store.create("run-1", study, NOW)
        store.set_flower_run("run-1", 1)
        store.append("run-1", (), progress=progress(1))
        for _ in range(spares):
            assert Fact(KINDS.BUDGET_ENDS, study) not in facts(keyed)
            store.add_losses("run-1", ["bank-a"], debited=True)
            store.add_losses("run-1", ["bank-a"], debited=False)
        assert store.paid_in_vain(study) == spares
        assert Fact(KINDS.BUDGET_ENDS, study) in facts(keyed)
        store.set_state("run-1", RunStatus.FINISHED, "", NOW)
    assert Fact(KINDS.BUDGET_ENDS, study) not in facts(keyed)


def test_without_its_superlink_the_rest_is_told_all_the_same(keyed: KeyedCoordinator) -> None:
    study = propose(keyed.home, keyed.study, keyed.signer).id
    keyed.approve()
    seen = CoordinatorFacts(keyed.home).look(utc_now())
    assert seen.facts == (Fact(KINDS.STUDY_READY, study),)
    assert KINDS.NODE_GONE not in seen.looked
    assert len(seen.troubles) == 1
