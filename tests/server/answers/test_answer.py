import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from fieldfare.server.answers.answer import (
    Answer,
    Cell,
    count_cell,
    fieller,
    least_count,
    non_negative,
)


def test_small_cells_are_held_back() -> None:
    assert least_count(0.5) == 10
    assert least_count(20) == 60
    held = count_cell(("a",), 59.9, 59.9, 20)
    assert (held.value, held.low, held.high) == (None, None, None)
    shown = count_cell(("a",), 60.1, 58.0, 20)
    assert shown.value == 58.0
    assert shown.low == pytest.approx(60.1 - 39.2, abs=0.01)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_non_negative_counts_keep_their_total(values: list[float]) -> None:
    counts = np.array(values)
    found = non_negative(counts)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(max(counts.sum(), 0.0), abs=1e-6)
    if (counts >= 0).all():
        np.testing.assert_allclose(found, counts, atol=1e-9)


def test_they_are_the_nearest_such_counts() -> None:
    counts = np.array([5.0, -3.0, 1.0, 0.5, -0.2])
    total = counts.sum()
    found = minimize(
        lambda x: ((x - counts) ** 2).sum(),
        np.full(5, total / 5),
        bounds=[(0, None)] * 5,
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - total}],
    )
    np.testing.assert_allclose(non_negative(counts), found.x, atol=1e-5)


def test_fiellers_interval_covers_and_knows_when_it_cannot() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        upper, lower = 50 + random.normal(0, 5), 40 + random.normal(0, 5)
        found = fieller(upper, lower, np.full(2, 25.0))
        covered += found is not None and found[0] <= 50 / 40 <= found[1]
    assert 0.93 <= covered / 2000 <= 0.97
    assert fieller(50, 5, np.full(2, 25.0)) is None


def test_an_answer_is_one_number_or_lists() -> None:
    one = Answer("n", "count", (), (Cell((), "count", 12.0, 10.0, 14.0),), 1.0, 0, 6)
    assert one.as_dict() == {
        "name": "n", "kind": "count", "value": 12.0, "interval": [10.0, 14.0], "sigma": 1.0,
        "suppressed": 0, "institutions": 6, "mu2": 0.0,
    }  # fmt: skip
    cells = (Cell(("a",), "count", 12.0, 10.0, 14.0), Cell(("b",), "count", None))
    many = Answer("n", "histogram", ("c",), cells, 1.0, 1, 6).as_dict()
    assert many["value"] == [12.0, None]
    assert many["interval"] == [[10.0, 14.0], None]
    assert many["cells"] == [["a"], ["b"]]
    assert "alarms" not in many
