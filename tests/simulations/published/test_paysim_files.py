"""PaySim's mobile money becomes customers' statements."""

from datetime import datetime
from pathlib import Path

import pytest
from tests.support.records.imports import KEYED, SAMPLES, imported, opens_as_canonical, rows_of

from fieldfare.shared.errors import RecordsError

FILE = SAMPLES / "paysim.csv"


def test_every_type_of_payment(tmp_path: Path) -> None:
    lines = imported("paysim", [FILE], tmp_path)
    assert lines[0].startswith("read 5 transactions")
    rows = {(row["txn_id"], row["direction"]): row for row in rows_of(tmp_path, "transactions")}
    assert len(rows) == 6
    bought = rows["0", "out"]
    assert bought["channel"] == "POS"
    assert bought["amount_minor"] == 983964
    assert bought["merchant_key"] == KEYED.of("account", "M9")
    assert bought["counterparty_type"] == "business"
    sent, received = rows["1", "out"], rows["1", "in"]
    assert (sent["account_id"], received["account_id"]) == ("C2", "C3")
    assert received["counterparty_key"] == KEYED.of("account", "C2")
    assert received["counterparty_type"] == "person"
    assert rows["2", "out"]["channel"] == "CASH_WD"
    assert rows["2", "out"]["counterparty_key"] is None  # an agent of the provider
    paid_in = rows["3", "in"]
    assert (paid_in["account_id"], paid_in["channel"]) == ("C1", "CASH_DEP")
    assert paid_in["amount_minor"] == 10_000
    assert rows["4", "out"]["ts_utc"] == datetime(2017, 1, 2)  # noqa: DTZ001
    labels = {row["customer_id"]: row["label"] for row in rows_of(tmp_path, "labels")}
    assert labels == {"C1": 0, "C2": 1, "C3": 1}
    assert opens_as_canonical(tmp_path) == 3


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("5337.77", "much", 6), ("CASH_IN", "GIFT", 5), ("2,CASH", "-2,CASH", 4), (",C3,0", ",,0", 3),
     ("2,CASH", "2147483647,CASH", 4)],
)  # fmt: skip
def test_what_cannot_be_read_is_named_by_line(
    tmp_path: Path, old: str, new: str, line: int
) -> None:
    path = tmp_path / "paysim.csv"
    text = FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(RecordsError, match=rf"paysim\.csv, line {line}: "):
        imported("paysim", [path], tmp_path / "out")


def test_another_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="line 1: expected a header"):
        imported("paysim", [SAMPLES / "amlsim" / "accounts.csv"], tmp_path / "out")
