"""The privacy profile against arithmetic of many digits, and against dp_accounting."""

import math
from decimal import Decimal, localcontext

import dp_accounting
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.gaussian import delta_for, epsilon_for, mu2_for

DIGITS = 120
DELTAS = [1e-12, 1e-8, 1e-5, 1e-2]
deltas = st.floats(1e-15, 0.5)
epsilons = st.floats(0.0, 50.0)
totals = st.floats(1e-12, 1e4)
slacks = st.floats(0.0, 1e-3)


def exact_delta(epsilon: float, mu2: float, xi: float = 0.0) -> Decimal:
    """Balle-Wang's formula as printed, in 120 digits, Phi from its Taylor series."""
    with localcontext() as context:
        context.prec = DIGITS
        mu, eps = Decimal(mu2).sqrt(), Decimal(epsilon) - 2 * Decimal(xi)
        first, second = mu / 2 - eps / mu, -mu / 2 - eps / mu
        return Decimal(xi).exp() * (_phi(first) - eps.exp() * _phi(second))


def _phi(x: Decimal) -> Decimal:
    """Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...): one sign only, so digits last."""
    term = total = x
    odd = 1
    while abs(term) > Decimal(10) ** -DIGITS:
        odd += 2
        term = term * x * x / odd
        total += term
    return Decimal("0.5") + total * (-x * x / 2).exp() / (2 * _pi()).sqrt()


def _pi() -> Decimal:
    """Machin's formula."""
    return 4 * (4 * _arctan_of_inverse(5) - _arctan_of_inverse(239))


def _arctan_of_inverse(n: int) -> Decimal:
    return sum(
        (Decimal((-1) ** k) / ((2 * k + 1) * Decimal(n) ** (2 * k + 1)) for k in range(90)),
        Decimal(0),
    )


def test_the_oracle_knows_phi() -> None:
    with localcontext() as context:
        context.prec = DIGITS
        assert str(_pi()).startswith("3.14159265358979323846264338327950288419716939937510")
        assert str(_phi(Decimal(1))).startswith("0.84134474606854294858523254563")


@pytest.mark.parametrize("mu", [1e-9, 1e-6, 1e-3, 0.1, 0.27, 0.999, 1.0, 1.001, 3.0, 12.0])
@pytest.mark.parametrize("tail", [0.0, 0.5, 2.0, 5.0, 11.0])
def test_delta_is_never_below_the_exact_value_and_hugs_it(mu: float, tail: float) -> None:
    mu2 = mu * mu
    epsilon = max(0.0, mu2 / 2 + mu * (tail - 1))
    exact = exact_delta(epsilon, mu2)
    found = Decimal(delta_for(epsilon=epsilon, mu2=mu2))
    assert exact <= found <= exact * (1 + Decimal("2e-11"))


@pytest.mark.parametrize("xi", [1e-16, 1e-6, 0.1, 1.5])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 6.0])
def test_xi_shifts_epsilon_and_scales_delta(epsilon: float, xi: float) -> None:
    exact = exact_delta(epsilon, 0.7, xi)
    found = Decimal(delta_for(epsilon=epsilon, mu2=0.7, xi=xi))
    assert min(exact, Decimal(1)) <= found <= exact * (1 + Decimal("2e-11"))


@pytest.mark.parametrize("mu2", [1e-300, 1e-30, 1e12, 1e300])
def test_extreme_totals_stay_probabilities(mu2: float) -> None:
    values = [delta_for(epsilon=e, mu2=mu2) for e in sorted((0.0, 1.0, mu2 / 2, mu2, 1e307))]
    assert all(0.0 < value <= 1.0 for value in values)
    assert values == sorted(values, reverse=True)
    if mu2 > 1:  # at epsilon = mu^2 / 2 the formula is 1/2 - R(mu) phi(0)
        assert delta_for(epsilon=mu2 / 2, mu2=mu2) == pytest.approx(0.5, rel=1e-5)
    else:
        assert values[0] == pytest.approx(math.sqrt(mu2 / (2 * math.pi)), rel=1e-10, abs=0)


