"""Who there is: people, their banks and lives, and what they share."""

import numpy as np
import pytest

from fieldfare.simulations.world.institutions import load_institutions
from fieldfare.simulations.world.personas import PERSONAS
from fieldfare.simulations.world.society import (
    CITIES,
    INDEX,
    NOBODY,
    PATTERNS,
    Customers,
    chosen,
    draw_customers,
    draw_lives,
)

PEOPLE = 20_000
HOLDERS = load_institutions().of("bank", "remittance")


@pytest.fixture(scope="module")
def customers() -> Customers:
    return draw_customers(np.random.default_rng(1), HOLDERS, PEOPLE, 0.08)


def test_patterns_have_one_name_each() -> None:
    assert len(INDEX) == len(PATTERNS)


def test_everybody_has_one_main_bank_and_some_have_two_institutions(customers: Customers) -> None:
    assert np.bincount(customers.person[customers.main]).tolist() == [1] * PEOPLE
    assert 0.05 * PEOPLE < (~customers.main).sum() < 0.2 * PEOPLE
    pairs = np.stack([customers.person, customers.holder])
    assert np.unique(pairs, axis=1).shape[1] == len(customers)
    assert (np.diff(customers.holder) >= 0).all()


def test_banks_have_their_sizes(customers: Customers) -> None:
    banks = [one for one in HOLDERS if one.kind == "bank"]
    counted = np.bincount(customers.holder[customers.main], minlength=len(banks))
    expected = np.array([b.size for b in banks]) / sum(b.size for b in banks) * PEOPLE
    assert np.abs(counted[: len(banks)] - expected).max() <= 1


def test_a_bank_attracts_the_lives_that_it_says(customers: Customers) -> None:
    life = INDEX["farm_contractor"]
    share = [
        (customers.persona[(customers.holder == h) & customers.main] == life).mean()
        for h in range(5)
    ]
    assert share[2] > 2 * share[0]  # bank-c and bank-a of the shipped file


def test_homes_and_devices_are_shared_by_those_who_share(customers: Customers) -> None:
    assert customers.home.max() < CITIES
    students = customers.main & (customers.persona == INDEX["student"])
    others = customers.main & (customers.persona == INDEX["trucker"])
    apart = customers.contact != customers.person
    assert apart[students].mean() > 5 * max(apart[others].mean(), 0.005)
    assert ((customers.other_share > 0) == (customers.other_device != NOBODY)).all()


def test_lives_last_the_window_and_odd_months_lie_within(customers: Customers) -> None:
    lives = draw_lives(np.random.default_rng(2), customers, 90)
    plain = chosen(lives, ~lives.overlay)
    assert plain.unit.tolist() == list(range(len(customers)))
    assert (plain.end - plain.start == 90).all()
    odd = chosen(lives, lives.overlay)
    assert 0.1 < odd.unit.size / PEOPLE < 0.25
    assert odd.start.min() >= 0
    assert odd.end.max() <= 90
    assert odd.pattern.min() >= len(PERSONAS)
    assert (np.diff(lives.unit) >= 0).all()


def test_the_same_generator_gives_the_same_people() -> None:
    one, two = (draw_customers(np.random.default_rng(3), HOLDERS, 800, 0.08) for _ in range(2))
    assert one.contact.tolist() == two.contact.tolist()
    assert one.take(np.array([1])).person.tolist() == one.person[1:2].tolist()


def test_one_bank_alone_has_no_second_relations() -> None:
    found = draw_customers(np.random.default_rng(3), HOLDERS[:1], 500, 0.08)
    assert found.main.all()
