"""A decision while a run is under way costs no run its keys; what they rest on does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pytest
from tests.support.federations.bench import Bench
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    heard,
    home_study,
    loaded,
)
from tests.support.homes.journals import logged_text
from tests.support.homes.runs import HomesBench
from tests.support.runs.transcripts import Recorder

from fieldfare.client.approvals.approval import approve
from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.home.comparisons import keep_compared
from fieldfare.client.institution.open import open_custody
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import Refusal, ReleaseKind

NAME = NAMES[0]
STUDY = home_study()
OTHER = home_study(name="other")


@dataclass
class GuardedBench(HomesBench):
    """Homes of which the first has a reloader."""

    reloader: CustodianReloader

    def custodian(self, name: str) -> Custodian:
        return self.reloader._serving if name == NAME else super().custodian(name)


@dataclass
class Scene:
    """A run that everybody agreed on, and the reloader of one of them."""

    coordinator: Coordinator
    reloader: CustodianReloader
    run: Recorder

    def asked(self) -> bool:
        """Ask the guarded one for the run's rehearsal; false where its keys are gone."""
        request = self.run.request(ReleaseKind.REHEARSAL, 0, 0)
        found = self.reloader._serving.release(
            self.run.signed(request), self.run.parameters(request.kind)
        )
        if not isinstance(found, Refusal):
            return True
        assert found.code in {
            RefusalCode.KEYS_GONE,
            RefusalCode.UNKNOWN_RUN,
            RefusalCode.UNKNOWN_STUDY,
        }
        return False

    @property
    def held(self) -> bool:
        """Whether keys of the run are in memory."""
        held = self.reloader._serving._held
        return bool(held._fresh or held._opened or held._agreed)


@pytest.fixture
def scene(coordinator: Coordinator, custody_of: OpenCustody) -> Iterator[Scene]:
    custodies = [custody_of(name) for name in NAMES]
    approve_all(coordinator, custodies, STUDY)
    inputs = CustodianInputs(
        home=coordinator.homes[NAME].path, passphrase=None, environment={}, clock=clock
    )
    with custodian_reloader(inputs) as reloader:
        bench = cast("Bench", GuardedBench(coordinator, custodies, STUDY, reloader))
        yield Scene(coordinator, reloader, Recorder(bench).open())


def approve_at(scene: Scene, study: object = STUDY) -> None:
    """People of the guarded one approve a study, beside the custodian."""
    institution = scene.coordinator.institution(NAME)
    with open_custody(institution, None, clock) as custody:
        kept = scene.coordinator.receive(study, NAME)  # type: ignore[arg-type]
        approve(custody, kept, loaded(custody, kept.study), "tester", NOW)


def compare_once_more(scene: Scene) -> None:
    members = scene.coordinator.roster().members
    home = scene.coordinator.homes[NAME]
    keep_compared(home, [heard(one) for one in members[1:]])


def tighten(scene: Scene) -> None:
    policy = scene.coordinator.homes[NAME].policy
    scene.coordinator.edit(policy, "yearly_epsilon = 2.0", "yearly_epsilon = 1.5")


@pytest.mark.parametrize(
    "decide",
    [
        compare_once_more,
        lambda scene: approve_at(scene, OTHER),
        lambda scene: scene.coordinator.receive(OTHER, NAME),
        tighten,
    ],
    ids=["compare", "approve another", "a study arrives", "a tighter policy"],
)
def test_a_decision_in_a_run_costs_no_keys(scene: Scene, decide: Callable[[Scene], None]) -> None:
    decide(scene)
    before = scene.reloader._serving
    assert scene.reloader.changed()
    assert scene.reloader.reload().trouble == ""
    assert scene.reloader._serving is not before
    assert scene.asked()
    scene.run.finish()
    assert not before._held._agreed


def forget_everybody(scene: Scene) -> None:
    scene.coordinator.homes[NAME].comparisons.unlink()


def withdraw_here(scene: Scene) -> None:
    home = scene.coordinator.homes[NAME]
    with (
        Journal.open(home.log_folder, clock=clock) as journal,
        open_custody(scene.coordinator.institution(NAME), None, clock) as custody,
    ):
        Rejecter(home, custody.ledger, journal, "tester", NOW).withdraw(STUDY.id, "")


def withdraw_and_approve(scene: Scene) -> None:
    withdraw_here(scene)
    approve_at(scene)


def next_roster(scene: Scene) -> None:
    scene.coordinator.pin(scene.coordinator.roster(version=2))


def close_the_door(scene: Scene) -> None:
    home = scene.coordinator.homes[NAME]
    kept = home.policy.read_text()
    home.policy.write_text("nonsense")
    assert scene.reloader.reload().trouble
    home.policy.write_text(kept)


@pytest.mark.parametrize(
    "harm", [forget_everybody, withdraw_here, withdraw_and_approve, next_roster, close_the_door]
)
def test_keys_go_with_what_they_rest_on(scene: Scene, harm: Callable[[Scene], None]) -> None:
    assert scene.held
    harm(scene)
    scene.reloader.reload()
    assert not scene.held
    assert not scene.asked()


def test_what_is_known_of_keys_is_logged_where_it_changes(scene: Scene) -> None:
    log = scene.coordinator.homes[NAME].log_folder
    forget_everybody(scene)
    line = "others' keys as they are known now: they count from the next opening on"
    assert scene.reloader.reload().changed == [line]
    assert "; 0 keys compared" in logged_text(log)
    compare_once_more(scene)
    assert scene.reloader.reload().changed == [line]
    assert logged_text(log).count("; 2 keys compared") == 2
