"""A draft's movements are the customer's own entries of the window, and nobody else's."""

import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lxml import etree
from pyarrow import csv, feather
from tests.support.homes.reported import decided, reported_alert

from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.reports.facts import (
    OPEN,
    Movement,
    ReportFacts,
    report_facts,
    window_days,
)
from fieldfare.client.alerts.reports.fintrac import fintrac_draft, fintrac_problems
from fieldfare.client.alerts.reports.goaml import goaml_draft, goaml_problems
from fieldfare.client.alerts.reports.movements import Entries, entries
from fieldfare.shared.errors import RecordsError

LAST = date(2026, 3, 31)


def entry(number: int, account: str, moment: datetime, **more: Any) -> dict[str, Any]:
    return {
        "txn_id": f"t{number}", "account_id": account, "ts_utc": moment, "tz_offset_min": None,
        "direction": "out", "amount_minor": 1234, "currency": "EUR", "channel": "WIRE",
        "counterparty_key": "f" * 64, "counterparty_org": None, "counterparty_country": None,
        "terminal_city": None, "is_attempted": None, "reversal_of": None, **more,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        entry(1, "a1", datetime(2026, 3, 31, 23, 30), tz_offset_min=60),  # noqa: DTZ001 -- tomorrow
        entry(2, "a1", datetime(2026, 3, 31, 22, 30), tz_offset_min=60, counterparty_org="AGRIFRPP",  # noqa: DTZ001
              counterparty_country="FR"),
        entry(3, "a2", datetime(2026, 3, 1, 9), direction="in", currency="JPY", amount_minor=700,  # noqa: DTZ001
              terminal_city="Port Alder", is_attempted=True),
        entry(4, "a2", datetime(2026, 1, 1, 12)),  # noqa: DTZ001 -- the first of ninety days
        entry(5, "a2", datetime(2025, 12, 31, 12)),  # noqa: DTZ001 -- before them
        entry(6, "b1", datetime(2026, 3, 30, 12)),  # noqa: DTZ001 -- of somebody else
        entry(7, "a1", datetime(2026, 3, 30, 12), reversal_of="t2"),  # noqa: DTZ001
    ]  # fmt: skip
    accounts = [
        {"account_id": "a1", "customer_id": "MARKER-CUSTOMER", "country": "DE"},
        {"account_id": "a2", "customer_id": "MARKER-CUSTOMER", "country": None},
        {"account_id": "b1", "customer_id": "other", "country": "DE"},
    ]
    customers = [{"customer_id": "MARKER-CUSTOMER"}, {"customer_id": "other"}]
    tables = {"transactions": rows, "accounts": accounts, "customers": customers}
    for name, listed in tables.items():
        pq.write_table(pa.Table.from_pylist(listed), tmp_path / f"{name}.parquet")
    return tmp_path


def found(folder: Path) -> tuple[Movement, ...]:
    return read(folder).found


def read(folder: Path, last: date | None = LAST, days: int = 90, today: date = LAST) -> Entries:
    return entries(folder, "MARKER-CUSTOMER", days, last=last, today=today)


def facts(folder: Path, role: PartyRole = PartyRole.CONTROLLER) -> ReportFacts:
    said = report_facts(reported_alert(), decided(role), {})
    return replace(said, movements=found(folder))


def test_the_customers_own_entries_of_the_window(folder: Path) -> None:
    latest, in_march, first = found(folder)
    assert [one.reference for one in (latest, in_march, first)] == ["t2", "t3", "t4"]
    assert latest.local == datetime(2026, 3, 31, 23, 30)  # noqa: DTZ001
    assert (latest.amount, latest.out, latest.account) == ("12.34", True, "a1")
    assert (in_march.amount, in_march.out, in_march.attempted) == ("700", False, True)


def test_without_a_day_the_last_one_of_the_records_counts(folder: Path) -> None:
    """The latest entry is tomorrow's by its clock: the records' last day, once today is as far."""
    assert read(folder, None, today=date(2026, 6, 30)).last == date(2026, 4, 1)
    assert [one.reference for one in read(folder, None, today=date(2026, 6, 30)).found] == [
        "t1",
        "t2",
        "t3",
    ]
    assert read(folder, None, today=LAST).last == LAST  # what is dated later is a mistake
    nothing = read(folder, date(2026, 2, 20), days=7)
    assert (nothing.found, nothing.before) == ((), date(2026, 1, 1))
    assert read(folder, date(2025, 12, 1), days=7).before is None


