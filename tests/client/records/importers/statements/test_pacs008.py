"""Payments between banks become entries of the institution's own accounts."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.records.imports import (
    KEYED,
    SAMPLES,
    holds_no_marker,
    imported,
    opens_as_canonical,
    rows_of,
)

from fieldfare.client.records.importers.base import PaymentOwner
from fieldfare.shared.errors import RecordsError, UsageError

FILE = SAMPLES / "pacs008.xml"
DOMESTIC = "OTHRUS33</BICFI></FinInstnId></CdtrAgt>\n      <Cdtr>"


def test_the_sample(tmp_path: Path) -> None:
    lines = imported("pacs008", [FILE], tmp_path, bic="OURBUS33", in_house=PaymentOwner.BOTH)
    assert lines[0] == "read 3 payments; left out: 1 that only pass through"
    rent, out, into = rows_of(tmp_path, "transactions")
    assert rent["txn_id"] == "8a562c67-ca16-48ba-b074-65581be6f011"
    assert rent["ts_utc"] == datetime(2025, 3, 2, 3, 15)  # noqa: DTZ001
    assert rent["tz_offset_min"] == -300
    assert rent["booking_date"] == date(2025, 3, 2)
    assert (rent["amount_minor"], rent["currency"], rent["channel"]) == (85_000, "USD", "WIRE")
    assert (rent["direction"], rent["memo_category"]) == ("out", "rent")
    assert rent["counterparty_key"] == KEYED.of("account", "GB33BUKB20201555555555")
    assert (rent["counterparty_type"], rent["counterparty_country"]) == ("business", "GB")
    assert (out["account_id"], into["account_id"]) == ("11112222", "33334444")
    assert (out["direction"], into["direction"], into["channel"]) == ("out", "in", "P2P")
    assert out["txn_id"] == into["txn_id"] == KEYED.of("reference", "Marker shared cost 1250 USD")
    assert out["booking_date"] == date(2025, 3, 3)
    assert opens_as_canonical(tmp_path) == 2
    assert holds_no_marker(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "channel"),
    [
        ("<Cd>RENT</Cd>", "<Cd>SALA</Cd>", "PAYROLL"),
        ("OTHRGB2L</BICFI></FinInstnId></CdtrAgt>\n      <Cdtr>", DOMESTIC, "ACH"),
        ("<SttlmMtd>CLRG</SttlmMtd>", "<SttlmMtd>INDA</SttlmMtd>", "WIRE"),
    ],
)
def test_channels(tmp_path: Path, old: str, new: str, channel: str) -> None:
    path = tmp_path / "other.xml"
    assert old in FILE.read_text()
    path.write_text(FILE.read_text().replace(old, new))
    imported("pacs008", [path], tmp_path / "out", bic="OURBUS33")
    assert rows_of(tmp_path / "out", "transactions")[0]["channel"] == channel


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<PmtId><EndToEndId>Marker</EndToEndId></PmtId>", "<PmtId/>"),
        ('"USD">12.5<', '"USD">12.555<'),
        ("<Id>33334444</Id>", "<Id/>"),
        ("2025-03-03T18:00:00Z", "this evening"),
        ("<CreDtTm>2025-03-01T22:15:00-05:00</CreDtTm>", ""),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "bad.xml"
    assert old in FILE.read_text()
    path.write_text(FILE.read_text().replace(old, new))
    said: dict[str, Any] = {"bic": "OURBUS33", "in_house": PaymentOwner.BOTH}
    with pytest.raises(RecordsError, match=r"bad\.xml, line \d+: ") as caught:
        imported("pacs008", [path], tmp_path / "out", **said)
    assert "Marker" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_no_message_has_the_day_of_the_one_before(tmp_path: Path) -> None:
    text = FILE.read_text()
    second = tmp_path / "second.xml"
    second.write_text(text[: text.index("<GrpHdr>")] + text[text.index("</GrpHdr>") + 9 :])
    with pytest.raises(RecordsError, match=r"second\.xml, line \d+: expected a canonical ts_utc"):
        imported("pacs008", [FILE, second], tmp_path / "out", bic="OURBUS33")


@pytest.mark.parametrize("bic", ["", "O", "OURB", "OURBUS3", "OURBUS33X"])
def test_whose_payments_they_are_has_to_be_said(tmp_path: Path, bic: str) -> None:
    with pytest.raises(UsageError, match="--bic"):
        imported("pacs008", [FILE], tmp_path / "out", bic=bic)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecordsError, match=r"a Document of pacs\.008\.001\.02"):
        imported("pacs008", [SAMPLES / "camt053.xml"], tmp_path / "out", bic="OURBUS33")


IN_HOUSE = FILE.read_text().split("<CdtTrfTxInf>")[2].split("</CdtTrfTxInf>")[0]


def payments(path: Path, *pairs: tuple[str, str]) -> Path:
    """Write payments between own accounts, debtor first."""
    head = FILE.read_text().split("<CdtTrfTxInf>", maxsplit=1)[0]
    bodies = [
        IN_HOUSE.replace("33334444", "{to}")
        .replace("11112222", "{by}")
        .replace("Marker shared cost", f"Marker {place}")
        .format(by=by, to=to)
        for place, (by, to) in enumerate(pairs)
    ]
    tail = "</FIToFICstmrCdtTrf></Document>"
    path.write_text(head + "".join(f"<CdtTrfTxInf>{one}</CdtTrfTxInf>" for one in bodies) + tail)
    return path


def by_account(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the folder holds of each customer: records, account and entries."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in ("customers", "accounts", "transactions"):
        for row in rows_of(folder, name):
            found.setdefault(row.get("account_id") or row["customer_id"], []).append(row)
    return found


PAIRS = (("a", "b"), ("b", "a"), ("c", "a"), ("a", "c"), ("b", "c"), ("d", "a"), ("a", "e"))


@pytest.mark.parametrize("whose", [PaymentOwner.DEBTOR, PaymentOwner.CREDITOR])
@pytest.mark.parametrize("gone", ["a", "b", "c", "d"])
def test_taking_a_units_own_payments_out_changes_nobody_else(
    tmp_path: Path, whose: PaymentOwner, gone: str
) -> None:
    place = 0 if whose is PaymentOwner.DEBTOR else 1
    said: dict[str, Any] = {"bic": "OURBUS33", "in_house": whose}
    lines = imported("pacs008", [payments(tmp_path / "all.xml", *PAIRS)], tmp_path / "all", **said)
    assert f"7 payments between own customers: on the {whose.value}'s statement" in lines[1]
    rest = [pair for pair in PAIRS if pair[place] != gone]
    imported("pacs008", [payments(tmp_path / "rest.xml", *rest)], tmp_path / "rest", **said)
    before, after = by_account(tmp_path / "all"), by_account(tmp_path / "rest")
    before.pop(gone, None)
    numbered = {name: [without_reference(row) for row in rows] for name, rows in before.items()}
    assert numbered == {n: [without_reference(row) for row in rows] for n, rows in after.items()}


def without_reference(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the test's own numbering of payments makes."""
    return {name: value for name, value in row.items() if name != "txn_id"}


def test_payments_that_belong_to_two_units_are_counted(tmp_path: Path) -> None:
    said: dict[str, Any] = {"bic": "OURBUS33", "in_house": PaymentOwner.BOTH}
    lines = imported("pacs008", [payments(tmp_path / "all.xml", *PAIRS)], tmp_path / "all", **said)
    # a shares payments with b, c, d and e; b and c with each other and a; d and e with a
    assert "changes 4 others at most (mean 2.0)" in lines[1]
    rest = [pair for pair in PAIRS if "a" not in pair]
    imported("pacs008", [payments(tmp_path / "rest.xml", *rest)], tmp_path / "rest", **said)
    before, after = by_account(tmp_path / "all"), by_account(tmp_path / "rest")
    assert sum(before[name] != after.get(name) for name in before if name != "a") == 4