@given(epsilon=epsilons, mu2=totals, xi=slacks, step=st.floats(1e-6, 1.0))
def test_delta_falls_with_epsilon_and_grows_with_the_total_and_xi(
    epsilon: float, mu2: float, xi: float, step: float
) -> None:
    delta = delta_for(epsilon=epsilon, mu2=mu2, xi=xi)
    ulps = 1 + 1e-12  # equal in truth where both are 1 or next to it
    assert delta_for(epsilon=epsilon + step, mu2=mu2, xi=xi) <= delta * ulps
    assert delta_for(epsilon=epsilon, mu2=mu2 * (1 + step), xi=xi) * ulps >= delta
    assert delta_for(epsilon=epsilon, mu2=mu2, xi=xi + step) * ulps >= delta


@given(delta=deltas, mu2=totals, xi=slacks)
def test_epsilon_is_the_smallest_that_holds(delta: float, mu2: float, xi: float) -> None:
    epsilon = epsilon_for(delta=delta, mu2=mu2, xi=xi)
    assert delta_for(epsilon=epsilon, mu2=mu2, xi=xi) <= delta
    if epsilon > 0:
        before = math.nextafter(epsilon, 0.0)
        assert delta_for(epsilon=before, mu2=mu2, xi=xi) > delta


@given(delta=deltas, epsilon=epsilons)
def test_the_budget_is_the_largest_that_holds(delta: float, epsilon: float) -> None:
    mu2 = mu2_for(epsilon=epsilon, delta=delta)
    assert delta_for(epsilon=epsilon, mu2=mu2) <= delta
    assert delta_for(epsilon=epsilon, mu2=mu2 * (1 + 1e-9)) > delta
    assert math.frexp(mu2)[0] * 2**31 == int(math.frexp(mu2)[0] * 2**31)


@given(delta=deltas, epsilon=st.floats(1e-3, 50.0))
def test_epsilon_and_budget_are_inverses(delta: float, epsilon: float) -> None:
    mu2 = mu2_for(epsilon=epsilon, delta=delta)
    found = epsilon_for(delta=delta, mu2=mu2)
    assert found <= epsilon
    # A budget of 31 bits costs 1e-9 of mu^2; near total variation that is all of a tiny epsilon.
    assert found == pytest.approx(epsilon, rel=1e-6, abs=1e-6)


def test_xi_costs_budget_and_may_leave_none() -> None:
    plain, coarse = (mu2_for(epsilon=1.0, delta=1e-5, xi=xi) for xi in (0.0, 0.05))
    assert coarse < plain
    assert mu2_for(epsilon=1.0, delta=1e-5, xi=1e-15) == pytest.approx(plain, rel=1e-9)
    with pytest.raises(AccountingError, match="leave room in delta"):
        mu2_for(epsilon=1.0, delta=1e-5, xi=0.6)


def test_edges_of_delta() -> None:
    assert delta_for(epsilon=0.0, mu2=0.0) == 0.0
    assert delta_for(epsilon=3.0, mu2=math.inf) == 1.0
    assert delta_for(epsilon=10.0, mu2=1e-9) == pytest.approx(1e-299, rel=1e-9, abs=0)
    assert delta_for(epsilon=0.5, mu2=0.0, xi=1.0) == 1.0
    assert delta_for(epsilon=0.1, mu2=0.0, xi=0.1) == pytest.approx(
        math.exp(0.1) * (1 - math.exp(-0.1)), rel=1e-9
    )
    assert delta_for(epsilon=5.0, mu2=0.0, xi=1.0) == 0.0
    assert delta_for(epsilon=0.0, mu2=1.0, xi=1e300) == 1.0


