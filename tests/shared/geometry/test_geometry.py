import math
import os
import struct
import subprocess
import sys
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.records.whitened_model import WhitenedModel

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.geometry.geometry import HEADER, MAGIC, Geometry, fraction_bits_for
from fieldfare.shared.geometry.moments import first_moment_sum, moment_sum, moment_vectors
from fieldfare.shared.geometry.unit_vectors import RowVectors, UnitVectors, unit_vectors
from fieldfare.shared.geometry.whitening import centred_from, released_count, whitened_from
from fieldfare.shared.models.additive import AdditiveModel

Matrix = NDArray[np.float64]
FEATURES: Final = tuple(
    NumericFeature(kind="numeric", name=f"f{i}", lower=0, upper=9, knots=[0, 1, 3, 9])
    for i in range(5)
)
VECTORS: Final = unit_vectors(AdditiveModel(FEATURES, 1.0))
UNITS: Final = 2000


def units(seed: int = 0, count: int = UNITS) -> EncodedUnits:
    """Units whose features go together."""
    random = np.random.default_rng(seed)
    middle = random.integers(0, 700, count)
    columns = [
        np.where(random.random(count) < 0.05, table_size(f) - 1, middle + random.integers(0, 60))
        for f in FEATURES
    ]
    labels = random.integers(0, 2, count, dtype=np.uint8)
    return EncodedUnits(np.stack(columns).astype(np.uint16), labels)


def decoded(sigma: float, seed: int = 0, vectors: UnitVectors = VECTORS) -> Matrix:
    exact = np.ldexp(moment_sum(vectors, units()).astype(np.float64), -16)
    noise = np.random.default_rng(seed).normal(0, sigma, len(exact)) if sigma else 0.0
    return np.asarray(np.rint((exact + noise) * 2**16) / 2**16)


def geometry(sigma: float = 20.0, seed: int = 0, fraction_bits: int = 12) -> Geometry:
    moments = decoded(sigma, seed)
    return whitened_from(VECTORS, moments, sigma=sigma, units=UNITS, fraction_bits=fraction_bits)


def test_the_spread_of_units_becomes_the_identity_where_noise_is_small() -> None:
    found = geometry(sigma=0.001)
    assert found.matrix is not None
    (_, columns), *_ = VECTORS.columns(units())
    turned = np.ldexp(found.matrix.astype(float), -12) @ (
        np.ldexp(columns[1:] - found.mean[:, None], -8)
    )
    covariance = np.cov(turned)
    # Each feature's slots add up to 1, so the ridge flattens one direction of each.
    values = np.linalg.eigvalsh(covariance)
    assert np.abs(turned.mean(axis=1)).max() < 0.2
    assert ((values < 0.05) | (np.abs(values - 1) < 0.3)).all()
    assert (np.abs(values - 1) < 0.1).sum() >= len(values) - 2 * len(FEATURES)


def slow_inverse(spread: list[list[float]], lam: float) -> list[list[float]]:
    """Cholesky and the inverse of the factor, one number at a time, in the same order."""
    size = len(spread)
    low = [[spread[i][j] + (lam if i == j else 0.0) for j in range(i + 1)] for i in range(size)]
    for k in range(size):
        root = math.sqrt(low[k][k])
        for i in range(k, size):
            low[i][k] /= root
        for i in range(k + 1, size):
            for j in range(k + 1, i + 1):
                low[i][j] -= low[i][k] * low[j][k]
    found = [[float(i == j) for j in range(size)] for i in range(size)]
    for k in range(size):
        for j in range(k + 1):
            found[k][j] /= low[k][k]
        for i in range(k + 1, size):
            for j in range(k + 1):
                found[i][j] -= low[i][k] * found[k][j]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_matrix_is_that_of_plain_loops_bit_by_bit(seed: int) -> None:
    sigma, moments, entries = 20.0, decoded(20.0, seed), VECTORS.entries
    count = released_count(moments, UNITS)
    upper = np.zeros((entries, entries))
    upper[np.triu_indices(entries)] = moments
    mean = [float(x) / count for x in moments[1:entries]]
    spread = [
        [float(upper[j + 1, i + 1]) / count - mean[i] * mean[j] for j in range(i + 1)]
        for i in range(entries - 1)
    ]
    inverse = slow_inverse(spread, 2.0 * (2.0 * sigma * math.sqrt(entries) / count))
    found = geometry(sigma, seed)
    assert found.matrix is not None
    for row, expected in zip(found.matrix.tolist(), inverse, strict=True):
        assert row == [round(x * 2**12) for x in expected]
    assert found.mean.tolist() == [round(min(1.0, max(-1.0, x)) * 256) for x in mean]


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 200.0, 5e4, 1e9])
def test_any_noise_ends_in_coordinates_within_their_bounds(sigma: float) -> None:
    for seed in range(5):
        found = geometry(sigma, seed)
        found.check_reach(VECTORS)
        assert found.matrix is not None
        assert np.abs(found.matrix).max() < 2 ** (6 + 12)


