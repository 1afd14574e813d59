"""`institution export` and `institution report check` as they are typed."""

import json
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.homes.journals import logged_text
from tests.support.records.scored import Analyst, analyst_of


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    made = analyst_of(coordinator, custody_of, capsys, units=300)
    arguments = ("--budget", "3", "--out", made.folder / "alerts.parquet")
    assert made("score", "--model", "run-1", *arguments)[0] == 0
    return made


def first(analyst: Analyst, disposition: str = "", role: str = "potential_victim") -> str:
    alert = str(json.loads(analyst("alerts", "--json", "--state", "all")[1])[0]["alert"])
    if disposition:
        assert analyst("act", alert, "decide", "--disposition", disposition, "--role", role)[0] == 0
    return alert


@pytest.mark.parametrize(("form", "suffix"), [("goaml", "xml"), ("fintrac-json", "json")])
def test_a_draft_is_for_a_person_to_finish(analyst: Analyst, form: str, suffix: str) -> None:
    alert, out = first(analyst, "file"), analyst.folder / f"report.{suffix}"
    status, said, _ = analyst("export", alert, "--format", form, "--out", out)
    assert status == 0
    for text in ("nothing sends it", "A person completes", "2 persons", "no subject"):
        assert text in said
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    status, said, err = analyst.check(form, out)
    assert (status, "to complete or correct" in err) == (2, True)
    assert "TO BE COMPLETED" in said


def canonical(folder: Path, customer: str, moment: datetime) -> Path:
    """Records in which a customer sent money once."""
    tables: dict[str, list[dict[str, Any]]] = {
        "transactions": [
            {"txn_id": "t1", "account_id": "a1", "ts_utc": moment, "direction": "out",
             "amount_minor": 1234, "currency": "EUR", "channel": "WIRE"}
        ],
        "accounts": [{"account_id": "a1", "customer_id": customer}],
        "customers": [{"customer_id": customer}],
    }  # fmt: skip
    folder.mkdir()
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return folder


def test_a_draft_holds_the_customers_own_entries_where_records_are_named(analyst: Analyst) -> None:
    alert, out = first(analyst, "file"), analyst.folder / "r.xml"
    shown = json.loads(analyst("alerts", alert, "--json")[1])
    scored = datetime.fromisoformat(shown["scored"]).replace(tzinfo=None)
    records = canonical(analyst.folder / "canonical", shown["unit"], scored - timedelta(days=1))
    last = (scored + timedelta(days=1)).date().isoformat()
    said = ("--transactions", records, "--until", last)
    status, text, _ = analyst("export", alert, "--format", "goaml", "--out", out, *said)
    assert status == 0
    assert f"entries: 1 of 1 in 90 days up to {last};" in text
    assert "<transactionnumber>t1</transactionnumber>" in out.read_text()
    log = logged_text(analyst.home.log_folder)
    assert '"a1"' not in log
    other = canonical(analyst.folder / "other", "nobody", scored)
    rows = [
        (("--transactions", other), "found none"),
        (("--transactions", records, "--until", "x"), "--until"),
    ]
    for arguments, problem in rows:
        new = ("export", alert, "--format", "goaml", "--out", analyst.folder / "n.xml")
        status, _, err = analyst(*new, *arguments)
        assert (status, problem in err) == (2, True), err


def test_entries_reach_to_the_last_day_of_the_records_and_none_is_said(analyst: Analyst) -> None:
    alert, out = first(analyst, "file"), analyst.folder / "r.xml"
    unit = json.loads(analyst("alerts", alert, "--json")[1])["unit"]
    day = datetime(2025, 3, 31, 12)  # noqa: DTZ001 -- long before it was scored
    records = canonical(analyst.folder / "canonical", unit, day)
    export = ("export", alert, "--format", "goaml", "--transactions", records, "--out")
    status, text, _ = analyst(*export, out)
    assert status == 0
    assert "entries: 1 of 1 in 90 days up to 2025-03-31, the last day of the records;" in text
    assert "<report_code>STR</report_code>" in out.read_text()
    status, text, _ = analyst(*export, analyst.folder / "s.xml", "--until", "2025-09-30")
    assert status == 0
    assert "none of this customer in the 90 days up to 2025-09-30" in text
    assert "--until 2025-03-31" in text
    assert "without transactions" in text


def test_the_log_keeps_a_drafts_hash_and_nothing_of_it(analyst: Analyst) -> None:
    alert = first(analyst, "file")
    unit = json.loads(analyst("alerts", alert, "--json")[1])["unit"]
    analyst("export", alert, "--format", "goaml", "--out", analyst.folder / "r.xml")
    log = logged_text(analyst.home.log_folder)
    assert '"report drafted"' in log
    for secret in (alert, unit, "potential_victim"):
        assert secret not in log


def test_no_draft_without_a_decision_and_a_role(analyst: Analyst) -> None:
    out = analyst.folder / "r.xml"
    rows = [("", "", "no report by itself"), ("edd", "controller", "no report by itself"),
            ("file", "unknown", "party role")]  # fmt: skip
    for disposition, role, text in rows:
        alert = first(analyst, disposition, role)
        status, _, err = analyst("export", alert, "--format", "goaml", "--out", out)
        assert (status, text in err, out.exists()) == (2, True, False)


def test_wrong_input_says_what_to_do(analyst: Analyst) -> None:
    alert, folder = first(analyst, "file"), analyst.folder
    rows = [
        (("export", alert, "--format", "sar", "--out", folder / "r"), "goaml"),
        (("export", alert, "--format", "goaml"), "--out"),
        (("export", "ffff", "--format", "goaml", "--out", folder / "r"), "ALERT"),
        (("export", alert, "--format", "goaml", "--out", folder / "no" / "r"), "r"),
        (("export", alert, "--format", "goaml", "--out", folder / "customers.csv"), "overwritten"),
    ]
    for arguments, text in rows:
        status, _, err = analyst(*arguments)
        assert (status, text in err) == (2, True), err
    for path, text in ((folder / "none.xml", "readable"), (folder / "customers.csv", "XML")):
        status, _, err = analyst.check("goaml", path)
        assert (status, text in err) == (2, True), err
