"""Account features come from each account's own statement, and the same bytes every time."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.support.rows import night

from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.simulations.published.amlsim import account_features, derive_amlsim, read_simulation

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("FIELDFARE_DATA", ROOT / ".." / "shared" / "data")) / "amlsim"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"AMLSim's files are not at {DATA}")

NODES = "nodeid,isFraud,init_balance,fraudStep\n1,0,100.5,-1\n2,1,200,7\n3,0,300,-1\n4,0,1,-1\n"
TRANSACTIONS = """sourceNodeId,targetNodeId,value,time
1,2,100.10,3
1,2,100.10,5
1,3,50.05,30
2,1,90.09,6
3,3,7.77,9
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for bank in ("bank_a", "bank_b"):
        (tmp_path / bank).mkdir()
        (tmp_path / bank / "nodes.csv.gz").write_bytes(gzip.compress(NODES.encode()))
        compressed = gzip.compress(TRANSACTIONS.encode())
        (tmp_path / bank / "transactions.csv.gz").write_bytes(compressed)
    return tmp_path


def test_every_transaction_is_a_debit_here_and_a_credit_there(folder: Path) -> None:
    accounts, statement = read_simulation(folder, "bank_b")
    assert accounts.column("unit").to_pylist() == ["b-1", "b-2", "b-3", "b-4"]
    banks = ["bank_b_1", "bank_b_2", "bank_b_0", "bank_b_1"]
    assert accounts.column("institution").to_pylist() == banks
    assert accounts.column("label").to_pylist() == [0, 1, 0, 0]
    entries = [tuple(row.values()) for row in statement.to_pylist()]
    assert len(entries) == 2 * 5
    assert ("b-1", False, 2, 10010, 3) in entries
    assert ("b-2", True, 1, 10010, 3) in entries


def test_features_by_hand(folder: Path) -> None:
    table = account_features(*read_simulation(folder, "bank_a"))
    rows = {row["unit"]: row for row in table.to_pylist()}
    assert table.column("unit").to_pylist() == ["a-3", "a-1", "a-4", "a-2"]  # by bank
    expected = {
        "label": 0, "init_balance": 100.5, "in_count": 1, "out_count": 3,
        "in_sum": 90.09, "out_sum": 250.25, "in_mean": 90.09, "out_mean": 25025 / 3 / 100,
        "in_max": 90.09, "out_max": 100.1, "in_spread": 0, "out_spread": 50.05,
        "in_parties": 1, "out_parties": 2, "mutual_parties": 1, "in_repeat": 0,
        "out_repeat": 1 - 2 / 3, "in_same_amount": 0, "out_same_amount": 1 - 2 / 3,
        "in_burst": 1, "out_burst": 2, "in_gap": None, "out_gap": 2, "active_steps": 27,
        "in_share": 9009 / (9009 + 25025), "quick_share": 0, "closest_match": None,
    }  # fmt: skip
    assert {name: rows["a-1"][name] for name in expected} == pytest.approx(expected)
    assert rows["a-2"]["quick_share"] == 1  # both credits are followed by the debit at step 6
    assert rows["a-2"]["closest_match"] == pytest.approx((10010 - 9009) / 10010)
    quiet = rows["a-4"]
    assert (quiet["in_count"], quiet["out_sum"], quiet["in_share"]) == (0, 0, None)


def without(table: Any, unit: str) -> Any:
    return table.filter(pc.field("unit") != unit)


def bits(table: Any) -> dict[str, list[Any]]:
    """Every column's values, numbers by their bit patterns."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type):
            columns[name] = column.to_pylist()
            continue
        values = np.where(column.is_null().to_numpy(), -1, column.fill_null(0).to_numpy())
        columns[name] = values.astype(np.float64).view(np.int64).tolist()
    return columns


@needs_data
@pytest.mark.parametrize("place", [1234, *night(0, 9999)])
def test_deleting_an_account_leaves_all_other_rows_bit_identical(place: int) -> None:
    accounts, statement = read_simulation(DATA, "bank_a")
    keep = pc.less(pc.cast(pc.utf8_slice_codeunits(accounts.column("unit"), 2), pa.int32()), 4000)
    accounts = accounts.filter(keep)
    whole = account_features(accounts, statement)
    unit = accounts.column("unit").to_pylist()[place % accounts.num_rows]
    part = account_features(without(accounts, unit), without(statement, unit))
    assert part.num_rows == whole.num_rows - 1
    assert bits(part) == bits(without(whole, unit))


@pytest.mark.promises
@needs_data
def test_row_order_says_nothing() -> None:
    accounts, statement = read_simulation(DATA, "bank_b")
    order = np.random.default_rng(1).permutation(statement.num_rows)
    shuffled = account_features(accounts.take(order[order < 20_000]), statement.take(order))
    assert bits(shuffled) == bits(account_features(accounts, statement))


@needs_data
@pytest.mark.promises
def test_the_published_simulations(tmp_path: Path) -> None:
    out = tmp_path / "accounts.parquet"
    derive_amlsim(DATA, out)
    table = pq.read_table(out)
    assert (table.num_rows, table.num_columns) == (40_000, 30)
    assert pc.sum(table.column("label")).as_py() == 945 + 954
    units, banks = (table.column(name).to_pylist() for name in ("unit", "institution"))
    assert len(set(units)) == 40_000
    assert sorted(set(banks)) == [f"bank_{bank}_{i}" for bank in "ab" for i in range(3)]
    assert all(unit[0] == bank[5] for unit, bank in zip(units, banks, strict=True))
    pairs = list(zip(banks, units, strict=True))
    assert pairs == sorted(pairs)
    first = out.read_bytes()
    derive_amlsim(DATA, out)
    assert out.read_bytes() == first


def test_other_files_are_refused(folder: Path) -> None:
    out = folder / "accounts.parquet"
    with pytest.raises(UsageError, match=r"ends in \.parquet"):
        derive_amlsim(folder, folder / "accounts.csv")
    with pytest.raises(UsageError, match="can be written"):
        derive_amlsim(folder, folder / "none" / "accounts.parquet")
    (folder / "bank_b" / "nodes.csv.gz").write_bytes(gzip.compress(b"nodeid,other\n1,2\n"))
    with pytest.raises(RecordsError, match="isFraud, init_balance, found none"):
        derive_amlsim(folder, out)
    (folder / "bank_b" / "nodes.csv.gz").unlink()
    with pytest.raises(RecordsError, match="found none"):
        derive_amlsim(folder, out)
    assert not out.exists()
