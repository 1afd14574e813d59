"""Canonical records: what each institution's files say, and what they leave out."""

import pyarrow.compute as pc
import pytest
from pydantic import BaseModel
from tests.simulations.world.conftest import Written

from fieldfare.client.records.canonical_bank import Account, Customer, Transaction
from fieldfare.client.records.canonical_tables import arrow_schema
from fieldfare.simulations.world.habits import START
from fieldfare.simulations.world.tables import as_date

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d", "bank-e", "remittance-f")
TABLES: dict[str, type[BaseModel]] = {
    "transactions": Transaction,
    "accounts": Account,
    "customers": Customer,
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("bank", BANKS)
def test_columns_are_canonical_ones_in_their_order(written: Written, bank: str, name: str) -> None:
    schema, found = arrow_schema(TABLES[name]), written.read(f"{bank}/{name}").schema
    assert [n for n in schema.names if n in found.names] == found.names
    for field in found:
        assert field.type == schema.field(field.name).type


def test_a_row_of_each_table_passes_the_canonical_gate(written: Written) -> None:
    for name, model in TABLES.items():
        for row in written.read(f"bank-a/{name}").slice(0, 200).to_pylist():
            model.model_validate({k: v for k, v in row.items() if v is not None})


def test_what_an_institution_lacks_is_left_out(written: Written) -> None:
    assert "memo_category" not in written.read("bank-a/transactions").column_names
    assert "device_key" not in written.read("bank-b/transactions").column_names
    assert "device_key" in written.read("bank-a/transactions").column_names
    channels = set(written.read("bank-c/transactions")["channel"].to_pylist())
    assert "VASP_OUT" not in channels
    mcc = written.read("bank-d/transactions").filter(pc.field("channel") == "POS")
    assert mcc["mcc"].null_count / mcc.num_rows == pytest.approx(0.25, abs=0.15)


def test_keys_of_two_institutions_never_join(written: Written) -> None:
    one, two = (set(written.read(f"{b}/customers")["customer_id"].to_pylist()) for b in BANKS[:2])
    assert not one & two
    shops = [set(written.read(f"{b}/transactions")["merchant_key"].to_pylist()) for b in BANKS[:2]]
    assert shops[0] & shops[1] == {None}


def test_every_account_has_its_customer_and_every_line_its_account(written: Written) -> None:
    for bank in BANKS:
        customers = set(written.read(f"{bank}/customers")["customer_id"].to_pylist())
        accounts = written.read(f"{bank}/accounts")
        assert set(accounts["customer_id"].to_pylist()) == customers
        ids = set(accounts["account_id"].to_pylist())
        assert set(written.read(f"{bank}/transactions")["account_id"].to_pylist()) <= ids


def test_a_transaction_s_id_is_its_own(written: Written) -> None:
    ids = written.read("bank-a/transactions")["txn_id"]
    assert pc.count_distinct(ids).as_py() == len(ids)


def test_the_window_is_whole_months(written: Written) -> None:
    first, after = START, as_date(written.society.plan.months.days)
    days = written.read("bank-a/transactions")["booking_date"]
    assert first == as_date(0)
    assert first <= pc.min(days).as_py()
    assert pc.max(days).as_py() < after
