"""Moments over real custodians: coordinates that follow from them, a plain model, an audit."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.server.run.test_asked_knots import LIES
from tests.support.attacks.lies import let_coordinator_change_last, let_coordinator_lie
from tests.support.federations.conducted import (
    RUN,
    Coordinator,
    Killed,
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

from fieldfare.client.custodian.recomputation import Recomputation, recomputed_model
from fieldfare.client.ledger.run_states import GEOMETRY_STATE
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import DecodedSum, Record
from fieldfare.server.run.rounds import SecureSums
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import bytes_of
from fieldfare.shared.protocol.messages import LastSum, ReleaseKind, Request, parameters_to_bytes
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.shared.run.kinds import Release
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, MomentsRecord
from fieldfare.simulations.federation.federation import LocalFederation

UNITS: Final = 500
MOMENTS: Final = ReleaseKind.MOMENTS
WHITENED: Final = {"kind": "whitened"}
PLAN_WORDS: Final = "fieldfare.shared.protocol.plan.MOST_WORDS"
FEW: Final = 100  # words that travel: a step of four institutions, and no second moments


def turned_study(**changes: Any) -> Study:
    return grouped_study(**{"geometry": WHITENED, "evaluation": {"groups": []}, **changes})


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


def checked_by_all(coordinator: Coordinator) -> set[tuple[str, int | None]]:
    """How much of the log each institution signed that it knows, and its first misfit."""
    with coordinator.store() as store:
        envelopes = store.cosignatures(RUN).values()
    bodies = [json.loads(one)["body"] for one in envelopes]
    return {(body["checked"], body["misfit"]) for body in bodies}


@pytest.mark.parametrize("kind", ["whitened", "centred"])
def test_moments_are_summed_once_and_a_plain_model_comes_out(
    make_coordinator: MakeCoordinator, tmp_path: Path, kind: str
) -> None:
    study = turned_study(geometry={"kind": kind})
    coordinator, plan = make_coordinator(study), plan_for(study)
    coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FINISHED
    kinds = coordinator.kinds()
    assert kinds.count("moments") == 1
    assert kinds.index("moments") < kinds.index("parameters")
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)  # moments, 2 steps, the table
    report = audited(coordinator, tmp_path)
    assert (report.state, report.sums, report.recomputed) == ("finished", 5, 5)
    cost = max(plan.moments.cost + 2 * plan.training.cost, plan.evaluation.cost)
    assert {found.spent.debits for found in report.institutions.values()} == {cost}
    for ledger in coordinator.setting.federation.ledgers.values():
        model = recomputed_model(ledger, study, RUN)
        assert model is not None
        assert parameters_to_bytes(model) == parameters_to_bytes(delivered(coordinator, study))
    assert checked_by_all(coordinator) == {("recomputed", None)}
    final = report.final
    assert final is not None
    assert final.results.geometry is not None
    assert (final.results.geometry.matrix is None) == (kind == "centred")
    assert final.results.training is not None
    assert final.results.training.model.tolist() != delivered(coordinator, study).tolist()


def delivered(coordinator: Coordinator, study: Study) -> Any:
    content = (coordinator.home.model(RUN) / "model.safetensors").read_bytes()
    return model_from_bytes(content, study, RUN)


def test_a_study_without_a_geometry_is_what_it_was(make_coordinator: MakeCoordinator) -> None:
    study = grouped_study(evaluation={"groups": []})
    assert b"geometry" not in study.canonical()
    assert plan_for(study).moments.cost == 0
    coordinator = make_coordinator(study)
    coordinator.carry_out()
    assert "moments" not in coordinator.kinds()
    with coordinator.store() as store:
        assert not any(b"geometry" in leaf.content for leaf in store.leaves(RUN))


def test_institutions_without_units_take_part_like_any_other(
    make_empty_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_empty_coordinator(turned_study())
    coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
    assert audited(coordinator, tmp_path).state == "finished"


@pytest.mark.promises
@pytest.mark.parametrize("release", range(1, 6))
def test_a_run_goes_on_from_wherever_it_was_killed(
    make_coordinator: MakeCoordinator, tmp_path: Path, release: int
) -> None:
    coordinator = make_coordinator(turned_study())
    kill_at_release(coordinator, release)
    resume(coordinator)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
    assert audited(coordinator, tmp_path).state == "finished"


@pytest.mark.promises
@pytest.mark.parametrize("after", [1, 2])  # the rehearsal; the moments
def test_an_attempt_that_fails_is_tried_with_those_who_are_left(
    make_coordinator: MakeCoordinator, tmp_path: Path, after: int
) -> None:
    coordinator = make_coordinator(turned_study())
    coordinator.carry_out(drop=to_bank("bank-b", after=after, call="reveal"))
    report = audited(coordinator, tmp_path)
    assert (report.state, report.failed_attempts) == ("finished", 1)
    assert {n for name, n in coordinator.setting.debits().items() if name != "bank-b"} == {5}


def test_the_moments_stay_when_all_vectors_are_deleted(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator = make_coordinator(turned_study())
    coordinator.carry_out()
    before = audited(coordinator, tmp_path).final
    with coordinator.store() as store:
        store.purge(datetime.now(UTC) + timedelta(days=1))
    report = audited(coordinator, tmp_path)
    assert report.purged
    assert before is not None
    assert before.results.geometry is not None
    assert report.final is not None
    assert report.final.results.geometry is not None
    assert report.final.results.geometry.hash == before.results.geometry.hash


# -- coordinates that do not follow ------------------------------------------------------------


def let_coordinator_craft(patch: pytest.MonkeyPatch, *, step: int = 0) -> None:
    """Let it go on in coordinates that show one feature and hide the rest, and believe in them."""
    summed = Record.keep_sum

    def believing(record: Record, total: DecodedSum) -> None:
        summed(record, total)
        state = record.run
        found, steps = state.results.geometry, state.results.steps
        if found is not None and found.matrix is not None and steps == step:
            matrix = np.zeros_like(found.matrix)
            matrix[0, 0] = 1 << found.fraction_bits
            results = replace(state.results, geometry=replace(found, matrix=matrix))
            record.state = replace(state, results=results)

    let_coordinator_lie(patch, lambda _, content, last: (content, last))
    patch.setattr(Record, "keep_sum", believing)


@pytest.mark.parametrize("step", [0, 1])
def test_institutions_refuse_coordinates_that_do_not_follow(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    coordinator = make_coordinator(turned_study())
    let_coordinator_craft(monkeypatch, step=step)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 1 + step)


@pytest.mark.parametrize("lie", LIES)
def test_institutions_refuse_moments_that_were_not_signed(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    coordinator = make_coordinator(turned_study())
    let_coordinator_change_last(monkeypatch, LIES[lie], lambda release: release.step == 1)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 1)


def test_an_audit_finds_coordinates_that_do_not_follow_though_everybody_colludes(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = make_coordinator(turned_study())
    let_coordinator_craft(monkeypatch)

    def believing(one: Recomputation, request: Request, *given: Any) -> dict[str, bytes]:
        shown = given[-1] if request.geometry else b""
        return {GEOMETRY_STATE + RUN: shown} if shown else {}

    monkeypatch.setattr(Recomputation, "check", believing)
    coordinator.carry_out()
    misfit = exported(coordinator, tmp_path).misfit
    assert misfit is not None
    assert misfit.kind == "request"
    assert "the coordinates that follow" in misfit.reason


def test_an_audit_finds_lies_about_the_moments(make_coordinator: MakeCoordinator) -> None:
    coordinator = make_coordinator(turned_study())
    coordinator.carry_out()
    leaves = leaves_of(coordinator)
    at = [leaf.kind for leaf in leaves].index(LeafKind.MOMENTS)
    record = MomentsRecord.from_bytes(leaves[at].content)

    def told(*instead: Leaf) -> list[Leaf]:
        return [*leaves[:at], *instead, *leaves[at + 1 :]]

    lies = {
        "the words of the sum": told(MomentsRecord.of(bytes(len(record.content))).leaf()),
        "expected end or moments, found request": told(),
        "found moments": told(leaves[at], leaves[at]),
    }
    assert_lies_are_found(coordinator, leaves, lies)


# -- moments that are too many to travel -------------------------------------------------------


def test_a_log_is_known_to_all_though_its_moments_do_not_travel(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLAN_WORDS, FEW)
    coordinator = make_coordinator(turned_study())
    coordinator.carry_out()
    assert audited(coordinator, tmp_path).state == "finished"
    assert checked_by_all(coordinator) == {("recomputed", None)}


def test_a_step_is_recomputed_though_the_moments_did_not_travel(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PLAN_WORDS, FEW)
    coordinator = make_coordinator(turned_study())

    def crafted(release: Release, content: bytes, last: LastSum) -> tuple[bytes, LastSum]:
        if release.step == 2:  # the second step
            content = parameters_to_bytes(np.frombuffer(content) + 1e-9)
        return content, last

    let_coordinator_lie(monkeypatch, crafted)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 2)


def test_coordinates_that_do_not_follow_show_where_the_log_is_cosigned(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any are as private as any other, so custodians answer; nobody signs that they follow."""
    monkeypatch.setattr(PLAN_WORDS, FEW)
    coordinator = make_coordinator(turned_study())
    let_coordinator_craft(monkeypatch)
    coordinator.carry_out()
    misfit = exported(coordinator, tmp_path).misfit
    assert misfit is not None
    assert "the coordinates that follow" in misfit.reason
    assert {where for _, where in checked_by_all(coordinator)} == {misfit.leaf}