def test_a_spread_that_noise_made_indefinite_gets_a_stronger_ridge() -> None:
    moments = decoded(0.0)
    moments[VECTORS.entries :] = 0.0  # as if nothing varied: minus the mean's square is left
    found = whitened_from(VECTORS, moments, sigma=1e-3, units=UNITS, fraction_bits=12)
    assert found.matrix is not None
    assert np.diag(found.matrix).max() < 4 << 12


def test_a_count_that_noise_made_small_is_a_quarter_of_the_public_one() -> None:
    for first, expected in ((1999.7, 1999), (500.2, 500), (499.0, 500), (-7.0, 500), (1e6, 10**6)):
        assert released_count(np.array([first, 0.0]), 2000) == expected
    assert released_count(np.array([-1.0]), 1) == 1


def test_centred_coordinates_lie_around_most_of_the_mean() -> None:
    moments = np.ldexp(first_moment_sum(VECTORS, units()).astype(np.float64), -16)
    found = centred_from(VECTORS, moments, units=UNITS)
    assert found.matrix is None
    assert found.fraction_bits == 0
    assert found.mean.tolist() == np.rint(moments[1:] / UNITS * 0.8 * 256).astype(int).tolist()
    found.check_reach(VECTORS)


@pytest.mark.parametrize("changed", ["short", "long", "nan", "inf"])
def test_other_moments_are_refused(changed: str) -> None:
    good = decoded(1.0)
    moments = {
        "short": good[:-1],
        "long": np.append(good, 0.0),
        "nan": np.append(good[:-1], np.nan),
        "inf": np.append(good[:-1], np.inf),
    }[changed]
    with pytest.raises(ProtocolError, match="finite moments"):
        whitened_from(VECTORS, moments, sigma=1.0, units=UNITS, fraction_bits=12)
    with pytest.raises(ProtocolError, match="finite moments"):
        centred_from(VECTORS, moments, units=UNITS)


@pytest.mark.parametrize(
    ("count", "norm", "expected"),
    [(1000, 1.0, 12), (2_000_000, 1.0, 10), (10_000_000, 1.0, 7), (2_000_000, 0.25, 12)],
)
def test_f_leaves_room_for_four_times_the_public_count(
    count: int, norm: float, expected: int
) -> None:
    found = fraction_bits_for(VECTORS, count, norm)
    assert found == expected
    assert 4 * count * norm * 2 ** (28 + found) <= 2**61
    assert fraction_bits_for(RowVectors(5), count, norm) == min(10, found - 2 if found < 12 else 10)
    with pytest.raises(ProtocolError, match="split them"):
        fraction_bits_for(VECTORS, 2**40, 1.0)


# -- weights and bytes --------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 1e4]))
def test_weights_score_as_the_coordinates_do(seed: int, size: float) -> None:
    found, data = geometry(), units(seed, 5)
    parameters = np.random.default_rng(seed).normal(0, 1, VECTORS.entries) * size
    (_, columns), *_ = VECTORS.columns(data)
    assert found.matrix is not None
    z = np.ldexp(found.matrix @ (columns[1:] - found.mean[:, None]), -20)
    expected = parameters[0] + parameters[1:] @ z
    scores = AdditiveModel(FEATURES, 1.0).scores(found.plain(parameters), data)
    assert scores == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(1.0, size))


def test_weights_are_the_same_bits_in_plain_loops() -> None:
    found, parameters = geometry(), np.random.default_rng(3).normal(0, 2, VECTORS.entries + 2)
    assert found.matrix is not None
    weights = [0.0] * (VECTORS.entries - 1)
    for row, value in zip(found.matrix.tolist(), parameters[1:-2].tolist(), strict=True):
        for at, entry in enumerate(row):
            weights[at] += entry / 2**12 * value
    bias = float(parameters[0])
    for weight, middle in zip(weights, found.mean.tolist(), strict=True):
        bias -= weight * (middle / 256)
    assert found.plain(parameters).tolist() == [bias, *weights, *parameters[-2:].tolist()]


def test_bytes_and_back() -> None:
    centred = Geometry(8, np.arange(4, dtype=np.int64))
    seen = set()
    for one in (geometry(), geometry(seed=1), centred):
        again = Geometry.from_bytes(one.to_bytes())
        assert again.to_bytes() == one.to_bytes()
        assert again.hash == one.hash
        assert np.array_equal(again.mean, one.mean)
        assert (again.matrix is None) == (one.matrix is None)
        seen.add(one.hash)
    assert len(seen) == 3


