import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.records.whitened_model import WhitenedModel, turned_vectors

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature
from fieldfare.shared.features.rows import unit_rows
from fieldfare.shared.geometry.geometry import Geometry, fraction_bits_for
from fieldfare.shared.geometry.moments import first_moment_vectors, moment_sum, moment_vectors
from fieldfare.shared.geometry.unit_vectors import UnitVectors, unit_vectors
from fieldfare.shared.geometry.whitened import whitened_caps
from fieldfare.shared.geometry.whitening import whitened_from
from fieldfare.shared.models.additive import AdditiveModel
from fieldfare.shared.models.clipping import residual_caps
from fieldfare.shared.models.interface import GridVectors
from fieldfare.shared.models.linear import LinearModel
from fieldfare.shared.privacy.accountant import sigma_for
from fieldfare.shared.privacy.discrete_noise import local_scale
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity
from fieldfare.shared.ring import WordBits, add, centre, to_ring

Whole = NDArray[np.int64]
FEATURES: Final = (
    NumericFeature(kind="numeric", name="n", lower=0, upper=9, knots=[0, 1, 9], special=[7]),
    CategoricalFeature(kind="categorical", name="c", levels=("a", "b")),
    NumericFeature(kind="numeric", name="m", lower=0, upper=9, knots=[0, 3, 9]),
)
ASKED: Final = (
    NumericFeature(
        kind="numeric",
        name="asked",
        lower=0,
        upper=100,
        knots_from="spread",
        quantile_knots=3,
        even_knots=2,
    ),
)
COLUMNS: Final = 6
NORMS: Final = [8.0, 1.0, 0.25, 2.0**-10]


