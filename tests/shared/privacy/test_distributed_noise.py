import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.discrete_noise import (
    XI_LIMIT,
    check_own_noise,
    check_xi,
    honest_participants,
    local_scale,
    release_xi,
    smoothing_gap,
)

GAMMA = 2.0**-20


def discrete_gaussian(scale: float, reach: int) -> NDArray[np.float64]:
    steps = np.arange(-reach, reach + 1.0)
    weights = np.exp(-(steps**2) / (2 * scale**2))
    return np.asarray(weights / weights.sum())


def widest_log_ratio(scale: float, summands: int) -> float:
    """How far the sum of `summands` draws is from one discrete Gaussian, by enumeration."""
    one = total = discrete_gaussian(scale, math.ceil(14 * scale) + 6)
    for _ in range(summands - 1):
        total = np.convolve(total, one)
    reach = len(total) // 2
    whole = discrete_gaussian(scale * math.sqrt(summands), reach)
    near = slice(reach - math.ceil(8 * scale), reach + math.ceil(8 * scale) + 1)
    return float(np.abs(np.log(total[near] / whole[near])).max())


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.8, 1.0, 1.3])
@pytest.mark.parametrize("summands", [2, 3, 5, 8])
def test_tau_bounds_how_far_a_sum_is_from_one_discrete_gaussian(
    scale: float, summands: int
) -> None:
    tau = smoothing_gap(participants=summands + 2, collusion_tolerance=2, local_scale=scale)
    assert widest_log_ratio(scale, summands) <= tau
    if summands == 2:  # there the leading term is the truth up to its constant
        assert widest_log_ratio(scale, summands) >= tau / 6


def test_tau_is_the_formula_rounded_up() -> None:
    terms = [10 * math.exp(-2 * math.pi**2 * 0.81 * k / (k + 1)) for k in (1, 2, 3)]
    tau = smoothing_gap(participants=5, collusion_tolerance=1, local_scale=0.9)
    assert sum(terms) < tau < sum(terms) * (1 + 1e-8)


def test_tau_never_reaches_zero() -> None:
    assert 0 < smoothing_gap(participants=40, collusion_tolerance=1, local_scale=1e6) < 1e-300


@pytest.mark.parametrize("scale", [0.49, 0.0, -1.0, math.nan, math.inf])
def test_tau_outside_its_theorem_is_refused(scale: float) -> None:
    with pytest.raises(AccountingError, match="local_scale"):
        smoothing_gap(participants=5, collusion_tolerance=1, local_scale=scale)


@given(sigma=st.floats(1.0, 1e6), participants=st.integers(3, 100), tolerance=st.integers(1, 50))
def test_honest_shares_add_up_to_at_least_sigma(
    sigma: float, participants: int, tolerance: int
) -> None:
    if participants - tolerance < 2:
        return
    scale = local_scale(
        sigma=sigma, gamma=GAMMA, participants=participants, collusion_tolerance=tolerance
    )
    total = scale * math.sqrt(participants - tolerance) * GAMMA
    assert sigma * (1 - 1e-15) <= total <= sigma * (1 + 1e-14)


def test_colluders_and_absent_ones_are_not_counted_as_noise() -> None:
    assert local_scale(sigma=4.0, gamma=2.0**-10, participants=6, collusion_tolerance=2) == 2048.0
    assert local_scale(sigma=4.0, gamma=2.0**-10, participants=18, collusion_tolerance=2) == 1024.0


def test_scales_at_their_limits() -> None:
    assert local_scale(sigma=1000.0, gamma=1.0, participants=5, collusion_tolerance=1) == 500.0
    crowd = 4097  # 4096 honest: sixteen steps each are 1024 on the sum
    assert local_scale(sigma=1024.0, gamma=1.0, participants=crowd, collusion_tolerance=1) == 16.0
    for sigma, participants in ((math.nextafter(1000.0, 0), 5), (math.nextafter(1024.0, 0), crowd)):
        with pytest.raises(AccountingError, match="finer grid"):
            local_scale(sigma=sigma, gamma=1.0, participants=participants, collusion_tolerance=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_scales_need_finite_noise_and_grid(bad: float) -> None:
    with pytest.raises(AccountingError, match="sigma"):
        local_scale(sigma=bad, gamma=GAMMA, participants=5, collusion_tolerance=1)
    with pytest.raises(AccountingError, match="gamma"):
        local_scale(sigma=1.0, gamma=bad, participants=5, collusion_tolerance=1)


@pytest.mark.parametrize(
    ("participants", "tolerance"), [(2, 1), (5, 4), (5, 5), (5, 0), (5, -1), (5.0, 1), (5, True)]
)
def test_two_honest_participants_at_least(participants: int, tolerance: int) -> None:
    with pytest.raises(AccountingError):
        honest_participants(participants, tolerance)
    with pytest.raises(AccountingError):
        local_scale(
            sigma=4.0, gamma=GAMMA, participants=participants, collusion_tolerance=tolerance
        )
    with pytest.raises(AccountingError):
        smoothing_gap(participants=participants, collusion_tolerance=tolerance, local_scale=20.0)


def test_ones_own_noise_at_its_limit() -> None:
    check_own_noise(sigma=1000 * GAMMA, gamma=GAMMA)
    with pytest.raises(AccountingError, match="1000 grid steps"):
        check_own_noise(sigma=math.nextafter(1000 * GAMMA, 0), gamma=GAMMA)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_ones_own_noise_is_finite(bad: float) -> None:
    for sigma, gamma in ((bad, GAMMA), (1.0, bad)):
        with pytest.raises(AccountingError):
            check_own_noise(sigma=sigma, gamma=gamma)


def test_xi_counts_every_entry() -> None:
    assert release_xi(entries=7, tau=1e-20) == pytest.approx(7e-20, rel=1e-9, abs=0)
    rounding = release_xi(entries=1, tau=0.0)
    assert 4 * math.exp(-8 * math.pi**2) < rounding < 2.1e-34
    assert release_xi(entries=1000, tau=0.0) == pytest.approx(1000 * rounding, rel=1e-12, abs=0)


@pytest.mark.parametrize(("entries", "tau"), [(0, 0.1), (1, math.nan), (1, -1.0), (1, math.inf)])
def test_xi_of_nothing_is_refused(entries: int, tau: float) -> None:
    with pytest.raises(AccountingError):
        release_xi(entries=entries, tau=tau)


def test_any_deployable_plan_is_far_below_the_limit() -> None:
    tau = smoothing_gap(participants=100, collusion_tolerance=1, local_scale=16.0)
    check_xi(10**6 * release_xi(entries=10**6, tau=tau))


@pytest.mark.parametrize("total", [XI_LIMIT, 1.0, math.nan, math.inf, -1e-20])
def test_a_plan_too_coarse_is_refused(total: float) -> None:
    with pytest.raises(AccountingError, match="xi"):
        check_xi(total)


def test_a_plan_just_fine_enough_passes() -> None:
    check_xi(0.0)
    check_xi(math.nextafter(XI_LIMIT, 0.0))
