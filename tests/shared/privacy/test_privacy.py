"""The rule as a whole against an exact oracle: discrete noise in shares, enumerated."""

import math
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy import accountant as privacy
from fieldfare.shared.privacy.accountant import epsilon_if_masks_fail, mu_squared, sigma_for
from fieldfare.shared.privacy.discrete_noise import release_xi, smoothing_gap
from fieldfare.shared.privacy.gaussian import delta_for, epsilon_for, mu2_for
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity

UNIT = NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT
SMALL_SCALES = [(2, 2.2), (2, 3.0), (2, 6.0), (2, 20.0), (3, 2.5), (3, 10.0), (5, 4.0), (5, 50.0)]
EPSILONS = [0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 8.0]
READABLE = 1e-20  # below it, doubles that were convolved say little

sensitivities = st.builds(
    Sensitivity,
    clipping_norm=st.floats(1e-3, 1e3),
    gamma=st.floats(1e-9, 1e-4),
    rounded_entries=st.integers(0, 10**6),
    multiplicity=st.integers(1, 5),
    linked_cap=st.integers(0, 3),
)


@cache
def noise_of_sum(summands: int, sigma: float) -> NDArray[np.float64]:
    """Probabilities of a sum of discrete Gaussians on the integers, by direct convolution."""
    scale = sigma / math.sqrt(summands)
    steps = np.arange(-math.ceil(13 * scale), math.ceil(13 * scale) + 1.0)
    one = np.exp(-(steps**2) / (2 * scale**2))
    total = one = one / one.sum()
    for _ in range(summands - 1):
        total = np.convolve(total, one)
    return np.asarray(total)


def discrete_profile(summands: int, sigma: float, shift: int, epsilon: float) -> float:
    """Exact delta(epsilon) when one unit moves the noisy sum by `shift` grid steps."""
    noise, gap = noise_of_sum(summands, sigma), np.zeros(shift)
    there, here = np.concatenate([noise, gap]), np.concatenate([gap, noise])
    return float(np.maximum(there - math.exp(epsilon) * here, 0.0).sum())


def rule(summands: int, sigma: float, shift: int, epsilon: float) -> float:
    """What the accounting says of the same release: t = 1, one entry, gamma = 1."""
    sensitivity = Sensitivity(clipping_norm=shift, gamma=1.0)
    tau = smoothing_gap(
        participants=summands + 1,
        collusion_tolerance=1,
        local_scale=sigma / math.sqrt(summands),
    )
    mu2 = mu_squared(sensitivity, sigma=sigma)
    return delta_for(epsilon=epsilon, mu2=mu2, xi=release_xi(entries=1, tau=tau))


def shifts(sigma: float) -> list[int]:
    return sorted({max(1, round(part * sigma)) for part in (0.02, 0.1, 0.3, 1, 3)})


def readable_cases(scales: list[tuple[int, float]]) -> list[tuple[int, float, int, float, float]]:
    cases = [
        (m, sigma, shift, epsilon, discrete_profile(m, sigma, shift, epsilon))
        for m, sigma in scales
        for shift in shifts(sigma)
        for epsilon in EPSILONS
    ]
    return [case for case in cases if case[-1] > READABLE]


def test_the_rule_is_never_below_the_exact_profile() -> None:
    cases = readable_cases(SMALL_SCALES)
    assert len(cases) > 200
    for m, sigma, shift, epsilon, exact in cases:
        assert rule(m, sigma, shift, epsilon) >= exact, (m, sigma, shift, epsilon)


def test_without_the_lost_variance_the_rule_would_be_wrong() -> None:
    """Discrete noise is not dominated by continuous noise: the oracle can see it."""
    below = [
        exact / delta_for(epsilon=epsilon, mu2=(shift / sigma) ** 2)
        for _, sigma, shift, epsilon, exact in readable_cases(SMALL_SCALES)
    ]
    assert sum(ratio > 1 + 1e-9 for ratio in below) > 50
    assert max(below) > 1.3


