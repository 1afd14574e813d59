"""Who lives in the world, and whom the harm rules protect in it."""

import pytest

from fieldfare.shared.features import is_protected
from fieldfare.simulations.world import people
from fieldfare.simulations.world.habits import KINDS


def test_harm_rule_5_every_look_alike_is_in_the_world() -> None:
    assert set(people.LOOK_ALIKE_NAMES) == {
        "night_shift_worker",
        "travelling_nurse",
        "student",
        "migrant_sending_home",
        "independent_adult_worker",
        "ride_hail_driver",
        "small_trader",
        "survivor_rebuilding",
    }


def test_personas_share_out_everybody() -> None:
    shares = [p.share for p in (*people.ORDINARY, *people.LOOK_ALIKES)]
    assert sum(shares) == pytest.approx(1, abs=0.1)
    assert sum(p.share for p in people.EPISODES) < 0.5


def test_names_are_used_once() -> None:
    names = [p.name for p in (*people.ORDINARY, *people.LOOK_ALIKES, *people.EPISODES)]
    assert len(set(names)) == len(names)


def test_harm_rule_4_no_statement_line_tells_a_protected_attribute() -> None:
    assert not [name for name in KINDS if is_protected(name)]


def test_who_works_independently_keeps_the_money() -> None:
    own = next(p for p in people.LOOK_ALIKES if p.name == "independent_adult_worker")
    echo = own.habits["p2p_in"].echo
    assert echo is not None
    assert echo.share < 0.5
    assert own.habits["savings"].monthly > 1
