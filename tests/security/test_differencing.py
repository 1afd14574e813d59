"""Asking about a group and about the group less one unit: what the difference gives away."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.runs.asking import asking, made_up, sums_of, without

from fieldfare.client.records.encoding.asked import AskedUnits
from fieldfare.shared.privacy.samplers import SimulatedNoise
from fieldfare.shared.protocol.plan import ReleaseTerms, plan_for
from fieldfare.shared.study.study import Study

TRIALS: Final = 1000
BANKS: Final = ("bank-a", "bank-b", "bank-c")
LAST_HOUR: Final = 23.0  # only the target is there
ALL: Final = {"name": "all", "kind": "count", "where": [{"column": "hours", "lower": 1.0}]}
LESS_ONE: Final = {
    "name": "less one",
    "kind": "count",
    "where": [{"column": "hours", "lower": 1.0, "upper": LAST_HOUR}],
}
Values = NDArray[np.float64]


def bank_with_target() -> AskedUnits:
    """A hundred units, of which the first alone is in the last hour."""
    units = made_up(100)
    hours = units.values.numbers["hours"]
    np.minimum(hours, 22.0, out=hours)
    hours[0] = 23.5
    return units


def exact(study: Study, units: AskedUnits) -> NDArray[np.int64]:
    assert study.questions is not None
    return sums_of(study, units).answers(study.questions)


def released(terms: ReleaseTerms, total: NDArray[np.int64], random: np.random.Generator) -> Values:
    """What the coordinator gets: every institution has added its share of the noise."""
    share = terms.share(len(BANKS), 1)
    source = SimulatedNoise(random)
    noise = sum(source.sample(len(total), share) for _ in BANKS)
    return (total + noise).astype(np.float64)


def accuracy(guess: Callable[[bool], bool]) -> float:
    """How often an attacker is right about a fair coin: whether the target was there."""
    coins = np.random.default_rng(5).integers(0, 2, TRIALS).astype(bool)
    return float(np.mean([guess(coin) == coin for coin in coins.tolist()]))


def allowed(mu2: float) -> float:
    """The best accuracy that mu-GDP leaves (Dong-Roth-Su 2019), and three standard errors."""
    best = NormalDist().cdf(mu2**0.5 / 2)
    return best + 3 * float(np.sqrt(best * (1 - best) / TRIALS))


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_both_questions_at_once_tell_no_more_than_epsilon_allows(epsilon: float) -> None:
    study = asking(ALL, LESS_ONE, privacy={"epsilon": epsilon})
    terms, random = plan_for(study).query, np.random.default_rng(0)
    there, gone = (exact(study, u) for u in (bank_with_target(), without(bank_with_target(), 0)))
    towards = (there - gone).astype(np.float64)
    assert towards[0] > towards[1] == 0

    def difference(present: bool) -> bool:
        found = released(terms, there if present else gone, random)
        return bool(found[0] - found[1] - (gone[0] - gone[1]) > towards[0] / 2)

    def best(present: bool) -> bool:
        found = released(terms, there if present else gone, random)
        return bool((found - gone) @ towards > towards @ towards / 2)

    for attack in (difference, best):
        assert accuracy(attack) <= allowed(terms.mu2)


def test_two_runs_before_and_after_a_unit_left_tell_no_more_than_epsilon_allows() -> None:
    study = asking(ALL, privacy={"epsilon": 0.5}, evaluation={"spare_releases": 1})
    plan, random = plan_for(study), np.random.default_rng(1)
    there, gone = (exact(study, u) for u in (bank_with_target(), without(bank_with_target(), 0)))

    def difference(present: bool) -> bool:
        before = released(plan.query, there if present else gone, random)
        after = released(plan.query, gone, random)
        return bool(before[0] - after[0] > (there[0] - gone[0]) / 2)

    assert 2 * plan.query.cost <= plan.study_limit  # both runs were paid for, and no third is
    assert 3 * plan.query.cost > plan.study_limit
    assert accuracy(difference) <= allowed(plan.query.mu2)


def test_without_noise_the_attack_always_works() -> None:
    study = asking(ALL, LESS_ONE)
    there, gone = (exact(study, u) for u in (bank_with_target(), without(bank_with_target(), 0)))
    assert accuracy(lambda present: bool((there if present else gone)[0] > gone[0])) == 1.0
