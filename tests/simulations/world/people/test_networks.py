"""Rings: as many accounts as asked, at several institutions, their money going to the centre."""

import numpy as np
import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.habits import LINES
from fieldfare.simulations.world.institutions import load_institutions
from fieldfare.simulations.world.rings import ROLE_NAMES, Rings, draw_business, draw_rings, thinned
from fieldfare.simulations.world.scenarios import ROLES, SCENARIOS
from fieldfare.simulations.world.society import INDEX, NOBODY, Customers, draw_customers

HOLDERS = load_institutions().of("bank", "remittance")
COUNT, DAYS = 400, 120


def drawn(count: int = COUNT, people: int = 8_000) -> "Made":
    before = draw_customers(np.random.default_rng(1), HOLDERS, people, 0.08)
    rings, after = draw_rings(np.random.default_rng(2), before, HOLDERS, count, DAYS)
    return rings, before, after


Made = tuple[Rings, Customers, Customers]


@pytest.fixture(scope="module")
def made() -> Made:
    return drawn()


def test_as_many_main_accounts_serve_a_ring_as_asked(made: Made) -> None:
    rings, before, after = made
    assert np.unique(rings.customer).size == rings.customer.size
    assert before.main[rings.customer].sum() == COUNT
    assert (rings.role[~after.main[rings.customer]] == ROLE_NAMES.index("remitter")).all()


def test_every_scenario_occurs_with_its_roles(made: Made) -> None:
    rings, _, _ = made
    assert set(rings.scenario.tolist()) == set(range(len(SCENARIOS)))
    for index, scenario in enumerate(SCENARIOS):
        members = np.isin(rings.ring, np.flatnonzero(rings.scenario == index))
        roles = {ROLE_NAMES[r] for r in rings.role[members]}
        assert roles <= {scenario.centre, *scenario.others, "remitter"}


def test_most_rings_span_institutions(made: Made) -> None:
    rings, _, after = made
    spans = [
        np.unique(after.holder[rings.customer[rings.ring == ring]]).size
        for ring in range(rings.scenario.size)
    ]
    assert np.mean(np.array(spans) >= 2) > 0.8


def test_money_goes_to_the_centre_of_the_same_ring(made: Made) -> None:
    rings, _, _ = made
    of = dict(zip(rings.customer.tolist(), rings.ring.tolist(), strict=True))
    paying = rings.payee != NOBODY
    assert paying.mean() > 0.5
    for ring, payee in zip(rings.ring[paying], rings.payee[paying], strict=True):
        assert of[int(payee)] == ring


def test_a_ring_that_moves_money_abroad_is_one_person_at_two_institutions(made: Made) -> None:
    rings, _, after = made
    firm = rings.role == ROLE_NAMES.index("remitter")
    assert firm.any()
    for ring, customer in zip(rings.ring[firm], rings.customer[firm], strict=True):
        mates = rings.customer[(rings.ring == ring) & ~firm]
        assert after.person[customer] in after.person[mates]


def test_members_show_a_cover_of_their_role(made: Made) -> None:
    rings, before, after = made
    for index, role in enumerate(ROLES.values()):
        mine = rings.customer[rings.role == index]
        assert set(after.life[mine].tolist()) <= {INDEX[name] for name in role.covers}
    others = np.setdiff1d(np.arange(len(before)), rings.customer)
    assert (after.life[others] == before.life[others]).all()


def test_part_of_the_indicators_and_of_the_cover_is_missing(made: Made) -> None:
    rings, before, _ = made
    rng = np.random.default_rng(4)
    business = draw_business(rng, rings, DAYS)
    assert business.kept.shape == (business.engagements.unit.size, len(LINES))
    assert 0.65 < business.kept.mean() < 0.75
    assert (business.engagements.start <= business.engagements.end).all()
    thin = thinned(rng, rings, len(before))
    assert (thin[rings.customer] != 1).all()
    assert (np.delete(thin, rings.customer) == 1).all()


def test_no_prevalence_no_rings() -> None:
    rings, before, after = drawn(count=0, people=600)
    assert rings.customer.size == rings.scenario.size == 0
    assert (after.life == before.life).all()


def test_a_bank_too_small_for_its_rings_is_refused() -> None:
    with pytest.raises(UsageError, match="lower the prevalence"):
        drawn(count=590, people=600)
