"""Alerts counted by group over real custodians: a threshold that follows, one debit, an audit."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2
from tests.server.run.test_asked_knots import LIES
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
from tests.support.runs.grouped import AGES, grouped_study, grouped_sums
from tests.support.runs.steps import summed_again

from fieldfare.client.custodian.recomputation import Recomputation
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.rounds import SecureSums
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.run_view import metric_texts, parse_metrics
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import RunError
from fieldfare.shared.evaluation.group_cells import count_groups, group_scale
from fieldfare.shared.evaluation.groups import group_lines
from fieldfare.shared.evaluation.score_table import STEPS, alert_threshold
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import LastSum, ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds import Release
from fieldfare.shared.transcript.leaves import FairnessRecord, Leaf, LeafKind
from fieldfare.simulations.federation.federation import LocalFederation

UNITS = 500
FAIRNESS = ReleaseKind.FAIRNESS


@pytest.fixture
def make_coordinator(tmp_path: Path) -> Iterator[MakeCoordinator]:
    with coordinator_maker(
        tmp_path, lambda study, _, seed: grouped_sums(study, UNITS, seed=seed)
    ) as make:
        yield make


@pytest.fixture
def make_empty_coordinator(tmp_path: Path) -> Iterator[MakeCoordinator]:
    with coordinator_maker(
        tmp_path, lambda study, _, seed: grouped_sums(study, 0, seed=seed)
    ) as make:
        yield make


def true_counts(sums: Mapping[str, StudySums], model: np.ndarray, threshold: float) -> np.ndarray:
    """What the sum would hold without noise, in the sum's own unit."""
    parts = [
        count_groups(
            one.study.groups,
            one.groups,
            one.holdout.labels,
            one.model.scores(model, one.holdout) >= threshold,
        )
        for one in sums.values()
    ]
    found: np.ndarray = np.ldexp(np.sum(parts, axis=0).astype(np.float64), -20)
    return found


def card_of(coordinator: Coordinator) -> ModelCard:
    return ModelCard.from_bytes((coordinator.home.model(RUN) / "card.json").read_bytes())


def test_alerts_are_counted_by_group_in_one_more_release(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = grouped_study()
    coordinator, plan = make_coordinator(study), plan_for(study)
    coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.kinds()[-5:] == ["reply", "sum", "fairness", "model", "end"]
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)  # 2 steps, the table, the groups
    report = audited(coordinator, tmp_path)
    assert (report.state, report.sums, report.recomputed) == ("finished", 5, 5)
    cost = max(2 * plan.training.cost, plan.evaluation.cost + plan.fairness.cost)
    assert {found.spent.debits for found in report.institutions.values()} == {cost}
    found = report.groups
    assert found is not None
    assert [one["column"] for one in found["columns"]] == ["age_band", "segment"]
    assert found["everybody"]["units"]["value"] == pytest.approx(
        sum(len(one.holdout) for one in coordinator.setting.sums.values()),
        abs=6 * 4 * found["sigma"],
    )
    with coordinator.store() as store:
        told = parse_metrics(store.metrics(RUN))
    assert told is not None
    assert told["released_groups"] == found
    assert metric_texts(told)[-2:] == group_lines(found)
    card = card_of(coordinator)
    assert card.groups is not None
    assert card.groups.model_dump(mode="json") == found
    assert card.limits[-2].startswith("False positives by group were counted")


def test_a_study_without_groups_is_what_it_was(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_coordinator(grouped_study(evaluation={"groups": []}))
    coordinator.carry_out()
    assert coordinator.kinds()[-4:] == ["sum", "metrics", "model", "end"]
    assert audited(coordinator, tmp_path).groups is None
    assert b'"groups"' not in (coordinator.home.model(RUN) / "card.json").read_bytes()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 3)


