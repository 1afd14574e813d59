"""Membership inference: next to nothing on an epsilon-1 model, much on an over-fitted one."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.membership import (
    MembershipFinding,
    MembershipTask,
    area,
    found_at,
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
    found = attacked(1000, 40, steps=120, private=False)
    assert (found.members, found.others, found.lira) == (1000, 1000, None)
    assert found.loss.figure("AUROC").value > 0.6


def test_a_private_model_tells_less_than_the_bound_of_any_attack() -> None:
    found = attacked(1000, 10, steps=20, shadows=4)
    assert found.lira is not None
    mu = 0.27  # of epsilon 1 at delta 1e-5; no test between two normal distributions does better
    best = 0.5 * (1 + math.erf(mu / 2))
    for one in (found.loss, found.lira):
        figure = one.figure("AUROC")
        assert figure.interval is not None
        assert figure.interval[0] < best


def test_the_area_is_counted_and_its_interval_holds_chance() -> None:
    scores = np.array([3.0, 1.0, 2.0, 0.0, 2.0])
    inside = np.array([True, False, True, False, False])
    assert area(scores, inside).value == pytest.approx((3 + 2.5) / 6)
    random, held = np.random.default_rng(0), 0
    for _ in range(150):
        interval = area(random.normal(size=300), np.arange(300) < 100).interval
        assert interval is not None
        held += interval[0] <= 0.5 <= interval[1]
    assert 0.88 * 150 < held < 0.995 * 150


@pytest.mark.parametrize(("apart", "rate"), [(0.0, 0.01), (1.0, 0.01), (1.0, 0.001)])
def test_the_interval_of_members_found_knows_that_others_are_a_sample(
    apart: float, rate: float
) -> None:
    random, inside, held, widths = np.random.default_rng(1), np.arange(4000) < 2000, 0, []
    true = norm.sf(norm.isf(rate) - apart)
    for _ in range(100):
        found = found_at(random.normal(size=4000) + apart * inside, inside, rate)
        assert found.interval is not None
        low, high = found.interval
        held += low <= true <= high
        widths.append(high - low)
        assert low <= found.value <= high
    assert held >= 93  # Clopper and Pearson's alone holds it in about half of them
    assert np.median(widths) < 0.12


def test_few_others_bound_no_small_share() -> None:
    inside = np.arange(200) < 100
    found = found_at(inside * 9.0 + np.arange(200) / 1e3, inside, 0.001)
    assert (found.value, found.interval) == (1.0, (0.0, 1.0))


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
    found = attacked(8000, 20, shadows=16)
    assert found.lira is not None
    for one in (found.loss, found.lira):
        assert abs(one.figure("AUROC").value - 0.5) < 0.02
        assert one.figure("TPR at 0.1 %").value < 0.005


@pytest.mark.promises
def test_an_over_fitted_model_of_8000_members_is_above_six_tenths() -> None:
    found = attacked(8000, 300, steps=300, shadows=16, private=False)
    assert found.lira is not None
    assert found.lira.figure("AUROC").value > 0.6
