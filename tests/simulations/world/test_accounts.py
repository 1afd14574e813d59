"""Account features: own records only, exact, and no single one tells who is who."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.shared.features import Dependence, NumericFeature, is_protected
from fieldfare.shared.study import load_study
from fieldfare.simulations.world import FEATURES, World, accounts, make_world

ROOT = Path(__file__).parents[3]
STUDY = ROOT / "simulations" / "world" / "demo.toml"
DAYS = 60


def matrix(table: pa.Table) -> np.ndarray:
    return np.column_stack([np.asarray(table[f].to_numpy(), dtype=np.float64) for f in FEATURES])


def as_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink)
    return sink.getvalue()


def test_columns_are_the_declared_ones(table: pa.Table) -> None:
    assert table.column_names == ["unit", "institution", "label", "persona", *FEATURES]
    assert all(table.schema.field(name).type == pa.float64() for name in FEATURES)
    assert table.num_rows == 6_000
    assert not np.isinf(matrix(table)).any()


def test_harm_rule_4_no_feature_is_a_protected_attribute() -> None:
    assert not [name for name in FEATURES if is_protected(name)]


def test_same_world_same_bytes(world: World, table: pa.Table) -> None:
    assert as_bytes(accounts(world)) == as_bytes(table)


@pytest.mark.parametrize("victim", ["u0000000", "u0002500", "u0005999"])
def test_deleting_a_unit_leaves_every_other_row_bit_identical(
    world: World, table: pa.Table, victim: str
) -> None:
    without = dataclasses.replace(
        world,
        customers=world.customers.filter(pc.not_equal(world.customers["unit"], victim)),
        entries=world.entries.filter(pc.not_equal(world.entries["unit"], victim)),
    )
    rest = table.filter(pc.not_equal(table["unit"], victim))
    assert as_bytes(accounts(without)) == as_bytes(rest)


def test_deleting_a_ring_member_leaves_its_ring_bit_identical(
    world: World, table: pa.Table
) -> None:
    """Members share a payee; no feature may notice."""
    member = world.customers.filter(pc.equal(world.customers["label"], 1))["unit"][0].as_py()
    without = dataclasses.replace(
        world, entries=world.entries.filter(pc.not_equal(world.entries["unit"], member))
    )
    others = pc.not_equal(table["unit"], member)
    assert as_bytes(accounts(without).filter(others)) == as_bytes(table.filter(others))


def test_the_order_of_entries_does_not_matter(world: World, table: pa.Table) -> None:
    order = np.random.default_rng(0).permutation(world.entries.num_rows)
    shuffled = dataclasses.replace(world, entries=world.entries.take(pa.array(order)))
    assert as_bytes(accounts(shuffled)) == as_bytes(table)


def test_a_customer_without_entries_has_zeros_and_missing_values(world: World) -> None:
    row = accounts(dataclasses.replace(world, entries=world.entries.slice(0, 0))).slice(0, 1)
    values = {name: row[name][0].as_py() for name in FEATURES}
    assert values["p2p_in_count"] == 0
    assert values["cash_in_amount"] == 0
    assert values["retention"] is None
    assert values["p2p_night_share"] is None


Line = tuple[int, int, str, str, int, int | None, int | None]

STATEMENT: list[Line] = [
    # day, minute, direction, channel, amount, counterparty, city
    (40, 1400, "in", "p2p", 6_000, 1, None),
    (41, 60, "in", "p2p", 5_050, 2, None),
    (41, 700, "in", "p2p", 4_000, 1, None),
    (41, 720, "out", "p2p", 9_000, 9, None),
    (5, 600, "in", "payroll", 100_000, 3, None),
    (5, 610, "out", "bills", 30_000, 4, None),
    (6, 610, "out", "groceries", 10_000, 5, 1),
    (10, 600, "in", "cash", 20_000, None, 2),
    (50, 600, "out", "cash", 5_000, None, 1),
    (12, 600, "out", "wages", 8_000, 7, None),
    (15, 600, "in", "p2p", 3_000, 7, None),
    (20, 600, "out", "ads", 1_500, 8, None),
    (20, 601, "out", "ads", 9_900, 8, None),
    (21, 601, "out", "lodging", 9_900, 11, 3),
    (22, 601, "out", "lodging", 9_900, 11, 3),
]


@pytest.fixture(scope="session")
def by_hand() -> dict[str, float]:
    customers = pa.table({"unit": ["x"], "institution": ["A"], "label": [0], "persona": ["p"]})
    names = ("day", "minute", "direction", "channel", "amount", "counterparty", "city")
    columns = dict(zip(names, zip(*STATEMENT, strict=True), strict=True))
    entries = pa.table(
        {
            "unit": ["x"] * len(STATEMENT),
            **{name: pa.array(values) for name, values in columns.items()},
        }
    )
    row = accounts(World(customers, entries, DAYS))
    return {name: row[name][0].as_py() for name in FEATURES}


CAME_IN = 6_000 + 5_050 + 4_000 + 100_000 + 20_000 + 3_000
WENT_OUT = 9_000 + 30_000 + 10_000 + 5_000 + 8_000 + 1_500 + 3 * 9_900
MOVED_ON = (6_000 + 9_000) / (15_050 + 20_000 + 3_000)  # capped by the day's inflow


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("p2p_in_count", 2.0),
        ("senders_30d", 2.0),  # senders 1 and 2; sender 7 paid before day 30
        ("senders_once_share", 2 / 3),
        ("p2p_night_share", 0.5),
        ("p2p_even_share", 0.5),
        ("p2p_in_mean", 45.125),
        ("night_share", 0.0),
        ("retention", 1 - WENT_OUT / CAME_IN),
        ("moved_on_share", MOVED_ON),
        ("senders_moved_on_count", 2 * MOVED_ON / 2),
        ("top_payee_share", 9_000 / WENT_OUT),
        ("wages_amount", 40.0),
        ("wages_back_amount", 15.0),
        ("cash_in_amount", 100.0),
        ("cash_out_amount", 25.0),
        ("cash_in_apart_amount", 100.0),
        ("cities", 3.0),
        ("lodging_count", 1.0),
        ("ads_small_count", 0.5),
        ("lodging_with_ads_count", 0.5),
        ("transport_count", 0.0),
        ("prepaid_amount", 0.0),
        ("phone_lines", 0.0),
        ("care_count", 0.0),
        ("regular_income_count", 0.5),
        ("platform_share", 0.0),
        ("living_share", 40_000 / WENT_OUT),
        ("remittance_amount", 0.0),
    ],
)
def test_a_statement_worked_out_by_hand(
    by_hand: dict[str, float], feature: str, expected: float
) -> None:
    assert by_hand[feature] == pytest.approx(expected, abs=1e-12)


def test_no_single_feature_separates(table: pa.Table) -> None:
    """Harm rule 2: no single indicator suffices."""
    labels = table["label"].to_numpy()
    for name, values in zip(FEATURES, matrix(table).T, strict=True):
        filled = np.where(np.isnan(values), -1e12, values)
        score = roc_auc_score(labels, filled)
        assert max(score, 1 - score) < 0.80, name


@pytest.fixture(scope="session")
def scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, personas and out-of-sample scores of a boosted model on another seed's world."""
    train, test = (accounts(make_world(seed=seed, customers=12_000)) for seed in (11, 12))
    model = HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.15, max_leaf_nodes=12, min_samples_leaf=30, random_state=0
    )
    with threadpool_limits(1):  # spinning threads starve each other where cores are shared
        model.fit(matrix(train), train["label"].to_numpy())
        score = model.predict_proba(matrix(test))[:, 1]
    return test["label"].to_numpy(), np.array(test["persona"].to_pylist()), score


