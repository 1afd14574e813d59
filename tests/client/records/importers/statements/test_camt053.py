"""Statements become transactions; names, addresses and texts stay where they are."""

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

FILE = SAMPLES / "camt053.xml"
IBAN = "DE02120300000000202051"
UETR = "8a562c67-ca16-48ba-b074-65581be6f001"


def test_every_entry_of_the_sample(tmp_path: Path) -> None:
    lines = imported("camt053", [FILE], tmp_path)
    assert lines[0] == "read 7 entries of 2 statements"
    assert "1 entries that are not booked, 1 that are no payments" in lines[1]
    wage, bought, sent, batch, back, machine = rows_of(tmp_path, "transactions")
    assert wage["txn_id"] == KEYED.of("reference", f"{IBAN} Marker wages March 150000 EUR")
    assert wage["ts_utc"] == datetime(2025, 3, 1, 12)  # noqa: DTZ001
    assert (wage["channel"], wage["direction"], wage["memo_category"]) == (
        "PAYROLL",
        "in",
        "salary",
    )
    assert wage["counterparty_key"] == KEYED.of("account", "FR7630006000011234567890189")
    assert wage["counterparty_type"] == "business"
    assert (wage["counterparty_org"], wage["counterparty_country"]) == ("AGRIFRPP", "FR")
    assert wage["tz_offset_min"] is None
    assert bought["ts_utc"] == datetime(2025, 3, 2, 22, 30)  # noqa: DTZ001
    assert bought["tz_offset_min"] == 60
    assert bought["booking_date"] == date(2025, 3, 2)
    assert (bought["mcc"], bought["merchant_city"]) == ("5812", "Port Alder")
    assert bought["merchant_key"] == KEYED.of("merchant", "T-900")
    assert (sent["txn_id"], sent["amount_minor"], sent["channel"]) == (UETR, 1000, "P2P")
    assert sent["counterparty_type"] == "person"
    assert (batch["amount_minor"], batch["counterparty_key"]) == (2000, None)
    assert len({sent["txn_id"], batch["txn_id"], back["txn_id"]}) == 3
    assert (back["reversal_of"], back["direction"]) == (UETR, "in")
    assert (machine["amount_minor"], machine["currency"]) == (700, "JPY")
    assert machine["channel"] == "ATM_WD"
    assert holds_no_marker(tmp_path)


def test_accounts_and_holders(tmp_path: Path) -> None:
    imported("camt053", [FILE], tmp_path)
    accounts = {row["account_id"]: row for row in rows_of(tmp_path, "accounts")}
    assert accounts[IBAN] == {
        "account_id": IBAN, "customer_id": "K-77", "type": "CACC", "currency": "EUR",
        "country": "DE",
    }  # fmt: skip
    assert accounts["000123"]["customer_id"] == "000123"
    kinds = {row["customer_id"]: row["kind"] for row in rows_of(tmp_path, "customers")}
    assert kinds == {"K-77": "person", "000123": None}
    assert opens_as_canonical(tmp_path) == 2


def test_what_was_taken_back_is_no_entry(tmp_path: Path) -> None:
    """The reversal and what it reverses go together, when indicators read the folder."""
    from fieldfare.client.typologies.extract import one_value, open_extract

    imported("camt053", [FILE], tmp_path)
    with open_extract(tmp_path, date(2025, 3, 31)) as extract:
        assert one_value(extract.connection, "SELECT count(*) FROM entry") == 4


