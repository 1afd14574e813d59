"""Scenarios S1 to S6: roles that exist, possible victims who are never culprits."""

import pytest

from fieldfare.simulations.world.habits import LINES
from fieldfare.simulations.world.personas import PERSONAS
from fieldfare.simulations.world.scenarios import ROLES, SCENARIOS, Role


def test_there_are_six_and_their_weights_add_up_then_and_later() -> None:
    assert [s.name[:2] for s in SCENARIOS] == ["S1", "S2", "S3", "S4", "S5", "S6"]
    assert sum(s.share for s in SCENARIOS) == pytest.approx(1)
    assert sum(s.later for s in SCENARIOS) == pytest.approx(1)


def test_drift_is_about_a_tenth_in_half_a_year() -> None:
    moved = sum(abs(s.later - s.share) for s in SCENARIOS) / 2
    assert 0.05 < moved / 2 + 0.05 < 0.15


def test_scenarios_name_roles_and_have_at_least_two_accounts() -> None:
    for scenario in SCENARIOS:
        assert scenario.centre in ROLES
        assert set(scenario.others) <= set(ROLES)
        assert sum(fewest for fewest, _ in scenario.others.values()) >= 1


@pytest.mark.parametrize("role", ROLES.values(), ids=lambda r: str(r.pattern.name))
def test_a_role_hides_behind_ordinary_lives(role: Role) -> None:
    assert set(role.pattern.habits) <= set(LINES)
    assert set(role.covers) <= {p.name for p in PERSONAS}
    assert sum(role.covers.values()) == pytest.approx(1)
    assert role.from_centre <= set(role.pattern.habits)


def test_harm_rule_1_who_is_controlled_is_a_possible_victim_never_a_controller() -> None:
    assert ROLES["controlled"].party == ROLES["worker"].party == "potential_victim"
    assert {r.party for n, r in ROLES.items() if n not in {"controlled", "worker"}} == {
        *("controller", "front_business", "employer", "recruiter")
    }
