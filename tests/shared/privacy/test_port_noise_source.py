"""Every `NoiseSource` draws Gaussian noise of its scale; those around another one add nothing.

`NoNoise`, which an attack is tried against, draws none, and says so.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from tests.support.federations.settings import make_study

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import (
    MAX_SCALE,
    MIN_SCALE,
    ExactNoise,
    NoiseSource,
    SimulatedNoise,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.ring import Word, WordBits, add, centre, decode, encode, to_ring
from fieldfare.simulations.attacks.canaries import OverheardNoise, ScaledNoise
from fieldfare.simulations.attacks.defects import DoorDefect, FaultyNoise
from fieldfare.simulations.attacks.differencing import NoNoise

# Exact noise cannot be seeded: a sound source fails one of these once in ten million runs.
UNLIKELY = 5e-9
CERTAIN = 1e-12
OTHER_SCALES = (2 / 3, 3 / 2)

SOURCES: dict[str, Callable[[], NoiseSource]] = {
    "exact": ExactNoise,
    "simulated": lambda: SimulatedNoise(np.random.default_rng(20_260_101)),
    "overheard": lambda: OverheardNoise(SimulatedNoise(np.random.default_rng(20_260_102))),
    "scaled": lambda: ScaledNoise(SimulatedNoise(np.random.default_rng(20_260_103)), 1.0),
    "nothing put in": lambda: FaultyNoise(
        SimulatedNoise(np.random.default_rng(20_260_104)),
        DoorDefect.NONE,
        plan_for(make_study()),
        3,
    ),
}


@pytest.fixture(params=list(SOURCES))
def source(request: pytest.FixtureRequest) -> NoiseSource:
    return SOURCES[str(request.param)]()


def p_value(draws: NDArray[np.int64], scale: float) -> float:
    """Kolmogorov-Smirnov against a normal of this scale; steps of the grid are smoothed over."""
    smooth = draws + np.random.default_rng(3).random(len(draws)) - 0.5
    return float(stats.kstest(smooth / math.hypot(scale, 12**-0.5), "norm").pvalue)


def grid_p_value(draws: NDArray[np.int64], scale: float) -> float:
    """Chi-square against the discrete Gaussian's own probabilities."""
    reach = math.ceil(2.5 * scale)
    support = np.arange(-20 * math.ceil(scale), 20 * math.ceil(scale) + 1)
    weights = np.exp(-(support**2) / (2 * scale**2))
    weights /= weights.sum()
    inner = weights[np.abs(support) <= reach]
    inside = draws[np.abs(draws) <= reach] + reach
    counts = np.append(np.bincount(inside, minlength=2 * reach + 1), len(draws) - len(inside))
    expected = np.append(inner, 1 - inner.sum()) * len(draws)
    return float(stats.chisquare(counts, expected).pvalue)


@pytest.mark.parametrize("scale", [16.0, 1000.5, 2.0**31, 2.0**50])
def test_noise_is_gaussian_of_this_scale_and_of_no_other(source: NoiseSource, scale: float) -> None:
    draws = source.sample(6000, scale)
    assert p_value(draws, scale) > UNLIKELY
    for factor in OTHER_SCALES:
        assert p_value(draws, factor * scale) < CERTAIN


def test_noise_on_a_coarse_grid_is_a_discrete_gaussian(source: NoiseSource) -> None:
    draws = source.sample(20_000, 16.0)
    assert grid_p_value(draws, 16.0) > UNLIKELY
    for factor in OTHER_SCALES:
        assert grid_p_value(draws, factor * 16.0) < CERTAIN


def test_noise_is_centred_whole_and_differs_from_entry_to_entry(source: NoiseSource) -> None:
    draws = source.sample(6000, 1e6)
    assert draws.dtype == np.int64
    assert draws.shape == (6000,)
    mean = draws.mean() / (1e6 / math.sqrt(6000))
    neighbours = np.corrcoef(draws[:-1], draws[1:])[0, 1] * math.sqrt(6000)
    for standard in (mean, neighbours):
        assert 2 * stats.norm.sf(abs(standard)) > UNLIKELY
    assert len(np.unique(draws)) > 5900


def test_each_entry_of_a_vector_has_its_noise(source: NoiseSource) -> None:
    """The first and the last as well: of a long vector a bare one would not be seen."""
    draws = np.stack([source.sample(3, 1e6) for _ in range(400)])
    for entry in draws.T:
        assert p_value(entry, 1e6) > UNLIKELY
        assert np.count_nonzero(entry) > 390


