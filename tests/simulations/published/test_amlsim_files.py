"""AMLSim's two forms become statements, accounts and labels; names stay where they are."""

import os
from datetime import date, datetime
from pathlib import Path

import pytest
from tests.support.records.imports import (
    KEYED,
    SAMPLES,
    holds_no_marker,
    imported,
    opens_as_canonical,
    rows_of,
)

from fieldfare.shared.errors import RecordsError

OWN = [
    SAMPLES / "amlsim" / name for name in ("alert_accounts.csv", "transactions.csv", "accounts.csv")
]
SAMPLE = [SAMPLES / "amlsim_sample" / name for name in ("nodes.csv", "transactions.csv")]
ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("FIELDFARE_DATA", ROOT / ".." / "shared" / "data")) / "amlsim"


def test_the_simulators_own_files(tmp_path: Path) -> None:
    lines = imported("amlsim", OWN, tmp_path)
    assert "read 3 transactions" in lines[0]
    rows = rows_of(tmp_path, "transactions")
    assert len(rows) == 6
    first = next(row for row in rows if row["txn_id"] == "10" and row["direction"] == "out")
    assert first == {
        "txn_id": "10", "account_id": "1", "ts_utc": datetime(2017, 1, 1),  # noqa: DTZ001
        "direction": "out", "amount_minor": 14780, "currency": "USD", "channel": "P2P",
        "counterparty_key": KEYED.of("account", "2"),
    }  # fmt: skip
    in_euro = [row for row in rows if row["account_id"] == "3"]
    assert {row["currency"] for row in in_euro} == {"EUR"}
    accounts = {row["account_id"]: row for row in rows_of(tmp_path, "accounts")}
    assert [accounts[name]["opened"] for name in "123"] == [
        date(2016, 12, 1),
        date(2017, 1, 1),
        date(2016, 11, 30),
    ]
    assert accounts["2"]["type"] == "SAV"
    labels = {row["customer_id"]: row["label"] for row in rows_of(tmp_path, "labels")}
    assert labels == {"1": 0, "2": 0, "3": 1}  # alerts that are true ones, where they are given
    assert opens_as_canonical(tmp_path) == 3
    assert holds_no_marker(tmp_path)


def test_one_banks_records_alone(tmp_path: Path) -> None:
    lines = imported("amlsim", OWN[1:], tmp_path, bank="bank_b")
    assert "2 of them on accounts that are listed of bank bank_b" in lines[0]
    assert [row["account_id"] for row in rows_of(tmp_path, "accounts")] == ["3"]
    assert {row["account_id"] for row in rows_of(tmp_path, "transactions")} == {"3"}
    assert rows_of(tmp_path, "labels") == [{"customer_id": "3", "label": 0}]


def test_the_published_samples(tmp_path: Path) -> None:
    lines = imported("amlsim", SAMPLE, tmp_path, start=date(2020, 1, 1))
    assert "9 of them on accounts that are listed" in lines[0]
    rows = rows_of(tmp_path, "transactions")
    assert {row["currency"] for row in rows} == {"XXX"}
    assert rows[0]["ts_utc"] == datetime(2020, 1, 4, 12)  # noqa: DTZ001
    labels = {row["customer_id"]: row["label"] for row in rows_of(tmp_path, "labels")}
    assert labels == {"1": 0, "2": 1, "3": 0}
    assert any("missing, not zero: org_id, tz_offset_min" in line for line in lines)
    assert opens_as_canonical(tmp_path) == 3


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("transactions.csv", "5,2017-02-01", "five,2017-02-01", 4),
        ("transactions.csv", "CHECK", "BARTER", 4),
        ("transactions.csv", "2017-01-05T00:00:00Z", "soon", 3),
        ("transactions.csv", "11,2,3", "11,,3", 3),
        ("accounts.csv", "3,C_3,SAV,A,EUR,false", "3,C_3,SAV,A,EUR,perhaps", 4),
        ("accounts.csv", "EUR", "Euro", 4),
        ("alert_accounts.csv", "Marker,True", "Marker,7x", 2),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(
    tmp_path: Path, name: str, old: str, new: str, line: int
) -> None:
    changed = [tmp_path / path.name for path in OWN]
    for path, copy in zip(OWN, changed, strict=True):
        text = path.read_text()
        assert path.name != name or old in text
        copy.write_text(text.replace(old, new) if path.name == name else text)
    with pytest.raises(RecordsError, match=rf"{name}, line {line}: ") as caught:
        imported("amlsim", changed, tmp_path / "out")
    said = str(caught.value).replace(str(tmp_path), "")
    assert not [
        value for value in ("five", "BARTER", "soon", "perhaps", "Euro", "7x") if value in said
    ]
    assert not (tmp_path / "out").exists()


def test_files_of_another_choice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="another choice of files"):
        imported("amlsim", [OWN[1]], tmp_path / "out")
    with pytest.raises(RecordsError, match="another choice of files"):
        imported("amlsim", [*OWN, SAMPLE[1]], tmp_path / "out")
    twice = tmp_path / "alert_transactions.csv"
    twice.write_text(
        "alert_id,alert_type,is_sar,tran_id,orig_acct,bene_acct,tx_type,base_amt,tran_timestamp\n"
    )
    with pytest.raises(RecordsError, match="leave the file out"):
        imported("amlsim", [*OWN, twice], tmp_path / "out")
    with pytest.raises(RecordsError, match="stand there once"):
        imported("amlsim", OWN, tmp_path / "out", bank="bank_z")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"AMLSim's files are not at {DATA}")
def test_the_real_samples_are_read_whole(tmp_path: Path) -> None:
    files = sorted((DATA / "bank_a").glob("*.csv.gz"))
    lines = imported("amlsim", files, tmp_path)
    assert lines[0].startswith("read 117,805 transactions")
    assert sum(row["label"] for row in rows_of(tmp_path, "labels")) > 0
    assert len(rows_of(tmp_path, "accounts")) == 20_000