@pytest.mark.parametrize("sigma", [6.0, 20.0, 50.0])
def test_noise_below_what_was_said_is_seen(sigma: float) -> None:
    """Two thirds of sigma break the rule; three halves of it leave the rule slack."""
    shift = max(1, round(sigma))
    assert discrete_profile(2, sigma * 2 / 3, shift, 1.0) > rule(2, sigma, shift, 1.0)
    assert discrete_profile(2, sigma * 3 / 2, shift, 1.0) < rule(2, sigma, shift, 1.0) / 1.5


def test_the_rule_is_tight_at_deployable_scales() -> None:
    cases = readable_cases([(2, 1000.0), (3, 1000.0)])
    assert len(cases) > 30
    for m, sigma, shift, epsilon, exact in cases:
        assert exact <= rule(m, sigma, shift, epsilon) <= exact * (1 + 1e-3), (shift, epsilon)


@pytest.mark.parametrize(("sigma", "shift"), [(10, 3), (20, 6), (100, 30), (200, 100)])
@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0])
def test_the_rule_covers_dp_accountings_discrete_gaussian(
    sigma: int, shift: int, epsilon: float
) -> None:
    exact = pld.from_discrete_gaussian_mechanism(
        sigma, sensitivity=shift, value_discretization_interval=1e-4
    ).get_delta_for_epsilon(epsilon)
    mu2 = mu_squared(Sensitivity(clipping_norm=shift, gamma=1.0), sigma=sigma)
    found = delta_for(epsilon=epsilon, mu2=mu2)
    assert found >= exact
    continuous = delta_for(epsilon=epsilon, mu2=(shift / sigma) ** 2)
    assert continuous == pytest.approx(exact, rel=0.4 / sigma)


def test_the_rule_is_as_dp_accounting_says_for_a_fine_grid() -> None:
    exact = pld.from_discrete_gaussian_mechanism(
        1000, sensitivity=300, value_discretization_interval=1e-5
    )
    mu2 = mu_squared(Sensitivity(clipping_norm=300.0, gamma=1.0), sigma=1000.0)
    for delta in (1e-9, 1e-5, 1e-3):
        expected = exact.get_epsilon_for_delta(delta)
        assert epsilon_for(delta=delta, mu2=mu2) == pytest.approx(expected, rel=1e-4)


@given(sensitivities, st.floats(1e-2, 1e6))
def test_cost_is_the_formula_rounded_up(sensitivity: Sensitivity, sigma: float) -> None:
    reach, gamma = Fraction(sensitivity.l2(UNIT)), Fraction(sensitivity.gamma)
    real = reach**2 / (Fraction(sigma) ** 2 - 4 * gamma**2)
    found = mu_squared(sensitivity, sigma=sigma)
    assert Fraction(math.nextafter(found, 0.0)) < real <= Fraction(found)


@given(sensitivities, st.floats(1e-6, 1e4))
def test_sigma_is_the_smallest_that_costs_no_more(sensitivity: Sensitivity, mu2: float) -> None:
    sigma = sigma_for(sensitivity, mu2=mu2)
    assert mu_squared(sensitivity, sigma=sigma) <= mu2
    before = math.nextafter(sigma, 0.0)
    if before > 2 * sensitivity.gamma:
        assert mu_squared(sensitivity, sigma=before) > mu2


@given(sensitivities, st.floats(1e-1, 1e3), st.floats(1.001, 10.0))
def test_more_noise_costs_less(sensitivity: Sensitivity, sigma: float, times: float) -> None:
    cost, less = (mu_squared(sensitivity, sigma=s) for s in (sigma, sigma * times))
    assert less < cost


