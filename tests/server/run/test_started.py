"""Training from a public start over real custodians: a guard that chooses, one debit, an audit."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.server.run.test_asked_knots import LIES
from tests.server.run.test_moments import checked_by_all
from tests.support.attacks.lies import let_coordinator_change_last, let_coordinator_lie
from tests.support.federations.conducted import (
    RUN,
    Coordinator,
    MakeCoordinator,
    assert_lies_are_found,
    audited,
    coordinator_maker,
    exported,
    kill_at_release,
    leaves_of,
    resume,
)
from tests.support.federations.settings import BANKS, to_bank
from tests.support.runs.grouped import grouped_study, grouped_sums
from tests.support.runs.started import STARTED_FEATURES, small_start, starting_at

from fieldfare.client.custodian.recomputation import Recomputation, kept_training
from fieldfare.client.ledger.run_states import PROGRESS_STATE
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.run_view import metric_texts, parse_metrics
from fieldfare.shared.audit.verdict import AuditVerdict, verdict_of
from fieldfare.shared.errors import RunError
from fieldfare.shared.evaluation.metrics import guard_line
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.models import started_model
from fieldfare.shared.protocol.messages import LastSum, ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds import Release
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import model_hash
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.leaves import GuardRecord, Leaf, LeafKind

GUARD = ReleaseKind.GUARD
RIGHT = (-600, -180, 180, 600, 0, 0, 0, 0, 0)
WRONG = (2000, 2000, -2000, -2000, 0, 0, 0, 0, 0)  # steep, and the other way round


def started(*, wrong: bool = False, **changes: Any) -> Study:
    """A study from a start that is about right, or far from it."""
    start = small_start(curves=WRONG) if wrong else small_start(217, RIGHT)
    training = starting_at(start, steps=2, learning_rate=0.5 if wrong else 5.0)
    study = grouped_study(evaluation={"groups": []}, training=training, **changes)
    assert study.features == grouped_study(features=STARTED_FEATURES).features
    return study


def made_up(study: Study, count: int, seed: int) -> StudySums:
    random = np.random.default_rng(seed)
    positions = random.integers(0, [[3 * 256 + 1], [4]], (2, count)).astype(np.uint16)
    labels = (random.uniform(0, 3 * 256, count) < positions[0]).astype(np.uint8)
    held = random.uniform(size=count) < study.evaluation.holdout
    return StudySums.prepare(study, EncodedUnits(positions, labels), held)


@pytest.fixture
def make_coordinator(tmp_path: Path) -> Iterator[MakeCoordinator]:
    with coordinator_maker(tmp_path, lambda study, _, seed: made_up(study, 500, seed)) as make:
        yield make


def card_of(coordinator: Coordinator) -> ModelCard:
    return ModelCard.from_bytes((coordinator.home.model(RUN) / "card.json").read_bytes())


def curve_of(study: Study, coordinator: Coordinator) -> tuple[float, float]:
    """Lowest and highest of the first feature, on the card."""
    one = card_of(coordinator).features[0]
    return one.lowest, one.highest


@pytest.mark.parametrize("wrong", [False, True])
def test_what_is_better_goes_on(
    make_coordinator: MakeCoordinator, tmp_path: Path, *, wrong: bool
) -> None:
    study = started(wrong=wrong)
    coordinator, plan = make_coordinator(study), plan_for(study)
    coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FINISHED
    kinds = coordinator.kinds()
    assert kinds.index("guard") < kinds.index("metrics")
    assert kinds[-4:] == ["sum", "metrics", "model", "end"]
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)  # 2 steps, guard, table
    report = audited(coordinator, tmp_path)
    assert (report.state, report.steps, report.sums, report.recomputed) == ("finished", 2, 5, 5)
    cost = max(2 * plan.training.cost + plan.guard.cost, plan.evaluation.cost)
    assert {found.spent.debits for found in report.institutions.values()} == {cost}
    assert report.guard is not None
    assert report.guard["taken"] == ("trained" if wrong else "start")
    for ledger in coordinator.setting.federation.ledgers.values():
        state = TrainingState.from_bytes(ledger.run_state(study.id, PROGRESS_STATE + RUN) or b"")
        assert model_hash(state) == report.model  # what the institution recomputed is the model
    assert checked_by_all(coordinator) == {("recomputed", None)}
    assert verdict_of(report) is AuditVerdict.FITS
    start = study.public_start
    assert start is not None
    curve = start.values[1:5] / 256
    if not wrong:  # the start itself, to the bit
        assert curve_of(study, coordinator) == (min(*curve, 0), max(*curve, 0))
    else:
        assert curve_of(study, coordinator) != (min(*curve, 0), max(*curve, 0))


def test_who_recomputed_another_model_after_the_guard_objects(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(*of: Any) -> TrainingState | None:
        found = kept_training(*of)
        return found and replace(found, parameters=found.parameters + 1)

    monkeypatch.setattr("fieldfare.client.custodian.cosigning.kept_training", another)
    coordinator = make_coordinator(started())
    coordinator.carry_out()
    kinds = coordinator.kinds()
    binds = kinds.index("request", kinds.index("guard"))
    assert checked_by_all(coordinator) == {("recomputed", binds)}


def test_card_and_screens_say_what_became_of_the_start(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = started()
    coordinator = make_coordinator(study)
    coordinator.carry_out()
    found = audited(coordinator, tmp_path).guard
    with coordinator.store() as store:
        told = parse_metrics(store.metrics(RUN))
    assert found is not None
    assert told is not None
    assert told["released_guard"] == found
    assert guard_line(found) in metric_texts(told)
    card = card_of(coordinator).start
    assert card is not None
    assert (card.name, card.hash, card.seed) == ("public:small", study.training.start_hash, 7)
    assert {name: getattr(card, name) for name in found} == found


@pytest.mark.promises
@pytest.mark.parametrize("release", range(1, 6))
def test_a_run_goes_on_from_wherever_it_was_killed(
    make_coordinator: MakeCoordinator, tmp_path: Path, release: int
) -> None:
    coordinator = make_coordinator(started())
    kill_at_release(coordinator, release)
    resume(coordinator)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
    assert audited(coordinator, tmp_path).guard is not None
    assert checked_by_all(coordinator) == {("recomputed", None)}


@pytest.mark.promises
def test_the_guard_is_tried_again_with_those_who_are_left(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_coordinator(started())
    coordinator.carry_out(drop=to_bank("bank-b", after=3))  # the rehearsal and two steps
    report = audited(coordinator, tmp_path)
    assert (report.state, report.failed_attempts) == ("finished", 1)


def test_groups_are_counted_on_what_the_guard_took(tmp_path: Path) -> None:
    training = starting_at(small_start(217, RIGHT), steps=2)
    study = grouped_study(training=training)
    with coordinator_maker(
        tmp_path, lambda study, _, seed: grouped_sums(study, 500, seed=seed)
    ) as make:
        coordinator = make(study)
        coordinator.carry_out()
        report = audited(coordinator, tmp_path)
        assert checked_by_all(coordinator) == {("recomputed", None)}
    assert report.guard is not None
    assert report.groups is not None


def test_the_choice_stays_when_all_vectors_are_deleted(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = started()
    plan = plan_for(study)
    coordinator = make_coordinator(study)
    coordinator.carry_out()
    with coordinator.store() as store:
        store.purge(datetime.now(UTC) + timedelta(days=1))
    report = audited(coordinator, tmp_path)
    assert report.purged
    assert report.guard is not None
    assert report.guard["sigma"] == plan.guard.noise_on_sum(len(BANKS), 1)


# -- lies --------------------------------------------------------------------------------------


def other_model(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
    """The evaluation of the model that the guard did not take."""
    if release.kind.release is not ReleaseKind.EVALUATION:
        return content, last
    study = started()
    model = started_model(study)
    assert model is not None
    return parameters_to_bytes(model.delivered(np.array([0.1, 1.2, 0.9]))), last


def other_start(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
    """A guard of what was trained beside a start that nobody agreed on."""
    if release.kind.release is not GUARD:
        return content, last
    bound = np.frombuffer(content).copy()
    bound[-1] = 0.0
    return parameters_to_bytes(bound), last


@pytest.mark.parametrize(("lie", "debits"), [(other_model, 3), (other_start, 2)])
def test_institutions_refuse_what_does_not_follow(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, lie: Any, debits: int
) -> None:
    coordinator = make_coordinator(started())
    let_coordinator_lie(monkeypatch, lie)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, debits)


def test_an_audit_finds_it_though_everybody_colludes(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(started())
    let_coordinator_lie(monkeypatch, other_start)
    monkeypatch.setattr(Recomputation, "check", lambda *_: {})
    coordinator.carry_out()
    misfit = exported(coordinator, tmp_path).misfit
    assert misfit is not None
    assert misfit.kind == "request"


@pytest.mark.parametrize("lie", LIES)
def test_institutions_refuse_a_guard_that_was_not_signed(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    coordinator = make_coordinator(started())

    def evaluates(release: Release) -> bool:
        return release.kind.release is ReleaseKind.EVALUATION

    let_coordinator_change_last(monkeypatch, LIES[lie], evaluates)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 3)


def test_an_audit_finds_lies_about_the_choice(make_coordinator: MakeCoordinator) -> None:
    coordinator = make_coordinator(started())
    coordinator.carry_out()
    leaves = leaves_of(coordinator)
    at = [leaf.kind for leaf in leaves].index(LeafKind.GUARD)
    record = GuardRecord.from_bytes(leaves[at].content)

    def told(*instead: Leaf) -> list[Leaf]:
        return [*leaves[:at], *instead, *leaves[at + 1 :]]

    lies = {
        "the model that follows from the guard's sum": told(
            GuardRecord.of(record.content, trained=record.taken == "start").leaf()
        ),
        "the words of the sum": told(
            GuardRecord.of(bytes(len(record.content)), trained=False).leaf()
        ),
        "guard": told(),
    }
    assert_lies_are_found(coordinator, leaves, lies)
