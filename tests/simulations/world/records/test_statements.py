"""Lines: inside the window, in order, as the habits say, and on both sides of a payment."""

import numpy as np
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.simulations.world.habits import LINES, MINUTES, NUMBER, Months
from fieldfare.simulations.world.making import CustomerBlock, blocks
from fieldfare.simulations.world.personas import PERSONAS
from fieldfare.simulations.world.society import INDEX
from fieldfare.simulations.world.statements import (
    MERCHANTS,
    NOWHERE,
    Lines,
    is_merchant,
    joined,
    ordered,
)


@pytest.fixture(scope="module")
def block(written: Written) -> CustomerBlock:
    return next(blocks(written.society, 0))


def test_lines_lie_in_the_window_in_order_and_belong_to_the_block(
    written: Written, block: CustomerBlock
) -> None:
    lines, length = block.lines, written.society.plan.months.days * MINUTES
    assert set(np.unique(lines.unit)) <= set(block.rows.tolist())
    assert lines.at.min() >= 0
    assert lines.at.max() < length
    assert (np.diff(lines.unit * length + lines.at) >= 0).all()
    assert lines.amount.min() >= 1


def test_cash_has_no_other_side_and_only_placed_lines_have_a_place(block: CustomerBlock) -> None:
    lines = block.lines
    kinds = list(LINES.values())
    cash = np.array([kind.party is None for kind in kinds])[lines.kind]
    assert ((lines.party == NOWHERE) == cash).all()
    placed = np.array([kind.placed for kind in kinds])[lines.kind]
    assert (lines.city[~placed] == NOWHERE).all()


def test_shops_are_shared_and_people_are_not(block: CustomerBlock) -> None:
    lines = block.lines
    shop = np.array([is_merchant(kind) for kind in LINES.values()])[lines.kind]
    customers_of = {True: 0.0, False: 0.0}
    for kind in (True, False):
        mine = (shop == kind) & (lines.party >= MERCHANTS)
        pairs = np.unique(np.stack([lines.party[mine], lines.unit[mine]]), axis=1)
        customers_of[kind] = pairs.shape[1] / np.unique(pairs[0]).size
    assert customers_of[True] > 1.5
    assert customers_of[False] == pytest.approx(1, abs=0.01)


def test_wages_come_about_as_often_as_the_habit_says(written: Written) -> None:
    society = written.society
    lines = [block.lines for holder in range(5) for block in blocks(society, holder)]
    plain = ~society.labels & society.customers.main
    plain &= society.customers.life == INDEX["salaried"]
    pay = sum(int(plain[part.unit[part.kind == NUMBER["payroll"]]].sum()) for part in lines)
    habit = PERSONAS[0].habits["payroll"]
    assert pay / plain.sum() / society.plan.months.count == pytest.approx(habit.monthly, rel=0.05)


def test_a_payment_between_customers_stands_on_both_statements(written: Written) -> None:
    lines = written.society.ring_lines
    ours = (lines.party >= 0) & (lines.party < MERCHANTS)
    assert ours.any()
    rows = zip(lines.unit, lines.party, lines.at, lines.amount, strict=True)
    there = {tuple(map(int, row)) for row, mine in zip(rows, ours, strict=True) if mine}
    assert all((party, unit, at, amount) in there for unit, party, at, amount in there)


def test_possible_victims_pass_more_on_to_the_centre_than_others_do(written: Written) -> None:
    rings, lines = written.society.rings, written.society.ring_lines
    paying = rings.customer[rings.payee >= 0]
    to_centre = (lines.kind == NUMBER["p2p_out"]) & np.isin(lines.unit, paying) & (lines.party >= 0)
    to_centre &= lines.party < MERCHANTS
    assert np.unique(lines.unit[to_centre]).size > 0.4 * paying.size


def test_sets_of_lines_join_and_sort() -> None:
    def line(unit: int, at: int) -> Lines:
        none = np.zeros(1, np.int64)
        return Lines(np.array([unit]), np.array([at]), none, none, none, none, np.zeros(1, bool))

    found = ordered(joined([line(1, 5), line(0, 9), line(0, -1), line(0, 2)]), Months(1))
    assert found.unit.tolist() == [0, 0, 1]
    assert found.at.tolist() == [2, 9, 5]
