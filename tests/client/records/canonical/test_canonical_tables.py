"""A folder of canonical files loads whole, or says the row that does not fit."""

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records.canonical_bank import TABLES, Account, Customer, Transaction
from fieldfare.client.records.canonical_cases import CaseSummary
from fieldfare.client.records.canonical_tables import arrow_schema, load_tables, table_in
from fieldfare.shared.errors import RecordsError

PAYMENTS = """txn_id,account_id,ts_utc,direction,amount_minor,currency,channel,mcc,merchant_city
t1,a1,2026-01-05T10:00:00,in,1250,CAD,P2P,,
t2,a1,2026-01-05 11:30:00,out,990,CAD,POS,5411,Port Alder
t3,a2,2026-01-06T00:00:00Z,out,100,CAD,ECOM,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "transactions.csv").write_text(PAYMENTS)
    (tmp_path / "accounts.csv").write_text(
        "account_id,customer_id,opened\na1,c1,2020-01-01\na2,c2,\n"
    )
    (tmp_path / "customers.csv").write_text("customer_id,kind\nc1,person\nc2,business\n")
    return tmp_path


def loaded(folder: Path) -> tuple[Any, Any]:
    connection = duckdb.connect(":memory:")
    return connection, load_tables(connection, {one: table_in(folder, one) for one in TABLES})


def test_a_folder_of_csv_loads_typed(folder: Path) -> None:
    connection, tables = loaded(folder)
    rows = connection.execute("SELECT ts_utc, amount_minor, mcc FROM transactions").fetchall()
    hours = [(5, 10, 0), (5, 11, 30), (6, 0, 0)]
    times = [datetime(2026, 1, day, hour, minute) for day, hour, minute in hours]  # noqa: DTZ001
    assert rows == [(times[0], 1250, None), (times[1], 990, "5411"), (times[2], 100, None)]
    assert tables["transactions"].rows == 3
    assert "device_key" not in tables["transactions"].columns
    assert tables["transactions"].empty == frozenset()


def test_parquet_loads_alike(folder: Path) -> None:
    connection, _ = loaded(folder)
    before = connection.execute("SELECT * FROM transactions").fetchall()
    table = connection.execute("SELECT * FROM transactions").to_arrow_table()
    table = table.select([f.name for f in table.schema if table[f.name].null_count < 3])
    zoned = table["ts_utc"].cast(pa.timestamp("us", tz="UTC"))
    table = table.set_column(table.column_names.index("ts_utc"), "ts_utc", zoned)
    (folder / "transactions.csv").unlink()
    (folder / "transactions").mkdir()
    pq.write_table(table.slice(0, 2), folder / "transactions" / "1.parquet")
    pq.write_table(table.slice(2), folder / "transactions" / "2.parquet")
    assert loaded(folder)[0].execute("SELECT * FROM transactions").fetchall() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("out,990", "out,9.9x", "row 2: expected a canonical amount_minor"),
        ("out,990", "out,-990", "row 2: expected a canonical amount_minor"),
        ("5411", "541", "row 2: expected a canonical mcc"),
        ("P2P", "TELEX", "row 1: expected a canonical channel"),
        ("t3", "", "row 3: expected a canonical txn_id"),
        ("2026-01-06T00:00:00Z", "yesterday", "row 3: expected a canonical ts_utc"),
        ("Port Alder", "data:image/png;base64", "row 2: expected a canonical merchant_city"),
        ("merchant_city", "memo_text", "expected canonical columns"),
        ("merchant_city", "merchant_photo", "harm rule 6"),
        ("currency", "merchant_key", "expected columns currency"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_row(
    folder: Path, old: str, new: str, message: str
) -> None:
    path = folder / "transactions.csv"
    path.write_text(PAYMENTS.replace(old, new))
    with pytest.raises(RecordsError, match=message):
        loaded(folder)


def test_binary_columns_and_doubled_files_are_refused(folder: Path) -> None:
    rows = {"account_id": ["a1"], "customer_id": ["c1"], "type": [b"\xff\xd8"]}
    pq.write_table(pa.table(rows), folder / "accounts.parquet")
    with pytest.raises(RecordsError, match="found 2"):
        loaded(folder)
    (folder / "accounts.csv").unlink()
    with pytest.raises(RecordsError, match="binary or nested"):
        loaded(folder)
    (folder / "accounts.parquet").unlink()
    with pytest.raises(RecordsError, match="found none"):
        loaded(folder)


def test_an_empty_column_is_reported(folder: Path) -> None:
    (folder / "accounts.csv").write_text("account_id,customer_id,opened\na1,c1,\n")
    assert loaded(folder)[1]["accounts"].empty == {"opened"}


def test_schemas_of_every_record() -> None:
    assert arrow_schema(Transaction).field("ts_utc").type == pa.timestamp("us")
    assert not arrow_schema(Account).field("customer_id").nullable
    assert arrow_schema(Customer).field("age_band").nullable
    assert arrow_schema(CaseSummary).field("control").type == pa.list_(pa.string())
