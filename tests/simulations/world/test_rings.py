"""Scenarios of rings: declared for controllers' accounts, never for victims."""

import pytest

from fieldfare.simulations.world import people, rings

PERSONAS = {p.name for p in (*people.ORDINARY, *people.LOOK_ALIKES)}


def test_every_scenario_has_covers_that_exist_and_add_up() -> None:
    assert {s.name for s in rings.SCENARIOS} == set(rings.COVER_SHARES)
    for shares in rings.COVER_SHARES.values():
        assert set(shares) <= PERSONAS
        assert sum(shares.values()) == pytest.approx(1)


def test_harm_rule_1_nobody_who_may_be_a_victim_is_a_cover() -> None:
    for shares in rings.COVER_SHARES.values():
        assert "survivor_rebuilding" not in shares
        assert "independent_adult_worker" not in shares


def test_scenarios_are_not_personas() -> None:
    assert not PERSONAS & {s.name for s in rings.SCENARIOS}