def test_a_budget_split_over_releases_is_kept() -> None:
    """(epsilon, delta) -> total -> sigma of each release -> total -> epsilon."""
    sensitivity = Sensitivity(clipping_norm=1.0, gamma=2.0**-20, rounded_entries=133)
    total = mu2_for(epsilon=1.0, delta=1e-5)
    sigma = sigma_for(sensitivity, mu2=total / 60)
    assert sigma == pytest.approx(28.89, abs=0.01)  # the figure of full batch, 60 steps
    spent = 60 * mu_squared(sensitivity, sigma=sigma)
    assert epsilon_for(delta=1e-5, mu2=spent) == pytest.approx(1.0, rel=1e-9)
    over_budget = 61 * mu_squared(sensitivity, sigma=sigma)
    assert epsilon_for(delta=1e-5, mu2=over_budget) > 1.005


@pytest.mark.parametrize("sigma", [2.0, 1.0, 0.0, -5.0, math.nan, math.inf, -math.inf])
def test_noise_that_protects_nothing_is_refused(sigma: float) -> None:
    with pytest.raises(AccountingError, match="sigma"):
        mu_squared(Sensitivity(clipping_norm=1.0, gamma=1.0), sigma=sigma)


@pytest.mark.parametrize("mu2", [0.0, -1.0, math.nan, math.inf])
def test_budgets_that_no_noise_meets_are_refused(mu2: float) -> None:
    with pytest.raises(AccountingError, match="mu2"):
        sigma_for(Sensitivity(clipping_norm=1.0, gamma=1.0), mu2=mu2)


def test_costs_at_the_ends_of_the_doubles() -> None:
    sensitivity = Sensitivity(clipping_norm=1.0, gamma=1.0)
    assert sigma_for(sensitivity, mu2=1e300) == math.nextafter(2.0, 3.0)
    assert mu_squared(sensitivity, sigma=1e200) == math.ulp(0.0)
    with pytest.raises(AccountingError, match="double"):
        mu_squared(Sensitivity(clipping_norm=1e200, gamma=1.0), sigma=3.0)
    with pytest.raises(AccountingError, match="double"):
        sigma_for(Sensitivity(clipping_norm=1e300, gamma=1.0), mu2=1e-100)


def masks_fail(mu2: float, participants: int = 7, tolerance: int = 3) -> float:
    return epsilon_if_masks_fail(
        mu2=mu2, participants=participants, collusion_tolerance=tolerance, delta=1e-5
    )


def test_without_masks_each_reply_has_its_own_share_of_the_noise() -> None:
    assert masks_fail(0.07) == pytest.approx(epsilon_for(delta=1e-5, mu2=4 * 0.07), rel=1e-4)
    costs = [masks_fail(0.07, participants=n) for n in (5, 6, 10, 100)]
    assert all(fewer < more for fewer, more in pairwise(costs))


@pytest.mark.parametrize("honest", [2, 20, 3000, 10**5])
def test_without_masks_the_bound_covers_the_coarsest_grid_allowed(honest: int) -> None:
    """One reply alone: a discrete Gaussian of sixteen steps, or of 1000 over the honest."""
    sigma = max(1000.0, math.nextafter(16.0 * math.sqrt(honest), math.inf))
    sensitivity = Sensitivity(clipping_norm=100.0, gamma=1.0)
    alone = mu_squared(sensitivity, sigma=sigma / math.sqrt(honest))
    bound = masks_fail(mu_squared(sensitivity, sigma=sigma), participants=honest + 1, tolerance=1)
    assert epsilon_for(delta=1e-5, mu2=alone) <= bound
    assert bound <= epsilon_for(delta=1e-5, mu2=alone * (1 + 1e-4))


def test_edges_without_masks() -> None:
    assert masks_fail(0.0) == 0.0
    assert masks_fail(math.inf) == math.inf
    for bad in (math.nan, -1.0, -math.inf):
        with pytest.raises(AccountingError):
            masks_fail(bad)
    with pytest.raises(AccountingError):
        masks_fail(1.0, participants=4)


def test_everything_public_is_there() -> None:
    assert all(hasattr(privacy, name) for name in privacy.__all__)
