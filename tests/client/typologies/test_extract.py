"""What indicators can read, and what they cannot."""

from datetime import date
from pathlib import Path

import duckdb
import pytest
from tests.client.typologies.ledgers import AS_OF, Ledger, card, cash_in, extract_of, p2p_in, wages

from fieldfare.client.typologies import extract as extracting
from fieldfare.client.typologies.extract import (
    LEAST_MEMORY,
    confined_connection,
    memory_limit,
    one_value,
    open_extract,
)
from fieldfare.client.typologies.features import feature_table
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import RecordsError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "transactions.csv").write_text(
        "txn_id,account_id,ts_utc,direction,amount_minor,currency,channel,mcc\n"
        "t1,a1,2026-03-30T10:00:00,in,1250,XAC,P2P,\n"
    )
    (tmp_path / "accounts.csv").write_text("account_id,customer_id\na1,c1\n")
    (tmp_path / "customers.csv").write_text("customer_id\nc1\n")
    return tmp_path


def test_a_folder_becomes_an_extract(folder: Path) -> None:
    with open_extract(folder, AS_OF) as extract:
        assert extract.units == 1
        assert "transactions.mcc" in extract.columns
        assert extract.empty == {"transactions.mcc"}
    with open_extract(folder, AS_OF, ["transactions.mcc"]) as extract:
        assert "transactions.mcc" not in extract.columns
        assert extract.empty == set()
    with (
        pytest.raises(UsageError, match=r"found transactions\.colour"),
        open_extract(folder, AS_OF, ["transactions.colour"]),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "accounts.csv",
            "account_id,customer_id\na1,c1\na1,c1\n",
            "accounts that stand there once",
        ),
        ("accounts.csv", "account_id,customer_id\na2,c1\n", "accounts that are in accounts"),
        ("accounts.csv", "account_id,customer_id\na1,c9\n", "customers that are in customers"),
        ("customers.csv", "customer_id\nc1\nc1\n", "customers that stand there once"),
    ],
)
def test_loose_ends_are_refused(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(RecordsError, match=message), open_extract(folder, AS_OF):
        pass


def test_what_was_taken_back_attempted_or_later_is_not_there() -> None:
    rows = [
        *p2p_in([3], ["a"], txn_id="undone"),
        *card([2], "5411", reversal_of="undone"),
        *p2p_in([4], ["b"], is_attempted=True),
        *p2p_in([-1], ["c"]),
        *p2p_in([269, 270], ["d"]),
        *p2p_in([0], ["e"]),
    ]
    extract = extract_of({"c": Ledger(rows), "other": Ledger(p2p_in([3], ["f"]))})
    found = extract.connection.execute("SELECT party FROM entry ORDER BY party").fetchall()
    assert found == [("d",), ("e",), ("f",)]


def test_a_reversal_reaches_its_own_account_only() -> None:
    ledgers = {
        "c": Ledger(p2p_in([3], ["a"], txn_id="t-1")),
        "d": Ledger(card([2], "5411", reversal_of="t-1")),
    }
    assert one_value(extract_of(ledgers).connection, "SELECT count(*) FROM entry") == 1


def test_local_time_decides_night_and_day() -> None:
    rows = [*p2p_in([3], ["a"], hour=3, tz_offset_min=-300), *p2p_in([3], ["b"], hour=3)]
    extract = extract_of({"c": Ledger(rows)})
    found = extract.connection.execute("SELECT party, night, age FROM entry ORDER BY 1").fetchall()
    assert found == [("a", True, 4), ("b", True, 3)]  # 22:00 of the day before


def test_raw_and_protected_columns_are_gone() -> None:
    """Harm rule 4: not there to be read, whatever a query asks for."""
    extract = extract_of({"c": Ledger([*wages(), *cash_in([3])], {"age_band": "25-34"})})
    for table in ("transactions", "accounts", "customers"):
        with pytest.raises(duckdb.CatalogException):
            extract.connection.execute(f"SELECT * FROM {table}")
    columns = {row[0] for row in extract.connection.execute("DESCRIBE customer").fetchall()}
    assert not columns & {"age_band", "region", "contact_key", "kyc_risk"}


def test_the_engine_reaches_nothing(tmp_path: Path) -> None:
    connection = confined_connection()
    (tmp_path / "x.csv").write_text("a\n1\n")
    for query in (
        f"SELECT * FROM read_csv('{tmp_path / 'x.csv'}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'y.csv'}'",
        f"ATTACH '{tmp_path / 'z.db'}'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(query)


def test_the_as_of_date_is_given_and_never_read_off() -> None:
    one = extract_of({"c": Ledger(p2p_in([3], ["a"]))})
    assert one.as_of == date(2026, 3, 31)


def test_the_engine_may_use_a_part_of_the_machine_and_never_too_little() -> None:
    assert memory_limit(0) == LEAST_MEMORY
    assert LEAST_MEMORY < memory_limit(64 * 2**30) < 64 * 2**30


@pytest.mark.parametrize("rows", [30_000, 60_000])
def test_more_records_than_memory_are_refused_with_what_to_do(
    folder: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"t{i},a1,2026-03-30T10:00:00,in,{i},XAC,P2P,5411" for i in range(rows)]
    head = "txn_id,account_id,ts_utc,direction,amount_minor,currency,channel,mcc"
    (folder / "transactions.csv").write_text("\n".join([head, *lines]) + "\n")
    monkeypatch.setattr(extracting, "memory_limit", lambda _: 4 * 2**20)
    with (
        pytest.raises(RecordsError, match=r"fit into 4 MB .* into parts"),
        open_extract(folder, AS_OF) as extract,
    ):
        feature_table(extract, own_pack())
