"""What every world draws alike."""

import numpy as np

from fieldfare.simulations.world.habits import (
    Echo,
    Habit,
    amounts,
    by_pattern,
    draw_echoes,
    minutes_of_day,
)

SIZE = 40_000


def ones(value: float) -> np.ndarray:
    return np.full(SIZE, value)


def test_amounts_have_their_median_and_their_share_of_even_ones() -> None:
    rng = np.random.default_rng(0)
    found = amounts(rng, ones(60.0), ones(0.5), ones(0.4))
    assert abs(np.median(found) / 6000 - 1) < 0.05
    assert abs(np.mean(found % 2000 == 0) - 0.4) < 0.02
    assert found.min() >= 1


def test_nights_have_their_share_and_shift() -> None:
    rng = np.random.default_rng(0)
    for shift, expected in ((0.0, 0.3), (1.0, 0.3 * np.e / (0.7 + 0.3 * np.e))):
        minute = minutes_of_day(rng, ones(0.3), ones(shift))
        night = (minute >= 22 * 60) | (minute < 6 * 60)
        assert abs(night.mean() - expected) < 0.01
        assert minute.min() >= 0
        assert minute.max() < 1440


def test_a_habit_that_is_absent_counts_as_nothing() -> None:
    assert by_pattern([None, Habit(2, 50)], "monthly").tolist() == [0.0, 2.0]


def test_echoes_follow_their_share_part_and_hours() -> None:
    echo = Echo(0.25, 10, "cash", 0.5, 0.6)
    pattern = np.arange(SIZE) % 2  # the first pattern has none
    found = draw_echoes(np.random.default_rng(0), [None, Habit(1, 1, echo=echo)], pattern)
    assert (pattern[found.picked] == 1).all()
    assert abs(found.picked.size / (SIZE / 2) - 0.25) < 0.01
    assert found.part.min() >= 0.5
    assert found.part.max() <= 0.6
    assert found.lag.max() < 600
    assert set(found.to) == {"cash"}