def test_a_row_of_somebody_else_is_neither_kept_nor_checked(folder: Path) -> None:
    table = pq.read_table(folder / "transactions.parquet").to_pylist()
    before = found(folder)
    for row in table:
        if row["account_id"] == "b1":
            row["currency"] = "no currency"
    pq.write_table(pa.Table.from_pylist(table), folder / "transactions.parquet")
    assert found(folder) == before
    table[1]["currency"] = "no currency"
    pq.write_table(pa.Table.from_pylist(table), folder / "transactions.parquet")
    with pytest.raises(RecordsError, match="one of the rows asked for: expected a canonical"):
        found(folder)


@pytest.mark.parametrize("suffix", ["csv", "arrow"])
def test_every_kind_of_file_gives_the_same_entries(folder: Path, suffix: str) -> None:
    before = read(folder, None, today=date(2026, 6, 30))
    for name in ("transactions", "accounts", "customers"):
        table = pq.read_table(folder / f"{name}.parquet")
        (folder / f"{name}.parquet").unlink()
        if suffix == "csv":
            csv.write_csv(table, folder / f"{name}.csv")
        else:
            feather.write_feather(table, folder / f"{name}.arrow", compression="uncompressed")
    assert read(folder, None, today=date(2026, 6, 30)) == before


def test_records_of_others_are_refused(folder: Path) -> None:
    with pytest.raises(RecordsError, match="the customer of this alert") as caught:
        entries(folder, "MARKER-NOBODY", 90, last=LAST, today=LAST)
    assert "MARKER" not in str(caught.value).replace(str(folder), "")


def test_the_window_is_that_of_the_indicators_that_are_evidence() -> None:
    assert window_days(reported_alert(evidence=("R01",))) == 90
    assert window_days(reported_alert(evidence=("R01", "R35"))) == 270
    assert window_days(reported_alert(evidence=(), fired=("R35",))) == 90


def test_goaml_says_what_the_records_say_in_its_order(folder: Path) -> None:
    content = goaml_draft(facts(folder))
    report = etree.fromstring(content)
    assert report.findtext("report_code") == "STR"
    out, into, _ = report.findall("transaction")
    assert out.findtext("date_transaction") == "2026-03-31T23:30:00"
    assert out.findtext("t_from_my_client/from_account/account") == "a1"
    assert out.findtext("t_from_my_client/from_country") == "DE"
    assert out.findtext("t_to/to_account/swift") == "AGRIFRPP"
    assert out.findtext("t_to/to_account/account") == OPEN
    assert out.findtext("t_to/to_country") == "FR"
    assert into.findtext("t_to_my_client/to_account/account") == "a2"
    assert into.findtext("t_to_my_client/to_country") == OPEN
    assert into.findtext("transaction_location") == "Port Alder"
    assert "attempted" in (into.findtext("transaction_description") or "")
    assert b"f" * 64 not in content  # a keyed hash says nothing to anybody else
    assert all(OPEN in problem for problem in goaml_problems(content))


def test_a_movement_that_a_person_tore_apart_is_found(folder: Path) -> None:
    report = etree.fromstring(goaml_draft(facts(folder)))
    transaction = report.find("transaction")
    side = transaction.find("t_to")
    transaction.remove(side)
    transaction.insert(0, side)
    problems = goaml_problems(etree.tostring(report))
    assert any("goAML's order" in problem for problem in problems)


def test_fintrac_has_the_same_movements(folder: Path) -> None:
    content = fintrac_draft(facts(folder))
    out, into, first = json.loads(content)["transactions"]
    assert (out["date"], out["time"]) == ("2026-03-31", "23:30:00+01:00")
    assert out["starting_actions"][0]["account"] == "a1"
    assert out["starting_actions"][0]["amount"] == "12.34"
    assert out["completing_actions"][0]["account"] == OPEN
    assert (into["attempted"], into["location"]) == (True, "Port Alder")
    assert into["completing_actions"][0]["account"] == "a2"
    assert first["time"] == OPEN
    assert b"f" * 64 not in content
    assert all(OPEN in problem for problem in fintrac_problems(content))


def test_harm_rule_1_a_possible_victims_accounts_are_not_suspected(folder: Path) -> None:
    for role, suspected in ((PartyRole.POTENTIAL_VICTIM, "false"), (PartyRole.CONTROLLER, "true")):
        report = etree.fromstring(goaml_draft(facts(folder, role)))
        flags = [
            one.text for tag in ("from_is_suspected", "to_is_suspected") for one in report.iter(tag)
        ]
        assert flags == [suspected] * 3


def test_without_records_a_draft_is_as_before() -> None:
    said = report_facts(reported_alert(), decided(PartyRole.CONTROLLER), {})
    report = etree.fromstring(goaml_draft(said))
    assert report.findtext("report_code") == "SAR"
    assert report.find("transaction") is None
    assert len(json.loads(fintrac_draft(said))["transactions"]) == 1