def test_groups_questions_and_knots_go_together(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = grouped_study(
        evaluation={"groups": [AGES]},
        allowance={"kinds": ["count"], "columns": ["reported"], "groups": 1},
    )
    plan = plan_for(study)
    assert plan.fairness.first_step == plan.evaluation.first_step + 1
    assert plan.allowance.first_step == plan.fairness.first_step + 1
    coordinator = make_coordinator(study)
    coordinator.carry_out()
    assert audited(coordinator, tmp_path).state == "finished"


def test_institutions_without_units_take_part_like_any_other(
    make_empty_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_empty_coordinator(grouped_study())
    coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
    found = audited(coordinator, tmp_path).groups
    assert found is not None
    rows = [row for one in found["columns"] for row in one["rows"]]
    assert {row["verdict"] for row in rows} == {"too few to say"}


@pytest.mark.parametrize("release", range(1, 6))
def test_a_run_goes_on_from_wherever_it_was_killed(
    make_coordinator: MakeCoordinator, tmp_path: Path, release: int
) -> None:
    coordinator = make_coordinator(grouped_study())
    kill_at_release(coordinator, release)
    resume(coordinator)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
    assert audited(coordinator, tmp_path).groups is not None


def test_an_attempt_that_fails_is_tried_with_those_who_are_left(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_coordinator(grouped_study())
    lost = to_bank("bank-b", after=4, call="reveal")  # the rehearsal, two steps, the table
    coordinator.carry_out(drop=lost)
    report = audited(coordinator, tmp_path)
    assert (report.state, report.failed_attempts) == ("finished", 1)
    assert {name: n for name, n in coordinator.setting.debits().items() if name != "bank-b"} == {
        "bank-a": 5,
        "bank-c": 5,
        "bank-d": 5,
    }


def test_purged_vectors_leave_what_was_stated(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_coordinator(grouped_study())
    coordinator.carry_out()
    before = audited(coordinator, tmp_path).groups
    with coordinator.store() as store:
        store.purge(datetime.now(UTC) + timedelta(days=1))
    report = audited(coordinator, tmp_path)
    assert report.purged
    assert report.groups == before


# -- thresholds that do not follow -------------------------------------------------------------


def crafted(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
    """Two steps beside the threshold that everybody finds."""
    if release.kind.release is not FAIRNESS:
        return content, last
    bound = np.frombuffer(content).copy()
    bound[-1] += 2 / STEPS
    return parameters_to_bytes(bound), last


def test_institutions_refuse_a_threshold_that_does_not_follow(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(grouped_study())
    let_coordinator_lie(monkeypatch, crafted)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 3)  # the table, and nothing after


def test_an_audit_finds_a_threshold_that_does_not_follow_though_everybody_colludes(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(grouped_study())
    let_coordinator_lie(monkeypatch, crafted)
    monkeypatch.setattr(Recomputation, "check", lambda *_: {})
    coordinator.carry_out()
    misfit = exported(coordinator, tmp_path).misfit
    assert misfit is not None
    assert misfit.kind == "request"
    assert "the threshold that follows from its table" in misfit.reason


@pytest.mark.parametrize("lie", LIES)
def test_institutions_refuse_a_table_that_was_not_signed(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    coordinator = make_coordinator(grouped_study())
    let_coordinator_change_last(
        monkeypatch, LIES[lie], lambda release: release.kind.release is FAIRNESS
    )
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 3)


def test_another_model_is_refused_too(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(grouped_study())

    def lying(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
        moved = np.frombuffer(content) + (1e-9 if release.kind.release is FAIRNESS else 0)
        return parameters_to_bytes(moved), last

    let_coordinator_lie(monkeypatch, lying)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()


def test_an_audit_finds_lies_about_the_counts(make_coordinator: MakeCoordinator) -> None:
    coordinator = make_coordinator(grouped_study())
    coordinator.carry_out()
    leaves = leaves_of(coordinator)
    at = [leaf.kind for leaf in leaves].index(LeafKind.FAIRNESS)
    record = FairnessRecord.from_bytes(leaves[at].content)

    def told(*instead: Leaf) -> list[Leaf]:
        return [*leaves[:at], *instead, *leaves[at + 1 :]]

    moved = FairnessRecord(threshold=record.threshold + 1 / STEPS, words=record.words)
    other = FairnessRecord.of(record.threshold, bytes(len(record.content)))
    lies = {
        "the threshold of the request": told(moved.leaf()),
        "the words of the sum": told(other.leaf()),
        "or fairness, found": told(),
        "or model, found": told(leaves[at], leaves[at]),
    }
    assert_lies_are_found(coordinator, leaves, lies)


# -- noise -------------------------------------------------------------------------------------


def test_noise_on_the_counts_is_what_the_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real door: beyond the records, the sum holds noise of the plan's size."""
    groups = [{"column": "branch", "levels": [f"branch {i}" for i in range(63)]}]
    groups += [{"column": "segment", "levels": [f"segment {i}" for i in range(63)]}]
    study = grouped_study(training={"steps": 1}, evaluation={"groups": groups})
    plan = plan_for(study)
    sums = {name: grouped_sums(study, 200, seed=seed) for seed, name in enumerate(BANKS)}
    collected: dict[ReleaseKind, Any] = {}
    collect = SecureSums.collect

    def kept(sums: SecureSums, release: Release, *given: Any) -> Any:
        kind = release.kind.release
        collected[kind] = collect(sums, release, *given)
        return collected[kind]

    monkeypatch.setattr(SecureSums, "collect", kept)
    folder = tmp_path / "ledgers"
    folder.mkdir()
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        outcome = federation.run(federation.job())
    evaluated = collected[ReleaseKind.EVALUATION]
    seeds = [claimed(reply, "seed") or "" for reply in evaluated.replies.values()]
    table = summed_again(plan.evaluation, tuple(evaluated.vectors.values()), seeds)
    threshold = alert_threshold(study, table)
    assert outcome.released_groups is not None
    assert outcome.released_groups["threshold"] == threshold
    truth = true_counts(sums, outcome.parameters, threshold)
    noise = collected[FAIRNESS].values - truth
    sigma = plan.fairness.noise_on_sum(len(BANKS), 1)
    low, high = chi2.ppf([1e-9, 1 - 1e-9], len(noise)) / len(noise)
    assert len(noise) == 512
    assert low <= np.mean(noise**2) / sigma**2 <= high
    for wrong in (2 / 3, 3 / 2):
        assert not low <= np.mean(noise**2) / (sigma * wrong) ** 2 <= high
    assert outcome.released_groups["sigma"] == pytest.approx(sigma / group_scale(study.groups))