def test_payments_under_one_reference_are_told_apart(tmp_path: Path) -> None:
    """Three wages alike in reference and amount, then two taken back: the last that stand go."""
    text, end = FILE.read_text(), "      </Ntry>\n"
    start = text.index("      <Ntry>")
    wage = text[start : text.index(end, start) + len(end)]
    back = wage.replace(
        "</Amt>\n        <Cdt", "</Amt>\n        <RvslInd>true</RvslInd>\n        <Cdt"
    )
    assert back != wage
    path = tmp_path / "alike.xml"
    path.write_text(text.replace(wage, wage * 3 + back * 2, 1))
    imported("camt053", [path], tmp_path / "out")
    rows = [row for row in rows_of(tmp_path / "out", "transactions") if row["memo_category"]]
    first, second, third, *taken = (row["txn_id"] for row in rows[:5])
    assert len({first, second, third, *taken}) == 5
    assert [row["reversal_of"] for row in rows[:5]] == [None, None, None, third, second]


def test_an_old_version_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "old.xml"
    text = FILE.read_text().replace("001.08", "001.02").replace("BICFI", "BIC")
    for word in ("BOOK", "PDNG"):
        text = text.replace(f"<Sts><Cd>{word}</Cd></Sts>", f"<Sts>{word}</Sts>")
    path.write_text(text.replace("<Pty>", "").replace("</Pty>", ""))
    imported("camt053", [path], tmp_path / "old")
    imported("camt053", [FILE], tmp_path / "new")
    assert rows_of(tmp_path / "old", "transactions") == rows_of(tmp_path / "new", "transactions")


def line_with(text: str) -> int:
    return next(n for n, line in enumerate(FILE.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ('<Amt Ccy="JPY">700<', '<Amt Ccy="JPY">7x0<', '<Amt Ccy="JPY">700'),
        ('Ccy="JPY">700<', 'Ccy="JPY">70.5<', '<Amt Ccy="JPY">700'),
        ("2025-03-05T09:00:00", "5 March", None),
        ("<Cd>CACC</Cd>", "<Cd>not a code</Cd>", None),
        ("<Id>000123</Id>", "<Id>0 1 2 3</Id>", None),
        ("<Ctry>DE</Ctry></PstlAdr></Pty>", "<Ctry>Germany</Ctry></PstlAdr></Pty>", None),
        ("<RvslInd>true</RvslInd>", "<RvslInd>perhaps</RvslInd>", "<RvslInd>"),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(
    tmp_path: Path, old: str, new: str, near: str | None
) -> None:
    path, text = tmp_path / "bad.xml", FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    if new in {
        "<TxCtgy>5812</TxCtgy>",
        "<SubFmlyCd>ZZZZ</SubFmlyCd>",
    }:  # any card code is a payment
        imported("camt053", [path], tmp_path / "out")
        return
    line = rf"line {line_with(near)}: " if near else r"line \d+: "
    with pytest.raises(RecordsError, match=rf"bad\.xml, {line}") as caught:
        imported("camt053", [path], tmp_path / "out")
    for value in ("7x0", "70.5", "5 March", "not a code", "0 1 2 3", "Germany", "perhaps"):
        assert value not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_unknown_code_is_refused_until_the_institution_says_what_it_means(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own.xml"
    old = "<Domn><Cd>PMNT</Cd><Fmly><Cd>CCRD</Cd><SubFmlyCd>CWDL</SubFmlyCd></Fmly></Domn>"
    path.write_text(FILE.read_text().replace(old, "<Prtry><Cd>NMSC+083</Cd></Prtry>"))
    with pytest.raises(RecordsError, match=rf"line {line_with('CWDL')}: .*--codes"):
        imported("camt053", [path], tmp_path / "out")
    imported("camt053", [path], tmp_path / "out", codes={"PRTRY/NMSC+083": "ATM_WD"})
    assert rows_of(tmp_path / "out", "transactions")[-1]["channel"] == "ATM_WD"


def test_a_statement_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="every statement once"):
        imported("camt053", [FILE, FILE], tmp_path / "out")


def test_an_entry_before_its_account_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.xml"
    bare = "<Acct><Id><Othr><Id>000123</Id></Othr></Id></Acct>"
    path.write_text(FILE.read_text().replace(bare, ""))
    with pytest.raises(RecordsError, match="Acct before the first entry"):
        imported("camt053", [path], tmp_path / "out")
