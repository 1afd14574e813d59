"""Banks differ on purpose, within what a world can hold."""

import pytest

from fieldfare.simulations.world import banks, people, rings


def test_names_are_neutral_and_different() -> None:
    assert len(set(banks.BANKS)) == 5
    assert all(name.startswith("Bank ") for name in banks.BANKS)


def test_a_scenario_mix_is_a_distribution_and_leans() -> None:
    assert len(banks.SCENARIO_LEANING) == len(rings.SCENARIOS)
    assert sum(banks.SCENARIO_LEANING) == pytest.approx(1)
    assert max(banks.SCENARIO_LEANING) > 2 / len(rings.SCENARIOS)


def test_look_alikes_never_fill_a_bank() -> None:
    leaning = banks.LOOK_ALIKE_LEANING
    assert len(leaning) == len(people.LOOK_ALIKES)
    for turn in range(len(leaning)):
        rolled = leaning[-turn:] + leaning[:-turn]
        shares = (p.share * r for p, r in zip(people.LOOK_ALIKES, rolled, strict=True))
        assert sum(shares) < 0.6


def test_sizes_and_prevalences_are_positive() -> None:
    assert min(*banks.SIZE_LEANING, *banks.PREVALENCE_LEANING) > 0
