"""Knots that follow from a study's own answers, over real custodians and liars."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.attacks.lies import let_coordinator_change_last, let_coordinator_lie
from tests.support.federations.conducted import (
    QUESTIONS,
    RUN,
    MakeCoordinator,
    audited,
    exported,
    kill_at_release,
    released,
    resume,
)
from tests.support.federations.settings import BANKS
from tests.support.runs.asking import asking

from fieldfare.client.custodian.recomputation import Recomputation, recomputed_model
from fieldfare.client.ledger.run_states import PROGRESS_STATE
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    LastSum,
    ReleaseKind,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds import Release
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import asked_knots, model_hash
from fieldfare.shared.study.study import Study

SPREAD = {"name": "spread", "kind": "quantiles", "column": "amount", "bins": 8}
KNOTS = 8


def knots_first(**changes: Any) -> Study:
    features = [
        {"name": "amount", "kind": "numeric", "lower": 0, "upper": 100, "knots_from": "spread"},
        {"name": "hours", "kind": "numeric", "lower": 1, "upper": 24},
        {"name": "channel", "kind": "categorical", "levels": ["branch", "online", "post"]},
    ]
    return asking(SPREAD, QUESTIONS[0], steps=2, names=BANKS, features=features, **changes)


def test_a_study_may_ask_for_its_knots_first(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = knots_first()
    coordinator, plan = make_coordinator(study), plan_for(study)
    coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FINISHED
    kinds = coordinator.kinds()
    assert kinds.index("answers") < kinds.index("parameters")
    assert kinds[-4:] == ["sum", "metrics", "model", "end"]
    report = audited(coordinator, tmp_path)
    assert (report.state, report.steps, report.sums, report.recomputed) == ("finished", 2, 5, 5)
    cost = plan.query.cost + max(2 * plan.training.cost, plan.evaluation.cost)
    assert {found.spent.debits for found in report.institutions.values()} == {cost}
    knots = asked_knots(study, released(plan, report))
    for ledger in coordinator.setting.federation.ledgers.values():
        state = TrainingState.from_bytes(ledger.run_state(study.id, PROGRESS_STATE + RUN) or b"")
        assert state.model[-KNOTS:].tolist() == knots.tolist()
        assert model_hash(state) == report.model  # what the institution recomputed is the model


@pytest.mark.promises
@pytest.mark.parametrize("release", range(1, 6))
def test_a_run_that_asks_first_goes_on_from_wherever_it_was_killed(
    make_coordinator: MakeCoordinator, tmp_path: Path, release: int
) -> None:
    coordinator = make_coordinator(knots_first())
    kill_at_release(coordinator, release)
    resume(coordinator)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
    report = audited(coordinator, tmp_path)
    assert (report.state, report.steps) == ("finished", 2)


def craft(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
    """A start whose second knot somebody moved by one place."""
    if release.place != (ReleaseKind.TRAINING, 1):
        return content, last
    parameters = np.frombuffer(content).copy()
    parameters[1 - KNOTS] += 1
    return parameters_to_bytes(parameters), last


def test_institutions_refuse_knots_that_do_not_follow(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(knots_first())
    let_coordinator_lie(monkeypatch, craft)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(
        BANKS, 1
    )  # the questions, and nothing after


LIES: dict[str, Callable[[LastSum], LastSum]] = {
    "no sum": lambda _: NO_LAST_SUM,
    "no request": lambda last: replace(last, request=b""),
    "one vector changed": lambda last: replace(
        last, vectors=(bytes(len(last.vectors[0])), *last.vectors[1:])
    ),
    "one institution left out": lambda last: replace(
        last, replies=last.replies[1:], vectors=last.vectors[1:]
    ),
    "two exchanged": lambda last: replace(last, vectors=(last.vectors[::-1])),
}


@pytest.mark.parametrize("lie", LIES)
def test_institutions_refuse_a_sum_that_was_not_signed(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    coordinator = make_coordinator(knots_first())
    let_coordinator_change_last(monkeypatch, LIES[lie], lambda release: release.step == 1)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 1)


def test_knots_that_nobody_could_recompute_are_refused_before_anything_is_spent(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(knots_first())
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", 1)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 0)


def test_an_audit_finds_knots_that_do_not_follow_though_everybody_colludes(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(knots_first())
    let_coordinator_lie(monkeypatch, craft)
    monkeypatch.setattr(Recomputation, "check", lambda *_: {})
    coordinator.carry_out()
    misfit = exported(coordinator, tmp_path).misfit
    assert misfit is not None
    assert misfit.kind == "request"
    assert "the knots that were answered" in misfit.reason


# -- moments on the knots that were answered ---------------------------------------------------

TURNED = {"geometry": {"kind": "whitened"}}


def test_moments_are_taken_on_the_knots_that_were_answered(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = knots_first(**TURNED)
    coordinator, plan = make_coordinator(study), plan_for(study)
    coordinator.carry_out()
    kinds = coordinator.kinds()
    assert kinds.index("answers") < kinds.index("moments") < kinds.index("parameters")
    report = audited(coordinator, tmp_path)
    assert (report.state, report.sums, report.recomputed) == ("finished", 6, 6)
    knots = asked_knots(study, released(plan, report))
    for ledger in coordinator.setting.federation.ledgers.values():
        model = recomputed_model(ledger, study, RUN)
        assert model is not None
        assert model[-KNOTS:].tolist() == knots.tolist()
        assert bytes_hash(parameters_to_bytes(model)) == report.model


@pytest.mark.parametrize("release", [3, 4])  # the moments; the first step
def test_a_run_that_asks_and_sums_moments_goes_on_where_it_was_killed(
    make_coordinator: MakeCoordinator, tmp_path: Path, release: int
) -> None:
    coordinator = make_coordinator(knots_first(**TURNED))
    kill_at_release(coordinator, release)
    resume(coordinator)
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 5)
    assert audited(coordinator, tmp_path).state == "finished"


def test_institutions_refuse_moments_on_other_knots(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(knots_first(**TURNED))

    def moved(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
        if release.kind.release is not ReleaseKind.MOMENTS:
            return content, last
        parameters = np.frombuffer(content).copy()
        parameters[1 - KNOTS] += 1
        return parameters_to_bytes(parameters), last

    let_coordinator_lie(monkeypatch, moved)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 1)
