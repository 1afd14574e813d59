import numpy as np
import pytest

from fieldfare.server.answers.estimators import delta, mean_cell, pair_answer, sum_answer
from fieldfare.shared.study.question_layout import Factor

AMOUNT = Factor("amount", 0.0, 100.0, 50.0, 50.0)
HOURS = Factor("hours", 0.0, 10.0, 5.0, 5.0)


def test_the_delta_method_finds_known_slopes() -> None:
    value, error = delta(lambda s: s[:, 1:] / s[:, :1], np.array([100.0, 50.0]), 2.0)
    assert value[0] == 0.5
    assert error[0] == pytest.approx(2 * np.hypot(1 / 100, 50 / 100**2), rel=1e-5)


def test_sums_are_in_the_numbers_own_unit_and_not_negative_where_none_can_be() -> None:
    cell, spread = sum_answer(np.array([-0.5]), 2.0, Factor("a", 0.0, 100.0, 0.0, 100.0))
    assert (cell.value, cell.low, spread) == (0.0, 0.0, 200.0)
    signed, _ = sum_answer(np.array([-0.5]), 2.0, Factor("a", -100.0, 100.0, 0.0, 100.0))
    assert signed.value == -50.0


def test_means_stay_within_their_bounds_and_few_units_are_held_back() -> None:
    assert mean_cell((), np.array([20.0, 30.0]), 1.0, AMOUNT).value == 100.0
    assert mean_cell((), np.array([9.0, 1.0]), 1.0, AMOUNT).value is None


def test_a_correlation_matrix_is_one() -> None:
    """Noise that would make correlations contradict each other is evened out."""
    third = Factor("third", 0.0, 1.0, 0.5, 0.5)
    #          1      means          11    12    13   22    23    33
    raw = np.array([100.0, 0, 0, 0, 10.0, 9.9, 9.9, 10.0, -9.9, 10.0])
    cells, _ = pair_answer(raw, 0.1, [AMOUNT, HOURS, third], correlation=True)
    found = np.eye(3)
    for (i, j), cell in zip([(0, 1), (0, 2), (1, 2)], cells, strict=True):
        assert cell.value is not None
        found[i, j] = found[j, i] = cell.value
    assert np.linalg.eigvalsh(found).min() > -1e-6


def test_a_spread_that_noise_hides_gives_no_correlation() -> None:
    raw = np.array([100.0, 0, 0, -1.0, 0.5, 10.0])
    cells, _ = pair_answer(raw, 1.0, [AMOUNT, HOURS], correlation=True)
    assert cells[0].value is None
