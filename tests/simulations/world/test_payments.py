"""Statements: reproducible, inside their window, as the declared habits say."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world import World, make_world
from fieldfare.simulations.world.habits import KINDS
from fieldfare.simulations.world.people import LOOK_ALIKE_NAMES


def as_bytes(*tables: pa.Table) -> bytes:
    sink = io.BytesIO()
    for table in tables:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def column(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].combine_chunks().to_numpy(zero_copy_only=False))


def lines(world: World, channel: str, direction: str = "in") -> pa.Table:
    entries = world.entries
    chosen = pc.and_(
        pc.equal(entries["channel"], channel), pc.equal(entries["direction"], direction)
    )
    return entries.filter(chosen)


def units_of(world: World, *personas: str) -> pa.Array:
    customers = world.customers
    return customers.filter(pc.is_in(customers["persona"], pa.array(personas)))["unit"]


def test_same_seed_same_bytes() -> None:
    one, two = (make_world(seed=3, customers=1_000) for _ in range(2))
    assert as_bytes(one.customers, one.entries) == as_bytes(two.customers, two.entries)


def test_another_seed_is_another_world() -> None:
    one, two = (make_world(seed=seed, customers=1_000) for seed in (3, 4))
    assert as_bytes(one.entries) != as_bytes(two.entries)
    assert as_bytes(one.customers) != as_bytes(two.customers)


def test_customers_are_as_asked(world: World) -> None:
    customers = world.customers
    assert customers.num_rows == 6_000
    assert len(pc.unique(customers["unit"])) == 6_000
    assert pc.sum(customers["label"]).as_py() == 300
    assert sorted(pc.unique(customers["institution"]).to_pylist()) == [f"Bank {x}" for x in "ABCDE"]


def test_banks_can_be_named() -> None:
    world = make_world(seed=0, banks=("North", "South", "West"), customers=900, prevalence=0.1)
    assert set(world.customers["institution"].to_pylist()) == {"North", "South", "West"}


def test_entries_stay_inside_the_window(world: World) -> None:
    day, minute = column(world.entries, "day"), column(world.entries, "minute")
    assert day.min() == 0
    assert day.max() == 59
    assert minute.min() >= 0
    assert minute.max() < 1440
    assert column(world.entries, "amount").min() > 0


def test_entries_are_in_order(world: World) -> None:
    codes = np.unique(column(world.entries, "unit").astype(str), return_inverse=True)[1]
    at = column(world.entries, "day").astype(np.int64) * 1440 + column(world.entries, "minute")
    assert (np.diff(codes * 100_000 + at) >= 0).all()


def test_only_cash_has_no_counterparty_and_only_placed_lines_a_city(world: World) -> None:
    entries = world.entries
    cash = pc.equal(entries["channel"], "cash")
    assert pc.is_null(entries["counterparty"]).equals(cash)
    placed = [kind.channel for kind in KINDS.values() if kind.placed]
    assert pc.is_valid(entries["city"]).equals(pc.is_in(entries["channel"], pa.array(placed)))


def test_harm_rule_5_every_look_alike_lives_here_and_is_a_negative(world: World) -> None:
    customers = world.customers
    for name in LOOK_ALIKE_NAMES:
        labels = customers.filter(pc.equal(customers["persona"], name))["label"]
        assert len(labels) > 20, name
        assert pc.max(labels).as_py() == 0, name


def test_harm_rule_4_the_world_holds_no_protected_attribute(world: World) -> None:
    assert world.customers.column_names == ["unit", "institution", "label", "persona", "ring"]
    assert world.entries.column_names == [
        *("unit", "day", "minute", "direction"),
        *("channel", "amount", "counterparty", "city"),
    ]


def test_pay_is_regular_and_monthly_as_declared(world: World) -> None:
    pay = lines(world, "payroll")
    salaried = units_of(world, "salaried")
    mine = pay.filter(pc.is_in(pay["unit"], salaried))
    counts = np.unique(column(mine, "unit").astype(str), return_counts=True)[1]
    assert set(counts) == {4}  # 2 a month, 60 days
    assert abs(np.median(column(mine, "amount")) / 130_000 - 1) < 0.03


def test_night_work_shows_at_night(world: World) -> None:
    def night_share(persona: str) -> float:
        rides = lines(world, "transport", "out")
        minute = column(rides.filter(pc.is_in(rides["unit"], units_of(world, persona))), "minute")
        return float(np.mean((minute >= 1320) | (minute < 360)))

    assert abs(night_share("night_shift_worker") - 0.5) < 0.05
    assert night_share("salaried") < 0.25


def test_wages_come_back_to_who_takes_them(world: World) -> None:
    """The red flag that a wage taker has and a small trader hardly has."""
    got, paid = lines(world, "p2p"), lines(world, "wages", "out")

    def returned(persona: str) -> float:
        units = units_of(world, persona)
        mine = paid.filter(pc.is_in(paid["unit"], units))
        back = got.filter(pc.is_in(got["counterparty"], mine["counterparty"]))
        return float(back.num_rows / mine.num_rows)

    assert returned("ring_wage_taker") > 2 * returned("small_trader") > 0


def test_a_ring_pays_one_payee_that_its_members_share(world: World) -> None:
    out = lines(world, "p2p", "out").join(world.customers.select(["unit", "ring"]), "unit")
    of_rings = out.filter(pc.is_valid(out["ring"]))
    pairs = of_rings.group_by(["counterparty", "ring"]).aggregate([("unit", "count_distinct")])
    shared = pairs.filter(pc.greater(pairs["unit_count_distinct"], 1))
    assert shared.num_rows > 10
    assert len(pc.unique(shared["counterparty"])) == shared.num_rows  # one ring each


@pytest.mark.parametrize(
    "wrong",
    [
        {"banks": ()},
        {"banks": ("A", "A")},
        {"customers": 499},
        {"prevalence": 0.3},
        {"prevalence": -0.1},
        {"days": 5},
        {"days": 400},
    ],
)
def test_a_world_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        make_world(seed=0, **wrong)  # type: ignore[arg-type]


def test_a_short_window_works() -> None:
    world = make_world(seed=0, customers=600, days=7)
    assert column(world.entries, "day").max() == 6
