"""Missing is not zero; one customer's row is its own; the same records give the same bytes."""

import json
from typing import Any

import pyarrow as pa
import pytest
from tests.client.typologies.ledgers import (
    BENIGN,
    FIRES,
    HOUSE,
    Ledger,
    card,
    extract_of,
    p2p_in,
    paid_by,
    people,
)

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.typologies.extract import Extract
from fieldfare.client.typologies.features import (
    METADATA_KEY,
    feature_table,
    hit_table,
    linked_table,
)
from fieldfare.client.typologies.pack import own_pack

PACK = own_pack()
LEDGERS = {f"{name} fires": one for name, (one, _) in FIRES.items()} | {
    f"{name} benign": one for name, (one, _) in BENIGN.items()
}
EVERY = {f"{name}.{column}" for name, model in TABLES.items() for column in model.model_fields}


@pytest.fixture(scope="module")
def whole() -> Any:
    return feature_table(extract_of(LEDGERS), PACK).table


def bits(table: Any) -> list[Any]:
    return [
        column.to_pylist()
        if pa.types.is_string(column.type)
        else (column.is_null().to_pylist(), column.fill_null(0.0).to_numpy().tobytes())
        for column in table.columns
    ]


def test_the_table(whole: Any) -> None:
    assert whole.column_names[:3] == ["unit", "R01", "R01_once_share"]
    assert whole.num_columns == 1 + len(PACK.features)
    assert whole.column("unit").to_pylist() == sorted(LEDGERS)
    assert whole.schema.field("R01").metadata == {b"tag": b"own", b"version": b"1"}
    said = json.loads(whole.schema.metadata[METADATA_KEY])
    assert said == {"format": 1, "as_of": "2026-03-31", "pack": PACK.sha256, "missing": {}}


@pytest.mark.parametrize("gone", ["R01 fires", "R20 benign", "R34 fires"])
def test_deleting_one_customer_leaves_all_others_bit_identical(gone: str, whole: Any) -> None:
    rest = {name: one for name, one in LEDGERS.items() if name != gone}
    place = sorted(LEDGERS).index(gone)
    expected = pa.concat_tables([whole.slice(0, place), whole.slice(place + 1)])
    assert bits(feature_table(extract_of(rest), PACK).table) == bits(expected)


def test_a_linked_form_changes_with_other_customers() -> None:
    """So the trial above can fail; and why linked forms must not leave."""
    rows = card([3, 4], "5411", device_key="shared")
    pair = {"a": Ledger(rows), "b": Ledger(rows)}
    both = linked_table(extract_of(pair), PACK).table
    alone = linked_table(extract_of({"a": pair["a"]}), PACK).table
    assert both.column("R20_linked").to_pylist() == [1, 1]
    assert alone.column("R20_linked").to_pylist() == [0]
    assert both.schema.field("R20_linked").metadata[b"tag"] == b"linked"
    assert "R20_linked" not in feature_table(extract_of(pair), PACK).table.column_names


def test_linked_forms_by_hand() -> None:
    def drained(name: str) -> Ledger:
        paid = {"direction": "out", "channel": "P2P", "counterparty_key": "boss",
                "counterparty_type": "person", "amount_minor": 5_000}  # fmt: skip
        wage = {"direction": "in", "channel": "PAYROLL", "counterparty_key": "farm",
                "amount_minor": 90_000}  # fmt: skip
        cash = {"direction": "out", "channel": "ATM_WD", "terminal_city": "A", "amount_minor": 1}
        return Ledger(
            [{"age": age, "hour": 12, **paid} for age in (1, 2, 3)]
            + [{"age": 9, "hour": 8, **wage}, {"age": 8, "hour": 9, **cash}]
        )

    ledgers = {name: drained(name) for name in "abc"} | {"d": Ledger(HOUSE)}
    table = linked_table(extract_of(ledgers), PACK).table
    assert table.column("R21_linked").to_pylist() == [2, 2, 2, 0]
    assert table.column("R26_linked").to_pylist() == [3, 3, 3, 0]


def test_what_an_institution_lacks_is_missing_and_not_zero(whole: Any) -> None:
    lacking = {"transactions.mcc", "transactions.device_key", "accounts.home_city"}
    computed = feature_table(extract_of(LEDGERS, EVERY - lacking), PACK)
    needing = {
        one.id: tuple(name for name in one.typology.required if name in lacking)
        for one in PACK.indicators
    }
    assert dict(computed.missing) == {name: lack for name, lack in needing.items() if lack}
    assert {"R07", "R08", "R13", "R20"} <= set(computed.missing)
    assert computed.table.column("R20").null_count == computed.table.num_rows
    assert computed.table.column("R09_tickets").null_count == computed.table.num_rows
    assert bits(computed.table.select(["R01", "R22"])) == bits(whole.select(["R01", "R22"]))
    said = json.loads(computed.table.schema.metadata[METADATA_KEY])
    assert said["missing"]["R20"] == ["transactions.device_key"]
    assert hit_table(computed.table, PACK).num_rows == computed.table.num_rows


def test_a_column_of_nothing_is_doubtful() -> None:
    extract = extract_of({"c": Ledger(p2p_in([3], ["a"]))})
    empty = Extract(extract.connection, extract.columns, frozenset({"transactions.device_key"}),
                    extract.units, extract.as_of)  # fmt: skip
    assert dict(feature_table(empty, PACK).doubtful) == {"R20": ("transactions.device_key",)}


def test_zero_where_nothing_happened_and_missing_where_there_is_no_share() -> None:
    row = feature_table(extract_of({"c": Ledger([])}), PACK).table.to_pylist()[0]
    assert (row["R01"], row["R07"], row["R22"]) == (0, 0, 0)
    assert (row["R02"], row["R04"], row["R17"], row["R01_once_share"]) == (None,) * 4


def test_hits_count_families_and_not_indicators() -> None:
    """Harm rule 2: R01 and R05 are one family of evidence, R13 is another."""
    rows = [*FIRES["R01"][0].rows, *FIRES["R05"][0].rows, *FIRES["R13"][0].rows, *HOUSE]
    table = feature_table(extract_of({"c": Ledger(rows)}), PACK).table
    hit = hit_table(table, PACK).to_pylist()[0]
    assert {"R01", "R05", "R13"} <= set(hit["hits"])
    families = {one.id: one.typology.family for one in PACK.indicators}
    assert hit["families"] == len({families[name] for name in hit["hits"]}) < len(hit["hits"])


def test_the_money_of_many_senders_goes_on_to_one_person_or_stays() -> None:
    came = p2p_in(range(10), people(10), 10_000)
    table = feature_table(
        extract_of(
            {
                "goes on": Ledger([*came, *paid_by("P2P", range(8), ["boss"], 11_250)]),
                "in part": Ledger([*came, *paid_by("P2P", range(4), ["boss"], 10_000)]),
                "more than came": Ledger([*came, *paid_by("P2P", range(4), ["boss"], 90_000)]),
                "rent": Ledger([*came, *paid_by("P2P", [3, 33], ["landlord"], 40_000)]),
                "stays": Ledger(came),
                "nobody sends": Ledger(paid_by("P2P", range(9), ["boss"], 9_000)),
            }
        ),
        PACK,
    ).table
    rows = {row["unit"]: (row["R21_drain"], row["R21_kept"]) for row in table.to_pylist()}
    assert rows == {
        "goes on": pytest.approx((9, 1)),
        "in part": pytest.approx((4, 6)),
        "more than came": (10, 0),
        "rent": (0, 10),
        "stays": (0, 10),
        "nobody sends": (0, 0),
    }