def test_edges_of_epsilon() -> None:
    assert epsilon_for(delta=1e-5, mu2=0.0) == 0.0
    assert epsilon_for(delta=0.5, mu2=1.0) == 0.0
    assert epsilon_for(delta=1e-5, mu2=math.inf) == math.inf
    assert epsilon_for(delta=1e-5, mu2=0.0, xi=0.5) == pytest.approx(1.0, rel=1e-4)
    assert epsilon_for(delta=1e-5, mu2=1e300) == pytest.approx(5e299, rel=1e-9)
    assert epsilon_for(delta=1e-290, mu2=1.0, xi=600.0) == math.inf


def test_edges_of_the_budget() -> None:
    assert mu2_for(epsilon=0.0, delta=1e-5) == pytest.approx(2 * math.pi * 1e-10, rel=1e-8, abs=0)
    assert mu2_for(epsilon=0.0, delta=1e-290) == 0.0
    with pytest.raises(AccountingError, match="finite budget"):
        mu2_for(epsilon=1.7e308, delta=0.5)


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_no_argument_may_be_nan_or_negative(bad: float) -> None:
    for arguments in (
        {"epsilon": bad, "mu2": 1.0},
        {"epsilon": 1.0, "mu2": bad},
        {"epsilon": 1.0, "mu2": 1.0, "xi": bad},
    ):
        with pytest.raises(AccountingError):
            delta_for(**arguments)
    for arguments in (
        {"delta": bad, "mu2": 1.0},
        {"delta": 1e-5, "mu2": bad},
        {"delta": 1e-5, "mu2": 1.0, "xi": bad},
    ):
        with pytest.raises(AccountingError):
            epsilon_for(**arguments)
    for arguments in (
        {"epsilon": bad, "delta": 1e-5},
        {"epsilon": 1.0, "delta": bad},
        {"epsilon": 1.0, "delta": 1e-5, "xi": bad},
    ):
        with pytest.raises(AccountingError):
            mu2_for(**arguments)


@pytest.mark.parametrize("delta", [0.0, 1e-291, 1.0, 2.0, math.inf])
def test_deltas_that_promise_nothing_are_refused(delta: float) -> None:
    with pytest.raises(AccountingError, match="expected delta"):
        epsilon_for(delta=delta, mu2=1.0)
    with pytest.raises(AccountingError, match="expected delta"):
        mu2_for(epsilon=1.0, delta=delta)


def test_infinite_epsilon_and_xi_are_refused() -> None:
    with pytest.raises(AccountingError, match="epsilon"):
        delta_for(epsilon=math.inf, mu2=1.0)
    with pytest.raises(AccountingError, match="xi"):
        epsilon_for(delta=1e-5, mu2=1.0, xi=math.inf)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.73, 28.9])
def test_epsilon_agrees_with_dp_accounting(sigma: float, delta: float) -> None:
    expected = dp_accounting.get_epsilon_gaussian(sigma, delta)
    assert epsilon_for(delta=delta, mu2=sigma**-2) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 4.0, 20.0])
def test_the_budget_agrees_with_dp_accounting(epsilon: float, delta: float) -> None:
    expected = dp_accounting.get_sigma_gaussian(epsilon, delta)
    assert mu2_for(epsilon=epsilon, delta=delta) ** -0.5 == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("sigma", "releases"), [(28.9, 60), (5.0, 10), (3.0, 4), (50.0, 200)])
def test_totals_add_up_as_privacy_loss_distributions_do(sigma: float, releases: int) -> None:
    one = pld.from_gaussian_mechanism(sigma, value_discretization_interval=1e-4)
    expected = one.self_compose(releases).get_epsilon_for_delta(1e-5)
    assert epsilon_for(delta=1e-5, mu2=releases / sigma**2) == pytest.approx(expected, rel=1e-5)


def test_unequal_releases_add_up_too() -> None:
    parts = [pld.from_gaussian_mechanism(sigma) for sigma in (2.0, 5.0, 9.0)]
    expected = parts[0].compose(parts[1]).compose(parts[2]).get_epsilon_for_delta(1e-6)
    found = epsilon_for(delta=1e-6, mu2=2.0**-2 + 5.0**-2 + 9.0**-2)
    assert found == pytest.approx(expected, rel=1e-5)