def test_the_world_can_be_learned_but_not_solved(
    scores: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, _, score = scores
    assert 0.5 < average_precision_score(labels, score) < 0.85


def test_look_alikes_are_harder_than_the_ordinary(
    scores: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """They overlap: otherwise their false-positive rates would prove nothing."""
    _, personas, score = scores
    ordinary = np.quantile(score[personas == "salaried"], 0.9)
    for name in ("independent_adult_worker", "small_trader"):
        assert np.quantile(score[personas == name], 0.9) > ordinary, name


def test_the_demo_study_asks_for_columns_that_accounts_have() -> None:
    study = load_study(STUDY)
    assert {f.name for f in study.features} <= set(FEATURES)
    assert all(f.tag is Dependence.OWN for f in study.features)
    assert "persona" not in {f.name for f in study.features}
    assert study.privacy.epsilon == 1


def test_the_demo_study_is_listed_with_the_others() -> None:
    assert (ROOT / "studies" / "demo.toml").read_text() == STUDY.read_text()


@pytest.fixture(scope="session")
def numeric() -> list[NumericFeature]:
    return [f for f in load_study(STUDY).features if isinstance(f, NumericFeature)]


@pytest.mark.parametrize(
    "within",
    [
        lambda f: len(f.knots) <= 8,
        lambda f: len(f.special) <= 1,
        lambda f: f.lower >= -1,
    ],
)
def test_the_demo_study_keeps_to_the_knot_rule(
    numeric: list[NumericFeature], within: Callable[[NumericFeature], bool]
) -> None:
    assert all(within(feature) for feature in numeric)


def test_the_demo_bounds_hold_the_world(table: pa.Table, numeric: list[NumericFeature]) -> None:
    for feature in numeric:
        values = np.asarray(table[feature.name].to_numpy(), dtype=np.float64)
        inside = (values >= feature.lower) & (values <= feature.upper)
        assert inside[~np.isnan(values)].mean() > 0.999, feature.name
