"""One payment is an entry on each side's own statement."""

import pyarrow as pa
from tests.support.records.imports import KEYED

from fieldfare.client.records.canonical_bank import Direction
from fieldfare.client.records.importers.sides import SeenAccounts, belonging, entries

PAYMENTS = pa.table({"payer": ["a", "b"], "payee": ["b", "b"], "amount_minor": [5, 7]})


def test_a_side_names_its_account_and_hides_the_other() -> None:
    out = entries(PAYMENTS, Direction.OUT, KEYED).to_pylist()
    assert [(row["account_id"], row["direction"]) for row in out] == [("a", "out"), ("b", "out")]
    assert out[0]["counterparty_key"] == KEYED.of("account", "b")
    back = entries(PAYMENTS, Direction.IN, KEYED)
    assert back.column("account_id").to_pylist() == ["b", "b"]
    assert back.column("counterparty_key").to_pylist() == [
        KEYED.of("account", "a"),
        KEYED.of("account", "b"),
    ]
    assert belonging(back, pa.array(["a"])).num_rows == 0


def test_accounts_that_are_seen_stand_once_with_their_largest_label() -> None:
    with SeenAccounts() as seen:
        rows = entries(PAYMENTS, Direction.OUT, KEYED)
        seen.add(rows, pa.array([0, 1], pa.int8()))
        seen.add(rows, pa.array([0, 0], pa.int8()))
        (table,) = seen.tables()
    assert table.to_pylist() == [
        {"account_id": "a", "customer_id": "a", "label": 0},
        {"account_id": "b", "customer_id": "b", "label": 1},
    ]
