"""Who banks where: exact prevalence, rings across banks, scenarios that differ by bank."""

import numpy as np

from fieldfare.simulations.world import people, rings
from fieldfare.simulations.world.population import (
    PATTERNS,
    Population,
    draw_population,
    indicator_kept,
    scenario_mix,
)

SCENARIOS = {s.name for s in rings.SCENARIOS}


def drawn(seed: int = 0, banks: int = 5, prevalence: float = 0.02) -> Population:
    return draw_population(
        np.random.default_rng(seed), banks=banks, customers=20_000, prevalence=prevalence, days=60
    )


def test_the_prevalence_is_exact() -> None:
    assert (drawn(prevalence=0.013).ring >= 0).sum() == 260


def test_a_world_without_rings_is_a_world() -> None:
    population = drawn(prevalence=0.0)
    assert (population.ring < 0).all()
    assert not (population.engagements.payee >= 0).any()


def test_a_ring_member_and_only_a_ring_member_has_a_scenario() -> None:
    population = drawn()
    names = np.array([p.name for p in PATTERNS])[population.persona]
    np.testing.assert_array_equal(np.isin(names, sorted(SCENARIOS)), population.ring >= 0)


def test_rings_span_banks_and_mix_scenarios() -> None:
    population = drawn()
    members = population.ring >= 0
    for values in (population.bank, population.persona):
        pairs = np.unique(np.stack([population.ring[members], values[members]]), axis=1)
        counts = np.bincount(pairs[0])
        assert np.median(counts[counts > 0]) >= 2


def test_each_bank_sees_its_own_mix_of_scenarios() -> None:
    population = drawn(prevalence=0.1)
    first = len(PATTERNS) - len(rings.SCENARIOS)
    for bank in range(5):
        here = (population.bank == bank) & (population.ring >= 0)
        seen = np.bincount(population.persona[here] - first, minlength=4) / here.sum()
        np.testing.assert_allclose(seen, scenario_mix(bank), atol=0.09)
    assert scenario_mix(0).argmax() != scenario_mix(1).argmax()


def test_banks_differ_in_size_and_in_prevalence() -> None:
    population = drawn()
    sizes = np.bincount(population.bank)
    rates = np.bincount(population.bank, weights=population.ring >= 0) / sizes
    assert sizes.sum() == 20_000
    assert sizes.max() > 3 * sizes.min()
    assert rates.max() > 1.5 * rates.min()


def test_banks_differ_in_their_look_alikes() -> None:
    population = drawn()
    names = np.array([p.name for p in PATTERNS])[population.persona]
    rates = [np.mean(names[population.bank == b] == "student") for b in range(5)]
    assert max(rates) > 3 * min(rates)


def test_any_number_of_banks_works() -> None:
    for banks in (1, 2, 7):
        population = drawn(banks=banks)
        assert set(np.unique(population.bank)) == set(range(banks))
        assert (population.ring >= 0).sum() == 400


def test_odd_months_are_for_ordinary_people_only() -> None:
    population = drawn()
    engagements = population.engagements
    ordinary = {p.name for p in people.ORDINARY}
    episodes = {p.name for p in people.EPISODES}
    names = np.array([p.name for p in PATTERNS])
    unit = engagements.unit[np.isin(names[engagements.pattern], sorted(episodes))]
    assert unit.size > 1000
    assert np.unique(unit).size == unit.size
    assert set(names[population.persona[unit]]) <= ordinary


def test_spells_lie_inside_the_window() -> None:
    engagements = drawn().engagements
    assert (engagements.start >= 0).all()
    assert (engagements.end <= 60 + 1e-9).all()
    assert (engagements.end > engagements.start).all()


def test_overlays_miss_a_fifth_of_their_indicators_and_lives_none() -> None:
    overlay = np.arange(20_000) % 2 == 0
    kept = indicator_kept(np.random.default_rng(0), overlay)
    assert kept[~overlay].all()
    assert abs(kept[overlay].mean() - 0.8) < 0.02
