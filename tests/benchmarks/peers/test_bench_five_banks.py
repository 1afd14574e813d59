"""Five banks for others: scores that a stranger brings give the figures, whatever their order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from tests.benchmarks.five_banks import (
    BankWorld,
    began,
    figures,
    measure,
    named,
    rare,
    read,
    together,
    words,
    write,
)

from fieldfare.client.own_model.own_customers import OwnCustomers
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits

UNITS, CASES = 200, 10
BANKS = ("bank-a", "bank-b")


def bank(name: str, place: int) -> OwnCustomers:
    """200 units to learn from, 200 held out; every role but one has cases enough to learn from."""
    labels = np.arange(UNITS) < CASES
    units = EncodedUnits(np.zeros((0, UNITS), dtype=np.uint16), labels.astype(np.uint8))
    roles = np.where(labels, np.where(np.arange(UNITS) < 3, "mule", "centre"), "").astype(object)
    scenarios = np.where(labels, np.where(np.arange(UNITS) < 4, "S1", "S2"), "").astype(object)
    days = np.where(labels, (np.arange(UNITS) * 10).astype(str), "").astype(object)
    kinds = {"rare": roles, "left out": scenarios, "begun": days}
    return OwnCustomers(
        name, 100, place, units, units, {key: (one, one) for key, one in kinds.items()}
    )


@pytest.fixture
def world() -> BankWorld:
    whole = [bank(name, place) for place, name in enumerate(BANKS)]
    lacking = {"bank-a": "S1", "bank-b": "S2"}
    without = [own.unseen(lacking[own.name]) for own in whole]
    ids = {name: [f"{name}-{unit}" for unit in range(UNITS)] for name in BANKS}
    return BankWorld(100, whole, without, lacking, ids)


def scores_of(seed: int) -> dict[str, NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=UNITS) + (np.arange(UNITS) < CASES) for name in BANKS}


def table_of(**columns: dict[str, NDArray[np.float64]]) -> pa.Table:
    """What a stranger writes down: rows of both banks, in an order of its own."""
    order = np.random.default_rng(5).permutation(2 * UNITS)
    names, numbers = np.repeat(BANKS, UNITS), np.tile(np.arange(UNITS), 2)
    return pa.table(
        {
            "world": np.full(2 * UNITS, 100)[order],
            "institution": names[order],
            "customer": [f"{names[at]}-{numbers[at]}" for at in order],
            **{
                key: np.concatenate([found[name] for name in BANKS])[order]
                for key, found in columns.items()
            },
        }
    )


def test_whoever_ranks_all_cases_first_finds_what_the_budget_holds(world: BankWorld) -> None:
    perfect = {name: (np.arange(UNITS) < CASES).astype(np.float64) for name in BANKS}
    found = figures(world, perfect, perfect)
    assert found["precision"] == {"pooled": 1.0, "own customers": 1.0}
    own = found["found"]["own customers"]
    assert own == {"cases": 20, "at": {"0.2%": 2, "0.5%": 2, "1.0%": 4, "2.0%": 8}}
    assert found["found"]["left-out scenario"]["cases"] == 4 + 6
    assert found["found"]["rare here"]["cases"] == 6
    assert [found["found"][f"began in month {m}"]["cases"] for m in (1, 2, 3)] == [6, 6, 8]


def test_rare_roles_and_months_are_of_held_out_cases_alone(world: BankWorld) -> None:
    own = world.whole[0]
    assert np.flatnonzero(rare(own)).tolist() == [0, 1, 2]
    assert np.flatnonzero(began(own, 1)).tolist() == [3, 4, 5]
    assert int(world.without[0].training.labels.sum()) == CASES - 4


@pytest.mark.parametrize("kind", ["scores.parquet", "scores.csv"])
def test_a_strangers_file_gives_the_figures_of_its_scores(
    world: BankWorld, tmp_path: Path, kind: str
) -> None:
    whole, without = scores_of(1), scores_of(2)
    table = table_of(score=whole, score_without=without)
    path = tmp_path / kind
    (pc.write_csv if kind.endswith("csv") else pq.write_table)(table, path)
    expected = figures(world, whole, without)
    assert figures(world, *read(path, world)) == expected
    assert expected != figures(world, without, whole)
    pq.write_table(table.drop(["score_without"]), tmp_path / "fewer.parquet")
    fewer = figures(world, *read(tmp_path / "fewer.parquet", world))
    assert "left-out scenario" not in fewer["found"]
    assert fewer["precision"] == expected["precision"]


def test_a_customer_without_a_score_is_named_by_number_not_by_id(
    world: BankWorld, tmp_path: Path
) -> None:
    path = tmp_path / "scores.parquet"
    pq.write_table(table_of(score=scores_of(1)).slice(3), path)
    with pytest.raises(UsageError, match="every held-out customer of world 100, found 3 without"):
        read(path, world)


def test_worlds_together_count_cases_and_average_precision(world: BankWorld) -> None:
    one, other = (figures(world, scores_of(seed), scores_of(seed)) for seed in (1, 2))
    both = together([one, other])
    assert both["found"]["pooled"]["cases"] == 40
    assert both["precision"]["pooled"] == np.mean([x["precision"]["pooled"] for x in (one, other)])
    lines = list(words({"mine": both}))
    assert lines[0].startswith("| model | AP pooled | AP own | pooled (40)")
    assert lines[2].startswith("| mine | ")


def test_a_model_is_named_by_module_and_function() -> None:
    assert named("tests.benchmarks.five_banks:measure").__name__ == measure.__name__
    with pytest.raises(UsageError, match="expected module:function"):
        named("no_such_module_here:fit")


def test_a_written_world_says_which_part_a_customer_is_of(world: BankWorld, tmp_path: Path) -> None:
    rows = [(name, unit) for name in BANKS for unit in range(2 * UNITS)]
    units = pa.table(
        {
            "institution": [name for name, _ in rows],
            "customer": [f"{name}-{unit}" for name, unit in rows],
            "scenario": ["S1" if unit % 2 else None for _, unit in rows],
        }
    )
    pq.write_table(units, tmp_path / "units.parquet")
    write(tmp_path / "units.parquet", world, tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / "world-100.parquet")
    assert found["part"].to_pylist().count("held out") == 2 * UNITS
    assert sum(found["lacked"].to_pylist()) == UNITS  # S1, at bank-a alone
