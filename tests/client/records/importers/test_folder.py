"""A canonical folder is whole or not there, and says what it does not have."""

import resource
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.records.imports import rows_of

from fieldfare.client.records.canonical_bank import Channel, Direction, Transaction
from fieldfare.client.records.importers.base import open_folder
from fieldfare.shared.errors import RecordsError, UsageError

COLUMNS = {
    "transactions": ("txn_id", "account_id", "ts_utc", "direction", "amount_minor", "currency",
                     "channel", "mcc"),
    "customers": ("customer_id",),
}  # fmt: skip
ONE = Transaction(
    txn_id="1", account_id="a", ts_utc=datetime(2025, 1, 1, 12), direction=Direction.IN,  # noqa: DTZ001
    amount_minor=100, currency="EUR", channel=Channel.WIRE,
)  # fmt: skip


def test_records_and_tables_arrive_and_the_rest_is_said(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", COLUMNS) as folder:
        folder.add_records("transactions", [ONE])
        folder.add("customers", pa.table({"other": ["x"], "customer_id": ["c"]}))
    (row,) = rows_of(tmp_path / "out", "transactions")
    assert row["amount_minor"] == 100
    assert row["channel"] == "WIRE"
    assert set(row) == set(COLUMNS["transactions"])
    assert rows_of(tmp_path / "out", "customers") == [{"customer_id": "c"}]
    said = "\n".join(folder.lines())
    assert "transactions: 1 rows" in said
    assert "missing, not zero: org_id, tz_offset_min" in said
    assert "--lacking transactions.mcc" in said
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_a_table_without_rows_is_an_empty_file(tmp_path: Path) -> None:
    with open_folder(tmp_path, COLUMNS) as folder:
        pass
    assert rows_of(tmp_path, "transactions") == []
    assert "without one value" not in "\n".join(folder.lines())


def failing_import(out: Path) -> None:
    with open_folder(out, COLUMNS) as folder:
        folder.add_records("transactions", [ONE])
        raise RecordsError("line 7")


def test_nothing_stays_of_an_import_that_fails(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="line 7"):
        failing_import(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_stays_of_an_import_that_a_full_disk_stops(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))  # room for half of a first mark
    try:
        with pytest.raises(UsageError, match="a disk with room"), open_folder(tmp_path, COLUMNS):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_may_read_an_import_into_a_folder_that_was_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with open_folder(tmp_path, COLUMNS):
        pass
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(UsageError, match="found files in"), open_folder(tmp_path, COLUMNS):
        pass
    with pytest.raises(UsageError), open_folder(tmp_path / "there", COLUMNS):
        pass
    with pytest.raises(UsageError), open_folder(tmp_path / "there" / "below", COLUMNS):
        pass
