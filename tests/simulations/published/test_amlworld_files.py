"""AMLworld's payments become statements of many banks, or of one."""

from datetime import datetime
from pathlib import Path

import pytest
from tests.support.records.imports import KEYED, SAMPLES, imported, opens_as_canonical, rows_of

from fieldfare.shared.errors import RecordsError

FILE = SAMPLES / "amlworld.csv"


def test_both_sides_in_their_own_currency(tmp_path: Path) -> None:
    lines = imported("amlworld", [FILE], tmp_path)
    assert lines[0].startswith("read 5 payments")
    rows = {(row["txn_id"], row["direction"]): row for row in rows_of(tmp_path, "transactions")}
    assert len(rows) == 10
    paid, received = rows["2", "out"], rows["2", "in"]
    assert paid == {
        "txn_id": "2", "org_id": "01120", "account_id": "01120:8006AA910",
        "ts_utc": datetime(2022, 9, 2, 10, 5), "direction": "out", "amount_minor": 100,  # noqa: DTZ001
        "currency": "USD", "channel": "WIRE", "counterparty_org": "010",
        "counterparty_key": KEYED.of("account", "010:8000F4580"),
    }  # fmt: skip
    assert (received["amount_minor"], received["currency"]) == (146, "JPY")
    assert received["org_id"] == "010"
    coins = rows["3", "out"]
    assert (coins["amount_minor"], coins["currency"], coins["channel"]) == (8100, "XBT", "VASP_OUT")
    assert rows["3", "in"]["channel"] == "VASP_IN"
    assert (rows["4", "out"]["channel"], rows["4", "in"]["channel"]) == ("CASH_WD", "CASH_DEP")
    labels = {row["customer_id"]: row["label"] for row in rows_of(tmp_path, "labels")}
    assert labels == {
        "010:8000EBD30": 0, "01120:8006AA910": 1, "010:8000F4580": 1, "070:800A1B2C3": 0
    }  # fmt: skip
    assert opens_as_canonical(tmp_path) == 4


def test_one_banks_statements_alone(tmp_path: Path) -> None:
    imported("amlworld", [FILE], tmp_path, bank="070")
    assert [row["account_id"] for row in rows_of(tmp_path, "accounts")] == ["070:800A1B2C3"]
    assert {row["org_id"] for row in rows_of(tmp_path, "transactions")} == {"070"}
    assert len(rows_of(tmp_path, "transactions")) == 2


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("146.00", "1,46", 4), ("146.00", "many", 4), ("Yen", "Doubloon", 4), ("Wire", "Barter", 4),
        ("2022/09/02 11:00", "noon", 5), (",800A1B2C3,0.0", ",,0.0", 5), ("Cash,0", "Cash,2x", 6),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_by_line(
    tmp_path: Path, old: str, new: str, line: int
) -> None:
    path, text = tmp_path / "bad.csv", FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RecordsError, match=rf"bad\.csv.* line {line}\b") as caught:
        imported("amlworld", [path], tmp_path / "out")
    assert new not in str(caught.value).replace(str(tmp_path), "")
    assert not (tmp_path / "out").exists()


def test_another_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="line 1: expected a header"):
        imported("amlworld", [SAMPLES / "paysim.csv"], tmp_path / "out")
