"""`institution alerts`, with and without an alert, as they are typed."""

import json
from typing import Any

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of
from tests.support.runs.finished import RUN


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    made = analyst_of(coordinator, custody_of, capsys, units=300)
    arguments = ("--budget", "6", "--out", made.folder / "alerts.parquet")
    assert made("score", "--model", RUN, *arguments)[0] == 0
    return made


def listed(analyst: Analyst, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(analyst("alerts", "--json", *arguments)[1])
    return found


def test_before_any_scoring_the_queue_says_how_one_comes(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = analyst_of(coordinator, custody_of, capsys, units=150)("alerts")
    assert (status, "institution score" in out) == (0, True)


def test_the_queue_is_listed_by_rank(analyst: Analyst) -> None:
    status, out, _ = analyst("alerts")
    rows = listed(analyst)
    assert (status, len(rows)) == (0, 7)
    assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)
    assert all(row["alert"] in out for row in rows)
    assert {row["party_role"] for row in rows} == {"unknown"}
    assert {row["state"] for row in rows} == {"new"}


def test_closed_alerts_leave_the_queue(analyst: Analyst) -> None:
    first = listed(analyst)[0]["alert"]
    arguments = ("--disposition", "benign:other", "--role", "bystander")
    assert analyst("act", first, "decide", *arguments)[0] == 0
    assert first not in {row["alert"] for row in listed(analyst)}
    assert [row["alert"] for row in listed(analyst, "--state", "closed")] == [first]
    assert len(listed(analyst, "--state", "all")) == 7


def test_an_alert_is_shown_with_everything_that_a_person_needs(analyst: Analyst) -> None:
    row = listed(analyst)[0]
    status, out, _ = analyst("alerts", row["alert"][:6])
    assert status == 0
    for said in (
        row["unit"], "independent famil", "raises", "against", "adds up", "never the subject"
    ):  # fmt: skip
        assert said in " ".join(out.split())
    assert json.loads(analyst("alerts", row["alert"], "--json")[1]) == row


def test_whoever_is_suppressed_later_is_shown_to_nobody(analyst: Analyst) -> None:
    row = listed(analyst)[0]
    analyst.home.suppression.write_text(f"unit,reason\n{row['unit']},court order\n")
    analyst.home.suppression.chmod(0o600)
    assert row["unit"] not in analyst("alerts")[1]
    for arguments in (
        ("alerts", row["alert"]),
        ("act", row["alert"], "decide", "--disposition", "file", "--role", "unknown"),
    ):
        status, out, err = analyst(*arguments)
        assert (status, out) == (2, "")
        assert row["unit"] not in err


@pytest.mark.parametrize("text", ["ffff", "a", "not-an-id", "%"])
def test_an_unknown_alert_says_where_to_look(analyst: Analyst, text: str) -> None:
    status, _, err = analyst("alerts", text)
    assert (status, "institution alerts" in err) == (2, True)


def test_what_means_nothing_in_a_call_is_refused(analyst: Analyst) -> None:
    alert = listed(analyst)[0]["alert"]
    for call, option in (
        (("alerts", "--words"), "--words"),
        (("alerts", "--entries"), "--entries"),
        (("alerts", "--view", "state=open", "--json"), "--json"),
        (("alerts", alert, "--state", "all"), "--state"),
        (("alerts", alert, "--view", "state=open"), "--view"),
        (("alerts", alert, "--entries", "--json"), "--json"),
        (("act", alert, "take", "--role", "unknown"), "--role"),
        (("act", alert, "decide", "--role", "unknown"), "--disposition"),
    ):
        status, out, err = analyst(*call)
        assert (status, out, option in err) == (2, "", True), call


def test_a_page_of_the_queue_has_every_open_alert(analyst: Analyst) -> None:
    status, out, _ = analyst("alerts", "--view", "state=open")
    assert (status, "7 of 7 alerts" in out) == (0, True)
    assert all(row["alert"] in out for row in listed(analyst))


def test_entries_that_were_not_kept_are_said_to_be_missing(analyst: Analyst) -> None:
    """They were looked for by the alert itself, not by its id, so that nobody's were found."""
    alert = listed(analyst)[0]["alert"]
    status, out, err = analyst("alerts", alert, "--entries")
    assert (status, out) == (2, "")
    assert f"expected entries of {alert}, found none" in err
