"""The made-up extract is the same every time, and has a bit of everything."""

from fieldfare.client.typologies.checking import (
    CUSTOMERS,
    probe_extract,
    probe_records,
    reordered,
    without_customer,
)


def test_the_same_seed_gives_the_same_records() -> None:
    assert probe_records(1) == probe_records(1)
    assert probe_records(1) != probe_records(2)


def test_a_customer_goes_with_everything() -> None:
    records = probe_records(1)
    rest = without_customer(records, "c07")
    assert rest["customers"].num_rows == CUSTOMERS - 1
    assert "c07" not in rest["accounts"].column("customer_id").to_pylist()
    gone = records["transactions"].num_rows - rest["transactions"].num_rows
    mine = [one for one in records["transactions"].column("account_id").to_pylist()
            if one in {"a14", "a15"}]  # fmt: skip
    assert gone == len(mine) > 0


def test_another_order_is_the_same_rows() -> None:
    records = probe_records(1)
    mixed = reordered(records, 2)["transactions"]
    assert mixed != records["transactions"]
    assert mixed.sort_by("txn_id") == records["transactions"].sort_by("txn_id")


def test_it_prepares() -> None:
    assert probe_extract(probe_records(1)).units == CUSTOMERS
