"""Kinds, habits and patterns are data that the generator can trust."""

import dataclasses

import pytest

from fieldfare.simulations.world.habits import LINES, Echo, Habit, overlay
from fieldfare.simulations.world.society import PATTERNS


def test_every_pattern_names_known_lines_only() -> None:
    for pattern in PATTERNS:
        assert set(pattern.habits) <= set(LINES), pattern.name


def test_every_parameter_is_in_its_range() -> None:
    for pattern in PATTERNS:
        for name, habit in pattern.habits.items():
            shares = (habit.fresh, habit.even, habit.away)
            assert 0 < habit.night < 1, (pattern.name, name)
            assert all(0 <= share <= 1 for share in shares), (pattern.name, name)
            assert habit.monthly >= 0, (pattern.name, name)
            assert 1 <= habit.parties < 60, (pattern.name, name)
            assert habit.cities >= 1, (pattern.name, name)


def test_money_that_moves_on_is_at_most_what_came() -> None:
    echoes = [h.echo for p in PATTERNS for h in p.habits.values() if h.echo is not None]
    assert echoes
    for echo in echoes:
        assert 0 < echo.share <= 1
        assert 0 < echo.low <= echo.high <= 1


def test_money_goes_back_only_to_parties_that_exist() -> None:
    for pattern in PATTERNS:
        for name, habit in pattern.habits.items():
            if habit.echo is not None and habit.echo.to == "same_party":
                assert "CASH" not in LINES[name].channel, pattern.name


def test_declarations_cannot_be_changed() -> None:
    habit = Habit(1, 10, echo=Echo(0.5, 1, "cash"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        habit.monthly = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        overlay("x", 0.1, p2p_in=habit).habits["ads"] = habit  # type: ignore[index]
