"""Version 2: a payment between customers stands in both statements, once, alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fieldfare.simulations.world.habits import NUMBER, Months
from fieldfare.simulations.world.institutions import WorldFederation, load_institutions
from fieldfare.simulations.world.making import (
    VERSIONS,
    Society,
    WorldPlan,
    blocks,
    make_society,
)
from fieldfare.simulations.world.society import PATTERNS, keys
from fieldfare.simulations.world.statements import (
    FRESH,
    KNOWN,
    ONCE,
    PARTIES,
    Lines,
    circle_of,
    is_customer,
    joined,
    other_side,
)
from fieldfare.simulations.world.tables import customer_ids
from fieldfare.simulations.world.writing import books_of, write_world

PARTY = 0x70  # of the salt of counterparty keys (`tables.transactions`)
SHOWN = ("p2p_in", "p2p_out", "wages", "payroll")


@dataclass(frozen=True)
class Both:
    """A world of both versions in memory, and all statements of the second on disk."""

    first: Society
    second: Society
    entries: list[dict[str, Any]]


def plan_of(version: int) -> WorldPlan:
    return WorldPlan.of(people=3_000, months=2, seed=8, prevalence=0.05, version=version)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("two-sided") / "world"
    write_world(plan_of(2), folder)
    first, second = (make_society(plan_of(version)) for version in (1, 2))
    return Both(first, second, read_entries(second, folder))


def read_entries(society: Society, folder: Path) -> list[dict[str, Any]]:
    """Return every entry whose counterparty is a customer of the world, by both customers."""
    found: list[dict[str, Any]] = []
    rows = np.arange(len(society.customers))
    for holder, one in enumerate(society.plan.holders):
        books = books_of(society.plan, holder)
        table = pq.read_table(folder / one.name / "transactions.parquet")
        mine = pq.read_table(folder / one.name / "accounts.parquet")
        owner = mine["customer_id"].take(pc.index_in(table["account_id"], mine["account_id"]))
        parties = pc.index_in(table["counterparty_key"], keys(rows, books.salt ^ PARTY))
        table = table.append_column(
            "me", pc.index_in(owner, pa.chunked_array([customer_ids(books, rows)]))
        ).append_column("other", parties)
        table = table.filter(pc.is_valid(table["other"]))
        names = ("me", "other", "ts_utc", "amount_minor", "channel", "direction")
        rows_of = table.select([*names, "counterparty_org", "txn_id"]).to_pylist()
        found += [{**row, "holder": one.name} for row in rows_of]
    return found


def test_both_customers_have_the_payment_at_one_moment_and_of_one_amount(both: Both) -> None:
    def payment(row: dict[str, Any], *, turned: bool) -> tuple[Any, ...]:
        pair = (row["other"], row["me"]) if turned else (row["me"], row["other"])
        way = {"in": "out", "out": "in"}[row["direction"]] if turned else row["direction"]
        return (*pair, way, row["ts_utc"], row["amount_minor"], row["channel"])

    mine = sorted(payment(row, turned=False) for row in both.entries)
    theirs = sorted(payment(row, turned=True) for row in both.entries)
    assert len(mine) > 2_000
    assert mine == theirs


def test_the_other_bank_is_named_and_ids_are_the_banks_own(both: Both) -> None:
    society = both.second
    names = [one.name for one in society.plan.holders]
    for row in both.entries:
        assert row["counterparty_org"] == names[society.customers.holder[row["other"]]]
        assert row["holder"] == names[society.customers.holder[row["me"]]]
    assert len({row["txn_id"] for row in both.entries}) == len(both.entries)
    across = sum(row["counterparty_org"] != row["holder"] for row in both.entries)
    assert 0 < across < len(both.entries)


def test_whoever_is_no_customer_banks_elsewhere(both: Both, tmp_path: Path) -> None:
    write_world(plan_of(2), tmp_path / "world")
    books = books_of(both.second.plan, 0)
    known = keys(np.arange(len(both.second.customers)), books.salt ^ PARTY)
    table = pq.read_table(tmp_path / "world" / "bank-a" / "transactions.parquet")
    outside = table.filter(pc.invert(pc.is_in(table["counterparty_key"], known)))
    banks = {one for one in outside["counterparty_org"].to_pylist() if one}
    assert banks == {f"outside-{index}" for index in range(4)}


def lines_of(society: Society) -> Lines:
    holders = range(len(society.plan.holders))
    return joined([block.lines for holder in holders for block in blocks(society, holder)])


def means(society: Society, lines: Lines) -> dict[str, np.ndarray[Any, Any]]:
    """Return lines a customer, by life, of each kind in `SHOWN`."""
    life = society.customers.life
    people = np.bincount(life, minlength=len(PATTERNS))
    return {
        name: np.bincount(life[lines.unit[lines.kind == NUMBER[name]]], minlength=len(PATTERNS))
        / np.maximum(people, 1)
        for name in SHOWN
    }


def test_lives_are_paid_and_pay_as_often_as_before(both: Both) -> None:
    """Within noise and a fifth, by life; over all lives within a twentieth."""
    one, two = (means(s, lines_of(s)) for s in (both.first, both.second))
    people = np.bincount(both.first.customers.life, minlength=len(PATTERNS))
    many = np.flatnonzero(people > 100)
    for name in ("p2p_in", "p2p_out"):
        before, after = one[name][many], two[name][many]
        assert np.abs(after - before).max() < 0.6 + 0.2 * before.max(), name
        assert (after @ people[many]) == pytest.approx(before @ people[many], rel=0.06), name


def test_a_third_of_the_people_who_pay_are_customers(both: Both) -> None:
    lines = lines_of(both.second)
    own = lines.take(np.isin(lines.kind, [NUMBER["p2p_in"], NUMBER["p2p_out"]]))
    share = float(is_customer(own.party).mean())
    assert KNOWN < share < 2 * KNOWN / (1 + KNOWN) + 0.05


def test_members_of_rings_and_nobody_else_have_lines_that_serve_one(both: Both) -> None:
    society, found = both.second, 0
    for holder in range(len(society.plan.holders)):
        for block in blocks(society, holder):
            assert society.labels[block.lines.unit[block.served]].all()
            found += int(block.served.sum())
    assert found == len(society.ring_lines)


def test_version_1_has_no_payments_beside_rings(both: Both) -> None:
    assert len(both.first.payments) == 0
    lines = lines_of(both.first)
    serving = both.first.labels[lines.unit]
    assert not is_customer(lines.party[~serving]).any()


def test_a_circle_is_read_off_a_party() -> None:
    assert circle_of(np.array([-1, 5, PARTIES, PARTIES + 64 * 7 + 63, FRESH])).tolist() == [
        -1,
        -1,
        0,
        7,
        ONCE,
    ]


def check_accounts(plan: WorldPlan, folder: Path) -> None:
    """Write a world, and look whether whoever wrote a transaction has its account."""
    write_world(plan, folder)
    for one in plan.holders:
        entries = pq.read_table(folder / one.name / "transactions.parquet")["account_id"]
        own = pq.read_table(folder / one.name / "accounts.parquet")["account_id"]
        there = pc.is_in(entries, own.combine_chunks())
        assert pc.sum(there).as_py() == len(entries) > 0, one.name


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("federation", list(WorldFederation))
def test_every_account_is_its_institutions_own(
    tmp_path: Path, federation: WorldFederation, version: int
) -> None:
    owners = load_institutions(federation=federation)
    check_accounts(
        WorldPlan.of(people=2_000, months=1, seed=100, institutions=owners, version=version),
        tmp_path / "world",
    )


@pytest.mark.promises
def test_every_account_is_its_institutions_own_among_many(tmp_path: Path) -> None:
    """18,000 customers: of more than 16,570 a unit times a minute is no 32-bit number."""
    owners = load_institutions(federation=WorldFederation.TWELVE)
    plan = WorldPlan.of(people=15_000, months=3, seed=100, institutions=owners, version=2)
    check_accounts(plan, tmp_path / "world")


def test_others_payments_are_in_the_order_of_customers_however_many() -> None:
    """Columns of 32 bits hold customers and minutes, and their product does not fit."""
    to, month = np.array([40_000, 3, 20_000, 16_571]), Months(24)
    rows = np.full(4, NUMBER["p2p_out"])
    paid = Lines(
        unit=np.arange(4),
        at=np.array([9, 8, 7, 6]),
        kind=rows,
        amount=np.ones(4, np.int64),
        party=to,
        city=np.full(4, -1),
        others=np.zeros(4, bool),
    )
    seen = other_side([paid], np.zeros(40_001, np.int64), month)
    assert seen.unit.tolist() == sorted(to)
    assert seen.at.tolist() == [8, 6, 7, 9]