GOOD: Final = Geometry(8, np.array([1, -2], np.int64), 3, np.array([[5, 0], [-7, 9]], np.int64))


def with_header(*header: int, body: bytes | None = None) -> bytes:
    content = GOOD.to_bytes()[len(MAGIC) + HEADER.size :]
    return MAGIC + HEADER.pack(*header) + (content if body is None else body)


HOSTILE: Final[dict[str, bytes]] = {
    "nothing": b"",
    "another type": b"x" + GOOD.to_bytes()[1:],
    "one byte less": GOOD.to_bytes()[:-1],
    "one byte more": GOOD.to_bytes() + b"\0",
    "no header": MAGIC,
    "no grid": with_header(0, 3, 1, 2),
    "too fine a grid": with_header(11, 3, 1, 2),
    "f of 13": with_header(8, 13, 1, 2),
    "neither with nor without": with_header(8, 3, 2, 2),
    "f without a matrix": with_header(8, 3, 0, 2, body=bytes(4)),
    "a length that is not there": with_header(8, 3, 1, 2**32 - 1),
    "too many entries": with_header(8, 3, 1, 4097, body=bytes(2 * 4097 + 4 * 4097 * 4098 // 2)),
    "a centre beyond 1": with_header(8, 3, 1, 2, body=struct.pack("<2h3i", 257, 0, 5, 0, 9)),
    "a centre beyond -1": with_header(8, 3, 1, 2, body=struct.pack("<2h3i", -257, 0, 5, 0, 9)),
    "an entry of 2^6": with_header(8, 3, 1, 2, body=struct.pack("<2h3i", 1, 0, 512, 0, 9)),
    "an entry of -2^6": with_header(8, 3, 1, 2, body=struct.pack("<2h3i", 1, 0, 5, -512, 9)),
    "the least integer": with_header(8, 3, 1, 2, body=struct.pack("<2h3i", 1, 0, 5, -(2**31), 9)),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_bytes_of_no_honest_run_are_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        Geometry.from_bytes(HOSTILE[name])


@pytest.mark.parametrize(
    "changed",
    [
        {"matrix": np.array([[5, 1], [-7, 9]])},
        {"matrix": np.array([[5, 0]])},
        {"matrix": np.eye(2)},
        {"mean": np.zeros(2)},
        {"mean": np.zeros((2, 1), np.int64)},
    ],
)
def test_a_matrix_of_another_shape_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        replace(GOOD, **changed)


def test_a_geometry_of_other_vectors_is_refused() -> None:
    with pytest.raises(ProtocolError, match="entries"):
        geometry().check_reach(unit_vectors(AdditiveModel(FEATURES[:2], 1.0)))
    with pytest.raises(ProtocolError, match="centre on"):
        geometry().check_reach(RowVectors(VECTORS.entries - 1))


# -- two builds of a BLAS -----------------------------------------------------------------------


def wide_hashes() -> list[str]:
    """Return what depends on a BLAS if anything here does: sum, geometry, gradient; a product."""
    features = tuple(
        NumericFeature(kind="numeric", name=f"f{i}", lower=0, upper=9, knots=list(range(9)))
        for i in range(12)
    )
    model, random = AdditiveModel(features, 1.0), np.random.default_rng(5)
    vectors = unit_vectors(model)
    columns = [random.integers(0, table_size(f), 5000, dtype=np.uint16) for f in features]
    data = EncodedUnits(np.stack(columns), random.integers(0, 2, 5000, dtype=np.uint8))
    total = moment_sum(vectors, data)
    sigma = moment_vectors(vectors).clipping_norm
    moments = np.ldexp(total.astype(np.float64), -16)
    found = whitened_from(vectors, moments, sigma=sigma, units=5000, fraction_bits=12)
    parameters = np.random.default_rng(6).normal(0, 1, vectors.entries)
    gradient = WhitenedModel(model, vectors, found).prepare(data).gradient_sum(parameters)
    floats = np.random.default_rng(7).normal(size=(300, 300))
    return [
        bytes_hash(total.tobytes()),
        found.hash,
        bytes_hash(found.plain(parameters).tobytes()),
        bytes_hash(gradient.tobytes()),
        bytes_hash((floats @ floats[::-1]).tobytes()),
    ]


@pytest.mark.promises
def test_two_builds_of_a_blas_give_the_same_bits() -> None:
    call = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('t', sys.argv[1]); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); print(*m.wide_hashes())"
    )
    found = []
    for core, threads in (("Haswell", "1"), ("Haswell", "2"), ("Nehalem", "1"), ("Prescott", "2")):
        chosen = {"OPENBLAS_CORETYPE": core, "OMP_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", call, __file__],
            env=os.environ | chosen,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.split())
    assert len({tuple(one[:4]) for one in found}) == 1
    assert len({one[4] for one in found}) > 1  # or they were no two builds
