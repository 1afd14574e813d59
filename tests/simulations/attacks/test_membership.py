"""Membership inference: next to nothing on an epsilon-1 model, much on an over-fitted one."""

import numpy as np
import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks import membership as room
from fieldfare.simulations.attacks.ceilings import area, best_area
from fieldfare.simulations.attacks.membership import (
    MembershipFinding,
    MembershipTask,
    likelihood_ratio,
    membership,
)

FEATURES = 12


def study(levels: int, units: int, steps: int = 60, rate: float = 0.1, **records: str) -> Study:
    return Study.model_validate(
        {
            "name": "members",
            "purpose": "tests",
            "records": {"label": "reported", "units": units, "prevalence": 0.5, **records},
            "features": [
                {"name": f"f{i}", "kind": "categorical", "levels": [f"l{j}" for j in range(levels)]}
                for i in range(FEATURES)
            ],
            "training": {"steps": steps, "learning_rate": rate},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
        }
    )


def population(count: int, levels: int, seed: int = 0) -> EncodedUnits:
    random = np.random.default_rng(seed)
    positions = random.integers(0, levels, (FEATURES, count)).astype(np.uint16)
    weights = random.normal(0, 0.4, (FEATURES, levels))
    odds = sum(curve[column] for curve, column in zip(weights, positions, strict=True))
    labels = random.uniform(size=count) < 1 / (1 + np.exp(-np.asarray(odds)))
    return EncodedUnits(positions, labels.astype(np.uint8))


def attacked(
    each: int, levels: int, *, steps: int = 60, shadows: int = 0, private: bool = True
) -> MembershipFinding:
    rate = 0.1 if private else 0.3
    task = MembershipTask(
        study=study(levels, each, steps, rate),
        units=population(2 * each, levels),
        shadows=shadows,
        private=private,
    )
    return membership(task)


def test_an_over_fitted_model_tells_its_members() -> None:
    found = attacked(1000, 80, steps=120, private=False)
    assert (found.members + found.others, found.lira) == (2000, None)
    assert abs(found.members - 1000) < 120  # a coin for each
    area = found.loss.figure("AUROC")
    assert area.value > 0.6
    assert area.ceiling == 1.0  # nothing was paid for, and nothing bounds it


def test_a_private_model_tells_less_than_the_bound_of_any_attack() -> None:
    found = attacked(1000, 10, steps=20, shadows=4)
    assert found.lira is not None
    best = best_area(0.264)  # of training: epsilon 1 at delta 1e-5, less what is spare
    for one in (found.loss, found.lira):
        figure = one.figure("AUROC")
        assert figure.interval is not None
        assert figure.ceiling == pytest.approx(best, abs=0.003)
        assert figure.interval[0] < best


def test_more_institutions_than_custodians_lead_to_the_same_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """400 custodians did not end: everybody is sent everybody's answers and vectors."""
    task = MembershipTask(
        study=study(4, 400, steps=3), units=population(800, 4), institutions=5, shadows=0
    )
    by_custodians = membership(task)
    monkeypatch.setattr(room, "MOST_CUSTODIANS", 4)
    monkeypatch.setattr(room, "LocalFederation", None)
    assert membership(task) == by_custodians


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_no_stream_that_may_have_made_records_makes_members(seed: int) -> None:
    """The coins of 30,000 invented units were their first column's: the loss had AUROC .46."""
    units = population(30_000, 4)
    task = MembershipTask(study=study(4, 1000), units=units, seed=seed)
    inside = room.members_of(task)
    assert abs(inside.mean() - 0.5) < 0.015
    for stream in (seed, [seed, len(units)], [seed, 0], [seed, 1], [seed, 2**17]):
        drawn = np.random.default_rng(stream).uniform(size=len(units)) < 0.5
        assert abs(np.mean(drawn == inside) - 0.5) < 0.015


def test_the_likelihood_ratio_ranks_what_shadow_models_saw() -> None:
    random = np.random.default_rng(0)
    halves = random.integers(0, 2, (16, 200)).astype(bool)
    shadows = random.normal(size=(16, 200)) + 3.0 * halves
    inside = np.arange(200) < 100
    ratio = likelihood_ratio(random.normal(size=200) + 3.0 * inside, shadows, halves)
    assert area(ratio, inside).value > 0.95
    assert area(likelihood_ratio(random.normal(size=200), shadows, halves), inside).value < 0.6


@pytest.mark.parametrize("wrong", [{"shadows": 2}, {"units": population(100, 4)}])
def test_too_little_is_refused(wrong: dict[str, object]) -> None:
    given: dict[str, object] = {"study": study(4, 1000), "units": population(400, 4), **wrong}
    with pytest.raises(UsageError, match="expected"):
        membership(MembershipTask(**given))  # type: ignore[arg-type]


@pytest.mark.promises
def test_a_private_model_of_8000_members_is_within_two_hundredths_of_guessing() -> None:
    found = attacked(8100, 10, shadows=16)
    assert found.lira is not None
    assert min(found.members, found.others) >= 8000
    for one in (found.loss, found.lira):
        assert abs(one.figure("AUROC").value - 0.5) < 0.02
        assert one.figure("TPR at 0.1 %").value < 0.005


@pytest.mark.promises
def test_a_larger_private_model_says_more_and_never_more_than_mu_allows() -> None:
    """1,201 parameters: few others share a unit's levels, and the loss comes near the ceiling."""
    found = attacked(8100, 100, shadows=0).loss.figure("AUROC")
    assert found.interval is not None
    assert found.ceiling is not None
    assert 0.52 < found.value < found.ceiling
    assert found.interval[0] > 0.51


@pytest.mark.promises
def test_an_over_fitted_model_of_8000_members_is_above_six_tenths() -> None:
    found = attacked(8000, 300, steps=300, shadows=16, private=False)
    assert found.lira is not None
    assert found.lira.figure("AUROC").value > 0.6
