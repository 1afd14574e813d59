"""Version 1 of the world is frozen: benchmarks of years measure in the same one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.records.frozen_worlds import check_frozen, frozen_plan, world_digest

from fieldfare.simulations.world.writing import write_world

SMALL = 1_500


def test_the_tables_of_version_1_hold_what_they_held(tmp_path: Path) -> None:
    plan = frozen_plan(SMALL, 100)
    write_world(plan, tmp_path / "world")
    check_frozen(tmp_path / "world", plan)
    path = tmp_path / "world" / "bank-a" / "labels.parquet"
    table = pq.read_table(path)
    one_less = table.slice(0, table.num_rows - 1)
    pq.write_table(one_less, path)
    with pytest.raises(ValueError, match="1500 people, seed 100: expected"):
        check_frozen(tmp_path / "world", plan)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["a", None], ["a", ""]),
        ([1, None], [1, 0]),
        ([0.5], [0.25]),
        ([True, False], [False, True]),
    ],
)
def test_a_hash_is_of_every_value(tmp_path: Path, one: list[object], other: list[object]) -> None:
    found = []
    for name, values in (("one", one), ("again", one), ("other", other)):
        (tmp_path / name).mkdir()
        groups = {} if name == "one" else {"row_group_size": 1, "compression": "zstd"}
        pq.write_table(pa.table({"value": values}), tmp_path / name / "t.parquet", **groups)
        found.append(world_digest(tmp_path / name))
    assert found[0] == found[1] != found[2]
