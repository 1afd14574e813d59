"""Payments with participants' customers are left out by what one entry says, and that alone."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.client.typologies.ledgers import AS_OF

from fieldfare.client.records.sources.covering import (
    OmittedCounts,
    bank_codes,
    covered_columns,
    covers_line,
    said_of,
)
from fieldfare.client.typologies.extract import open_extract
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError

BANKS = bank_codes("OURBUS33,agrifrppxxx,bank-a")


def test_codes_are_compared_by_the_bank_not_the_branch() -> None:
    assert BANKS == ("AGRIFRPP", "BANK-A", "OURBUS33")
    assert bank_codes(" OURBUS33XYZ , OURBUS33 ") == ("OURBUS33",)


@pytest.mark.parametrize("text", ["", " , ", "two words", "x" * 65, "bank\x1b[2J", "a;b"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--leave-out-customers-of: expected bank codes") as caught:
        bank_codes(text)
    assert "\x1b" not in str(caught.value)


def folder_of(path: Path, *entries: dict[str, Any]) -> Path:
    path.mkdir()
    rows = [
        {
            "txn_id": f"t{place}", "account_id": "a1", "ts_utc": "2026-03-30T10:00:00",
            "direction": "out", "amount_minor": "1250", "currency": "XAC", "channel": "P2P",
            "counterparty_key": "", "counterparty_type": "", "counterparty_org": "", "org_id": "",
            "reversal_of": "",
        } | entry
        for place, entry in enumerate(entries)
    ]  # fmt: skip
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (path / "transactions.csv").write_text("\n".join(lines) + "\n")
    (path / "accounts.csv").write_text("account_id,customer_id\na1,c1\n")
    (path / "customers.csv").write_text("customer_id\nc1\n")
    return path


def kept(folder: Path) -> tuple[int, OmittedCounts]:
    with open_extract(folder, AS_OF, banks=BANKS) as extract:
        assert extract.left_out is not None
        row = extract.connection.execute("SELECT count(*) FROM entry").fetchone()
        return int((row or (0,))[0]), extract.left_out


@pytest.mark.parametrize(
    ("entry", "stays"),
    [
        ({"counterparty_org": "OURBUS33"}, False),
        ({"counterparty_org": "OURBUS33XYZ"}, False),
        ({"counterparty_org": "ourbus33"}, False),
        ({"counterparty_org": "BANK-A"}, False),
        ({"counterparty_org": "BANK-A-TOO"}, True),
        ({"counterparty_org": "OTHRGB2L"}, True),
        ({"counterparty_org": "OURBUS3"}, True),  # no BIC: itself
        ({"counterparty_key": "k"}, False),  # its bank is not recorded
        ({"channel": "WIRE", "counterparty_type": "gov"}, False),
        ({"channel": "PAYROLL", "direction": "in"}, False),
        ({"channel": "FEE"}, False),
        ({"channel": "ATM_WD"}, True),
        ({"channel": "CASH_DEP", "direction": "in"}, True),
        ({"channel": "CASH_DEP", "direction": "in", "counterparty_key": "k"}, False),
        ({"channel": "CASH_DEP", "direction": "in", "counterparty_org": "OURBUS33"}, False),
        ({"channel": "POS"}, True),
        ({"channel": "POS", "direction": "in"}, False),  # a shop's takings: a payer's other leg
        ({"channel": "ECOM", "counterparty_type": "person"}, False),
        ({"channel": "ECOM", "counterparty_type": "business"}, True),
        ({"channel": "POS", "counterparty_org": "AGRIFRPP"}, False),  # the shop is a customer
    ],
)
def test_an_entry_stays_where_its_other_side_is_elsewhere(
    tmp_path: Path, entry: dict[str, Any], *, stays: bool
) -> None:
    found, left_out = kept(folder_of(tmp_path / "records", entry))
    assert found == stays
    unknown = not stays and not entry.get("counterparty_org")
    assert left_out == OmittedCounts(BANKS, int(not stays), int(unknown), 1, 1)


def test_what_takes_a_payment_back_goes_with_it(tmp_path: Path) -> None:
    pairs = [
        {"counterparty_org": org, "reversal_of": back}
        for org, back in (("OTHRGB2L", ""), ("OURBUS33", ""), ("OURBUS33", "t0"))
    ]
    # what takes t0 back is a payment with a customer: it must not tell that it is there
    assert kept(folder_of(tmp_path / "records", *pairs))[0] == 1


def test_the_own_bank_must_be_among_the_codes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "records", {"org_id": "OTHRGB2L", "channel": "ATM_WD"})
    with pytest.raises(UsageError, match="the code of your own bank"):
        kept(folder)
    same = folder_of(tmp_path / "same", {"org_id": "OURBUS33XXX", "channel": "ATM_WD"})
    assert kept(same)[1].unnamed == 0


def schema(**columns: dict[str, str]) -> Any:
    return pa.schema([pa.field(name, pa.float64(), metadata=m) for name, m in columns.items()])


def test_a_file_says_which_columns_are_covered() -> None:
    said = said_of(("A", "B"))
    assert said_of(()) == {}
    assert covered_columns(schema(x=said, y={"tag": "own"})) == {"x": "A,B"}


def test_what_the_promise_covers_is_said_for_all_columns_together() -> None:
    assert covers_line(["x", "y"], {"x": "A,B", "y": "A,B"}).startswith(
        "covers the person: payments with customers of A, B are left out"
    )
    own = "covers own records, not what the statements of others say of the same person"
    assert covers_line(["x", "y"], {}) == own
    assert covers_line([], {}) == own
    assert covers_line(["x", "y"], {"x": "A"}) == f"{own}, which is in y"
    assert covers_line(["x", "y"], {"x": "A", "y": "B"}) == own  # not the same banks
    many = [f"x{i}" for i in range(9)]
    assert covers_line(many, {"x8": "A"}).endswith("x0, x1, x2, x3, x4, x5 and 2 more")


def test_as_somebody_would_call_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(
        tmp_path / "records", {"counterparty_org": "OURBUS33"}, {"counterparty_key": "k"},
        {"counterparty_org": "OTHRGB2L"}, {"channel": "ATM_WD"},
    )  # fmt: skip
    out = tmp_path / "out.parquet"
    day = date(2026, 3, 31).isoformat()
    call = ["typologies", "run", str(folder), "--as-of", day, "--out", str(out)]
    assert run([*call, "--leave-out-customers-of", "OURBUS33XXX"]) == 0
    text = capsys.readouterr().out
    assert "left out 2 of 4 entries (50.0%), 1 of them because the other side's bank" in text
    assert "is your own code among these?" in text
    assert "does not show that wages or rent are absent" in text
    found = pq.read_schema(out)
    assert covered_columns(found) == dict.fromkeys(found.names[1:], "OURBUS33")
    assert run([*call, "--leave-out-customers-of", "two words"]) == 2
    assert run(call) == 0
    assert "left out" not in capsys.readouterr().out
    assert covered_columns(pq.read_schema(out)) == {}