@pytest.mark.parametrize(
    "shown", ["none", "cut", "another grid", "too long"], ids=lambda one: one.replace(" ", "-")
)
def test_institutions_refuse_coordinates_that_are_none(
    make_coordinator: MakeCoordinator, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    monkeypatch.setattr(PLAN_WORDS, FEW)
    coordinator = make_coordinator(turned_study())
    content_of = SecureSums._content

    def lying(sums: SecureSums, *given: Any) -> Any:
        content, terms = content_of(sums, *given), sums.federation.plan.training
        if given[0].geometry and given[0].step == terms.first_step:
            cut = 8 * terms.parameter_entries
            sent = bytes_of(content, "parameters")
            found = Geometry.from_bytes(sent[cut:])
            assert found.matrix is not None
            bits, matrix = found.fraction_bits - 1, found.matrix // 2
            other = replace(found, fraction_bits=bits, matrix=matrix).to_bytes()
            content["parameters"] = {
                "none": sent[:cut],
                "cut": sent[:-1],
                "another grid": sent[:cut] + other,
                "too long": sent + b"\0",
            }[shown]
        return content

    monkeypatch.setattr(SecureSums, "_content", lying)
    with pytest.raises(RunError, match="not_recomputed"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 1)


# -- noise -------------------------------------------------------------------------------------


@pytest.mark.promises
def test_canaries_in_the_moments_measure_the_noise_that_was_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary is alone on its two levels; what is in or out by a coin shows as its cost says."""
    count = 250
    levels = [f"l{index}" for index in range(count)]
    features = [{"name": n, "kind": "categorical", "levels": levels} for n in ("one", "other")]
    study = turned_study(
        features=features,
        training={"steps": 1},
        evaluation={"groups": [], "holdout": 0.01},
        geometry={"kind": "whitened", "share": 0.99},
        privacy={"epsilon": 60.0, "spare_releases": 0},
    )
    coins = np.random.default_rng(5).uniform(size=count) < 0.5
    (places,) = np.nonzero(coins)
    sums = {}
    for index, name in enumerate(BANKS):
        own = places[index :: len(BANKS)]
        units = EncodedUnits(np.stack([own, own]).astype(np.uint16), np.zeros(len(own), np.uint8))
        sums[name] = StudySums.prepare(study, units, np.zeros(len(own), np.bool_))
    collected = {}
    collect = SecureSums.collect

    def kept(secure: SecureSums, release: Release, *given: Any) -> Any:
        collected[release.kind.release] = found = collect(secure, release, *given)
        return found

    monkeypatch.setattr(SecureSums, "collect", kept)
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=tmp_path) as federation:
        federation.run(federation.job())
        plan = federation.plan
    found = collected[MOMENTS].values
    entries = plan.training.vectors.entries
    square = np.zeros((entries, entries))
    square[np.triu_indices(entries)] = found
    one, other = 1 + np.arange(count), 3 + count + np.arange(count)
    alone = [square[0, one], square[0, other], square[one, one], square[other, other]]
    shown = np.sum([*alone, square[one, other]], axis=0) / np.sqrt(5)  # along what it adds alone
    apart = shown[coins].mean() - shown[~coins].mean()
    tolerance = np.sqrt(len(BANKS) / (len(BANKS) - 1))  # all shares of the noise are in the sum
    spread = np.std(np.where(coins, shown - np.sqrt(5), shown)) / tolerance
    claimed = np.sqrt(plan.moments.cost / PICOMU2)
    reach = np.sqrt(5) / plan.moments.vectors.clipping_norm  # of its whole vector
    error = 2 / np.sqrt(count)
    measured = apart / spread
    for factor, right in ((1.0, True), (1.5, False), (1 / 1.5, False)):
        wanted = claimed * reach * factor
        assert (
            abs(measured / wanted - 1) < 4 * max(error / wanted, 1 / np.sqrt(2 * count))
        ) == right


def test_who_has_no_coordinates_gets_them_when_the_run_goes_on(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sum travels here, so nobody follows the steps, and coordinates come along or never."""
    monkeypatch.setattr(PLAN_WORDS, 1)
    coordinator, summed = make_coordinator(turned_study()), Record.keep_sum

    def outage(record: Record, total: DecodedSum) -> None:
        summed(record, total)
        if record.run.results.steps == 1:  # between the first step and the second
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Record, "keep_sum", outage)
        with pytest.raises(Killed):
            coordinator.carry_out()
    federation = coordinator.setting.federation
    federation.ledgers["bank-d"].forget_states(federation.study.id, [GEOMETRY_STATE + RUN])
    resume(coordinator)
    assert audited(coordinator, tmp_path).state == "finished"
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 4)