def test_noise_is_fresh_at_every_call(source: NoiseSource) -> None:
    first, second = source.sample(2000, 1e6), source.sample(2000, 1e6)
    assert not np.array_equal(first, second)
    correlation = np.corrcoef(first, second)[0, 1] * math.sqrt(2000)
    assert 2 * stats.norm.sf(abs(correlation)) > UNLIKELY
    assert p_value(first - second, math.sqrt(2) * 1e6) > UNLIKELY


def test_scales_at_and_beyond_their_limits(source: NoiseSource) -> None:
    assert source.sample(0, 16.0).shape == (0,)
    assert source.sample(3, MIN_SCALE).shape == (3,)
    largest = source.sample(2000, MAX_SCALE)
    assert np.abs(largest).max() < 2**62  # nothing saturates or wraps
    assert p_value(largest, MAX_SCALE) > UNLIKELY
    below, above = math.nextafter(MIN_SCALE, 0), math.nextafter(MAX_SCALE, math.inf)
    for scale in (below, 0.0, -16.0, math.nan, -math.inf):
        with pytest.raises(AccountingError, match="finer grid"):
            source.sample(0, scale)
    for scale in (above, 2.0**62, math.inf):
        with pytest.raises(AccountingError, match="coarser grid"):
            source.sample(3, scale)


def test_each_source_says_which_it_is() -> None:
    assert SOURCES["exact"]().protection is Protection.EXACT
    assert SOURCES["simulated"]().protection is Protection.SIMULATED
    assert SOURCES["overheard"]().protection is Protection.SIMULATED
    assert SOURCES["scaled"]().protection is Protection.SIMULATED


def test_simulated_noise_is_reproducible_and_exact_noise_takes_no_seed() -> None:
    one, two = (SOURCES["simulated"]().sample(50, 1e6) for _ in range(2))
    assert np.array_equal(one, two)
    one, two = (SOURCES["exact"]().sample(50, 1e6) for _ in range(2))
    assert not np.array_equal(one, two)
    with pytest.raises(TypeError):
        ExactNoise(np.random.default_rng(0))  # type: ignore[call-arg]


def pair_keys(names: list[str]) -> dict[str, RunKeys]:
    keys: dict[str, dict[str, bytes]] = {name: {} for name in names}
    rng = np.random.default_rng(8)
    for index, low in enumerate(names):
        for high in names[index + 1 :]:
            keys[low][high] = keys[high][low] = rng.bytes(32)
    return {name: RunKeys(0, pairs) for name, pairs in keys.items()}


def masked_sum(
    source: NoiseSource, names: list[str], scale: float, entries: int, bits: WordBits
) -> NDArray[np.int64]:
    """Every institution's noise, masked and on the wire; then what the coordinator adds up."""
    total: Word = np.zeros(entries, dtype=np.uint64)
    for name, keys in pair_keys(names).items():
        mask = keys.mask(name, frozenset(names) - {name}, "ab" * 32, entries, bits)
        content = encode(add(to_ring(source.sample(entries, scale), bits), mask, bits), bits)
        total = add(total, decode(content, bits, entries), bits)
    return centre(total, bits)


@pytest.mark.parametrize(
    ("participants", "tolerance", "bits"),
    [(3, 1, WordBits.K64), (6, 1, WordBits.K32), (6, 4, WordBits.K64)],
)
def test_the_masked_sum_of_shares_carries_the_declared_noise(
    source: NoiseSource, participants: int, tolerance: int, bits: WordBits
) -> None:
    sigma = 2.0**20  # grid units on the honest sum
    names = [f"bank-{i}" for i in range(participants)]
    share = sigma / math.sqrt(participants - tolerance)
    total = masked_sum(source, names, share, 4000, bits)
    carried = sigma * math.sqrt(participants / (participants - tolerance))
    assert p_value(total, carried) > UNLIKELY
    for factor in OTHER_SCALES:
        assert p_value(total, factor * carried) < CERTAIN
    if carried > 1.2 * sigma:  # nobody colludes here: more noise than was promised
        assert total.std() > 1.1 * sigma  # of 4000 entries, its own error is a hundredth


def test_the_honest_shares_alone_carry_sigma(source: NoiseSource) -> None:
    sigma, names = 2.0**20, [f"bank-{i}" for i in range(4)]
    total = masked_sum(source, names, sigma / math.sqrt(4), 4000, WordBits.K64)
    assert p_value(total, sigma) > UNLIKELY
    for factor in OTHER_SCALES:
        assert p_value(total, factor * sigma) < CERTAIN


def test_what_an_attack_is_tried_against_has_none() -> None:
    draws = NoNoise().sample(1000, 1e6)
    assert draws.tolist() == [0] * 1000