def basis_units(seed: int, count: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    columns = [random.integers(0, table_size(f), count, dtype=np.uint16) for f in FEATURES]
    at_ends = random.random(count) < 0.3  # on a knot, the first level: the longest vectors
    return EncodedUnits(
        np.where(at_ends, 0, np.stack(columns)).astype(np.uint16),
        random.integers(0, 2, count, dtype=np.uint8),
    )


def row_units(seed: int, count: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    rows = unit_rows(random.normal(size=(count, COLUMNS)) * random.integers(0, 2, (count, COLUMNS)))
    labels = random.integers(0, 2, count, dtype=np.uint8)
    return EncodedUnits(np.empty((0, count), np.uint16), labels, rows)


Plain = AdditiveModel | LinearModel
KINDS: Final[dict[str, tuple[Callable[[float], Plain], Callable[[int, int], EncodedUnits]]]] = {
    "basis": (lambda norm: AdditiveModel(FEATURES, norm), basis_units),
    "rows": (lambda norm: LinearModel(COLUMNS, norm), row_units),
}


def crafted(vectors: UnitVectors, seed: int, bits: int, size: int, *, centred: bool) -> Geometry:
    """Any centre, and any matrix with entries below 2^size in units of 2^-bits."""
    random, entries = np.random.default_rng(seed), vectors.entries - 1
    mean = random.integers(-(1 << vectors.bits), (1 << vectors.bits) + 1, entries)
    if centred:
        return Geometry(vectors.bits, mean)
    largest = min(1 << size, (1 << (6 + bits)) - 1)
    matrix = np.tril(random.integers(-largest, largest + 1, (entries, entries)))
    return Geometry(vectors.bits, mean, bits, matrix)


def squared(vector: list[int]) -> int:
    return sum(x * x for x in vector)


def oracle(model: WhitenedModel, data: EncodedUnits, parameters: NDArray[np.float64]) -> list[int]:
    """One unit at a time, in Python's integers; only the residual is a model's."""
    geometry, norm = model.geometry, model.plain.clipping_norm
    plain, total = geometry.plain(parameters), [0] * model.units.entries
    (_, columns), *_ = model.units.columns(data)
    free = model.units.sums
    for unit in range(len(data)):
        one = data.select(np.arange(len(data)) == unit)
        residual = int(free(one, np.array([1 << 20], np.int32)).gradient_sum(plain)[0])
        residual >>= geometry.bits
        x = [int(v) - int(m) for v, m in zip(columns[1:, unit], geometry.mean, strict=True)]
        z = x
        if geometry.matrix is not None:
            z = [
                sum(a * b for a, b in zip(row, x, strict=True)) for row in geometry.matrix.tolist()
            ]
        one_step = 1 << (geometry.bits + geometry.fraction_bits)
        limit = (Fraction(norm) * 2**geometry.gamma_bits) ** 2
        cap = math.isqrt(math.floor(limit / (one_step**2 + squared(z))))
        residual = max(-cap, min(cap, residual))
        for at, value in enumerate([one_step, *z]):
            total[at] += residual * value
    return total


@given(
    kind=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 2**32),
    bits=st.integers(0, 10),
    size=st.integers(0, 18),
    norm=st.sampled_from(NORMS),
    odds=st.sampled_from([0.0, 1.0, 1e4]),
    centred=st.booleans(),
)
def test_any_coordinates_keep_every_unit_within_c(
    kind: str, seed: int, bits: int, size: int, norm: float, odds: float, *, centred: bool
) -> None:
    made, drawn = KINDS[kind]
    plain = made(norm)
    vectors = unit_vectors(plain)
    geometry = crafted(vectors, seed, bits, size, centred=centred)
    assume(geometry.reach(vectors) < 2**63)
    model, data = WhitenedModel(plain, vectors, geometry), drawn(seed, 12)
    parameters = np.random.default_rng(seed).uniform(-1, 1, vectors.entries) * odds
    whole = model.prepare(data).gradient_sum(parameters)
    assert whole.tolist() == oracle(model, data, parameters)
    limit = (Fraction(norm) * 2**geometry.gamma_bits) ** 2
    for unit in range(0, 12, 3):
        rest = model.prepare(data.select(np.arange(12) != unit)).gradient_sum(parameters)
        assert squared((whole - rest).tolist()) <= limit


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("norm", NORMS[1:])
def test_some_unit_nearly_reaches_c(kind: str, norm: float) -> None:
    made, drawn = KINDS[kind]
    plain = made(norm)
    vectors = unit_vectors(plain)
    model = WhitenedModel(plain, vectors, crafted(vectors, 1, 4, 9, centred=False))
    start = model.initial(1e4)  # every residual of a negative is 1
    data = drawn(2, 50)
    reached = max(
        squared(model.prepare(data.select(np.arange(50) == u)).gradient_sum(start).tolist())
        for u in range(50)
    )
    assert 0.9 * norm <= math.sqrt(reached) / 2**model.geometry.gamma_bits <= norm


def test_coordinates_in_which_a_norm_may_overflow_are_refused() -> None:
    plain = AdditiveModel(FEATURES, 1.0)
    vectors, size = unit_vectors(plain), unit_vectors(plain).entries - 1
    largest = np.tril(np.full((size, size), (1 << 18) - 1))
    wide = Geometry(8, np.zeros(size, np.int64), 12, largest)
    assert wide.reach(vectors) < 2**63  # few features: even the largest matrix fits
    many = tuple(
        NumericFeature(kind="numeric", name=f"f{i}", lower=0, upper=1, knots=[0, 1])
        for i in range(60)
    )
    plain = AdditiveModel(many, 1.0)
    vectors, size = unit_vectors(plain), unit_vectors(plain).entries - 1
    largest = np.tril(np.full((size, size), (1 << 18) - 1))
    with pytest.raises(ProtocolError, match="below 2\\^63"):
        WhitenedModel(plain, vectors, Geometry(8, np.zeros(size, np.int64), 12, largest)).prepare(
            EncodedUnits(np.zeros((60, 1), np.uint16), np.zeros(1, np.uint8))
        )


def test_sums_that_wrap_on_the_way_come_out_right_where_they_fit() -> None:
    plain = AdditiveModel(FEATURES, 1.0)
    vectors = unit_vectors(plain)
    geometry = crafted(vectors, 3, 12, 18, centred=False)
    total = np.random.default_rng(4).integers(-(2**50), 2**50, vectors.entries) << 8
    assert geometry.matrix is not None
    count = int(total[0]) >> 8
    x = [int(t) - int(m) * count for t, m in zip(total[1:], geometry.mean, strict=True)]
    exact = [sum(a * b for a, b in zip(row, x, strict=True)) for row in geometry.matrix.tolist()]
    assert max(map(abs, exact)) > 2**63  # so that something wrapped
    wrapped = [(value + 2**63) % 2**64 - 2**63 for value in [int(total[0]) << 12, *exact]]
    assert geometry.turned(total).tolist() == wrapped


@given(st.lists(st.integers(2**16, 2**63 - 1), min_size=1, max_size=30), st.sampled_from(NORMS))
def test_caps_are_the_largest_that_keep_each_unit_within_c(norms: list[int], norm: float) -> None:
    caps = whitened_caps(np.array(norms), norm, 40).tolist()
    limit = (Fraction(norm) * 2**40) ** 2
    for cap, one in zip(caps, norms, strict=True):
        assert cap * cap * one <= limit
        assert cap == 1 << 20 or (cap + 1) ** 2 * one > limit


def test_without_a_matrix_and_a_centre_nothing_changes() -> None:
    plain, data = AdditiveModel(FEATURES, 0.25), basis_units(5, 200)
    vectors = unit_vectors(plain)
    same = Geometry(8, np.zeros(vectors.entries - 1, np.int64))
    parameters = np.random.default_rng(6).normal(0, 1, vectors.entries)
    found = WhitenedModel(plain, vectors, same).prepare(data)
    assert np.array_equal(
        found.gradient_sum(parameters), plain.prepare(data).gradient_sum(parameters)
    )
    norms = np.array([2**16, 12345678, 2**62])
    assert np.array_equal(whitened_caps(norms, 0.25, 28), residual_caps(norms, 0.25))


def test_the_plain_gradient_is_that_of_the_coordinates() -> None:
    plain, data = AdditiveModel(FEATURES, 1.0), basis_units(7, 300)
    vectors = unit_vectors(plain)
    model = WhitenedModel(plain, vectors, crafted(vectors, 8, 3, 4, centred=False))
    sums, parameters = model.prepare(data), np.random.default_rng(9).normal(0, 1, vectors.entries)

    def loss(at: NDArray[np.float64]) -> float:
        scores = model.scores(at, data)
        return float((np.logaddexp(0.0, scores) - data.labels * scores).sum())

    steps = np.eye(vectors.entries) * 1e-4
    slopes = [(loss(parameters + s) - loss(parameters - s)) / 2e-4 for s in steps]
    assert sums.plain_gradient(parameters) == pytest.approx(slopes, rel=1e-4, abs=1e-4)


def test_knots_that_were_asked_for_stay_behind_the_weights() -> None:
    plain, random = AdditiveModel(ASKED, 1.0), np.random.default_rng(10)
    parameters = np.concatenate([random.normal(0, 1, plain.vectors.entries), [0, 9, 99, 999, 4096]])
    vectors = unit_vectors(plain, parameters)
    columns = random.integers(0, table_size(ASKED[0]), (1, 80), dtype=np.uint16)
    data = EncodedUnits(columns, random.integers(0, 2, 80, dtype=np.uint8))
    moments = np.ldexp(moment_sum(vectors, data).astype(np.float64), -16)
    geometry = whitened_from(vectors, moments, sigma=0.1, units=80, fraction_bits=12)
    model = WhitenedModel(plain, vectors, geometry)
    assert geometry.plain(parameters)[-5:].tolist() == [0, 9, 99, 999, 4096]
    assert model.prepare(data).gradient_sum(parameters).tolist() == oracle(model, data, parameters)


# -- the claim of the noise -------------------------------------------------------------------


def sigma_of(facts: GridVectors) -> float:
    """Return the noise that a release of these vectors is planned with at mu^2 = .04."""
    sensitivity = Sensitivity(clipping_norm=facts.clipping_norm, gamma=2.0**-facts.gamma_bits)
    assert sensitivity.l2(NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT) == facts.clipping_norm
    return sigma_for(sensitivity, mu2=0.04)


def variance_left(facts: GridVectors, exact: Whole, share: float, draws: int) -> float:
    """Return the variance of decoded minus exact sums, in the sum's own unit."""
    scale = share * local_scale(
        sigma=sigma_of(facts), gamma=2.0**-facts.gamma_bits, participants=4, collusion_tolerance=1
    )
    noise, off = ExactNoise(), []
    for _ in range(draws):
        total = to_ring(exact, WordBits.K64)
        for _ in range(3):  # n - t honest ones make all of it
            total = add(total, to_ring(noise.sample(len(exact), scale), WordBits.K64), WordBits.K64)
        off.append(centre(total, WordBits.K64) - exact)
    return float(np.var(np.ldexp(np.concatenate(off).astype(np.float64), -facts.gamma_bits)))


@pytest.mark.promises
@pytest.mark.parametrize("name", ["moments", "first moments", "whitened"])
def test_the_noise_of_each_kind_is_as_claimed_and_half_of_it_is_refused(name: str) -> None:
    vectors = unit_vectors(AdditiveModel(FEATURES, 1.0))
    facts = {
        "moments": moment_vectors(vectors),
        "first moments": first_moment_vectors(vectors),
        "whitened": turned_vectors(vectors, fraction_bits_for(vectors, 500, 1.0), 1.0),
    }[name]
    exact = np.random.default_rng(12).integers(-(2**40), 2**40, facts.entries)
    draws = math.ceil(40_000 / facts.entries)
    claimed = sigma_of(facts) ** 2
    assert variance_left(facts, exact, 1.0, draws) == pytest.approx(claimed, rel=0.03)
    for wrong in (0.5, 2 / 3, 3 / 2):
        assert variance_left(facts, exact, wrong, draws // 4) != pytest.approx(claimed, rel=0.03)
