import numpy as np
import pytest

from fieldfare.server.answers.estimators import alarms


@pytest.mark.parametrize(("mean", "sigma"), [(400, 5.0), (400, 40.0), (60, 20.0), (0, 20.0)])
def test_a_series_without_a_change_seldom_alarms(mean: int, sigma: float) -> None:
    random = np.random.default_rng(0)
    runs = 2000
    false = 0
    for _ in range(runs):
        counts = random.poisson(mean, 24) + random.normal(0, sigma, 24)
        false += bool(alarms(counts, sigma, window=6, false_alarm=0.05))
    assert false / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_without_noise_in_the_limit_it_would_alarm_far_too_often() -> None:
    """The limit has to know sigma: the same series, judged by chance alone, alarms often."""
    random = np.random.default_rng(1)
    false = 0
    for _ in range(300):
        counts = random.poisson(400, 24) + random.normal(0, 40.0, 24)
        false += bool(alarms(counts, 0.0, window=6, false_alarm=0.05))
    assert false / 300 > 0.5


def test_a_month_that_doubles_alarms() -> None:
    counts = np.full(12, 200.0)
    counts[9] = 400.0
    assert alarms(counts, 20.0, window=6, false_alarm=0.05) == [9]
    assert alarms(counts, 200.0, window=6, false_alarm=0.05) == []  # noise could do that
