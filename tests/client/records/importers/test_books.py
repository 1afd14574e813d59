"""Accounts stand once, transactions are written in batches, what is not known is null."""

from datetime import datetime
from pathlib import Path

import pytest
from lxml import etree
from tests.support.records.imports import rows_of

from fieldfare.client.records.importers import iso20022 as books
from fieldfare.client.records.importers.base import open_folder
from fieldfare.client.records.importers.camt053 import COLUMNS
from fieldfare.client.records.importers.iso20022 import StatementBooks, XmlElement
from fieldfare.shared.errors import RecordsError

NODE = XmlElement(Path("one.xml"), etree.fromstring("<Ntry/>"))
ENTRY = {
    "txn_id": "1", "account_id": "a", "ts_utc": datetime(2025, 1, 1), "direction": "in",  # noqa: DTZ001
    "amount_minor": 1, "currency": "EUR", "channel": "ACH", "mcc": None,
}  # fmt: skip


def test_what_is_not_known_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "BATCH", 2)
    with open_folder(tmp_path, COLUMNS) as folder:
        one = StatementBooks(folder)
        for _ in range(2):
            one.open(NODE, {"account_id": "a", "customer_id": "c"}, {"customer_id": "c"})
        for _ in range(3):
            one.enter(NODE, ENTRY)
        one.finish()
    assert rows_of(tmp_path, "customers") == [{"customer_id": "c", "kind": None}]
    assert len(rows_of(tmp_path, "accounts")) == 1
    rows = rows_of(tmp_path, "transactions")
    assert len(rows) == 3
    assert rows[0]["tz_offset_min"] is None
    assert rows[0]["counterparty_type"] is None


def test_what_breaks_a_rule_is_refused_by_line(tmp_path: Path) -> None:
    with open_folder(tmp_path, COLUMNS) as folder:
        one = StatementBooks(folder)
        with pytest.raises(RecordsError, match="line 1: expected a canonical account_id, mcc") as e:
            one.enter(NODE, {**ENTRY, "account_id": "a;b", "mcc": "57x1"})
        assert "57x1" not in str(e.value)
        with pytest.raises(RecordsError, match="canonical form"):
            one.open(NODE, {"account_id": "a b", "customer_id": "c"}, {"customer_id": "c"})
