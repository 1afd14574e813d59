"""What banks of a world train on: their own files' indicators, labels and personas beside."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.simulations.world.conftest import Written
from tests.support.rows import night

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.sources.covering import bank_codes
from fieldfare.client.scoring.readings import COLUMNS
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import feature_table
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.features import columns_behind
from fieldfare.simulations.demo.five_banks import banks_study
from fieldfare.simulations.metrics import UNKNOWN
from fieldfare.simulations.world.institutions import WorldFederation
from fieldfare.simulations.world.society import keys
from fieldfare.simulations.world.studies import (
    bank_units,
    banks_of,
    day_of_training,
    last_day,
    pack_for,
    pack_of,
    write_units,
)
from fieldfare.simulations.world.tables import customer_ids
from fieldfare.simulations.world.writing import books_of

FEATURES = ("R01", "R04_retention", "R06")
PARTY = 0x70  # of the salt of counterparty keys (`tables.transactions`)
BANKS = ["bank-a", "bank-b", "bank-c", "bank-d", "bank-e"]


def test_only_the_indicators_that_give_the_features_are_computed() -> None:
    assert [one.id for one in pack_for(FEATURES, own_pack()).indicators] == ["R01", "R04", "R06"]
    with pytest.raises(UsageError, match="R99"):
        pack_for(["R99"], own_pack())


@pytest.mark.parametrize("federation", WorldFederation)
def test_records_of_a_banks_study_hold_what_the_order_of_review_reads(
    federation: WorldFederation,
) -> None:
    """Three numbers of harmless readings were in no records of the banks of `make federation`."""
    study = banks_study(federation)
    there = {spec.name for spec in pack_of(study).features}
    assert {*columns_behind(study.features), *COLUMNS} <= there


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


def test_banks_learn_a_year_after_the_window_or_know_every_case(
    written: Written, tmp_path: Path
) -> None:
    assert day_of_training(written.folder) is None
    later = {**written.found, "asked": {**written.found["asked"], "version": 2}}
    (tmp_path / "world.json").write_text(json.dumps(later))
    assert day_of_training(tmp_path) == date(2026, 2, 28)


@pytest.mark.parametrize(
    "day", [*night(date(2025, 2, 28)), date(2025, 9, 1), *night(date(2026, 2, 28))]
)
def test_a_label_is_what_the_newest_row_said_by_that_day(written: Written, day: date) -> None:
    """Cases that the bank does not know are no cases there, and apart from other lives."""
    newest: dict[str, int] = {}
    for row in written.read("bank-a/labels").to_pylist():  # by day
        if row["observed_at"] <= day:
            newest[row["subject_id"]] = row["value"]
    table = bank_units(written.folder, "bank-a", pack_for(["R06"], own_pack()), known_by=day)
    truth = {r["customer_id"]: r for r in written.read("truth/customers").to_pylist()}
    counted = {0: 0, 1: 0, 2: 0}
    for row in table.select(["customer", "label", "persona"]).to_pylist():
        one = truth[row["customer"]]
        assert row["label"] == newest.get(row["customer"], 0)
        unknown = one["label"] == 1 and row["label"] == 0
        assert row["persona"] == (UNKNOWN if unknown else one["persona"])
        counted[2 if unknown else row["label"]] += 1
    assert min(counted.values()) > 0


def test_of_a_later_day_more_is_known_and_mistakes_are_cleared(written: Written) -> None:
    pack = pack_for(["R06"], own_pack())
    days = (last_day(written.folder), date(2026, 2, 28))
    found = [bank_units(written.folder, "bank-a", pack, known_by=day) for day in days]
    unknown = [pc.sum(pc.equal(one["persona"], UNKNOWN)).as_py() for one in found]
    cases = pc.sum(bank_units(written.folder, "bank-a", pack)["label"]).as_py()
    assert unknown[1] < unknown[0] < cases
    mistaken = [
        pc.sum(one["label"]).as_py() - (cases - left)
        for one, left in zip(found, unknown, strict=True)
    ]
    assert mistaken[1] < mistaken[0]


def test_a_bank_that_lacks_a_column_has_the_indicator_missing_not_zero(written: Written) -> None:
    pack = pack_for(["R06"], own_pack())
    lacks = bank_units(written.folder, "bank-a", pack)  # who pays in is not recorded there
    has = bank_units(written.folder, "bank-b", pack)
    assert lacks["R06"].null_count == lacks.num_rows
    assert has["R06"].null_count == 0


def without(written: Written, customer: int, out: Path) -> dict[str, int]:
    """Write the banks as if a customer had never been: both legs of every payment are gone.

    Returns how many entries went from each bank's statements.
    """
    plan, gone = written.society.plan, {}
    holder = int(written.society.customers.holder[customer])
    for place, bank in enumerate(BANKS):
        books = books_of(plan, place)
        named = keys(np.array([customer]), books.salt ^ PARTY)[0].as_py()
        mine = customer_ids(books, np.array([customer]))[0].as_py() if place == holder else ""
        read = {name: written.read(f"{bank}/{name}") for name in TABLES}
        accounts = read["accounts"].filter(pc.field("customer_id") == mine)["account_id"]
        own = pc.is_in(read["transactions"]["account_id"], accounts.combine_chunks())
        other = pc.fill_null(pc.equal(read["transactions"]["counterparty_key"], named), False)
        gone[bank] = pc.sum(pc.and_(other, pc.invert(own))).as_py()
        left = {
            "transactions": read["transactions"].filter(pc.invert(pc.or_(own, other))),
            "accounts": read["accounts"].filter(pc.field("customer_id") != mine),
            "customers": read["customers"].filter(pc.field("customer_id") != mine),
        }
        (out / bank).mkdir(parents=True)
        for name, table in left.items():
            pq.write_table(table, out / bank / f"{name}.parquet")
    return gone


def vectors(folder: Path, day: date, banks: tuple[str, ...]) -> dict[str, list[Any]]:
    with open_extract(folder, day, banks=banks) as extract:
        table = feature_table(extract, own_pack()).table
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return {row[0]: [None if v is None else v.hex() for v in row[1:]] for row in rows}


def changed(written: Written, gone: dict[str, int], folder: Path, banks: tuple[str, ...]) -> int:
    """Count the other units whose vector is not bit for bit what it was with the customer.

    Looks at the two banks that lost most; at banks that lost nothing, nothing can change.
    """
    day, found = last_day(written.folder), 0
    for bank in sorted(gone, key=lambda one: -gone[one])[:2]:
        before = vectors(written.folder / bank, day, banks)
        after = vectors(folder / bank, day, banks)
        found += sum(before[unit] != row for unit, row in after.items())
    return found


@pytest.mark.promises
def test_who_never_was_changes_nobody_where_participants_customers_are_left_out(
    written: Written, tmp_path: Path
) -> None:
    lines, count = written.society.ring_lines, len(written.society.customers)
    ours = lines.take((lines.party >= 0) & (lines.party < count))
    most = int(np.bincount(ours.party, minlength=count).argmax())
    gone = without(written, most, tmp_path)
    assert sum(gone.values()) > 0  # the other leg stands somewhere
    assert changed(written, gone, tmp_path, ()) > 0
    assert changed(written, gone, tmp_path, bank_codes(",".join(BANKS))) == 0
