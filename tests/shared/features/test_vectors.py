"""Vectors become rows of length 1 at most, each by itself and exactly."""

from math import isqrt

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fieldfare.shared.features.rows import FINE_BITS, unit_rows

VECTORS = arrays(
    np.float64, (4, 64), elements=st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False)
)


@given(VECTORS)
@settings(max_examples=60, deadline=None)
def test_lengths_are_at_most_one_and_rows_their_own(values: np.ndarray) -> None:
    rows = unit_rows(values)
    assert (rows.squared_norms() <= 1 << 20).all()
    for index in range(len(values)):
        alone = unit_rows(values[index : index + 1])
        assert np.array_equal(rows.values[index], alone.values[0])


@given(VECTORS)
@settings(max_examples=30, deadline=None)
def test_rows_against_a_slow_exact_oracle(values: np.ndarray) -> None:
    found = unit_rows(values).values
    for vector, row in zip(values, found, strict=True):
        largest = max(map(abs, vector.tolist()))
        steps = [round(v / largest * 2**FINE_BITS) if largest else 0 for v in vector.tolist()]
        square = sum(step * step for step in steps)
        length = isqrt(square) + (isqrt(square) ** 2 < square)
        expected = [
            (abs(step) * 1024 // length) * (1 if step > 0 else -1) if step else 0 for step in steps
        ]
        assert row.tolist() == expected


def test_direction_counts_and_length_does_not() -> None:
    vector = np.random.default_rng(0).normal(size=(1, 256))
    rows = unit_rows(np.concatenate([vector, vector * 8.0, -vector]))
    assert np.array_equal(rows.values[0], rows.values[1])
    assert np.array_equal(rows.values[0], -rows.values[2])
    lost = np.abs(rows.values[0] / 1024 - vector[0] / np.linalg.norm(vector)).max()
    assert lost < 1 / 1024 + 1e-5
    assert rows.squared_norms()[0] > 0.9 * 2**20


def test_zeros_one_entry_and_nobody() -> None:
    values = np.zeros((2, 64))
    values[1, 3] = -5e-324
    rows = unit_rows(values)
    assert not rows.values[0].any()
    assert rows.values[1].tolist() == [0] * 3 + [-1024] + [0] * 60
    assert len(unit_rows(np.empty((0, 64)))) == 0
