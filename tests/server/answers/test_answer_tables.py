from itertools import product

import numpy as np
import pytest

from fieldfare.server.answers.analytics import (
    agreeing_cells,
    ecdf_cells,
    keys_of,
    quantile_cells,
    table_cells,
    top_cells,
)
from fieldfare.shared.study.question_layout import ONE, Axis, Block

A = Axis("a", ("x", "y", "z"))
B = Axis("b", ("u", "v"))
NUMBER = Axis("n", ("0 to 1", "1 to 2", "2 to 4", "missing"), (1.0, 2.0), 0.0, 4.0)


def rows(*counts: float) -> np.ndarray:
    return np.array(counts, dtype=np.float64)[:, None]


def test_keys_run_with_the_last_axis_fastest() -> None:
    assert keys_of((A, B)) == list(product("xyz", "uv"))


def test_a_table_adds_up_to_the_noisy_total_and_holds_small_cells_back() -> None:
    cells = table_cells(Block((A,), (ONE,)), rows(50.0, -4.0, 9.0), 1.0)
    assert [cell.value is None for cell in cells] == [False, True, True]
    assert cells[0].value == pytest.approx(48.0)
    assert cells[0].low is not None
    assert cells[0].low < 50.0 < (cells[0].high or 0.0)


def test_the_largest_declared_levels_come_first() -> None:
    levels = Axis("c", ("p", "q", "r", "other", "missing"))
    cells = top_cells(Block((levels,), (ONE,)), rows(30, 70, 5, 900, 800), 1.0, 3)
    assert [cell.key for cell in cells] == [("q",), ("p",), ("r",)]
    assert cells[2].value is None


def test_quantiles_lie_where_the_counts_put_them() -> None:
    block = Block((NUMBER,), (ONE,))
    first, middle, last = quantile_cells(block, rows(100, 100, 200, 55), 1e-6, (0.25, 0.5, 0.75))
    assert [first.value, middle.value, last.value] == pytest.approx([1.0, 2.0, 3.0])
    assert (last.low, last.high) == (2.0, 4.0)  # no finer than its bin


def test_shares_rise_to_one() -> None:
    cells = ecdf_cells(Block((NUMBER,), (ONE,)), rows(100, -20, 200, 5), 5.0)
    values = [cell.value for cell in cells]
    assert values == sorted(values)  # type: ignore[type-var]
    assert values[-1] == 1.0


def test_too_few_units_give_no_quantile() -> None:
    block = Block((NUMBER,), (ONE,))
    assert quantile_cells(block, rows(3, 2, 1, 0), 1.0, (0.5,))[0].value is None
    assert {cell.value for cell in ecdf_cells(block, rows(3, 2, 1, 0), 1.0)} == {None}


def test_tables_that_share_a_column_agree_and_are_not_negative() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 60, (3, 2)).astype(float)
    truth[1, 0] = 0.0
    blocks = [
        Block((A, B), (ONE,)),
        Block((B, A), (ONE,)),
        Block((A,), (ONE,)),
        Block((B,), (ONE,)),
    ]
    tables = [truth, truth.T, truth.sum(axis=1), truth.sum(axis=0)]
    raws = [t.ravel()[:, None] + random.normal(0, 0.5, (t.size, 1)) + 40.0 for t in tables]
    cells = agreeing_cells(blocks, raws, [0.5] * 4)
    value = {cell.key: cell.value or 0.0 for cell in cells}
    for x, u in product("xyz", "uv"):
        assert value[f"a={x}", f"b={u}"] == pytest.approx(value[f"b={u}", f"a={x}"])
    for x in "xyz":
        sides = sum(value[f"a={x}", f"b={u}"] for u in "uv")
        assert sides == pytest.approx(value[(f"a={x}",)], rel=1e-6)
    assert min(value.values()) >= 0


def test_agreement_brings_tables_nearer_to_the_truth() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(100, 200, (3, 2)).astype(float)
    blocks = [Block((A, B), (ONE,)), Block((A,), (ONE,)), Block((B,), (ONE,))]
    before, after = [], []
    for _ in range(60):
        tables = [truth, truth.sum(axis=1), truth.sum(axis=0)]
        raws = [t.ravel()[:, None] + random.normal(0, 10, (t.size, 1)) for t in tables]
        cells = agreeing_cells(blocks, raws, [10.0] * 3)
        fitted = np.array([cell.value for cell in cells[:6]])
        before.append(((raws[0][:, 0] - truth.ravel()) ** 2).mean())
        after.append(((fitted - truth.ravel()) ** 2).mean())
    assert np.mean(after) < 0.9 * np.mean(before)
