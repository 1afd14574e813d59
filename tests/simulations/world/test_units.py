"""What banks of a world train on: their own files' indicators, labels and personas beside."""

from datetime import date
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.units import (
    bank_units,
    banks_of,
    last_day,
    pack_for,
    write_units,
)

FEATURES = ("R01", "R04_retention", "R06")
BANKS = ["bank-a", "bank-b", "bank-c", "bank-d", "bank-e"]


def test_only_the_indicators_that_give_the_features_are_computed() -> None:
    assert [one.id for one in pack_for(FEATURES, own_pack()).indicators] == ["R01", "R04", "R06"]
    with pytest.raises(UsageError, match="R99"):
        pack_for(["R99"], own_pack())


def test_banks_and_the_last_day_are_those_of_the_world(written: Written) -> None:
    assert banks_of(written.folder) == BANKS
    assert last_day(written.folder) == date(2025, 2, 28)


def test_every_customer_of_every_bank_has_one_row_with_its_own_truth(
    written: Written, tmp_path: Path
) -> None:
    heard: list[tuple[str, int, int]] = []
    out = tmp_path / "units.parquet"
    pack = pack_for(FEATURES, own_pack())
    write_units(written.folder, pack, out, lambda *said: heard.append(said))
    table = pq.read_table(out)
    assert heard == [(f"indicators of {bank}", i, 5) for i, bank in enumerate(BANKS)]
    names = ("institution", "customer_id", "label", "persona")
    truth = written.read("truth/customers").filter(pc.field("institution") != "remittance-f")
    expected = set(zip(*(truth[name].to_pylist() for name in names), strict=True))
    columns = ("institution", "customer", "label", "persona")
    assert set(zip(*(table[name].to_pylist() for name in columns), strict=True)) == expected
    assert table.num_rows == len(expected)


def test_a_bank_that_lacks_a_column_has_the_indicator_missing_not_zero(written: Written) -> None:
    pack = pack_for(["R06"], own_pack())
    lacks = bank_units(written.folder, "bank-a", pack)  # who pays in is not recorded there
    has = bank_units(written.folder, "bank-b", pack)
    assert lacks["R06"].null_count == lacks.num_rows
    assert has["R06"].null_count == 0
