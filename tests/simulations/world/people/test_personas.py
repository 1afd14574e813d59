"""Lives: every look-alike of harm rule 5 is there, with what tells it apart."""

import pytest

from fieldfare.simulations.world.habits import LINES
from fieldfare.simulations.world.personas import (
    EPISODES,
    LOOK_ALIKES,
    ORDINARY,
    PERSONAS,
    PROTECTED_LOOK_ALIKES,
    Persona,
)


@pytest.mark.parametrize("persona", [*PERSONAS, *EPISODES], ids=lambda p: str(p.name))
def test_a_life_is_made_of_known_lines_in_sensible_amounts(persona: Persona) -> None:
    assert set(persona.habits) <= set(LINES)
    for habit in persona.habits.values():
        assert habit.monthly >= 0
        assert habit.median > 0
        assert all(0 <= share <= 1 for share in (habit.fresh, habit.even, habit.away))
        assert 0 <= habit.night < 1
        assert habit.parties < 63


def test_names_are_different_and_shares_add_up_to_about_everybody() -> None:
    names = [p.name for p in (*PERSONAS, *EPISODES)]
    assert len(set(names)) == len(names)
    assert sum(p.share for p in PERSONAS) == pytest.approx(1, abs=0.05)


def test_harm_rule_5_each_named_look_alike_is_one_and_says_what_tells_it_apart() -> None:
    names = {p.name for p in LOOK_ALIKES}
    assert set(PROTECTED_LOOK_ALIKES) <= names
    assert "survivor_rebuilding" in names
    assert all(p.look_alike and p.apart for p in LOOK_ALIKES)
    assert not any(p.look_alike for p in ORDINARY)


def test_the_independent_adult_worker_keeps_the_money() -> None:
    """The red flags are there; the separator is too."""
    life = next(p for p in LOOK_ALIKES if p.name == "independent_adult_worker").habits
    assert life["ads"].monthly >= 3
    assert life["p2p_in"].night > 0.4
    echo = life["p2p_in"].echo
    assert echo is not None
    assert echo.share < 0.2
    assert life["rent"].monthly > 0
    assert life["savings"].monthly > 1
